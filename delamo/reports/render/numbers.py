"""How numbers stand in tables: percent, points, p values, intervals."""

from __future__ import annotations

from collections.abc import Callable

from delamo.metrics.comparison import PairedComparison
from delamo.metrics.statistics import Interval

NOTHING = "-"
"""Stands for a number that there is not."""


def percent(share: float | None, digits: int = 1) -> str:
    """Write a fraction of 1 as percent, without the sign."""
    return NOTHING if share is None else f"{100 * share:.{digits}f}"


def points(share: float | None) -> str:
    """Write a difference of fractions in percentage points, with its sign."""
    return NOTHING if share is None else f"{100 * share:+.1f}"


def p_value(p: float | None) -> str:
    """Write a p value to four places, a smaller one as a bound."""
    return NOTHING if p is None else "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def span(interval: Interval, write: Callable[[float], str] = percent) -> str:
    """Write an interval of fractions, in percent or points."""
    return f"{write(interval.low)} to {write(interval.high)}"


def not_judged(comparison: PairedComparison) -> str:
    """Say that a comparison has no verdict, and why."""
    return f"{comparison.not_judged}: not judged"


def minus(comparison: PairedComparison | None) -> str:
    """Write a difference with its interval, in points; without an interval why there is none."""
    if comparison is None:
        return NOTHING
    inference = comparison.inference
    behind = span(inference.interval, points) if inference else not_judged(comparison)
    return f"{points(comparison.difference)} ({behind})"


def usd(amount: float | None) -> str:
    """Write an amount of dollars; None is an unknown price."""
    return NOTHING if amount is None else f"{amount:.2f}"
