"""A seeded subset of a split, the same whatever order the file is in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from delamo.data.quarantine import held_back
from delamo.records import Quarantined

T = TypeVar("T")


def take(rows: Mapping[str, T], count: int | None, seed: int, key: str, bad: Sequence[Quarantined] = ()) -> list[T]:
    """`count` of the rows, drawn without replacement from `seed`, in ascending id order; None takes them all.

    A smaller count with the same seed takes a subset of a larger one's, so that a short run's samples are in the long run
    too.

    Args:
        bad: the split's rows that cannot be used, which a message about too few tells of.

    Raises:
        ValueError: no row at all, or `count` is below 1 or above their number; `key` names the setting and the file.
    """
    ids = sorted(rows)
    if not ids:
        raise ValueError(f"{key}: nothing usable{held_back(bad)}")
    if count is None:
        return [rows[id] for id in ids]
    if not 1 <= count <= len(ids):
        raise ValueError(
            f"{key}: {count} asked for, {len(ids)} usable: choose 1 to {len(ids)}, or null for all{held_back(bad)}"
        )
    import numpy as np

    drawn = np.random.default_rng(seed).permutation(len(ids))[:count]
    return [rows[ids[index]] for index in sorted(drawn.tolist())]
