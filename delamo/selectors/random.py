"""The baseline: uniform without replacement (paper, Table 11: three seeds)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from delamo.records import Selected
from delamo.selectors.budget import require_budget

if TYPE_CHECKING:
    from delamo.data import Pool
    from delamo.selectors import Inputs


def select(pool: Pool, inputs: Inputs, *, num_samples: int, rng: np.random.Generator) -> list[Selected]:
    """`num_samples` of the pool, every set being equally likely. `inputs` is not used.

    Raises:
        ValueError: N is below 1 or above the pool.

    """
    require_budget(num_samples, pool)
    ids = pool.ids()
    drawn = rng.choice(len(ids), num_samples, replace=False).tolist()
    return [Selected(id=ids[place], rank=rank, reason="random") for rank, place in enumerate(drawn)]
