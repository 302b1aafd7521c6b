"""Circular evaluation: an item is right only if it is right in every rotation of its options."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from delamo.data.rotations import original
from delamo.records import ItemScore, Quarantined


def circular_items(
    rows: Sequence[ItemScore], num_rotations: dict[str, int]
) -> tuple[list[ItemScore], list[Quarantined]]:
    """Join the rotations of each item, in the order of the rows.

    A score has the reply, prediction and gold letter of the question as first asked, and `correct` over all rotations:
    None where the question as first asked is unparsed, False where any rotation is wrong or unparsed.

    Args:
        rows: one for each rotation that was answered.
        num_rotations: of each item, the question as first asked among them.

    Returns:
        (one score for each item, items of which only some rotations could be asked).
    """
    groups: dict[str, list[ItemScore]] = defaultdict(list)
    for row in rows:
        groups[original(row.id)].append(row)
    items, bad = [], []
    for id, group in groups.items():
        first = next((row for row in group if row.id == id), None)
        if first is None or len(group) != num_rotations[id]:
            detail = f"{len(group)} of {num_rotations[id]} rotations were answered"
            bad.append(Quarantined(id=id, stage="evaluation", reason="rotation missing", detail=detail))
        else:
            right = all(row.correct is True for row in group)
            items.append(replace(first, correct=None if first.correct is None else right))
    return items, bad


def vanilla_accuracy(rows: Sequence[ItemScore], items: Sequence[ItemScore]) -> float:
    """Return the share of the items that are right as first asked."""
    counted = {item.id for item in items}
    return sum(row.correct is True for row in rows if row.id in counted) / len(counted)
