"""The paper's method: samples that need the skills which the student's errors miss (section 3.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from omegaconf import MISSING

from delamo.data import Pool
from delamo.records import Selected
from delamo.retrieval.merge import Fill, Merge, merge_lists
from delamo.selectors.base import MISSING_SKILLS, SKILL_INDEX, Selector, SelectorConfig
from delamo.selectors.budget import require_budget


@dataclass(slots=True, kw_only=True)
class ErrorDrivenConfig(SelectorConfig):
    """The paper's method: retrieval by the skills that the errors miss."""

    merge: Merge = MISSING
    """How the errors' ranked lists become one selection; the paper says only "top-K"."""
    fill: Fill = MISSING
    """What happens where all the lists together hold fewer than N samples."""


def select(
    pool: Pool, inputs: Any, config: ErrorDrivenConfig, *, num_samples: int, rng: np.random.Generator
) -> list[Selected]:
    """Retrieve with each error's missing skill as the query, and merge the ranked lists to exactly N samples.

    Args:
        pool: to select from.
        inputs: `missing_skills` and `index` are called.
        config: how the lists are merged.
        num_samples: N.
        rng: draws the fill, nothing else.

    Raises:
        ValueError: N is below 1 or above the pool (before any stage runs), or the lists run dry under `fill=error`.
    """
    require_budget(num_samples, pool)
    return merge_lists(
        inputs.missing_skills(),
        inputs.index(),
        pool.ids(),
        excluded=pool.removed,
        num_samples=num_samples,
        merge=config.merge,
        fill=config.fill,
        rng=rng,
    )


SELECTOR = Selector(name="error_driven", config=ErrorDrivenConfig, select=select, needs=(MISSING_SKILLS, SKILL_INDEX))
