"""A teacher judges each step by itself; the first that it calls wrong is the mistake (Tyen et al. 2024; paper, Table 7)."""

from __future__ import annotations

from collections.abc import Sequence

from delamo.mistakes.cases import ErrorCase, cut, mistake, quarantined
from delamo.models import prompts
from delamo.models.teachers.base import OptionScores, Refusal, Teacher
from delamo.records import Mistake, Quarantined

YES, NO = 0, 1
"""The options of the question about a step, in the templates' order."""


def find(
    cases: Sequence[ErrorCase], teacher: Teacher, *, fallback: bool = True
) -> tuple[list[Mistake], list[Quarantined]]:
    """Find the mistake step of every case; in order.

    Args:
        fallback: where every step is called right take the one most in doubt and mark it (as `answer_switch` does).
    """
    good, bad = cut(cases)
    asked = [
        prompts.check_step(teacher.prompts, question=case.question, options=case.options, steps=steps)
        for case, steps in good
    ]
    found, refused = judged(good, teacher.option_probabilities(asked), fallback=fallback)
    return found, bad + refused


def judged(
    cases: Sequence[tuple[ErrorCase, tuple[str, ...]]], verdicts: Sequence[OptionScores | Refusal], *, fallback: bool
) -> tuple[list[Mistake], list[Quarantined]]:
    """A teacher's verdicts on every step of some cases as mistake steps; what it refused to judge is set aside."""
    found: list[Mistake] = []
    bad: list[Quarantined] = []
    for (case, steps), verdict in zip(cases, verdicts, strict=True):
        if isinstance(verdict, Refusal):
            bad.append(quarantined(case, verdict.reason, verdict.detail))
        else:
            step, fell_back = first_no(verdict, fallback=fallback)
            found.append(mistake(case, steps, step, fallback=fell_back))
    return found, bad


def first_no(scores: OptionScores, *, fallback: bool) -> tuple[int | None, bool]:
    """(first step for which `no` is likelier than `yes`, whether it is a fallback); the row before any step is no verdict."""
    doubts = [row[NO] - row[YES] for row in scores.probabilities[1:]]
    for step, doubt in enumerate(doubts):
        if doubt > 0:
            return step, False
    return (
        (max(range(len(doubts)), key=lambda step: (doubts[step], -step)), True)
        if fallback and doubts
        else (None, False)
    )
