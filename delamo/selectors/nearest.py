"""Selection by vectors: the pool samples nearest to the validation samples, as a selection of exactly N."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from delamo.data import Pool
from delamo.records import FILL, Selected
from delamo.retrieval.rows import SampleVectors, unit
from delamo.retrieval.similarity import Aggregation, nearest_rows

VERSION = 2  # products in double precision


def select_nearest(
    pool: Pool,
    vectors: SampleVectors,
    queries: np.ndarray,
    names: Sequence[str] | None,
    *,
    num_samples: int,
    aggregation: Aggregation,
    rng: np.random.Generator,
) -> list[Selected]:
    """Choose exactly N samples, nearest first; samples without a vector come last, drawn at random (reason `fill`).

    Args:
        pool: to select from.
        vectors: of the whole pool, removed samples included.
        queries: (M, D).
        names: the validation sample of each query; None where a query is made of several.
        num_samples: N.
        aggregation: see `nearest_rows`.
        rng: draws the fill.
    """
    allowed = allowed_rows(pool, vectors)
    near = nearest_rows(vectors, queries, num_rows=num_samples, aggregation=aggregation, allowed=allowed)
    ids = vectors.ids.take(np.array([neighbor.row for neighbor in near], np.int64))
    selected = [
        Selected(
            id=id,
            rank=rank,
            score=round(neighbor.score, 6),
            val_id=names[neighbor.query] if names and neighbor.query is not None else None,
            reason="nearest",
        )
        for rank, (id, neighbor) in enumerate(zip(ids, near, strict=True))
    ]
    return filled(selected, pool, num_samples, rng)


def validation_queries(vectors: SampleVectors) -> tuple[np.ndarray, list[str]]:
    """Return the vectors of the validation samples that have one.

    Of length 1 and shape (M, D), and the ids of those samples.
    """
    rows = unit(vectors.values)
    usable = np.flatnonzero(~np.isnan(rows).any(axis=1))
    return rows[usable], vectors.ids.take(usable)


def allowed_rows(pool: Pool, vectors: SampleVectors) -> np.ndarray:
    """Mark the rows of `vectors` whose samples the pool still holds: (N,) bool.

    Raises:
        ValueError: the rows are those of another pool.
    """
    removed = pool.removed
    if len(vectors) != len(pool) + len(removed):
        raise ValueError(
            f"the store has vectors of {len(vectors)} samples, the pool has {len(pool)} and {len(removed)} removed: "
            "compute them for this pool"
        )
    ids = vectors.ids.take(np.arange(len(vectors))) if removed else ()
    return ~np.fromiter((id in removed for id in ids), bool, len(vectors)) if removed else np.ones(len(vectors), bool)


def filled(selected: list[Selected], pool: Pool, num_samples: int, rng: np.random.Generator) -> list[Selected]:
    """Fill the selection up to N samples by a random draw from the rest of the pool (reason `fill`)."""
    missing = num_samples - len(selected)
    if not missing:
        return selected
    taken = {row.id for row in selected}
    rest = [id for id in pool.ids() if id not in taken]
    rows = rng.choice(len(rest), missing, replace=False).tolist()
    return selected + [Selected(id=rest[row], rank=rank, reason=FILL) for rank, row in enumerate(rows, len(selected))]
