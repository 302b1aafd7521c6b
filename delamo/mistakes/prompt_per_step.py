"""A teacher judges each step by itself; the first that it calls wrong is the mistake.

Tyen et al. (2024); paper, Table 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omegaconf import MISSING

from delamo.mistakes.base import ErrorCase, Finder, MistakesConfig, cut, mistake, quarantined
from delamo.models import prompts
from delamo.models.teachers.base import OptionScores, Refusal, Teacher
from delamo.records import Mistake, Quarantined

YES, NO = 0, 1
"""The options of the question about a step, in the templates' order."""


@dataclass(slots=True, kw_only=True)
class PromptPerStepConfig(MistakesConfig):
    """The first step that the teacher calls wrong (Tyen et al. 2024; paper, Table 7)."""

    fallback: bool = MISSING
    """Whether, where every step is called right, the one most in doubt is taken and marked (as `answer_switch`
    does)."""


def find(
    cases: Sequence[ErrorCase], teacher: Teacher, config: PromptPerStepConfig
) -> tuple[list[Mistake], list[Quarantined]]:
    """Find the mistake step of every case; in order."""
    good, bad = cut(cases)
    requests = [
        prompts.check_step(teacher.prompts, question=case.question, options=case.options, steps=steps)
        for case, steps in good
    ]
    mistakes, refused = judged(good, teacher.option_probabilities(requests), fallback=config.fallback)
    return mistakes, bad + refused


def judged(
    cases: Sequence[tuple[ErrorCase, tuple[str, ...]]], verdicts: Sequence[OptionScores | Refusal], *, fallback: bool
) -> tuple[list[Mistake], list[Quarantined]]:
    """Read a teacher's verdicts on every step of some cases as mistake steps; what it refused to judge is set aside."""
    mistakes: list[Mistake] = []
    bad: list[Quarantined] = []
    for (case, steps), verdict in zip(cases, verdicts, strict=True):
        if isinstance(verdict, Refusal):
            bad.append(quarantined(case, verdict.reason, verdict.detail))
        else:
            step, fell_back = first_no(verdict, fallback=fallback)
            mistakes.append(mistake(case, steps, step, fallback=fell_back))
    return mistakes, bad


def first_no(scores: OptionScores, *, fallback: bool) -> tuple[int | None, bool]:
    """Return the first step for which `no` is likelier than `yes`, and whether it is a fallback.

    The probabilities before any step are no verdict.
    """
    doubts = [row[NO] - row[YES] for row in scores.probabilities[1:]]
    for step, doubt in enumerate(doubts):
        if doubt > 0:
            return step, False
    return (
        (max(range(len(doubts)), key=lambda step: (doubts[step], -step)), True)
        if fallback and doubts
        else (None, False)
    )


FINDER = Finder(name="prompt_per_step", config=PromptPerStepConfig, find=find, templates=("check_step",))
