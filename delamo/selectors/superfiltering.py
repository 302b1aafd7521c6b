"""Superfiltering: pool samples whose instruction helps a small language model least, yet helps.

Li et al. (2024); paper, section 4.2. The highest instruction-following difficulty below 1; at 1 and above, the
instruction makes the answer less likely, and the two do not belong together. It looks at no task: one
selection serves all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from delamo.config.fields import input_field
from delamo.data import Pool
from delamo.records import Selected
from delamo.selectors.base import Input, Selector, SelectorConfig, read_vectors
from delamo.selectors.budget import require_budget
from delamo.selectors.nearest import allowed_rows, filled
from delamo.stages.difficulty import ScoreDifficulty, difficulties

OmegaConf.register_new_resolver(
    "scorer_of_pool", lambda pool: "package:micro_scorer" if pool == "micro" else "gpt2", replace=True
)


@dataclass(slots=True, kw_only=True)
class SuperfilteringConfig(SelectorConfig):
    """The highest instruction-following difficulty below 1, by a small language model."""

    scorer: str = input_field()
    """Any causal language model: a hub id, a folder, or `package:NAME`; GPT-2 as published, unless the pool is the
    embedded one."""
    revision: str | None = input_field()
    max_length: int = input_field()
    """Tokens of question and answer together; a longer sample is counted and not scored."""
    batch_tokens: int = input_field(identity=False)
    """Tokens, padding included, of a forward pass."""
    device: str = input_field(identity=False)


DIFFICULTY = Input(
    name="difficulty",
    per="pool",
    read=read_vectors,
    stage=lambda experiment, adapter, pool: ScoreDifficulty(experiment),
    config=SuperfilteringConfig,
    pool_stages=("difficulty",),
)
"""Two losses of each pool sample's answer."""


def select(
    pool: Pool, inputs: Any, config: SuperfilteringConfig, *, num_samples: int, rng: np.random.Generator
) -> list[Selected]:
    """Choose the N hardest samples, ties by id; `score` is the difficulty.

    Args:
        pool: to select from.
        inputs: `difficulty` is called.
        config: decides the input and nothing here.
        num_samples: N.
        rng: draws from the rest (reason `fill`) where fewer than N have a difficulty below 1; not touched otherwise.

    Raises:
        ValueError: N is below 1 or above the pool (before any stage runs).
    """
    require_budget(num_samples, pool)
    losses = inputs.difficulty()
    scores = difficulties(losses)
    usable = np.flatnonzero(allowed_rows(pool, losses) & (scores < 1))
    best = usable[np.argsort(-scores[usable], kind="stable")][:num_samples]
    chosen = zip(losses.ids.take(best), scores[best].tolist(), strict=True)
    selected = [Selected(id=id, rank=rank, score=score, reason="difficulty") for rank, (id, score) in enumerate(chosen)]
    return filled(selected, pool, num_samples, rng)


SELECTOR = Selector(name="superfiltering", config=SuperfilteringConfig, select=select, needs=(DIFFICULTY,))
