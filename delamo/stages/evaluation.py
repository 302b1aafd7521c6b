"""Evaluation: the student, tuned or not, on test samples that no earlier stage has seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from delamo.models.students.answers import ask
from delamo.models.students.local import Student
from delamo.records import LETTERS, ItemScore, Quarantined, Sample


def evaluate(student: Student, samples: Sequence[Sample], **decoding: Any) -> tuple[list[ItemScore], list[Quarantined]]:
    """One outcome for every sample that the student can be asked; `decoding` as in `models.asking.ask`."""
    answers, bad = ask(student, samples, stage="evaluation", **decoding)
    by_id = {sample.id: sample for sample in samples}
    items = [
        ItemScore(
            id=answer.id,
            text=answer.text,
            prediction=answer.prediction,
            gold=_gold(by_id[answer.id]),
            parsed=answer.prediction is not None,
            correct=answer.correct,
        )
        for answer in answers
    ]
    return items, bad


def _gold(sample: Sample) -> str:
    return sample.answer if sample.gold is None else LETTERS[sample.gold]
