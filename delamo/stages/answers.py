"""Error collection (paper, section 3.2): the student answers the validation samples with a rationale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from delamo.models.students.answers import ask
from delamo.models.students.local import Student
from delamo.records import Answer, Quarantined, Sample


def collect_answers(
    student: Student, samples: Sequence[Sample], **decoding: Any
) -> tuple[list[Answer], list[Quarantined]]:
    """One answer for every sample that the student can be asked; `decoding` as in `models.asking.ask`."""
    return ask(student, samples, stage="answers", **decoding)
