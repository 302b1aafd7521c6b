"""What tuning took and gave: the test items that the student had before, and those that it had not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from delamo.metrics.statistics import Outcomes, common_items, mean

DEFINITION = (
    "Still right: of the test items that the pretrained student answers correctly, the share that the tuned one does; now right: of those "
    "that it does not, unparsed ones among them. Forgetting is accuracy after minus before on what the student had, in points, negative "
    "where tuning did harm: of items, over those that it had right (still right minus 100); of skills, the unweighted mean over the skills "
    "that it was taught (planted truth). All are means over the method's runs. An item that was right by luck counts as had: read the "
    "numbers beside those of random."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One method against the student before tuning, over the same test items; shares are fractions of 1, means over the runs."""

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


def kept(before: Outcomes, runs: Sequence[Outcomes]) -> Kept:
    """Compare the runs of a method with the untuned student. Raises ValueError for no item in common."""
    common = common_items([before, *runs])
    right = [id for id in common if before[id]]
    wrong = [id for id in common if not before[id]]
    return Kept(
        num_right=len(right),
        still_right=_share(runs, right),
        num_wrong=len(wrong),
        now_right=_share(runs, wrong),
    )


def _share(runs: Sequence[Outcomes], items: Sequence[str]) -> float | None:
    return mean([mean([float(run[id]) for id in items]) for run in runs]) if items else None
