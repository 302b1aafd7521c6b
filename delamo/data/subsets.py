"""A seeded subset of a split, the same whatever order the file is in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def take(rows: Mapping[str, T], count: int | None, seed: int, key: str) -> list[T]:
    """`count` of the rows, drawn without replacement from `seed`, in ascending id order; None takes them all.

    A smaller count with the same seed takes a subset of a larger one's, so that a short run's samples are in the long run
    too.

    Raises:
        ValueError: `count` is below 1 or above the number of rows; `key` names the setting and the file.
    """
    ids = sorted(rows)
    if count is None:
        return [rows[id] for id in ids]
    if not 1 <= count <= len(ids):
        raise ValueError(f"{key}: {count} asked for, {len(ids)} usable: choose 1 to {len(ids)}, or null for all")
    import numpy as np

    drawn = np.random.default_rng(seed).permutation(len(ids))[:count]
    return [rows[ids[index]] for index in sorted(drawn.tolist())]
