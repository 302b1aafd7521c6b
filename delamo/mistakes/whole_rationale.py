"""No mistake step: skill analysis sees the whole rationale (paper, Table 5, "w/o Mistake Identification")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from delamo.mistakes.base import ErrorCase, Finder, MistakesConfig, each_step
from delamo.models.teachers.base import Teacher
from delamo.records import Mistake, Quarantined


@dataclass(slots=True, kw_only=True)
class WholeRationaleConfig(MistakesConfig):
    """No step is singled out (paper, Table 5, "w/o Mistake Identification")."""


def find(
    cases: Sequence[ErrorCase], teacher: Teacher | None, config: WholeRationaleConfig
) -> tuple[list[Mistake], list[Quarantined]]:
    """Return every case with no step singled out."""
    return each_step(cases, lambda case, steps: None)


FINDER = Finder(name="whole_rationale", config=WholeRationaleConfig, find=find)
