"""RDS+: pool samples that the student itself represents most like the validation samples (Ivison et al. 2025).

Cosine similarity of the student's own hidden states over question and reply, later tokens counting more, the validation
samples taking turns.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from omegaconf import MISSING

from delamo.config.fields import input_field
from delamo.data import Pool
from delamo.records import Selected
from delamo.retrieval.similarity import Aggregation
from delamo.selectors.base import Input, Selector, SelectorConfig, read_vectors
from delamo.selectors.budget import require_budget
from delamo.selectors.nearest import VERSION, select_nearest, validation_queries
from delamo.stages.hidden_states import ReadPoolStates, ReadValidationStates


class Pooling(Enum):
    """How a sample's token vectors become one.

    Their mean, the last, or the mean with weights that grow with the position.
    """

    mean = "mean"
    last = "last"
    weighted = "weighted"


@dataclass(slots=True, kw_only=True)
class RdsConfig(SelectorConfig):
    """The student's own hidden states, pool sample to validation samples."""

    aggregation: Aggregation = MISSING
    layer: int = input_field()
    """0 is the embeddings, -1 the last layer after its norm."""
    pooling: Pooling = input_field()  # noqa: RUF009 -- the field function is ours, not dataclasses.field
    batch_size: int = input_field(identity=False)


HIDDEN_STATES = Input(
    name="hidden_states",
    per="pool",
    read=read_vectors,
    stage=lambda experiment, adapter, pool: ReadPoolStates(experiment, adapter),
    config=RdsConfig,
    pool_stages=("hidden_states",),
)
"""The student's own vectors of the pool's samples."""
VALIDATION_HIDDEN_STATES = Input(
    name="validation_hidden_states",
    per="task",
    read=read_vectors,
    stage=lambda experiment, adapter, pool: ReadValidationStates(experiment, adapter),
    config=RdsConfig,
)
"""The student's own vectors of the validation samples."""


def select(pool: Pool, inputs: Any, config: RdsConfig, *, num_samples: int, rng: np.random.Generator) -> list[Selected]:
    """Choose the N samples of the highest cosine similarity to the validation samples.

    Args:
        pool: to select from.
        inputs: `hidden_states` and `validation_hidden_states` are called.
        config: how similarities are aggregated; see `delamo.retrieval.similarity`.
        num_samples: N.
        rng: draws samples that the student could not read, after all others; not touched otherwise.

    Raises:
        ValueError: N is below 1 or above the pool (before any stage runs).
    """
    require_budget(num_samples, pool)
    queries, ids = validation_queries(inputs.validation_hidden_states())
    options = {"num_samples": num_samples, "aggregation": config.aggregation, "rng": rng}
    return select_nearest(pool, inputs.hidden_states(), queries, ids, **options)


SELECTOR = Selector(
    name="rds",
    config=RdsConfig,
    select=select,
    needs=(VALIDATION_HIDDEN_STATES, HIDDEN_STATES),
    version=VERSION,
)
