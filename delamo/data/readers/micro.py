"""Reader of the embedded microworld: its pool and its seven targets as plain samples, planted truth left behind."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from omegaconf import MISSING

from delamo.config.fields import renamed_field
from delamo.data import PoolConfig, Task, TaskConfig, add_pool, add_task
from delamo.data.microworld.catalogue import TARGETS
from delamo.data.microworld.examples import (
    WORLD_VERSION,
    example_at,
    options_line,
    pool_example,
    pool_instruction,
    target_example,
    target_question,
    worked_answer,
)
from delamo.records import Quarantined, Sample


@dataclass(slots=True, kw_only=True)
class MicroPoolConfig(PoolConfig):
    """Pool of the embedded microworld."""

    size: int = renamed_field("num_samples")
    """Samples in the pool, planted leaks besides."""
    surface_overlap: float = MISSING
    """0 to 1: how often a sample that trains a target's skill is worded as the target is; samples that train something
    else take on a target's words with probability 1 - surface_overlap."""
    seed: int = MISSING
    planted_leaks: int = MISSING
    """Copies of the target's first validation and test samples, in turn, behind the others: what the audit has to
    find."""
    planted_target: str | None = MISSING
    planted_seed: int | None = MISSING
    """The target's own."""


@dataclass(slots=True, kw_only=True)
class MicroTaskConfig(TaskConfig):
    """A target of the embedded microworld."""

    target: str = MISSING
    num_val_samples: int = MISSING
    num_test_samples: int = MISSING
    seed: int = MISSING


class MicroPool:
    """The microworld's pool: sample `pool-0000042` is made when it is asked for, so any size costs nothing to open."""

    removed: ClassVar[frozenset[str]] = frozenset()
    quarantined: Sequence[Quarantined] = ()

    def __init__(self, size: int, surface_overlap: float, seed: int, planted: Sequence[str] = ()) -> None:
        self.name = "micro"
        self.digest = _digest("pool", size, surface_overlap, seed, *planted)
        self._size, self._surface_overlap, self._seed = size, surface_overlap, seed
        self._planted = planted
        """Addresses of a target's samples that stand behind the pool's own."""

    def __len__(self) -> int:
        return self._size + len(self._planted)

    def __iter__(self) -> Iterator[Sample]:
        return (self._sample(index) for index in range(len(self)))

    def ids(self) -> Sequence[str]:
        """Return all ids, ascending, without making a text."""
        return self._ids

    @cached_property
    def _ids(self) -> Sequence[str]:
        return [_pool_id(index) for index in range(len(self))]

    def get(self, id: str) -> Sample:
        """Return one sample. Raises KeyError for an id that the pool does not have."""
        head, _, digits = id.partition("-")
        if head != "pool" or not digits.isdigit() or int(digits) >= len(self) or id != _pool_id(int(digits)):
            raise KeyError(f"{id!r} is not in the pool: its ids run from {_pool_id(0)} to {_pool_id(len(self) - 1)}")
        return self._sample(int(digits))

    def _sample(self, index: int) -> Sample:
        if index >= self._size:
            return _leak(_pool_id(index), self._planted[index - self._size])
        locator = f"micro:pool/{self._seed}/{index}"
        example = pool_example(self._seed, index)
        return Sample(
            id=_pool_id(index),
            instruction=pool_instruction(example, locator, self._surface_overlap),
            answer=worked_answer(example),
            image=locator,
            source=example.family,
        )


def read_pool(config: MicroPoolConfig) -> MicroPool:
    """Read the pool of the microworld.

    Raises:
        ValueError: a value out of range, named by its key.
    """
    if not 0 <= config.surface_overlap <= 1:
        raise ValueError(f"pool.surface_overlap is {config.surface_overlap}: choose a number from 0 to 1")
    if not 0 < config.size <= 10_000_000:
        raise ValueError(f"pool.size is {config.size}: choose a number from 1 to 10,000,000")
    count, target = config.planted_leaks, config.planted_target
    if count < 0 or (count and target not in TARGETS):
        raise ValueError(
            f"pool.planted_leaks is {count} of pool.planted_target {target!r}: choose 0 or more, of {', '.join(TARGETS)}"
        )
    seed = config.planted_seed or 0
    planted = [f"micro:{target}/{('val', 'test')[number % 2]}/{seed}/{number // 2}" for number in range(count)]
    return MicroPool(config.size, config.surface_overlap, config.seed, planted)


def read_task(config: MicroTaskConfig) -> Task:
    """Read a target of the microworld.

    Validation and test samples share no scene, and no handwritten digit with each other or the pool.

    Raises:
        ValueError: an unknown target or a size below 1, named by its key.
    """
    target, seed = config.target, config.seed
    if target not in TARGETS:
        raise ValueError(f"task.target is {target!r}: choose one of {', '.join(TARGETS)}")
    for key in ("num_val_samples", "num_test_samples"):
        if getattr(config, key) < 1:
            raise ValueError(f"task.{key} is {getattr(config, key)}: choose at least 1")
    return Task(
        name=f"micro/{target}",
        validation=[_task_sample(target, "val", seed, index) for index in range(config.num_val_samples)],
        test=[_task_sample(target, "test", seed, index) for index in range(config.num_test_samples)],
        digest=_digest(target, config.num_val_samples, config.num_test_samples, seed),
    )


def _task_sample(target: str, split: str, seed: int, index: int) -> Sample:
    locator = f"micro:{target}/{split}/{seed}/{index}"
    example = target_example(target, split, seed, index)
    return Sample(
        id=f"{target}-{split}-{index:04d}",
        instruction=target_question(example, locator),
        answer=example.draft.answer,
        options=example.options,
        gold=example.gold,
        image=locator,
        source=target,
    )


def _leak(id: str, locator: str) -> Sample:
    """Make a target's sample as a pool would hold it."""
    example = example_at(locator)
    question = target_question(example, locator) + options_line(example.options)
    return Sample(id=id, instruction=question, answer=worked_answer(example), image=locator, source=example.family)


def _pool_id(index: int) -> str:
    return f"pool-{index:07d}"


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps([WORLD_VERSION, *parts]).encode()).hexdigest()


add_pool("micro", MicroPoolConfig, read_pool)
add_task("micro", MicroTaskConfig, read_task)
