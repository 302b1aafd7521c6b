"""RDS+: pool samples that the student itself sees as most like the validation samples (Ivison et al. 2025).

Cosine similarity of the student's own hidden states over question and reply, later tokens counting more, the validation samples taking turns.
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
    pool: Pool, inputs: Inputs, *, num_samples: int, rng: np.random.Generator, aggregation: str = "round_robin"
) -> list[Selected]:
    """The `num_samples` nearest to the validation samples.

    Args:
        pool: to select from.
        inputs: `hidden_states` and `validation_hidden_states` are called.
        num_samples: N.
        rng: draws samples that the student could not read, after all others; not touched otherwise.
        aggregation: `max`, `mean` or `round_robin`; see `delamo.retrieval.similarity`.

    Raises:
        ValueError: N is below 1 or above the pool (before any stage runs).
    """
    require_budget(num_samples, pool)
    queries, names = validation_queries(inputs.validation_hidden_states())
    options = {"num_samples": num_samples, "aggregation": aggregation, "rng": rng}
    return select_nearest(pool, inputs.hidden_states(), queries, names, **options)
