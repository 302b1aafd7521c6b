"""How training samples are chosen: one file for each method, all with one signature, found by the type of their config.

    select(pool, inputs, *, num_samples, rng, **fields of the schema) -> exactly num_samples distinct samples

A selector asks `inputs` for what it needs, so that nothing else is computed, and declares those names in `needs`: they, and
only they, are part of the selection's identity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from delamo.records import Sample, Selected, Skill
from delamo.selector_config import (
    ErrorDrivenConfig,
    FullDataConfig,
    NoneConfig,
    RandomConfig,
    SelectorConfig,
    ValidationDataConfig,
)
from delamo.selectors import error_driven, full_data, none, random, validation_data

if TYPE_CHECKING:
    from delamo.data import Pool
    from delamo.retrieval import Index


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What earlier stages can give a selector. Each is a call, which runs its stage or finds it done."""

    missing_skills: Callable[[], Sequence[Skill]]
    """The skill that the teacher named for each error."""
    index: Callable[[], Index]
    """BM25 over the skills of the pool's samples."""
    validation: Callable[[], Sequence[Sample]]
    """The target task's validation samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """One method."""

    select: Callable[..., list[Selected]]
    needs: tuple[str, ...] = ()
    """Names of the `Inputs` that `select` may call."""
    tunes: bool = True
    """False where the method selects nothing, whatever the budget, and the student stays as it is."""
    takes_all: bool = False
    """Everything that there is to choose from is chosen: neither the budget nor a seed changes it."""
    own_pool: Callable[[Sequence[Sample], str], Pool] | None = None
    """Makes of the validation samples and the name of the student's prompt what is chosen from, where it is not the pool."""


SELECTORS: dict[type[SelectorConfig], Selector] = {
    ErrorDrivenConfig: Selector(select=error_driven.select, needs=("missing_skills", "index")),
    RandomConfig: Selector(select=random.select),
    NoneConfig: Selector(select=none.select, tunes=False),
    FullDataConfig: Selector(select=full_data.select, takes_all=True),
    ValidationDataConfig: Selector(
        select=validation_data.select, takes_all=True, own_pool=validation_data.validation_pool
    ),
}

__all__ = ["SELECTORS", "Inputs", "Selector"]
