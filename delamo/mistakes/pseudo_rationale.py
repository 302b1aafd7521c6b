"""The teacher writes reference reasoning.

The first step that departs from it is the mistake (paper, section 5, Table 7).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omegaconf import MISSING

from delamo.mistakes.base import ErrorCase, Finder, MistakesConfig, cut, quarantined
from delamo.mistakes.prompt_per_step import judged
from delamo.models import prompts
from delamo.models.teachers.base import Refusal, Teacher
from delamo.records import Mistake, Quarantined


@dataclass(slots=True, kw_only=True)
class PseudoRationaleConfig(MistakesConfig):
    """The first step that departs from a reference rationale of the teacher's own (paper, Table 7)."""

    reference_max_new_tokens: int = MISSING
    """Length of the reference, which the teacher writes from the question and the gold answer."""
    fallback: bool = MISSING
    """Whether, where every step agrees, the one most in doubt is taken and marked."""


def find(
    cases: Sequence[ErrorCase], teacher: Teacher, config: PseudoRationaleConfig
) -> tuple[list[Mistake], list[Quarantined]]:
    """Find the mistake step of every case; in order."""
    good, bad = cut(cases)
    requests = [
        prompts.reference(teacher.prompts, question=case.question, options=case.options, answer=case.answer)
        for case, _ in good
    ]
    references = teacher.complete(requests, max_new_tokens=config.reference_max_new_tokens)
    compared, comparisons = [], []
    for (case, steps), reference in zip(good, references, strict=True):
        if isinstance(reference, Refusal):
            bad.append(quarantined(case, reference.reason, reference.detail))
        elif not reference.strip():
            bad.append(quarantined(case, "no reference", "the teacher wrote no reference rationale"))
        else:
            words = {"question": case.question, "options": case.options, "steps": steps, "reference": reference.strip()}
            compared.append((case, steps))
            comparisons.append(prompts.compare_step(teacher.prompts, **words))
    mistakes, refused = judged(compared, teacher.option_probabilities(comparisons), fallback=config.fallback)
    return mistakes, bad + refused


FINDER = Finder(
    name="pseudo_rationale", config=PseudoRationaleConfig, find=find, templates=("reference", "compare_step")
)
