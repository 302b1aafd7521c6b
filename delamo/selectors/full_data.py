"""Everything there is to tune on: the reference of data-efficient selection (paper, Table 1, "Full Data")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from delamo.data import Pool
from delamo.records import Selected
from delamo.selectors.base import Selector, SelectorConfig


@dataclass(slots=True, kw_only=True)
class FullDataConfig(SelectorConfig):
    """The whole pool, whatever the budget."""


def select(
    pool: Pool, inputs: Any, config: SelectorConfig, *, num_samples: int, rng: np.random.Generator
) -> list[Selected]:
    """Choose every sample of the pool, in order of id. `num_samples` is the pool's size, whatever the budget says.

    Raises:
        ValueError: the pool is empty, or `num_samples` is not its size.
    """
    ids = pool.ids()
    if not ids or num_samples != len(ids):
        raise ValueError(f"the selector takes all {len(ids)} samples, not {num_samples}: it knows no budget")
    return [Selected(id=id, rank=rank, reason="all") for rank, id in enumerate(ids)]


SELECTOR = Selector(name="full_data", config=FullDataConfig, select=select, takes_all=True)
