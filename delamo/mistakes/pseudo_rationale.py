"""The teacher writes reference reasoning; the first step that departs from it is the mistake (paper, section 5, Table 7)."""

from __future__ import annotations

from collections.abc import Sequence

from delamo.mistakes.cases import ErrorCase, cut, quarantined
from delamo.mistakes.prompt_per_step import judged
from delamo.models import prompts
from delamo.models.teachers.base import Refusal, Teacher
from delamo.records import Mistake, Quarantined


def find(
    cases: Sequence[ErrorCase], teacher: Teacher, *, reference_max_new_tokens: int = 256, fallback: bool = True
) -> tuple[list[Mistake], list[Quarantined]]:
    """Find the mistake step of every case; in order.

    Args:
        reference_max_new_tokens: length of the reference, which the teacher writes from the question and the gold answer.
        fallback: where every step agrees take the one most in doubt and mark it.
    """
    good, bad = cut(cases)
    asked = [
        prompts.reference(teacher.prompts, question=case.question, options=case.options, answer=case.answer)
        for case, _ in good
    ]
    references = teacher.complete(asked, max_new_tokens=reference_max_new_tokens)
    compared, asked = [], []
    for (case, steps), reference in zip(good, references, strict=True):
        if isinstance(reference, Refusal):
            bad.append(quarantined(case, reference.reason, reference.detail))
        elif not reference.strip():
            bad.append(quarantined(case, "no reference", "the teacher wrote no reference rationale"))
        else:
            words = {"question": case.question, "options": case.options, "steps": steps, "reference": reference.strip()}
            compared.append((case, steps))
            asked.append(prompts.compare_step(teacher.prompts, **words))
    found, refused = judged(compared, teacher.option_probabilities(asked), fallback=fallback)
    return found, bad + refused
