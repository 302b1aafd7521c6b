"""LESS: pool samples whose training step would lower the loss on the validation samples most (Xia et al. 2024).

The influence of a pool sample on a validation sample is the cosine of two projected gradients of a LoRA adapter, the pool sample's as Adam would step,
summed over a warm-up's checkpoints (`delamo.models.scorers.gradients`). As in LESS's published code, it is averaged over the validation samples of a
subtask, and the best subtask counts (section 4.2); a sample's `source` is its subtask.
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


def select(pool: Pool, inputs: Inputs, *, num_samples: int, rng: np.random.Generator) -> list[Selected]:
    """The `num_samples` of the highest influence on any subtask of the target.

    Args:
        pool: to select from.
        inputs: `gradients`, `validation_gradients` and `validation` are called.
        num_samples: N.
        rng: draws samples that the student could not read, after all others; not touched otherwise.

    Raises:
        ValueError: N is below 1 or above the pool (before any stage runs).
    """
    require_budget(num_samples, pool)
    rows, names = validation_queries(inputs.validation_gradients())
    subtask = {sample.id: sample.source for sample in inputs.validation()}
    queries = subtask_means(rows, [subtask[name] for name in names])
    options = {"num_samples": num_samples, "aggregation": "max", "rng": rng}
    return select_nearest(pool, inputs.gradients(), queries, None, **options)


def subtask_means(rows: np.ndarray, subtasks: list[str]) -> np.ndarray:
    """(M, D) -> (number of subtasks, D), by name; not brought to length 1, so that the product with a row is its mean cosine."""
    labels = np.array(subtasks)
    return np.stack([rows[labels == name].mean(axis=0) for name in sorted(set(subtasks))]) if subtasks else rows
