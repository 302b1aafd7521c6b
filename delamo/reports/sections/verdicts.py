"""Does a method beat the reference? One sentence for each comparison."""

from __future__ import annotations

from collections import Counter

from delamo.metrics.comparison import Verdict
from delamo.reports.comparison import Budget, Method, Target
from delamo.reports.render.formats import Block, Lines
from delamo.reports.render.numbers import not_judged, p_value, points, span
from delamo.reports.sections.definitions import reference_name

WORDS = {Verdict.BEATS: "beats", Verdict.WORSE: "is WORSE than", Verdict.OPEN: "does NOT beat"}


def verdicts(budget: Budget) -> list[str]:
    """Judge each method on each target against the reference, in one sentence each."""
    name = reference_name(budget.reference)
    return [_verdict(name, target, m) for target in budget.targets for m in target.methods if m.is_judged]


def verdict_blocks(budget: Budget) -> list[Block]:
    """Build the list of verdicts, under a line that counts them."""
    lines = verdicts(budget)
    if not lines:
        return []
    counts = Counter(m.verdict for target in budget.targets for m in target.methods if m.is_judged and m.versus)
    if not counts:
        return [Lines(lines, bullets=True)]
    name = reference_name(budget.reference)
    return [Lines([f"Against {name}: {_counted(counts)}."]), Lines(lines, bullets=True)]


def _counted(counts: Counter[Verdict | None]) -> str:
    total, unjudged = counts.total(), counts[Verdict.NOT_JUDGED]
    if unjudged == total:
        return f"{Verdict.NOT_JUDGED} in {total} of {total} comparisons"
    others = [f"{counts[kind]} {kind}" for kind in (Verdict.WORSE, Verdict.OPEN, Verdict.NOT_JUDGED) if counts[kind]]
    return ", ".join([f"it is beaten in {counts[Verdict.BEATS]} of {total} comparisons", *others])


def _verdict(reference: str, target: Target, method: Method) -> str:
    name, versus = f"{target.task}: {method.label}", method.versus
    if versus is None:
        return f"{name} has no {reference} run with the same settings to compare with, or more than one kind."
    difference = f"{points(versus.difference)} points"
    if versus.inference is None or method.verdict is Verdict.NOT_JUDGED:
        return f"{name} minus {reference}: {difference}; {not_judged(versus)}."
    inference = versus.inference
    borrowed = ", a single run taken to vary as the other methods' do" if inference.borrowed else ""
    numbers = f"{difference} ({span(inference.interval, points)}), p Holm {p_value(method.p_holm)}{borrowed}."
    return f"{name} {WORDS[method.verdict]} {reference}: {numbers}"
