"""Superfiltering: pool samples whose instruction helps a small language model least, yet helps (Li et al. 2024; paper, section 4.2).

The highest instruction-following difficulty below 1; at 1 and above, the instruction makes the answer less likely, and the two do not
belong together. It looks at no task: one selection serves all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from delamo.records import Selected
from delamo.selectors.budget import require_budget
from delamo.selectors.nearest import allowed_rows, filled

if TYPE_CHECKING:
    from delamo.data import Pool
    from delamo.retrieval.rows import SampleVectors
    from delamo.selectors import Inputs


def select(pool: Pool, inputs: Inputs, *, num_samples: int, rng: np.random.Generator) -> list[Selected]:
    """The `num_samples` hardest, ties by id; `score` is the difficulty.

    Args:
        pool: to select from.
        inputs: `difficulty` is called.
        num_samples: N.
        rng: draws from the rest (reason `fill`) where fewer than N have a difficulty below 1; not touched otherwise.

    Raises:
        ValueError: N is below 1 or above the pool (before any stage runs).
    """
    require_budget(num_samples, pool)
    losses = inputs.difficulty()
    scores = difficulties(losses)
    usable = np.flatnonzero(allowed_rows(pool, losses) & (scores < 1))
    best = usable[np.argsort(-scores[usable], kind="stable")][:num_samples]
    chosen = zip(losses.ids.take(best), scores[best].tolist(), strict=True)
    selected = [Selected(id=id, rank=rank, score=score, reason="difficulty") for rank, (id, score) in enumerate(chosen)]
    return filled(selected, pool, num_samples, rng)


def difficulties(losses: SampleVectors) -> np.ndarray:
    """(num_samples,) to six digits, so that the size of a batch decides no rank; NaN for what could not be scored."""
    from delamo.models.scorers.difficulty import ifd

    return np.round(ifd(np.asarray(losses.values)), 6)
