"""BM25 on raw text: error-driven retrieval without errors, mistakes and skills, the control for all three.

The query is a validation sample's question, the document a pool sample's question and answer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from delamo.records import Selected, Skill
from delamo.retrieval.merge import merge_lists
from delamo.selectors.budget import require_budget

if TYPE_CHECKING:
    from delamo.data import Pool
    from delamo.selectors import Inputs


def select(
    pool: Pool,
    inputs: Inputs,
    *,
    num_samples: int,
    rng: np.random.Generator,
    merge: str = "round_robin",
    fill: str = "random",
) -> list[Selected]:
    """The ranked lists of all validation questions, merged to exactly `num_samples`.

    Args:
        pool: to select from.
        inputs: `validation` and `text_index` are called.
        num_samples: N.
        rng: draws the fill, nothing else.
        merge: `round_robin` or `score`; see `delamo.retrieval.merge`.
        fill: `random` or `error`, where all the lists together hold fewer than N samples.

    Raises:
        ValueError: N is below 1 or above the pool (before any stage runs), or the lists run dry under `error`.
    """
    require_budget(num_samples, pool)
    queries = [Skill(val_id=sample.id, skill=sample.instruction, step=None) for sample in inputs.validation()]
    options = {"num_samples": num_samples, "merge": merge, "fill": fill, "rng": rng}
    excluded = getattr(pool, "removed", frozenset())
    found = merge_lists(queries, inputs.text_index(), pool.ids(), excluded=excluded, **options)
    return [replace(row, skill=None) for row in found]  # a question names no skill
