"""The student answers the validation samples (error collection, paper section 3.2) or the test samples (evaluation)."""

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
    file: ClassVar[str]
    """Of the rows, one for each sample."""
    row: ClassVar[type]

    @property
    def label(self) -> str:
        """The names of task and student."""
        return self.experiment.label("task", "student")

    @property
    def runs_models(self) -> bool:
        """True but for a student behind a server."""
        return self.experiment.has_local_student

    def depends_on(self) -> dict[str, Any]:
        """Return the untuned student, the split, the number format, how the student decodes and who serves it."""
        experiment = self.experiment
        return {
            "student": experiment.student_digest,
            "samples": experiment.samples_digests[self.split],
            "seed": experiment.decoding_seed,
            **identity_of(experiment.config.student, "numerics", "images", "serving", "decoding"),
            **self._server(),
        }

    def _server(self) -> dict[str, Any]:
        """Return the server's address, which may hold other weights under the same name, where there is one."""
        student = self.experiment.config.student
        if self.experiment.has_local_student or not student.api_base:
            return {}
        return {"api_base": student.api_base.rstrip("/")}

    def ask(self, samples: Sequence[Sample]) -> tuple[list[Answer], list[Quarantined]]:
        """Ask the student one batch of samples."""
        experiment = self.experiment
        student = experiment.models.student(self.adapter)
        return ask(student, samples, experiment.config.student, stage=self.name, seed=experiment.decoding_seed)

    def work(self, samples: Sequence[Sample]) -> tuple[list[Any], list[Quarantined]]:
        """Make the rows of one batch of samples."""
        return self.ask(samples)

    def compute(self, writer: ResultWriter) -> None:
        """Write one row for each sample that was answered."""
        experiment = self.experiment
        student = experiment.models.student(self.adapter)
        compute_in_shards(
            writer,
            self.file,
            getattr(experiment.task, self.split),
            self.row,
            work=self.work,
            shard_size=experiment.config.student.shard_size,
            notes=lambda: {"numerics": student.facts},
        )


@dataclass(frozen=True, eq=False)
class CollectAnswers(AskStudent):
    """Collect the student's rationale and answer for every validation sample."""

    name: ClassVar[str] = "answers"
    version: ClassVar[int] = 3  # hedges, denials, other languages and open answers are read
    split: ClassVar[str] = "validation"
    file: ClassVar[str] = "answers"
    row: ClassVar[type] = Answer


@dataclass(frozen=True, eq=False)
class Evaluate(AskStudent):
    """Evaluate the student on the test samples, which nothing before this has seen."""

    name: ClassVar[str] = "evaluation"
    version: ClassVar[int] = 3  # hedges, denials, other languages and open answers are read
    split: ClassVar[str] = "test"
    file: ClassVar[str] = "items"
    row: ClassVar[type] = ItemScore

    def work(self, samples: Sequence[Sample]) -> tuple[list[Any], list[Quarantined]]:
        """Score the answers to one batch, a row for each test item, so that runs can be compared in pairs."""
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
