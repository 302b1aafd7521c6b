"""Exact nearest neighbors by blocks: cosine similarity of a pool's vectors to a few queries, in bounded memory.

Legend of shapes: N rows of the pool, M queries, B rows of a block, K ranks that are kept, D width.

Products are taken in double precision and rounded to six digits: equal vectors tie wherever they stand in a block, and
neither the number of threads nor the processor changes an order. Ties break by row, which is by id.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

import numpy as np

from delamo.retrieval.rows import SampleVectors, unit

SCALE = 10**6
CELLS = 2**22  # numbers of a block held at a time, vectors or similarities
LOW = 2**32 - 1


class Aggregation(Enum):
    """How a pool sample's similarities to many queries become one."""

    max = "max"
    mean = "mean"
    round_robin = "round_robin"
    """The queries take turns, and each takes its nearest row that is left."""


class Near(NamedTuple):
    """A row and what brought it in."""

    row: int
    score: float
    query: int | None
    """Index of the query that it is nearest to, or whose turn it was; None for a mean over all."""


def nearest_rows(
    pool: SampleVectors, queries: np.ndarray, *, num_rows: int, aggregation: Aggregation, allowed: np.ndarray
) -> list[Near]:
    """Return at most `num_rows` distinct rows, best first.

    Args:
        pool: its rows are brought to length 1; a row of NaN is never near.
        queries: (M, D), as they are: of length 1 for cosines.
        num_rows: fewer are returned where fewer can be taken.
        aggregation: over the queries.
        allowed: (N,) bool.

    Raises:
        ValueError: no query.
    """
    queries = np.asarray(queries, np.float64)
    if not len(queries):
        raise ValueError("there is no validation sample that the pool could be compared with")
    if aggregation is Aggregation.round_robin:
        return _take_turns(pool, queries, num_rows, allowed.copy())
    by_max = aggregation is Aggregation.max
    owners = np.full(len(pool), -1, np.int32)
    best = np.empty(0, np.int64)
    for start, similarity in _similarities(pool, queries):  # (M, B)
        end = start + similarity.shape[1]
        owners[start:end] = similarity.argmax(axis=0)
        joined = similarity.max(axis=0) if by_max else similarity.mean(axis=0)
        best = _largest(np.concatenate([best, _keys(joined[None], start, allowed[start:end])[0]]), num_rows)
    rows = _rows_of(best)
    nearest_queries = owners[rows].tolist() if by_max else [None] * len(rows)
    return list(map(Near, rows.tolist(), _scores_of(best).tolist(), nearest_queries))


def _take_turns(pool: SampleVectors, queries: np.ndarray, num_rows: int, left: np.ndarray) -> list[Near]:
    """Let the queries take turns.

    When a list is used up, all are made anew from the rows that are left, twice as deep, as far as memory allows. Equal
    queries share a list; similar ones use up each other's, which is why the depth grows.
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
        ranks = [0] * len(distinct)
        while len(taken) < num_rows:
            turn = len(taken) % len(queries)
            query = lists_of[turn]
            rank = ranks[query]
            while rank < lists.shape[1] and (lists[query, rank] < 0 or not left[rows[query, rank]]):
                rank += 1
            ranks[query] = rank
            if rank == lists.shape[1]:
                break
            row = int(rows[query, rank])
            left[row] = False
            taken.append(Near(row, float(scores[query, rank]), turn))
        if len(taken) == before:
            break  # nothing is left
        depth = min(2 * depth, most)
    return taken


def _top(pool: SampleVectors, queries: np.ndarray, depth: int, allowed: np.ndarray) -> np.ndarray:
    """Return the keys (M, K <= depth) of each query's nearest rows, best first."""
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
    """Pack similarity and row into one integer that sorts by the first, then by ascending row. (M, B) -> (M, B).

    -1 stands for what cannot be taken.
    """
    usable = allowed & ~np.isnan(similarity)
    rounded = np.rint(np.where(usable, similarity, 0) * SCALE).astype(np.int64) + 2**30
    rows = LOW - np.arange(start, start + similarity.shape[1], dtype=np.int64)
    return np.where(usable, (rounded << 32) + rows, -1)


def _largest(keys: np.ndarray, k: int) -> np.ndarray:
    """Return the `k` largest keys of the last axis, descending; without -1 where there is one axis."""
    if keys.ndim == 1:
        keys = keys[keys >= 0]
    if keys.shape[-1] > k:
        keys = np.partition(keys, keys.shape[-1] - k, axis=-1)[..., keys.shape[-1] - k :]
    return -np.sort(-keys, axis=-1)


def _rows_of(keys: np.ndarray) -> np.ndarray:
    return LOW - (keys & LOW)


def _scores_of(keys: np.ndarray) -> np.ndarray:
    return ((keys >> 32) - 2**30) / SCALE
