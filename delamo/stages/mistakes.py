"""Mistake identification: the step at which each wrong rationale goes wrong (paper, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean as mean
from typing import Any, ClassVar

from delamo.config.compose import identity_of
from delamo.config.plugins import code_of
from delamo.mistakes import FINDERS, ErrorCase, Finder
from delamo.models.usage import UsageMeter
from delamo.records import Answer, Sample
from delamo.stages.base import Stage
from delamo.store import ResultWriter, RowCounts, write_rows
from delamo.store.provenance import versions


@dataclass(frozen=True, eq=False)
class FindMistakes(Stage):
    """Find the mistake step of every wrong answer, by the finder that the config names."""

    answers: Stage

    name: ClassVar[str] = "mistakes"
    version: ClassVar[int] = (
        4  # the article is no option; a step is a sentence in other languages and after a verdict too
    )

    @property
    def finder(self) -> Finder:
        """The method, by the type of its config."""
        return FINDERS[type(self.experiment.config.mistakes)]

    @property
    def label(self) -> str:
        """The names of task and student, and of the teacher where it is asked."""
        return self.experiment.label("task", "student", "teacher" if self.finder.templates else "mistakes")

    @property
    def runs_models(self) -> bool:
        """Whether the finder asks a teacher in this process."""
        return bool(self.finder.templates) and self.experiment.has_local_teacher

    def depends_on(self) -> dict[str, Any]:
        """Return the finder's config, the files that it names, and the teacher where it is asked."""
        config = self.experiment.config.mistakes
        reads = {"mistakes": identity_of(config), "steps by": versions(["pysbd"]), **code_of(self.finder.find)}
        if self.finder.templates:
            reads |= self.experiment.teacher_identity(*self.finder.templates)
        for field in self.finder.files:
            reads[f"{field} content"] = self.experiment.content_digest(Path(getattr(config, field)))
        return reads

    def compute(self, writer: ResultWriter) -> None:
        """Write `mistakes.jsonl`."""
        config = self.experiment.config.mistakes
        answers = self.answers.stored.rows(Answer)
        cases = error_cases(self.experiment.task.validation, answers, include_unparsed=config.include_unparsed)
        teacher = self.experiment.models.teacher if self.finder.templates else None
        usage = UsageMeter(teacher)
        mistakes, quarantined = self.finder.find(cases, teacher, config)
        write_rows(writer.path / "mistakes.jsonl", mistakes)
        skipped = {"no error": len(answers) - len(cases)}
        counts = RowCounts(num_in=len(answers), num_ok=len(mistakes), quarantined=quarantined, skipped=skipped)
        outside = [mass for mistake in mistakes for mass in mistake.outside_mass]
        writer.finish(counts, spent=usage.total(), health={"outside_mass": mean(outside) if outside else None})


def error_cases(samples: Sequence[Sample], answers: Sequence[Answer], *, include_unparsed: bool) -> list[ErrorCase]:
    """Collect the wrong answers and, flagged, those that could not be read (the paper is silent on them)."""
    by_id = {sample.id: sample for sample in samples}
    wrong = [answer for answer in answers if (include_unparsed if answer.correct is None else not answer.correct)]
    return [
        ErrorCase(
            id=answer.id,
            question=by_id[answer.id].instruction,
            options=by_id[answer.id].options,
            gold=by_id[answer.id].gold,
            answer=by_id[answer.id].answer,
            wrong=answer.prediction,
            rationale=answer.rationale,
            unparsed=answer.correct is None,
        )
        for answer in wrong
    ]
