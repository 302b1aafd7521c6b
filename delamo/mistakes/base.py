"""A wrong answer as the finders see it, what a finder declares, and what every finder does alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from omegaconf import MISSING

from delamo.config.fields import not_in_identity
from delamo.mistakes.steps import split_steps
from delamo.records import LETTERS, Mistake, Quarantined

STAGE = "mistakes"


@dataclass(slots=True, kw_only=True)
class MistakesConfig:
    """How the mistake step is found."""

    name: str = not_in_identity()
    include_unparsed: bool = MISSING
    """Whether samples whose answer could not be read count as errors (flagged)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finder:
    """One method: everything that the stage needs to know of it."""

    name: str
    config: type[MistakesConfig]
    find: Callable[..., tuple[list[Mistake], list[Quarantined]]]
    """find(cases, teacher, config) -> (mistakes in order, cases set aside)."""
    templates: tuple[str, ...] = ()
    """Prompts that it asks the teacher with; a method without any never loads one."""
    files: tuple[str, ...] = ()
    """Fields of its config that name a file; the content is part of the result's identity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCase:
    """A validation sample that the student answered wrongly, or unreadably."""

    id: str
    question: str
    options: tuple[str, ...]
    """Empty when the question is not multiple-choice."""
    gold: int | None
    answer: str
    """The text of the gold answer."""
    wrong: str | None
    """The student's answer: a letter, or a text where there are no options; None if unparsed."""
    rationale: str
    unparsed: bool = False


def cut(cases: Sequence[ErrorCase]) -> tuple[list[tuple[ErrorCase, tuple[str, ...]]], list[Quarantined]]:
    """Split the rationales into steps.

    Returns:
        ((case, its steps) for every case that can be judged, the others with their reason).
    """
    good, bad = [], []
    for case in cases:
        if not case.rationale.strip():
            bad.append(quarantined(case, "empty rationale", "no step to judge"))
        elif case.options and (case.gold is None or not 0 <= case.gold < len(case.options)):
            detail = f"gold is {case.gold!r}, there are {len(case.options)} options"
            bad.append(quarantined(case, "gold not among options", detail))
        else:
            good.append((case, split_steps(case.rationale)))
    return good, bad


def each_step(
    cases: Sequence[ErrorCase], choose: Callable[[ErrorCase, tuple[str, ...]], int | Quarantined | None]
) -> tuple[list[Mistake], list[Quarantined]]:
    """Find mistakes by looking at one case at a time.

    Args:
        cases: the wrong answers.
        choose: (case, its steps) -> the 0-based mistake step, None, or the case set aside.
    """
    good, bad = cut(cases)
    mistakes: list[Mistake] = []
    for case, steps in good:
        step = choose(case, steps)
        if isinstance(step, Quarantined):
            bad.append(step)
        else:
            mistakes.append(mistake(case, steps, step))
    return mistakes, bad


def mistake(case: ErrorCase, steps: tuple[str, ...], step: int | None, *, fallback: bool = False) -> Mistake:
    """Record a mistake step without option probabilities.

    An open question counts as one with its gold answer as the only option.
    """
    wrong = LETTERS.index(case.wrong) if case.options and case.wrong is not None else None
    return Mistake(
        id=case.id,
        question=case.question,
        options=case.options or (case.answer,),
        gold=case.gold if case.options and case.gold is not None else 0,
        wrong=wrong,
        steps=steps,
        probabilities=(),
        outside_mass=(),
        step=step,
        fallback=fallback,
        unparsed=case.unparsed,
    )


def quarantined(case: ErrorCase, reason: str, detail: str) -> Quarantined:
    """Set a case aside."""
    return Quarantined(id=case.id, stage=STAGE, reason=reason, detail=detail)
