"""What a selector declares, and the inputs that several of them share.

    select(pool, inputs, config, *, num_samples, rng) -> exactly num_samples distinct samples

A selector asks `inputs` for what it needs, so that nothing else is computed, and declares those inputs in `needs`:
they, and only they, are part of the selection's identity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from delamo.config.fields import not_in_identity
from delamo.records import Sample, Selected, Skill
from delamo.retrieval import RETRIEVERS
from delamo.stages.index import IndexText

if TYPE_CHECKING:
    from delamo.data import Pool
    from delamo.retrieval import Index
    from delamo.retrieval.rows import SampleVectors
    from delamo.stages.base import Experiment, Stage


@dataclass(slots=True, kw_only=True)
class SelectorConfig:
    """How the samples are chosen."""

    name: str = not_in_identity()


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """Something that a selector may ask for: one declaration, which selection, plan, report and costs go by."""

    name: str
    """As the selector calls it: `inputs.NAME()`."""
    per: Literal["pool", "task"]
    """`pool`: one result serves every task; `task`: it follows from the task's samples or from the student's
    answers."""
    read: Callable[[Experiment, Any], Any]
    """Returns the input from its stage, computing the stage if need be."""
    stage: Callable[[Experiment, Stage | None, Pool], Stage] | None = None
    """Makes the stage of an experiment, the adapter of the round before (None before the first) and the candidates.
    None where `delamo.pipeline` wires the stages, and where no stage is needed."""
    config: type[SelectorConfig] = SelectorConfig
    """The schema whose fields decide the input, such as the encoder: a selector that needs it derives its own from
    this."""
    pool_stages: tuple[str, ...] = ()
    """Names of the stages behind it that go over the pool, not over the task's samples: the report counts their cost
    apart."""

    @property
    def ranks_pool(self) -> bool:
        """Whether it gives each pool sample the numbers that a selector goes by; the report counts those without."""
        return self.read is read_vectors and self.name in self.pool_stages


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """One method: everything that selection, plan, report and costs need to know of it."""

    name: str
    """As it is called on the command line and in tables."""
    config: type[SelectorConfig]
    select: Callable[..., list[Selected]]
    needs: tuple[Input, ...] = ()
    """What `select` may call."""
    tunes: bool = True
    """False where the method selects nothing, whatever the budget, and the student stays as it is."""
    takes_all: bool = False
    """Whether everything that there is to choose from is chosen, so that neither the budget nor a seed changes it."""
    own_pool: Callable[[Sequence[Sample], str], Pool] | None = None
    """Makes what is chosen from out of the validation samples and the name of the student's prompt, where it is not the
    pool."""
    version: int = 1
    """Raise it when the same inputs give another selection: this method then selects anew, the others do not."""
    code: str | None = None
    """Digest of the file that the method stands in, where that is not part of the package: an edit selects anew."""

    @property
    def reads_validation(self) -> bool:
        """Whether the validation samples themselves, not only a result made from them, decide the selection."""
        return bool(self.own_pool) or VALIDATION in self.needs

    @property
    def looks_at_the_task(self) -> bool:
        """Whether another task gives another selection."""
        return bool(self.own_pool) or any(need.per == "task" for need in self.needs)

    @property
    def asks_teacher(self) -> bool:
        """Whether the method goes by skills, which the teacher names."""
        return MISSING_SKILLS in self.needs or SKILL_INDEX in self.needs

    @property
    def follows_budget(self) -> bool:
        """Whether another budget gives another result."""
        return self.tunes and not self.takes_all

    @property
    def ignores(self) -> tuple[str, ...]:
        """Config keys that do not change the result, groups with a dot behind them."""
        keys: list[str] = []
        if self.code is None:  # what the inputs of a plugin read is not known
            keys += [] if self.asks_teacher else ["teacher."]
            keys += [] if self.asks_teacher or TEXT_INDEX in self.needs else ["retriever."]
            keys += [] if MISSING_SKILLS in self.needs else ["mistakes.", "skills."]
        if not self.tunes:
            keys += ["task.num_val_samples", "tuning.", "iterations", "iterate_from"]
        keys += ["pool.", "audit."] if self.own_pool or not self.tunes else []
        keys += [] if self.follows_budget else ["budget."]
        return tuple(keys)


def read_vectors(experiment: Experiment, stage: Stage) -> SampleVectors:
    """Open the vectors that a stage wrote, computing them if need be."""
    from delamo.retrieval.rows import SampleVectors

    return SampleVectors.load(stage.result().path)


def read_index(experiment: Experiment, stage: Stage) -> Index:
    """Load the index that a stage built, building it if need be."""
    return RETRIEVERS[experiment.config.retriever.backend].load(stage.result().path / "index")


VALIDATION = Input(name="validation", per="task", read=lambda experiment, stage: experiment.task.validation)
"""The target task's validation samples."""
MISSING_SKILLS = Input(
    name="missing_skills", per="task", read=lambda experiment, stage: stage.result().rows(Skill, "skills")
)
"""The skill that the teacher named for each error."""
SKILL_INDEX = Input(name="index", per="pool", read=read_index, pool_stages=("pool_skills", "index"))
"""BM25 over the skills of the pool's samples."""
TEXT_INDEX = Input(
    name="text_index",
    per="pool",
    read=read_index,
    stage=lambda experiment, adapter, pool: IndexText(experiment),
    pool_stages=("text_index",),
)
"""BM25 over the pool's samples as they are worded."""
