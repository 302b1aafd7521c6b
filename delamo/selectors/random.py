"""The baseline: uniform without replacement (paper, Table 11: three seeds)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from delamo.data import Pool
from delamo.records import Selected
from delamo.selectors.base import Selector, SelectorConfig
from delamo.selectors.budget import require_budget


@dataclass(slots=True, kw_only=True)
class RandomConfig(SelectorConfig):
    """Uniform without replacement."""


def select(
    pool: Pool, inputs: Any, config: RandomConfig, *, num_samples: int, rng: np.random.Generator
) -> list[Selected]:
    """Choose N samples of the pool, every set being equally likely.

    Raises:
        ValueError: N is below 1 or above the pool.
    """
    require_budget(num_samples, pool)
    ids = pool.ids()
    rows = rng.choice(len(ids), num_samples, replace=False).tolist()
    return [Selected(id=ids[row], rank=rank, reason="random") for rank, row in enumerate(rows)]


SELECTOR = Selector(name="random", config=RandomConfig, select=select)
