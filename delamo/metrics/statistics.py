"""The statistics of single numbers: means over runs, intervals, corrections. Shares are fractions of 1, never percent.

Everywhere an unparsed answer counts as not correct; its share stands beside the accuracy (`unparsed_rate`). How two
methods are compared stands in `delamo.metrics.comparison`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from delamo.records import ItemScore

Outcomes = Mapping[str, bool]
"""Of one run: test item id -> whether its answer is correct."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval; both ends in the unit of the estimate."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class SeedSummary:
    """One number measured by several runs that differ in the seed only."""

    mean: float
    sd: float | None
    """Sample standard deviation (k - 1 in the denominator); None for a single run."""
    runs: tuple[float, ...]
    """Each run's number, in the order given."""


def mean(values: Sequence[float]) -> float:
    """Compute the arithmetic mean. Raises ValueError for no value at all: missing is not zero."""
    if not values:
        raise ValueError("the mean of no values: nothing was measured")
    return math.fsum(values) / len(values)


def over_seeds(values: Sequence[float]) -> SeedSummary:
    """Compute mean and sample standard deviation over runs, each run's value kept. Raises ValueError for no run."""
    centre = mean(values)
    spread = math.sqrt(math.fsum((v - centre) ** 2 for v in values) / (len(values) - 1)) if len(values) > 1 else None
    return SeedSummary(centre, spread, tuple(values))


def outcomes(scores: Sequence[ItemScore]) -> dict[str, bool]:
    """Map item id -> correct, an unparsed answer being not correct. Raises ValueError where an id occurs twice."""
    by_id = {score.id: score.correct is True for score in scores}
    if len(by_id) < len(scores):
        raise ValueError(f"{len(scores)} item scores have {len(by_id)} distinct ids: an item was scored twice")
    return by_id


def accuracy(scores: Sequence[ItemScore]) -> float:
    """Compute the share of all items answered correctly, unparsed ones among them. Raises ValueError for no item."""
    return mean([float(correct) for correct in outcomes(scores).values()])


def unparsed_rate(scores: Sequence[ItemScore]) -> float:
    """Compute the share of items whose answer could not be read. Raises ValueError for no item."""
    return mean([float(not score.parsed) for score in scores])


def wilson(share: float, n: int, confidence: float = 0.95) -> Interval:
    """Compute Wilson's score interval of a share of `n` independent items.

    Args:
        share: of the items, from 0 to 1. It may be a mean over k runs on the same items, and so no multiple of 1 / n,
            which `scipy.stats.binomtest` would ask for.
        n: items, not k * n: the runs see the same items, so that more runs do not narrow the interval.
        confidence: probability that the interval covers the true share.

    Raises:
        ValueError: no items, or a share outside 0 to 1.

    Source: Wilson 1927; without continuity correction.
    """
    if n < 1 or not 0 <= share <= 1:
        raise ValueError(f"a share of {share} of {n} items has no interval")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    centre = share + z * z / (2 * n)
    reach = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # at 0 and at 1 one end is exact, which rounding would miss by 1e-17
    low = 0.0 if share == 0 else (centre - reach) / scale
    high = 1.0 if share == 1 else (centre + reach) / scale
    return Interval(low, high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values by Holm, in the order given: at most alpha of one or more false findings in the whole family.

    Source: Holm 1979. Sorted ascending, the i-th of m (from 0) is multiplied by m - i, and none falls below the one
    before.
    """
    adjusted, floor = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = floor
    return adjusted


def common_items(runs: Sequence[Outcomes]) -> list[str]:
    """List the items that all runs have, sorted. Raises ValueError for no run, or no item in common."""
    if not runs:
        raise ValueError("no runs have no test item in common")
    common = set(runs[0]).intersection(*runs[1:])
    if not common:
        raise ValueError("the runs have no test item in common")
    return sorted(common)
