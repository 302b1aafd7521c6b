"""Targeted tuning (paper, section 3.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Protocol

from delamo.config.compose import identity_of
from delamo.records import Sample
from delamo.stages.base import Stage
from delamo.store import ResultWriter, RowCounts

# Where the second round and later ones start: the last adapter with the new selection, or the base with the union of
# all
# (a keyword as a name needs the functional form).
IterateFrom = Enum("IterateFrom", {"continue": "continue", "restart": "restart"})


class Selection(Protocol):
    """What tuning asks of a stage that selects."""

    digest: str

    def samples(self) -> list[Sample]:
        """Return the samples, with their images where they lie now, which need not be where they were selected."""


@dataclass(frozen=True, eq=False)
class Tune(Stage):
    """Tune the student on the last selection from the last adapter, or on the union of all selections from the base."""

    selections: Sequence[Selection]
    """Of every round so far."""
    previous: Stage | None
    """The adapter of the round before; None in the first round."""

    name: ClassVar[str] = "tuning"
    version: ClassVar[int] = 2  # the loss is a mean over the batch of a step, however it is cut
    resumable: ClassVar[bool] = True

    @property
    def restarts(self) -> bool:
        """Whether each round starts from the base."""
        return self.experiment.config.iterate_from is IterateFrom.restart

    @property
    def chosen(self) -> Sequence[Selection]:
        """The selections that are trained on."""
        return self.selections if self.restarts else self.selections[-1:]

    @property
    def start_from(self) -> Stage | None:
        """The adapter that tuning goes on from."""
        return None if self.restarts else self.previous

    @property
    def inputs(self) -> dict[str, Stage]:
        """The selections and, where tuning goes on from one, the adapter."""
        inputs = {f"selection_{number}": selection for number, selection in enumerate(self.chosen)}
        return inputs | ({"start_from": self.start_from} if self.start_from else {})

    @property
    def label(self) -> str:
        """The names of what the tuning depends on."""
        return self.experiment.label(*self.experiment.selection_roles("student"))

    @property
    def runs_models(self) -> bool:
        """True: tuning is always done here."""
        return True

    def depends_on(self) -> dict[str, Any]:
        """Return the untuned student, the recipe, the training seed, the attention and the cap on images."""
        experiment = self.experiment
        return {
            "student": experiment.student_digest,
            "tuning": identity_of(experiment.config.tuning),
            "seed": experiment.config.seeds.training,
            "attn": experiment.config.student.attn.name,
            **identity_of(experiment.config.student, "images"),
        }

    def compute(self, writer: ResultWriter) -> None:
        """Write `adapter/` in PEFT's format."""
        samples = {sample.id: sample for stage in self.chosen for sample in stage.samples()}
        start_from = self.start_from.stored.path / "adapter" if self.start_from else None
        seed, models = self.experiment.config.seeds.training, self.experiment.models
        job = models.tuning_job(
            list(samples.values()),
            self.experiment.config.tuning,
            out_dir=writer.path / "adapter",
            checkpoints=writer.work / "checkpoints",
            seed=seed,
            start_from=start_from,
        )
        models.release()
        result = models.fit(job, logger=models.logger)
        num_ok = len(samples) - len(result.quarantined)
        writer.finish(
            RowCounts(num_in=len(samples), num_ok=num_ok, quarantined=result.quarantined),
            seed=seed,
            steps=result.steps,
            loss=result.loss,
            trainable=result.trainable,
            padding=result.padding,
            processes=result.num_processes,
            numerics=result.facts,
        )
