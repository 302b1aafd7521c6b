"""One experiment, opened: the data is read, the models are not."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from delamo import data
from delamo.config.compose import as_dict
from delamo.data import Pool, PoolConfig, Task, TaskConfig
from delamo.data.identity import samples_digest
from delamo.experiment.config import ExperimentConfig
from delamo.experiment.models import Models
from delamo.selectors import SELECTORS, Selector
from delamo.store import Store, content_digest, digest_of

T = TypeVar("T")


@dataclass
class Experiment:
    """What the stages of one experiment share: config, data, models and store."""

    config: ExperimentConfig
    store: Store
    task: Task
    pool: Pool
    models: Models
    computed: set[str] = field(default_factory=set)
    """Digests of the results that this process computed."""

    @property
    def selector(self) -> Selector:
        """The selector, by the type of its config."""
        return SELECTORS[type(self.config.selector)]

    @property
    def student_digest(self) -> str:
        """Identity of the untuned student."""
        return self.models.student_digest

    @property
    def teacher_digest(self) -> str:
        """Identity of the teacher's model."""
        return self.models.teacher_digest

    @property
    def has_local_student(self) -> bool:
        """Whether the student answers in this process."""
        return self.models.holds_student

    @property
    def has_local_teacher(self) -> bool:
        """Whether the teacher is a model in this process."""
        return self.models.holds_teacher

    def teacher_identity(self, *templates: str) -> dict[str, Any]:
        """Return what decides a teacher's replies to some kinds of prompt: the model and the texts of the templates."""
        prompts = [self.models.prompt_digest(template) for template in templates]
        return {"teacher": self.teacher_digest, "prompts": prompts}

    @cached_property
    def samples_digests(self) -> dict[str, str]:
        """Identity of the `validation` and of the `test` samples."""

        def digests() -> dict[str, str]:
            return {"validation": samples_digest(self.task.validation), "test": samples_digest(self.task.test)}

        return _shared("samples", self.config.task, digests)

    def content_digest(self, file: Path) -> str:
        """Return the digest of a file that the config names. Raises FileNotFoundError where there is none."""
        return content_digest(file)

    @property
    def decoding_seed(self) -> int:
        """What the student's replies are drawn by. A greedy reply depends on no seed, so that all seeds share it."""
        return self.config.seeds.decoding if self.config.student.temperature > 0 else 0

    def label(self, *roles: str) -> str:
        """Join the names of some choices, for a folder that people can read."""
        return "-".join(getattr(self.config, role).name for role in roles)

    def selection_roles(self, *others: str) -> tuple[str, ...]:
        """Return the config groups that a selection depends on, for a label."""
        selector = self.selector
        task = ("task",) if selector.looks_at_the_task else ()
        return (*task, *others, "selector", *(() if selector.takes_all else ("budget",)))


def open_experiment(config: ExperimentConfig, models: Models | None = None) -> Experiment:
    """Read the task and the pool of an experiment.

    Args:
        config: of the experiment.
        models: what computes; made from the config unless given.

    Raises:
        ValueError: the budget is above the pool, so that nothing is answered or tuned for nothing.
    """
    task, pool = read_task(config.task), read_pool(config.pool)
    experiment = Experiment(config, Store(Path(config.paths.store)), task, pool, models or Models(config))
    check_budget(experiment)
    return experiment


def check_budget(experiment: Experiment) -> None:
    """Raise ValueError for a budget above the pool, where the selector goes by the budget."""
    from delamo.selectors.budget import require_budget

    if experiment.selector.tunes and not experiment.selector.takes_all:
        require_budget(experiment.config.budget.num_samples, experiment.pool)


def read_task(config: TaskConfig) -> Task:
    """Read the task; experiments inside `keep_data` share it."""
    return _shared("task", config, lambda: data.read_task(config))


def read_pool(config: PoolConfig) -> Pool:
    """Read the pool; experiments inside `keep_data` share it."""
    return _shared("pool", config, lambda: data.read_pool(config))


_kept: dict[str, OrderedDict[str, Any]] | None = None
_MOST_KEPT = {"task": 16, "samples": 64, "pool": 1}
"""Of each kind, the last ones are kept."""


@contextlib.contextmanager
def keep_data() -> Iterator[None]:
    """Let the experiments of this process that name the same data share it.

    A pool of a million samples takes minutes to read.
    """
    global _kept
    before, _kept = _kept, _kept or {kind: OrderedDict() for kind in _MOST_KEPT}
    try:
        yield
    finally:
        _kept = before


def _shared(kind: str, config: TaskConfig | PoolConfig, make: Callable[[], T]) -> T:
    if _kept is None:
        return make()
    values, key = _kept[kind], digest_of([type(config).__name__, as_dict(config)])
    if key not in values:
        values[key] = make()
    values.move_to_end(key)
    while len(values) > _MOST_KEPT[kind]:
        values.popitem(last=False)
    return values[key]
