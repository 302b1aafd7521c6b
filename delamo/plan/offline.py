"""Open an experiment without computing anything.

Data that is there is read, what is not there is known by its config.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from delamo.config.compose import identity_of
from delamo.data import Pool, PoolConfig, Task, TaskConfig
from delamo.experiment.config import ExperimentConfig
from delamo.experiment.experiment import Experiment, check_budget, read_pool, read_task
from delamo.experiment.models import Models
from delamo.pipeline import find_candidates, plan_audit, plan_experiment
from delamo.plan.assumptions import Assumptions
from delamo.records import Quarantined, Sample
from delamo.stages.audit import AuditPool
from delamo.stages.plan import Plan
from delamo.store import Store, digest_of

MISSING_DATA = (FileNotFoundError, NotADirectoryError, ImportError)


@dataclass(frozen=True, slots=True)
class UnreadPool:
    """Stands for samples that are not here.

    An identity that follows from the config, and a size, 0 where it is not known.
    """

    name: str
    digest: str
    size: int
    quarantined: Sequence[Quarantined] = ()
    removed: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Sample]:
        return iter(())

    def get(self, id: str) -> Sample:
        """Raises KeyError: nothing was read."""
        raise KeyError(f"{id!r}: pool {self.name} was not read")

    def ids(self) -> Sequence[str]:
        """None, of however many there are."""
        return ()


@dataclass
class OfflineExperiment(Experiment):
    """An experiment of which parts may not be here."""

    num_validation: int = 0
    """0 where it is not known, as in `num_test`."""
    num_test: int = 0
    missing: list[str] = field(default_factory=list)
    """What was not read, and why."""

    @cached_property
    def samples_digests(self) -> dict[str, str]:
        """Identity of both splits; of the config, where the samples were not read."""
        if self.task.validation or self.task.test:
            return super().samples_digests
        return {split: digest_of([split, self.task.digest]) for split in ("validation", "test")}

    @cached_property
    def teacher_digest(self) -> str:
        """Identity of the teacher; of its config, where its recorded replies are not here."""
        try:
            return super().teacher_digest
        except MISSING_DATA as error:
            self.missing.append(str(error))
            return digest_of(["unread", identity_of(self.config.teacher)])

    def content_digest(self, file: Path) -> str:
        """Return the digest of a file; of its name, where the file is not here."""
        try:
            return super().content_digest(file)
        except MISSING_DATA:
            self.missing.append(f"{file}: no such file")
            return digest_of(["unread", str(file)])

    def candidates(self, audit: AuditPool | None, *, leaky: bool) -> Pool:
        """Return what may be selected, as far as it is known before the audit.

        Args:
            audit: of the pool, done or not.
            leaky: assume that an audit that is not done removes something else for each task, so that tasks share no
                selection.
        """
        if self.selector.own_pool and not self.task.validation:
            return UnreadPool("validation", digest_of(["validation", self.task.digest]), self.num_validation)
        if self.selector.own_pool or audit is None or audit.stored.done:
            return find_candidates(self, audit)
        if leaky:
            digest = digest_of(["leaks", self.pool.digest, self.task.digest])
            return UnreadPool(self.pool.name, digest, len(self.pool))
        return self.pool


@dataclass(slots=True)
class OfflineOpener:
    """Opens the experiments of a grid without computing anything."""

    assume: Assumptions

    def open(self, config: ExperimentConfig, *, leaky: bool = False) -> tuple[OfflineExperiment, Plan]:
        """Open an experiment and plan it; no stage is computed.

        Args:
            config: of the experiment.
            leaky: see `OfflineExperiment.candidates`.

        Raises:
            ValueError: data that is here and cannot be used, or a budget above the pool.
        """
        task, why_task = _tried(read_task, config.task)
        pool, why_pool = _tried(read_pool, config.pool)
        experiment = OfflineExperiment(
            config,
            Store(Path(config.paths.store)),
            task or self._unread_task(config.task),
            pool or self._unread_pool(config.pool),
            Models(config),
            num_validation=len(task.validation) if task else _size(config.task, "num_val_samples"),
            num_test=len(task.test) if task else self._num_test(config.task),
            missing=[why for why in (why_task, why_pool) if why],
        )
        if len(experiment.pool):
            check_budget(experiment)
        audit = plan_audit(experiment)
        return experiment, plan_experiment(experiment, audit, experiment.candidates(audit, leaky=leaky))

    def _unread_task(self, config: TaskConfig) -> Task:
        return Task(name=config.name, validation=(), test=(), digest=unread_digest(config))

    def _unread_pool(self, config: PoolConfig) -> UnreadPool:
        return UnreadPool(config.name, unread_digest(config), self.assume.pool_sizes.get(config.name, 0))

    def _num_test(self, config: TaskConfig) -> int:
        return _size(config, "num_test_samples") or self.assume.test_sizes.get(config.name, 0)


def _tried(read: Callable[[Any], Any], config: TaskConfig | PoolConfig) -> tuple[Any, str | None]:
    """(what `read` gives or None, why there is none)."""
    try:
        return read(config), None
    except MISSING_DATA as error:
        return None, str(error)


def unread_digest(config: TaskConfig | PoolConfig) -> str:
    """Identity of data by its config. Lists are sets: tasks that are excluded twice, or by null, are excluded."""
    fields = {name: _as_set(value) if isinstance(value, list) else value for name, value in identity_of(config).items()}
    return digest_of(["unread", fields])


def _as_set(values: list[Any]) -> list[Any]:
    return sorted({value for value in values if value is not None})


def _size(config: TaskConfig, key: str) -> int:
    return getattr(config, key, None) or 0
