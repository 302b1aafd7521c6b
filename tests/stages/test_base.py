"""A stage asks for its inputs only when it must, and its digest follows from all that decides it."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from delamo.stages.base import Stage
from delamo.store import RowCounts, Store


@dataclasses.dataclass(frozen=True, eq=False)
class First(Stage):
    x: int = 1
    name: ClassVar[str] = "first"

    @property
    def label(self) -> str:
        return "a"

    def depends_on(self) -> dict[str, Any]:
        return {"x": self.x}

    def compute(self, writer) -> None:
        self.experiment.made.append(self.name)
        writer.finish(RowCounts(num_in=0, num_ok=0))


@dataclasses.dataclass(frozen=True, eq=False)
class Second(First):
    first: Stage | None = None
    name: ClassVar[str] = "second"


@pytest.fixture
def experiment(tmp_path):
    return SimpleNamespace(store=Store(tmp_path), computed=set(), made=[])


def test_inputs_are_asked_for_only_when_there_is_something_to_compute(experiment):
    last = Second(experiment, first=First(experiment))
    assert experiment.made == [] and [stage.name for stage in last.walk()] == ["first", "second"]
    last.result()
    assert experiment.made == ["first", "second"] and len(experiment.computed) == 2
    Second(experiment, first=First(experiment)).result()
    assert experiment.made == ["first", "second"]


def test_fields_that_hold_stages_are_the_inputs(experiment):
    first = First(experiment)
    assert Second(experiment, first=first).inputs == {"first": first}
    assert Second(experiment).inputs == {} == first.inputs


def test_a_digest_follows_from_values_inputs_and_version(experiment):
    class Newer(First):
        version: ClassVar[int] = 2

    stages = [
        First(experiment),
        First(experiment, x=2),
        Newer(experiment),
        Second(experiment),
        Second(experiment, first=First(experiment)),
        Second(experiment, first=First(experiment, x=2)),
    ]
    assert len({stage.digest for stage in stages}) == len(stages)
    assert First(experiment).digest == stages[0].digest
