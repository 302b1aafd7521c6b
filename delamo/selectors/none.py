"""The pretrained student: nothing is selected and nothing tuned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from delamo.data import Pool
from delamo.records import Selected
from delamo.selectors.base import Selector, SelectorConfig


@dataclass(slots=True, kw_only=True)
class NoneConfig(SelectorConfig):
    """No selection and no tuning: the pretrained student."""


def select(
    pool: Pool, inputs: Any, config: NoneConfig, *, num_samples: int, rng: np.random.Generator
) -> list[Selected]:
    """Choose no samples, whatever the budget, so that one sweep over selectors can hold this row too."""
    return []


SELECTOR = Selector(name="none", config=NoneConfig, select=select, tunes=False)
