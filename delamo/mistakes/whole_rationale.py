"""No mistake step: skill analysis sees the whole rationale (paper, Table 5, "w/o Mistake Identification")."""

from __future__ import annotations

from collections.abc import Sequence

from delamo.mistakes.cases import ErrorCase, each_step
from delamo.models.teachers.base import Teacher
from delamo.records import Mistake, Quarantined


def find(cases: Sequence[ErrorCase], teacher: Teacher | None) -> tuple[list[Mistake], list[Quarantined]]:
    """Every case with no step singled out."""
    return each_step(cases, lambda case, steps: None)
