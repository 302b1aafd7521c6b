"""LESS: pool samples whose training step would lower the loss on the validation samples most (Xia et al. 2024).

The influence of a pool sample on a validation sample is the cosine of two projected gradients of a LoRA adapter, the
pool sample's as Adam would step, summed over a warm-up's checkpoints (`delamo.models.scorers.gradients`). As in LESS's
published code, it is averaged over the validation samples of a subtask, and the best subtask counts (section 4.2); a
sample's `source` is its subtask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from delamo.config.fields import input_field
from delamo.data import Pool
from delamo.models.scorers.gradients import AdamFormula
from delamo.records import Selected
from delamo.retrieval.similarity import Aggregation
from delamo.selectors.base import VALIDATION, Input, Selector, SelectorConfig, read_vectors
from delamo.selectors.budget import require_budget
from delamo.selectors.nearest import VERSION, select_nearest, validation_queries
from delamo.stages.gradients import TakePoolGradients, TakeValidationGradients, WarmUp


@dataclass(slots=True, kw_only=True)
class LessConfig(SelectorConfig):
    """Gradients of a LoRA adapter, pool sample to validation samples."""

    warmup_share: float = input_field()
    """Part of the pool, drawn at random, that the warm-up tunes on."""
    warmup_epochs: int = input_field()
    lora_rank: int = input_field()
    lora_alpha: int = input_field()
    learning_rate: float = input_field()
    target_modules: str = input_field()
    """As in tuning: `language_model`, or a regular expression over module names."""
    projection_dim: int = input_field()
    adam_formula: AdamFormula = input_field()  # noqa: RUF009 -- makes a dataclasses.field
    """Of Adam's step by a pool sample."""
    seed: int = input_field()
    """Of the warm-up's draw and training and of the projection: the same for all experiments on a pool, whatever their
    seed."""
    batch_size: int = input_field(identity=False)
    """Samples of a forward and backward pass."""


GRADIENTS = Input(
    name="gradients",
    per="task",  # the audit may remove some of what the warm-up drew
    read=read_vectors,
    stage=lambda experiment, adapter, pool: TakePoolGradients(experiment, WarmUp(experiment, pool)),
    config=LessConfig,
    pool_stages=("warm_up", "gradients"),
)
"""Adam's directions by each pool sample."""
VALIDATION_GRADIENTS = Input(
    name="validation_gradients",
    per="task",
    read=read_vectors,
    stage=lambda experiment, adapter, pool: TakeValidationGradients(experiment, WarmUp(experiment, pool)),
    config=LessConfig,
)
"""Gradients by the validation samples with their gold answers."""


def select(
    pool: Pool, inputs: Any, config: LessConfig, *, num_samples: int, rng: np.random.Generator
) -> list[Selected]:
    """Choose the N samples of the highest influence on any subtask of the target.

    Args:
        pool: to select from.
        inputs: `gradients`, `validation_gradients` and `validation` are called.
        config: decides the inputs and nothing here.
        num_samples: N.
        rng: draws samples that the student could not read, after all others; not touched otherwise.

    Raises:
        ValueError: N is below 1 or above the pool (before any stage runs).
    """
    require_budget(num_samples, pool)
    rows, ids = validation_queries(inputs.validation_gradients())
    subtask = {sample.id: sample.source for sample in inputs.validation()}
    queries = subtask_means(rows, [subtask[id] for id in ids])
    options = {"num_samples": num_samples, "aggregation": Aggregation.max, "rng": rng}
    return select_nearest(pool, inputs.gradients(), queries, None, **options)


def subtask_means(rows: np.ndarray, subtasks: list[str]) -> np.ndarray:
    """Average gradients by subtask, in order of name.

    Not brought to length 1, so that a product with a row is its mean cosine.

    Args:
        rows: (M, D).
        subtasks: the name of each row's subtask.

    Returns:
        (number of subtasks, D).
    """
    labels = np.array(subtasks)
    return np.stack([rows[labels == name].mean(axis=0) for name in sorted(set(subtasks))]) if subtasks else rows


SELECTOR = Selector(
    name="less",
    config=LessConfig,
    select=select,
    needs=(VALIDATION, VALIDATION_GRADIENTS, GRADIENTS),
    version=VERSION,
)
