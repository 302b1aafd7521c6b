"""The statistics of the tables: intervals, paired tests, corrections. Shares are fractions of 1, never percent.

Everywhere an unparsed answer counts as not correct; its share stands beside the accuracy (`unparsed_rate`). Tests are
exact and need no random numbers; only the bootstrap is seeded.

The paper prints no test and repeats random only (its Tables 1 and 11); what is done here is this project's decision.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from delamo.records import ItemScore

if TYPE_CHECKING:
    import numpy as np

NUM_RESAMPLES = 10_000

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


@dataclass(frozen=True, slots=True)
class PairedCounts:
    """Two runs over the same items."""

    only_first: int
    """Items that the first run alone answers correctly."""
    only_second: int
    p: float
    """Exact McNemar, two-sided."""


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """A method against another over the same test items; each may have several runs."""

    n: int
    """Items that all runs have in common."""
    difference: float
    """Mean accuracy of the first minus that of the second, over those items."""
    interval: Interval
    """95 % bootstrap over items and over runs (`bootstrap_difference`)."""
    p: float
    """Two-sided exact paired test (`paired_test`)."""
    pairs: tuple[tuple[PairedCounts, ...], ...]
    """[run of the first][run of the second]: each run against each."""


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


def mcnemar(first: Outcomes, second: Outcomes) -> PairedCounts:
    """Test two runs by McNemar's exact test: each should have half of the items that only one answers correctly.

    Two-sided, by Binomial(only_first + only_second, 1/2). Only items of both runs count.

    Raises:
        ValueError: no item in common.
    """
    from scipy.stats import binomtest

    common = _common([first, second])
    only_first = sum(first[id] and not second[id] for id in common)
    only_second = sum(second[id] and not first[id] for id in common)
    discordant = only_first + only_second
    p = float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
    return PairedCounts(only_first, only_second, p)


def paired_test(first: Sequence[Outcomes], second: Sequence[Outcomes]) -> float:
    """Compute the two-sided p that two methods, each with one or more runs, answer the same items equally well.

    Null: on every item, it does not matter which of the runs are the first method's. Given the item's number of correct
    runs, the first method's share of them is then hypergeometric; p is the probability that its total over the items is
    at least as far from the expected total as the one observed. This is the exact Cochran-Mantel-Haenszel test with an
    item as a stratum, and with one run each it is McNemar's.

    It speaks of these runs on items like these. Seed noise enters as far as it shows within items: see the runs' own
    numbers too.

    Raises:
        ValueError: a method without runs, or no item in common.
    """
    import numpy as np
    from scipy.stats import hypergeom

    common = _common([*first, *second])
    k, total = len(first), len(first) + len(second)
    correct = [(sum(run[id] for run in first), sum(run[id] for run in second)) for id in common]
    strata = [sum(1 for a, b in correct if a + b == t) for t in range(total + 1)]
    null = np.ones(1)
    for t, count in enumerate(strata):
        null = np.convolve(null, _power(hypergeom.pmf(np.arange(k + 1), total, t, k), count))
    observed = sum(a for a, _ in correct)
    expected = sum(count * k * t / total for t, count in enumerate(strata))
    far = np.abs(np.arange(len(null)) - expected) >= abs(observed - expected) - 1e-9
    return float(min(1.0, null[far].sum()))


def bootstrap_difference(
    first: Sequence[Outcomes],
    second: Sequence[Outcomes],
    *,
    rng: np.random.Generator,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = 0.95,
) -> Interval:
    """Compute the bootstrap's percentile interval of the difference in accuracy, items and runs drawn with replacement.

    An item is drawn with the outcomes of all runs, which keeps the pairing; a method with one run has no run noise to
    draw, so that its interval covers the items alone.

    Args:
        first: runs of a method.
        second: runs of the other.
        rng: draws items and runs.
        num_resamples: draws.
        confidence: share of the draws that lies between the ends.

    Raises:
        ValueError: a method without runs, or no item in common.
    """
    import numpy as np

    common = _common([*first, *second])
    outcomes_RI = np.array([[run[id] for id in common] for run in (*first, *second)], dtype=float)  # noqa: N806 -- shape letters
    # items with the same outcomes in all runs are interchangeable: draw how many of each kind, not which
    patterns_RP, frequency = np.unique(outcomes_RI, axis=1, return_counts=True)  # noqa: N806 -- shape letters
    items_SP = rng.multinomial(len(common), frequency / len(common), size=num_resamples) / len(common)  # noqa: N806 -- shape letters
    first_RP, second_RP = patterns_RP[: len(first)], patterns_RP[len(first) :]  # noqa: N806 -- shape letters
    differences = _redrawn(first_RP, items_SP, rng) - _redrawn(second_RP, items_SP, rng)
    low, high = np.quantile(differences, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return Interval(float(low), float(high))


def compare(first: Sequence[Outcomes], second: Sequence[Outcomes], *, rng: np.random.Generator) -> PairedComparison:
    """Compare one method with another, over the items that all their runs have in common."""
    common = _common([*first, *second])
    means = [mean([mean([float(run[id]) for id in common]) for run in runs]) for runs in (first, second)]
    return PairedComparison(
        n=len(common),
        difference=means[0] - means[1],
        interval=bootstrap_difference(first, second, rng=rng),
        p=paired_test(first, second),
        pairs=tuple(tuple(mcnemar(run, other) for other in second) for run in first),
    )


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


def _common(runs: Sequence[Outcomes]) -> list[str]:
    if len(runs) < 2:
        raise ValueError("a comparison needs at least one run of each method")
    return common_items(runs)


def _power(distribution: Sequence[float], count: int) -> np.ndarray:
    """Compute the distribution of the sum of `count` independent draws, by repeated squaring."""
    import numpy as np

    result, base = np.ones(1), np.asarray(distribution)
    while count:
        if count & 1:
            result = np.convolve(result, base)
        base, count = np.convolve(base, base) if count > 1 else base, count >> 1
    return result


def _redrawn(outcomes_RP: np.ndarray, items_SP: np.ndarray, rng: np.random.Generator) -> np.ndarray:  # noqa: N803
    """Compute mean accuracies (S,) of redrawn runs over redrawn items. R runs, P kinds of items, S resamples."""
    num_runs = len(outcomes_RP)
    runs_SR = rng.multinomial(num_runs, [1 / num_runs] * num_runs, size=len(items_SP)) / num_runs  # noqa: N806 -- shape letters
    return (items_SP @ outcomes_RP.T * runs_SR).sum(axis=1)
