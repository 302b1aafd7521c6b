"""Retention: the test items and skills that the student had before tuning and after it, and those that it gained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from delamo.metrics.statistics import Outcomes, common_items, mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """One method against the student before tuning, over the same test items.

    Shares are means over runs, from 0 to 1.
    """

    num_right: int
    """Items that the untuned student answers correctly."""
    still_right: float | None
    """Share of them that the tuned student does, None for none of them."""
    num_wrong: int
    now_right: float | None

    @property
    def forgetting(self) -> float | None:
        """Accuracy after minus before over the items that the student had right."""
        return None if self.still_right is None else self.still_right - 1


def retention(before: Outcomes, runs: Sequence[Outcomes]) -> Retention:
    """Compare the runs of a method with the untuned student.

    Raises:
        ValueError: no item in common.
    """
    common = common_items([before, *runs])
    right = [id for id in common if before[id]]
    wrong = [id for id in common if not before[id]]
    return Retention(
        num_right=len(right),
        still_right=_share(runs, right),
        num_wrong=len(wrong),
        now_right=_share(runs, wrong),
    )


def change_over_skills(by_skill: Mapping[str, Mapping[str, Any]], *, missing: bool) -> float | None:
    """Compute the unweighted mean change in accuracy over skills; None where no skill has one.

    Args:
        by_skill: planted skill -> `before`, `after` and `missing`, as `delamo.metrics.planted` measures them.
        missing: over the skills that the student lacked, which is the gain, or over those that it had: forgetting.
    """
    changes = [change(skill) for skill in by_skill.values() if skill["missing"] is missing]
    known = [difference for difference in changes if difference is not None]
    return mean(known) if known else None


def change(skill: Mapping[str, Any] | None) -> float | None:
    """Compute accuracy after tuning minus before, of one skill; None where one of the two is not known."""
    if not skill or skill.get("before") is None or skill.get("after") is None:
        return None
    return skill["after"] - skill["before"]


def _share(runs: Sequence[Outcomes], items: Sequence[str]) -> float | None:
    return mean([mean([float(run[id]) for id in items]) for run in runs]) if items else None
