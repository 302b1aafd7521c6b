"""Does a method beat the reference? One sentence for each comparison."""

from __future__ import annotations

from delamo.reports.comparison import ALPHA, Budget, Method, Target
from delamo.reports.render.formats import Block, Lines
from delamo.reports.render.numbers import p_value, points, span
from delamo.reports.sections.definitions import reference_name


def verdicts(budget: Budget) -> list[str]:
    """Judge each method on each target against the reference, in one sentence each."""
    name = reference_name(budget.reference)
    return [_verdict(name, target, m) for target in budget.targets for m in target.methods if m.is_judged]


def verdict_blocks(budget: Budget) -> list[Block]:
    """Build the list of verdicts, under a line that counts them."""
    lines = verdicts(budget)
    if not lines:
        return []
    judged = [m for target in budget.targets for m in target.methods if m.is_judged and m.versus]
    if not judged:
        return [Lines(lines, bullets=True)]
    won = sum(m.beats_reference for m in judged)
    count = f"ahead, and significantly so, in {won} of {len(judged)} comparisons"
    return [Lines([f"Against {reference_name(budget.reference)}: {count}."]), Lines(lines, bullets=True)]


def _verdict(reference: str, target: Target, method: Method) -> str:
    name, versus, p = f"{target.task}: {method.label}", method.versus, method.p_holm
    if versus is None or p is None:
        return f"{name} has no {reference} run with the same settings to compare with, or more than one kind."
    pairs = [pair for row in versus.pairs for pair in row]
    ahead = sum(pair.only_first > pair.only_second for pair in pairs)
    numbers = (
        f"{points(versus.difference)} points ({span(versus.interval, points)}), p Holm {p_value(p)}, ahead in {ahead} "
        f"of {len(pairs)} pairs of runs (largest McNemar p {p_value(max(pair.p for pair in pairs))})."
    )
    if method.beats_reference:
        return f"{name} beats {reference}: {numbers}"
    if p < ALPHA and versus.interval.high < 0:
        return f"{name} is WORSE than {reference}: {numbers}"
    return f"{name} does NOT beat {reference}: {numbers}"
