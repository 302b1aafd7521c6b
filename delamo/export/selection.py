"""Read what one run selected, in the order in which it was selected."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from delamo.records import Sample, Selected
from delamo.runs import lineage
from delamo.runs.read import Run


@dataclass(frozen=True, slots=True)
class Selection:
    """The samples of all iterations, each once, and the run that chose them."""

    run: Run
    rows: list[tuple[Selected, Sample]]

    @property
    def title(self) -> str:
        """`TASK, SELECTOR, N samples of POOL, seed S`."""
        cell = self.run.cell
        return f"{cell['task']}, {cell['selector']}, {len(self.rows)} samples of {cell['pool']}, seed {cell['seed']}"

    @property
    def adapter(self) -> Path | None:
        """The folder of the tuned weights; None for the pretrained student."""
        folder = self.run.path / "adapter"
        return folder if folder.is_dir() else None


def read_selection(run: Run) -> Selection:
    """Read the selection of a run from the store. Raises ValueError where a stage's result is gone."""
    rows: dict[str, tuple[Selected, Sample]] = {}
    for round in lineage.rounds(run):
        samples = lineage.selected_samples(run, round)
        for row in lineage.selection(run, round):
            rows.setdefault(row.id, (row, samples[row.id]))
    return Selection(run, list(rows.values()))
