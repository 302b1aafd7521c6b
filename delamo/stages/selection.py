"""Selection: exactly N distinct pool samples, each with what brought it in (paper, section 3.5)."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
from tqdm import tqdm

from delamo.config.compose import identity_of
from delamo.data import Pool
from delamo.records import FILL, Sample, Selected
from delamo.stages.base import Stage
from delamo.store import ResultWriter, RowCounts, StoredResult, write_rows


@dataclass(frozen=True, eq=False)
class Select(Stage):
    """Select the samples of one round, by the selector that the config names."""

    candidates: Pool
    """What may be chosen: the pool as the audit left it, or a pool of the selector's own making."""
    needs: Mapping[str, Stage]
    """The stages behind the inputs that the selector declares, by name."""
    iteration: int

    name: ClassVar[str] = "selection"

    @property
    def inputs(self) -> dict[str, Stage]:
        """The stages behind the selector's inputs."""
        return dict(self.needs)

    @property
    def num_samples(self) -> int:
        """How many samples are selected."""
        takes_all = self.experiment.selector.takes_all
        return len(self.candidates) if takes_all else self.experiment.config.budget.num_samples

    @property
    def seed(self) -> list[int] | None:
        """What the selector draws by; None where it takes everything, so that nothing is drawn."""
        return None if self.experiment.selector.takes_all else [self.experiment.config.seeds.selection, self.iteration]

    @property
    def label(self) -> str:
        """The names of what the selection depends on."""
        return self.experiment.label(*self.experiment.selection_roles("pool"))

    def depends_on(self) -> dict[str, Any]:
        """Return the candidates, the selector's own config and code, and the budget and seed where they count."""
        experiment, selector = self.experiment, self.experiment.selector
        reads = {"pool": self.candidates.digest, "selector": own_identity(experiment.config.selector)}
        if not selector.takes_all:
            reads |= {"num_samples": self.num_samples, "seed": self.seed}
        if selector.reads_validation:
            reads["validation"] = experiment.samples_digests["validation"]
        if selector.code:
            reads["code"] = selector.code
        if selector.version > 1:
            reads["method_version"] = selector.version
        return reads

    def result(self) -> StoredResult:
        """Return the selection, computed now if the store lacks it.

        Raises:
            ValueError: more of it than `max_fill` is random fill: it would be reported under the name of a method that
                had little part in it.
        """
        stored, config = super().result(), self.experiment.config
        check_fill(stored.rows(Selected), config.max_fill, config.selector.name, stored.path)
        return stored

    def samples(self) -> list[Sample]:
        """Return the selected samples as the data holds them now, images where they lie now, in order of rank."""
        return [self.candidates.get(row.id) for row in self.stored.rows(Selected)]

    def compute(self, writer: ResultWriter) -> None:
        """Write `selection.jsonl`, and the samples themselves as `selected_samples.jsonl`."""
        experiment, selector, pool = self.experiment, self.experiment.selector, self.candidates
        config = experiment.config
        if selector.takes_all:
            taken = f"selector {config.selector.name} takes all {self.num_samples:,} samples of pool {pool.name}"
            tqdm.write(f"{taken}; the budget, {config.budget.name}, does not count", file=sys.stderr)
        calls = {need.name: partial(need.read, experiment, self.needs.get(need.name)) for need in selector.needs}
        selected = selector.select(
            pool,
            SimpleNamespace(**calls),
            config.selector,
            num_samples=self.num_samples,
            rng=np.random.default_rng(self.seed or 0),
        )
        write_rows(writer.path / "selection.jsonl", selected)
        write_rows(writer.path / "selected_samples.jsonl", (pool.get(row.id) for row in selected))
        skipped = {"not selected": len(pool) - len(selected)}
        writer.finish(RowCounts(num_in=len(pool), num_ok=len(selected), skipped=skipped), seed=self.seed)


def check_fill(selected: Sequence[Selected], limit: float, selector: str, folder: Path) -> None:
    """Raise ValueError where more of a selection than a share `limit` is random fill."""
    num_filled = sum(row.reason == FILL for row in selected)
    if num_filled <= limit * len(selected):
        return
    raise ValueError(
        f"max_fill is {limit}, and {num_filled:,} of the {len(selected):,} samples that selector {selector} chose "
        f"({num_filled / len(selected):.0%}) are drawn at random, as what it goes by found no more ({folder}): see "
        "what the stages before it quarantined, choose a smaller budget, or raise max_fill. "
        "selector=random chooses by chance"
    )


def own_identity(config: Any) -> dict[str, Any]:
    """Return the identity of a selector without what decides its inputs, which have digests of their own."""
    of_input = {field.name for field in dataclasses.fields(config) if field.metadata.get("of_input")}
    return {name: value for name, value in identity_of(config).items() if name not in of_input}
