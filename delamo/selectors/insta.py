"""INSTA*: pool samples whose questions are worded most like the validation samples' (Lee et al. 2024; paper, section 4.2).

The paper ranks samples "based on their SBERT similarity scores to the validation samples" and names neither the encoder nor the text nor how
many similarities become one. Here: any encoder, the question with its options, and the best of the similarities unless told otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from delamo.records import Selected
from delamo.selectors.budget import require_budget
from delamo.selectors.nearest import select_nearest, validation_queries

if TYPE_CHECKING:
    from delamo.data import Pool
    from delamo.selectors import Inputs


def select(
    pool: Pool, inputs: Inputs, *, num_samples: int, rng: np.random.Generator, aggregation: str = "max"
) -> list[Selected]:
    """The `num_samples` of the highest cosine similarity to the validation samples.

    Args:
        pool: to select from.
        inputs: `embeddings` and `validation_embeddings` are called.
        num_samples: N.
        rng: draws samples without a vector, after all others; not touched otherwise.
        aggregation: `max`, `mean` or `round_robin`; see `delamo.retrieval.similarity`.

    Raises:
        ValueError: N is below 1 or above the pool (before any stage runs).
    """
    require_budget(num_samples, pool)
    queries, names = validation_queries(inputs.validation_embeddings())
    options = {"num_samples": num_samples, "aggregation": aggregation, "rng": rng}
    return select_nearest(pool, inputs.embeddings(), queries, names, **options)
