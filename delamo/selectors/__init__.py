"""How training samples are chosen: one file for each method, all with one signature, found by the type of their config.

    select(pool, inputs, *, num_samples, rng, **fields of the schema) -> exactly num_samples distinct samples

A selector asks `inputs` for what it needs, so that nothing else is computed, and declares those names in `needs`: they, and
only they, are part of the selection's identity.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from delamo.config.registry import register
from delamo.config.selectors import (
    SELECTOR_SCHEMAS,
    Bm25TextConfig,
    ErrorDrivenConfig,
    FullDataConfig,
    InstaConfig,
    LessConfig,
    NoneConfig,
    RandomConfig,
    RdsConfig,
    SelectorConfig,
    SuperfilteringConfig,
    ValidationDataConfig,
)
from delamo.records import Sample, Selected, Skill
from delamo.selectors import (
    bm25_text,
    error_driven,
    full_data,
    insta,
    less,
    nearest,
    none,
    random,
    rds,
    superfiltering,
    validation_data,
)
from delamo.store import file_digest

if TYPE_CHECKING:
    from delamo.data import Pool
    from delamo.retrieval import Index
    from delamo.retrieval.rows import SampleVectors

OF_THE_POOL = ("index", "text_index", "embeddings", "hidden_states", "difficulty")
"""Inputs that are the same for every task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What earlier stages can give a selector. Each is a call, which runs its stage or finds it done."""

    missing_skills: Callable[[], Sequence[Skill]]
    """The skill that the teacher named for each error."""
    index: Callable[[], Index]
    """BM25 over the skills of the pool's samples."""
    validation: Callable[[], Sequence[Sample]]
    """The target task's validation samples."""
    text_index: Callable[[], Index]
    """BM25 over the pool's samples as they are worded."""
    embeddings: Callable[[], SampleVectors]
    """An encoder's vectors of the pool's questions."""
    validation_embeddings: Callable[[], SampleVectors]
    """Those of the validation samples' questions."""
    hidden_states: Callable[[], SampleVectors]
    """The student's own vectors of the pool's samples."""
    validation_hidden_states: Callable[[], SampleVectors]
    """Those of the validation samples."""
    difficulty: Callable[[], SampleVectors]
    """Two losses of each pool sample's answer; see `delamo.models.scorers.difficulty`."""
    gradients: Callable[[], SampleVectors]
    """Adam's directions by each pool sample; see `delamo.models.scorers.gradients`."""
    validation_gradients: Callable[[], SampleVectors]
    """Gradients of the validation samples with their gold answers."""


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
    version: int = 1
    """Raise it when the same inputs give another selection: this method selects anew, the others do not."""
    code: str | None = None
    """Digest of the file that the method stands in, where that is not part of the package: an edit selects anew."""

    @property
    def looks_at_the_task(self) -> bool:
        """Whether another task gives another selection."""
        return bool(self.own_pool) or not set(self.needs) <= set(OF_THE_POOL)


SELECTORS: dict[type[SelectorConfig], Selector] = {
    ErrorDrivenConfig: Selector(select=error_driven.select, needs=("missing_skills", "index")),
    RandomConfig: Selector(select=random.select),
    NoneConfig: Selector(select=none.select, tunes=False),
    FullDataConfig: Selector(select=full_data.select, takes_all=True),
    ValidationDataConfig: Selector(
        select=validation_data.select, takes_all=True, own_pool=validation_data.validation_pool
    ),
    Bm25TextConfig: Selector(select=bm25_text.select, needs=("validation", "text_index")),
    InstaConfig: Selector(select=insta.select, needs=("validation_embeddings", "embeddings"), version=nearest.VERSION),
    SuperfilteringConfig: Selector(select=superfiltering.select, needs=("difficulty",)),
    RdsConfig: Selector(
        select=rds.select, needs=("validation_hidden_states", "hidden_states"), version=nearest.VERSION
    ),
    LessConfig: Selector(
        select=less.select, needs=("validation", "validation_gradients", "gradients"), version=nearest.VERSION
    ),
}

SET_BY: dict[str, type[SelectorConfig]] = {
    "embeddings": InstaConfig,
    "validation_embeddings": InstaConfig,
    "hidden_states": RdsConfig,
    "validation_hidden_states": RdsConfig,
    "difficulty": SuperfilteringConfig,
    "gradients": LessConfig,
    "validation_gradients": LessConfig,
}
"""Inputs that follow from fields of the selector's own config, the encoder say: the schema that has them."""


def add_selector(
    name: str, schema: type[SelectorConfig], select: Callable[..., list[Selected]], *, needs: tuple[str, ...] = ()
) -> None:
    """Make a method of one's own known (docs/own_selector.md): its schema as `schema/selector/NAME`, its code by the schema's type.

    Args:
        name: as a YAML file's `defaults` names the schema.
        schema: of the fields that `select` takes as keyword arguments, `MISSING` all of them, as their values stand in the YAML file.
        select: see the module's docstring.
        needs: names of the `Inputs` that it calls.

    Raises:
        ValueError: a schema or an input that does not fit.
    """
    if not (dataclasses.is_dataclass(schema) and issubclass(schema, SelectorConfig)):
        raise ValueError(f"add_selector({name!r}): {schema} is no dataclass derived from SelectorConfig")
    unknown = set(needs) - {field.name for field in dataclasses.fields(Inputs)}
    if unknown:
        known = ", ".join(field.name for field in dataclasses.fields(Inputs))
        raise ValueError(f"add_selector({name!r}): there is no input {min(unknown)}, there are {known}")
    unset = [need for need in needs if not issubclass(schema, SET_BY.get(need, SelectorConfig))]
    if unset:
        of = SET_BY[unset[0]].__name__
        raise ValueError(
            f"add_selector({name!r}): {unset[0]} follow from fields of {of}, derive {schema.__name__} from it"
        )
    if f"selector/{name}" in SELECTOR_SCHEMAS:
        raise ValueError(f"add_selector({name!r}): the package has a selector of this name, choose another")
    SELECTORS[schema] = Selector(select=select, needs=needs, code=file_digest(Path(inspect.getfile(select))))
    register({f"selector/{name}": schema})


__all__ = ["SELECTORS", "Inputs", "Selector", "add_selector"]
