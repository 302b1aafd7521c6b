"""Mistake identification by answer switch (paper, section 3.3).

The step from which the teacher follows the wrong answer.

The teacher answers the question without its picture, under a prior on the gold answer, after 0, 1, .. n steps of the
student's rationale. The mistake step is the first whose reading puts the wrong answer ahead by `delta`, for good.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from omegaconf import MISSING

from delamo.mistakes.base import ErrorCase, Finder, MistakesConfig, cut, quarantined
from delamo.models import prompts
from delamo.models.parsing import same_answer
from delamo.models.teachers.base import OptionScores, PrefixPrompt, Refusal, Teacher
from delamo.records import LETTERS, Mistake, Quarantined


class Window(Enum):
    """How many steps after the first must keep the margin: lambda, or lambda - 1 as printed in the paper."""

    inclusive = "inclusive"
    literal = "literal"


@dataclass(slots=True, kw_only=True)
class AnswerSwitchConfig(MistakesConfig):
    """The first step from which the teacher prefers the wrong answer and stays with it (paper, section 3.3)."""

    delta: float = MISSING
    """Probability by which the wrong answer must lead (paper: 0.2)."""
    persistence: int = MISSING
    """The paper's lambda: over how many further steps the lead must hold (12), cut at the last step."""
    window: Window = MISSING
    """`inclusive` checks steps i .. i + lambda; `literal` checks j = 0 .. lambda - 1 as printed, which is empty at
    lambda = 0 and then takes the first step whatever the probabilities."""
    prior: float = MISSING
    """Probability of the gold answer that the prompt states."""
    fallback: bool = MISSING
    """Whether, where no step qualifies, the one with the largest lead is taken and marked (the paper is silent)."""
    seed: int = MISSING
    """Decides which letter the gold answer gets in a two-option question made from an open one."""


@dataclass(frozen=True, slots=True)
class _Question:
    """A case as the teacher is asked it: options, the gold one, the wrong one (None where unparsed)."""

    options: tuple[str, ...]
    gold: int
    wrong: int | None


def find(
    cases: Sequence[ErrorCase], teacher: Teacher, config: AnswerSwitchConfig
) -> tuple[list[Mistake], list[Quarantined]]:
    """Find the mistake step of every case; in order."""
    good, bad = cut(cases)
    judged: list[tuple[ErrorCase, _Question, tuple[str, ...]]] = []
    requests: list[PrefixPrompt] = []
    for case, steps in good:
        question = _question(case, config.seed)
        if isinstance(question, Quarantined):
            bad.append(question)
            continue
        judged.append((case, question, steps))
        requests.append(
            prompts.mistake_step(
                teacher.prompts,
                question=case.question,
                options=question.options,
                gold=question.gold,
                prior=config.prior,
                steps=steps,
            )
        )
    mistakes: list[Mistake] = []
    for (case, question, steps), scores in zip(judged, teacher.option_probabilities(requests), strict=True):
        if isinstance(scores, Refusal):
            bad.append(quarantined(case, scores.reason, scores.detail))
        else:
            gaps = lead_of_wrong(scores, question.gold, question.wrong)
            step, fell_back = mistake_step(gaps, config.delta, config.persistence, config.window, config.fallback)
            mistakes.append(_mistake(case, question, steps, scores, step, fell_back))
    return mistakes, bad


def mistake_step(
    gaps: Sequence[float], delta: float, persistence: int, window: Window, fallback: bool
) -> tuple[int | None, bool]:
    """Find the mistake step from the leads P(wrong) - P(gold) after 0 .. n steps.

    Returns:
        (0-based step or None, whether it is a fallback).

    A step is blamed, never the bare question: where the wrong answer leads before any step, the first step is the
    earliest that can be found.
    """
    num_steps = len(gaps) - 1
    length = persistence + 1 if window is Window.inclusive else persistence
    for i in range(1, num_steps + 1):
        if all(gap >= delta for gap in gaps[i : min(i + length, num_steps + 1)]):
            return i - 1, False
    if not fallback or num_steps == 0:
        return None, False
    return max(range(num_steps), key=lambda step: (gaps[step + 1], -step)), True


def lead_of_wrong(scores: OptionScores, gold: int, wrong: int | None) -> list[float]:
    """Compute P(wrong) - P(gold) after 0 .

    N steps; for an unparsed answer the strongest other option is the wrong one.
    """
    leads = []
    for row in scores.probabilities:
        other = row[wrong] if wrong is not None else max(p for i, p in enumerate(row) if i != gold)
        leads.append(other - row[gold])
    return leads


def _question(case: ErrorCase, seed: int) -> _Question | Quarantined:
    if not case.options:
        return _two_options(case, seed)
    wrong = LETTERS.index(case.wrong) if case.wrong is not None else None
    return _Question(case.options, case.gold, wrong)


def _two_options(case: ErrorCase, seed: int) -> _Question | Quarantined:
    """An open question as gold answer against wrong answer (paper, footnote 3).

    The letters are drawn, so they tell nothing.
    """
    if case.wrong is None or same_answer(case.wrong, case.answer):
        detail = f"the student's answer is {case.wrong!r}, gold is {case.answer!r}: no second option"
        return quarantined(case, "open question without a wrong answer", detail)
    first = hashlib.sha256(f"{seed}\0{case.id}".encode()).digest()[0] % 2
    return _Question((case.wrong, case.answer) if first else (case.answer, case.wrong), first, 1 - first)


def _mistake(
    case: ErrorCase,
    question: _Question,
    steps: tuple[str, ...],
    scores: OptionScores,
    step: int | None,
    fell_back: bool,
) -> Mistake:
    return Mistake(
        id=case.id,
        question=case.question,
        options=question.options,
        gold=question.gold,
        wrong=question.wrong,
        steps=steps,
        probabilities=scores.probabilities,
        outside_mass=scores.outside_mass,
        step=step,
        fallback=fell_back,
        unparsed=case.unparsed,
    )


FINDER = Finder(name="answer_switch", config=AnswerSwitchConfig, find=find, templates=("mistake_step",))
