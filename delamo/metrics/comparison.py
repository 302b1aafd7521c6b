"""Is one method better than another? The interval, the p value and the verdict that every table and format shows.

The claim is about methods, not about these trained models: another seed would train another model, and other items
could be asked. So a run is a draw, and so is an item; the two are crossed, as all runs answer the same items. Of a
method's runs on a target

    correct = mean + run + item + rest,     all but the mean random,

and a difference of two methods' means over k and l runs and n items has the variance

    (run + rest / n) / k  of the first  +  (run + rest / n) / l  of the second  +  (items on which they differ) / n.

The mean squares of the runs estimate the first two, the item-wise differences the third after what the rests put into
them is taken out. Degrees of freedom are Satterthwaite's, the reference distribution is Student's t. How often this
calls random selection better or worse than itself is measured by `scripts/calibrate_verdicts.py`, docs/verdicts.md.

Sources: Searle, Casella and McCulloch 1992, chapters 3 and 4 (crossed random effects); Satterthwaite 1946; Welch 1947.
The paper prints no test and repeats random only (its Tables 1 and 11); what is done here is this project's decision.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from delamo.metrics.statistics import Interval, Outcomes, common_items
from delamo.metrics.variance import interaction

if TYPE_CHECKING:
    import numpy as np

ALPHA = 0.05
"""Level of the tests, and 1 minus the confidence of the intervals."""
ROUNDING = 1e-18
"""A variance below is none: shares of thousands of items differ by more."""


class Verdict(StrEnum):
    """What may be said of a method against another; all formats ask `verdict` for it."""

    BEATS = "beats"
    WORSE = "worse"
    OPEN = "not told apart"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodRuns:
    """The runs of a method on one target, as an inference sees them."""

    outcomes: Sequence[Outcomes]
    units: Sequence[Hashable] | None = None
    """For each run what it shares its draw with: equal for runs on one selection out of several, of which not each is a
    draw of the method. None: every run is one."""
    fixed: bool = False
    """Whether it is one model, which another seed would not change: the pretrained student. What decoding by chance
    changes, it changes item by item, and the items show it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """A difference of two methods with its uncertainty, runs and items both being draws."""

    standard_error: float
    freedom: float
    """Degrees of freedom of Student's t."""
    interval: Interval
    """At 1 - `ALPHA`; it leaves out 0 exactly where `p` is below `ALPHA`."""
    p: float
    """Two-sided, of no difference."""
    borrowed: bool
    """Whether a method that was run once is taken to vary between runs as the other methods on the target do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedComparison:
    """A method against another over the same test items; each may have several runs."""

    n: int
    """Items that all runs have in common."""
    difference: float
    """Mean accuracy of the first minus that of the second, over those items."""
    inference: Inference | None
    """None where the runs do not tell how much another run would change."""
    not_judged: str | None
    """Why there is no inference, as in `1 run`; None where there is one."""


@dataclass(frozen=True, slots=True, eq=False)
class _Spread:
    """How the accuracy of one draw varies, estimated from a method that has several."""

    run: float
    """Variance of its accuracy over these items."""
    rest: float
    """The part of it that is no run's own: what neither run nor item explains, over the items."""
    lent: float
    """What a method without an estimate of its own is taken to vary by at least: as much as a run does from items to
    items, since it may well vary more than the methods that it borrows from."""
    freedom: int


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One method over the common items."""

    mean: float
    """Over runs, as tables print it."""
    means_I: np.ndarray  # noqa: N815 -- shape letters: I items
    """Over draws."""
    num_draws: int
    excess: float
    """What the mean over runs has of a draw's variance above the mean over draws, whose part is 1 / draws."""
    spread: _Spread | None
    """None where its runs are one draw."""
    num_runs: int
    fixed: bool


def compare(first: MethodRuns, second: MethodRuns, others: Sequence[MethodRuns] = ()) -> PairedComparison:
    """Compare one method with another, over the items that all their runs have in common.

    A method whose own runs do not tell how much another would change, as with a single one, is taken to vary as all
    methods here do that have several; where there are none, nothing is judged.

    Args:
        first: a method.
        second: the other.
        others: further methods on the same target, of which only the variance is looked at. Those that were not asked
            all items in common are left out.

    Raises:
        ValueError: a method without runs, or no item in common.
    """
    if not first.outcomes or not second.outcomes:
        raise ValueError("a comparison needs at least one run of each method")
    common = common_items([*first.outcomes, *second.outcomes])
    sides = [_side(method, common) for method in (first, second)]
    asked = [method for method in others if all(run.keys() >= set(common) for run in method.outcomes)]
    tuned = [side for side in (*sides, *(_side(method, common) for method in asked)) if not side.fixed]
    pool = [side.spread for side in tuned if side.spread]
    difference = sides[0].mean - sides[1].mean
    why = _not_judged(sides, pool, len(common))
    inference = None if why else _inference(sides, pool, difference)
    if not why and inference is None:
        why = "runs without any spread"
    return PairedComparison(n=len(common), difference=difference, inference=inference, not_judged=why)


def verdict(comparison: PairedComparison | None, p: float | None) -> Verdict:
    """Judge a comparison.

    Args:
        comparison: with the reference; None where there is nothing to compare with.
        p: of its inference, after correction for the comparisons of its table; None where it is not judged.
    """
    if comparison is None or comparison.inference is None or p is None:
        return Verdict.NOT_JUDGED
    if p >= ALPHA:
        return Verdict.OPEN
    return Verdict.BEATS if comparison.difference > 0 else Verdict.WORSE


def _side(method: MethodRuns, common: Sequence[str]) -> _Side:
    """Average the runs of each unit; units that agree on every item are one, as a run that was copied tells nothing."""
    import numpy as np

    outcomes_RI = np.array([[run[id] for id in common] for run in method.outcomes], dtype=float)  # noqa: N806 -- R runs
    units = range(len(outcomes_RI)) if method.units is None else method.units
    merged: dict[bytes, tuple[np.ndarray, int]] = {}
    for unit in dict.fromkeys(units):
        chosen_RI = outcomes_RI[[other == unit for other in units]]  # noqa: N806 -- shape letters
        profile_I = chosen_RI.mean(axis=0)  # noqa: N806 -- shape letters
        _, before = merged.get(profile_I.tobytes(), (None, 0))
        merged[profile_I.tobytes()] = profile_I, before + len(chosen_RI)
    counts = np.array([count for _, count in merged.values()], dtype=float)
    profiles_UI = np.array([profile for profile, _ in merged.values()])  # noqa: N806 -- U draws
    weights = counts / counts.sum()
    return _Side(
        mean=float(outcomes_RI.mean()),
        means_I=profiles_UI.mean(axis=0),
        num_draws=len(weights),
        excess=max(0.0, float((weights**2).sum()) - 1 / len(weights)),
        spread=_spread(profiles_UI) if len(weights) > 1 else None,
        num_runs=len(outcomes_RI),
        fixed=method.fixed,
    )


def _spread(profiles_UI: np.ndarray) -> _Spread:  # noqa: N803 -- shape letters
    """Estimate how a draw varies; by no less than chance item by item makes it, where few draws lie close together."""
    num_draws, n = profiles_UI.shape
    rest = interaction(profiles_UI) / n
    accuracies = profiles_UI.mean(axis=1)
    run, share = max(float(accuracies.var(ddof=1)), rest), float(accuracies.mean())
    return _Spread(run=run, rest=rest, lent=max(run, share * (1 - share) / max(n - 1, 1)), freedom=num_draws - 1)


def _not_judged(sides: Sequence[_Side], pool: Sequence[_Spread], n: int) -> str | None:
    """Say why nothing can be judged; None where it can."""
    if n < 2:
        return "1 item"
    unknown = [side for side in sides if not side.spread and not side.fixed]
    if not unknown or pool:
        return None
    runs = min(side.num_runs for side in unknown)
    return "1 run" if runs == 1 else f"{runs} runs, 1 draw"


def _inference(sides: Sequence[_Side], pool: Sequence[_Spread], difference: float) -> Inference | None:
    """Put the parts of the variance together; None where they are all zero, which proves nothing."""
    from scipy.special import stdtr, stdtrit

    gaps_I = sides[0].means_I - sides[1].means_I  # noqa: N806 -- shape letters
    n = len(gaps_I)
    items, rest = float(gaps_I.var(ddof=1)) / n, 0.0
    # one term for each estimate, however often the sides use it: what they share does not average out
    runs: dict[_Spread, float] = defaultdict(float)
    least = 0.0
    for side in sides:
        for spread, weight in _estimates(side, pool):
            runs[spread] += weight * spread.run
            rest += weight * spread.rest
            least += weight * (spread.run if side.spread else spread.lent)
    borrowed = any(not side.spread and not side.fixed for side in sides)
    variance = max(sum(runs.values()) + max(0.0, items - rest), least)
    if variance < ROUNDING:
        return None
    doubt = sum(part**2 / spread.freedom for spread, part in runs.items())
    if borrowed:  # the many items would hide how little is known of the runs
        freedom = sum(runs.values()) ** 2 / doubt if doubt else float(sum(spread.freedom for spread in runs))
    else:
        freedom = variance**2 / (doubt + (items**2 / (n - 1) if items > rest else 0.0))
    # runs that share a draw make the mean less certain, and the estimate of its variance no better
    variance += sum(side.excess * side.spread.run for side in sides if side.spread)
    error = math.sqrt(variance)
    reach = float(stdtrit(freedom, 1 - ALPHA / 2)) * error
    return Inference(
        standard_error=error,
        freedom=freedom,
        interval=Interval(max(-1.0, difference - reach), min(1.0, difference + reach)),
        p=float(min(1.0, 2 * stdtr(freedom, -abs(difference) / error))),
        borrowed=borrowed,
    )


def _estimates(side: _Side, pool: Sequence[_Spread]) -> list[tuple[_Spread, float]]:
    """List the estimates of how a draw of a side varies, with their weights in the variance of the mean over draws."""
    if side.spread:
        return [(side.spread, 1 / side.num_draws)]
    if side.fixed:
        return []
    freedom = sum(spread.freedom for spread in pool)
    return [(spread, spread.freedom / freedom) for spread in pool]
