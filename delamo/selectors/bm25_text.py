"""BM25 on raw text: error-driven retrieval without errors, mistakes and skills, the control for all three.

The query is a validation sample's question, the document a pool sample's question and answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from omegaconf import MISSING

from delamo.data import Pool
from delamo.records import Selected, Skill
from delamo.retrieval.merge import Fill, Merge, merge_lists
from delamo.selectors.base import TEXT_INDEX, VALIDATION, Selector, SelectorConfig
from delamo.selectors.budget import require_budget


@dataclass(slots=True, kw_only=True)
class Bm25TextConfig(SelectorConfig):
    """BM25 on raw text, the question as the query: the control for skills."""

    merge: Merge = MISSING
    fill: Fill = MISSING


def select(
    pool: Pool, inputs: Any, config: Bm25TextConfig, *, num_samples: int, rng: np.random.Generator
) -> list[Selected]:
    """Merge the ranked lists of all validation questions to exactly N samples.

    Args:
        pool: to select from.
        inputs: `validation` and `text_index` are called.
        config: how the lists are merged.
        num_samples: N.
        rng: draws the fill, nothing else.

    Raises:
        ValueError: N is below 1 or above the pool (before any stage runs), or the lists run dry under `fill=error`.
    """
    require_budget(num_samples, pool)
    queries = [Skill(val_id=sample.id, skill=sample.instruction, step=None) for sample in inputs.validation()]
    selected = merge_lists(
        queries,
        inputs.text_index(),
        pool.ids(),
        excluded=pool.removed,
        num_samples=num_samples,
        merge=config.merge,
        fill=config.fill,
        rng=rng,
    )
    return [replace(row, skill=None) for row in selected]  # a question names no skill


SELECTOR = Selector(name="bm25_text", config=Bm25TextConfig, select=select, needs=(VALIDATION, TEXT_INDEX))
