"""Agreement on the same errors: mistake steps with gold ones, and the skills that two teachers name."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from delamo.metrics.statistics import mean

REACH = 3
"""Steps before the predicted one in which the gold step counts as recalled (paper, section 5, Recall@3)."""


def step_agreement(predicted: Mapping[str, int | None], gold: Mapping[str, int | None]) -> dict[str, float] | None:
    """Compute accuracy and Recall@3 of mistake steps (paper, Table 7), over the errors whose gold step is known.

    Recall@3: the gold step is the predicted one, or one of the three before it. An error in which the method found no
    step is a miss: left out, a method that names one step and no other would be right every time.

    Args:
        predicted: 0-based steps by error; None where the method singled no step out.
        gold: 0-based steps by error; None where no step is wrong.

    Returns:
        `accuracy`, `recall_at_3`, `found`, the share of errors with a predicted step, and `n`, the errors that count;
        None where there is none.
    """
    both = [(step, gold[id]) for id, step in predicted.items() if gold.get(id) is not None]
    if not both:
        return None
    return {
        "accuracy": mean([step == right for step, right in both]),
        "recall_at_3": mean([step is not None and step - REACH <= right <= step for step, right in both]),
        "found": mean([step is not None for step, _ in both]),
        "n": len(both),
    }


def skill_overlap(
    first: Mapping[str, AbstractSet[str]], second: Mapping[str, AbstractSet[str]]
) -> dict[str, float] | None:
    """Compute how alike the skills are that two teachers named for the same errors; None for no error in common.

    Args:
        first: error -> the words of the skill that a teacher named.
        second: error -> the words of the skill that the other teacher named.

    Returns:
        `same`: share of errors whose skills have the same set of words; `overlap`: mean share of words in common
        (Dice coefficient); `n`: errors.
    """
    common = sorted(first.keys() & second.keys())
    if not common:
        return None
    shares = [_dice(first[id], second[id]) for id in common]
    return {"same": sum(share == 1 for share in shares) / len(shares), "overlap": mean(shares), "n": len(shares)}


def _dice(first: AbstractSet[str], second: AbstractSet[str]) -> float:
    return 2 * len(first & second) / (len(first) + len(second)) if first or second else 1.0
