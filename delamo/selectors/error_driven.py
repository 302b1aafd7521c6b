"""The paper's method: samples that need the skills which the student's errors miss (section 3.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from delamo.records import Selected
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
    """BM25 with each error's missing skill as the query, the ranked lists merged to exactly `num_samples`.

    Args:
        pool: to select from.
        inputs: `missing_skills` and `index` are called.
        num_samples: N.
        rng: draws the fill, nothing else.
        merge: `round_robin` or `score`; see `delamo.retrieval.merge`. The paper says only "top-K".
        fill: `random` or `error`, where all the lists together hold fewer than N samples.

    Raises:
        ValueError: N is below 1 or above the pool (before any stage runs), or the lists run dry under `error`.

    """
    require_budget(num_samples, pool)
    skills, index = inputs.missing_skills(), inputs.index()
    options = {"num_samples": num_samples, "merge": merge, "fill": fill, "rng": rng}
    return merge_lists(skills, index, pool.ids(), excluded=getattr(pool, "removed", frozenset()), **options)
