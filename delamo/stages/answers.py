"""The student answers a split: the validation samples (error collection.

Paper, section 3.2), or the test samples (evaluation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from delamo.config.compose import identity_of
from delamo.models.students.answers import ask
from delamo.records import LETTERS, Answer, ItemScore, Sample
from delamo.stages.base import Stage
from delamo.store import ResultWriter, compute_in_shards

if TYPE_CHECKING:
    from delamo.records import Quarantined


@dataclass(frozen=True, eq=False)
class AskStudent(Stage):
    """A stage in which the student, tuned or not, answers one split of the task."""

    adapter: Stage | None = None
    """The tuning that the student's adapter comes from; None is the untuned student."""

    resumable: ClassVar[bool] = True
    split: ClassVar[str]

    @property
    def label(self) -> str:
        """The names of task and student."""
        return self.experiment.label("task", "student")

    def depends_on(self) -> dict[str, Any]:
        """Return the untuned student, the split, the number format and how the student decodes."""
        experiment = self.experiment
        return {
            "student": experiment.student_digest,
            "samples": experiment.samples_digests[self.split],
            "seed": experiment.decoding_seed,
            **identity_of(experiment.config.student, "numerics", "images", "serving", "decoding"),
        }

    def ask(self, samples: Sequence[Sample]) -> tuple[list[Answer], list[Quarantined]]:
        """Ask the student one batch of samples."""
        experiment = self.experiment
        student = experiment.models.student(self.adapter)
        return ask(student, samples, experiment.config.student, stage=self.name, seed=experiment.decoding_seed)


@dataclass(frozen=True, eq=False)
class CollectAnswers(AskStudent):
    """Collect the student's rationale and answer for every validation sample."""

    name: ClassVar[str] = "answers"
    version: ClassVar[int] = 2  # more forms of a final answer are read
    split: ClassVar[str] = "validation"

    def compute(self, writer: ResultWriter) -> None:
        """Write `answers.jsonl`."""
        experiment = self.experiment
        student = experiment.models.student(self.adapter)
        compute_in_shards(
            writer,
            "answers",
            experiment.task.validation,
            Answer,
            work=self.ask,
            shard_size=experiment.config.student.shard_size,
            notes=lambda: {"numerics": student.facts},
        )


@dataclass(frozen=True, eq=False)
class Evaluate(AskStudent):
    """Evaluate the student on the test samples, which nothing before this has seen."""

    name: ClassVar[str] = "evaluation"
    version: ClassVar[int] = 2  # more forms of a final answer are read
    split: ClassVar[str] = "test"

    def compute(self, writer: ResultWriter) -> None:
        """Write `items.jsonl`: one row for each test item, so that runs can be compared in pairs."""
        experiment = self.experiment
        student = experiment.models.student(self.adapter)
        compute_in_shards(
            writer,
            "items",
            experiment.task.test,
            ItemScore,
            work=self._score,
            shard_size=experiment.config.student.shard_size,
            notes=lambda: {"numerics": student.facts},
        )

    def _score(self, samples: Sequence[Sample]) -> tuple[list[ItemScore], list[Quarantined]]:
        answers, quarantined = self.ask(samples)
        by_id = {sample.id: sample for sample in samples}
        return [item_score(by_id[answer.id], answer) for answer in answers], quarantined


def item_score(sample: Sample, answer: Answer) -> ItemScore:
    """Score one answer to a test sample."""
    return ItemScore(
        id=answer.id,
        text=answer.text,
        prediction=answer.prediction,
        gold=sample.answer if sample.gold is None else LETTERS[sample.gold],
        parsed=answer.prediction is not None,
        correct=answer.correct,
    )
