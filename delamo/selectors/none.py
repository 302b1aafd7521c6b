"""The pretrained student: nothing is selected and nothing tuned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from delamo.records import Selected

if TYPE_CHECKING:
    from delamo.data import Pool
    from delamo.selectors import Inputs


def select(pool: Pool, inputs: Inputs, *, num_samples: int, rng: np.random.Generator) -> list[Selected]:
    """No samples, whatever the budget, so that one sweep over selectors can hold this row too."""
    return []
