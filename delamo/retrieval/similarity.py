"""Exact nearest rows by blocks: cosine similarity of a pool's vectors to a few queries, memory bounded at any pool size.

Legend of shapes: N rows of the pool, M queries, B rows of a block, K ranks that are kept, D width.

Products are taken in double precision and rounded to six digits: equal vectors tie wherever they stand in a block, and neither the number of
threads nor the processor changes an order. Ties break by row, which is by id.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from delamo.retrieval.rows import SampleVectors, unit

SCALE = 10**6
CELLS = 2**22  # numbers of a block held at a time, vectors or similarities
LOW = 2**32 - 1


class Near(NamedTuple):
    """A row and what brought it in."""

    row: int
    score: float
    query: int | None
    """Index of the query that it is nearest to, or whose turn it was; None for a mean over all."""


def nearest_rows(
    pool: SampleVectors, queries: np.ndarray, *, num_rows: int, aggregation: str, allowed: np.ndarray
) -> list[Near]:
    """At most `num_rows` distinct rows, best first.

    Args:
        pool: its rows are brought to length 1; a row of NaN is never near.
        queries: (M, D), as they are: of length 1 for cosines.
        aggregation: `max` or `mean` over the queries, or `round_robin`: the queries take turns, and each takes its nearest row that is
            left.
        allowed: (N,) bool.

    Raises:
        ValueError: another aggregation, or no query.
    """
    if aggregation not in ("max", "mean", "round_robin"):
        raise ValueError(f"selector.aggregation is {aggregation!r}: choose max, mean or round_robin")
    queries = np.asarray(queries, np.float64)
    if not len(queries):
        raise ValueError("there is no validation sample that the pool could be compared with")
    if aggregation == "round_robin":
        return _take_turns(pool, queries, num_rows, allowed.copy())
    owners = np.full(len(pool), -1, np.int32)
    best = np.empty(0, np.int64)
    for start, similarity in _similarities(pool, queries):  # (M, B)
        end = start + similarity.shape[1]
        owners[start:end] = similarity.argmax(axis=0)
        joined = similarity.max(axis=0) if aggregation == "max" else similarity.mean(axis=0)
        best = _largest(np.concatenate([best, _keys(joined[None], start, allowed[start:end])[0]]), num_rows)
    rows = _rows_of(best)
    whose = owners[rows].tolist() if aggregation == "max" else [None] * len(rows)
    return list(map(Near, rows.tolist(), _scores_of(best).tolist(), whose))


def _take_turns(pool: SampleVectors, queries: np.ndarray, num_rows: int, left: np.ndarray) -> list[Near]:
    """Round-robin. When a list is used up, all are made anew from the rows that are left, twice as deep, as far as memory allows.

    Equal queries share a list; alike ones use up each other's, which is why depth grows.
    """
    distinct, lists_of = np.unique(queries, axis=0, return_inverse=True)
    lists_of = lists_of.reshape(-1)  # (M,) index into `distinct`
    most = max(CELLS // len(distinct), 8)
    depth = min(2 * num_rows * int(np.bincount(lists_of).max()) // len(queries) + 8, most)
    taken: list[Near] = []
    while len(taken) < num_rows:
        lists = _top(pool, distinct, depth, left)
        rows, scores = _rows_of(lists), _scores_of(lists)
        before = len(taken)
        places = [0] * len(distinct)
        while len(taken) < num_rows:
            turn = len(taken) % len(queries)
            which = lists_of[turn]
            place = places[which]
            while place < lists.shape[1] and (lists[which, place] < 0 or not left[rows[which, place]]):
                place += 1
            places[which] = place
            if place == lists.shape[1]:
                break
            row = int(rows[which, place])
            left[row] = False
            taken.append(Near(row, float(scores[which, place]), turn))
        if len(taken) == before:
            break  # nothing is left
        depth = min(2 * depth, most)
    return taken


def _top(pool: SampleVectors, queries: np.ndarray, depth: int, allowed: np.ndarray) -> np.ndarray:
    """Keys (M, K <= depth) of each query's nearest rows, best first."""
    best = np.empty((len(queries), 0), np.int64)
    for start, similarity in _similarities(pool, queries):
        keys = _keys(similarity, start, allowed[start : start + similarity.shape[1]])
        best = _largest(np.concatenate([best, keys], axis=1), depth)
    return best


def _similarities(pool: SampleVectors, queries: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first row, (M, B) float64), NaN for rows of NaN."""
    for start, rows in pool.blocks(max(CELLS // max(queries.shape), 1)):
        yield start, queries @ unit(rows).T


def _keys(similarity: np.ndarray, start: int, allowed: np.ndarray) -> np.ndarray:
    """Similarity and row as one integer that sorts by the first, then by ascending row; -1 for what cannot be taken. (M, B) -> (M, B)."""
    usable = allowed & ~np.isnan(similarity)
    rounded = np.rint(np.where(usable, similarity, 0) * SCALE).astype(np.int64) + 2**30
    rows = LOW - np.arange(start, start + similarity.shape[1], dtype=np.int64)
    return np.where(usable, (rounded << 32) + rows, -1)


def _largest(keys: np.ndarray, k: int) -> np.ndarray:
    """The `k` largest keys of the last axis, descending; without -1 where there is one axis."""
    if keys.ndim == 1:
        keys = keys[keys >= 0]
    if keys.shape[-1] > k:
        keys = np.partition(keys, keys.shape[-1] - k, axis=-1)[..., keys.shape[-1] - k :]
    return -np.sort(-keys, axis=-1)


def _rows_of(keys: np.ndarray) -> np.ndarray:
    return LOW - (keys & LOW)


def _scores_of(keys: np.ndarray) -> np.ndarray:
    return ((keys >> 32) - 2**30) / SCALE
