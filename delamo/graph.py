"""One cell's stages as a graph: what each is made from is known before anything is computed.

A step's digest follows from config, code version and the digests of its inputs, so that a whole cell is planned, and found
done, without loading a model. Asking for a step's result computes what is missing, inputs first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from delamo.store import Draft, Stage, Store


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A stage of a cell, and how to compute it when somebody asks."""

    name: str
    stage: Stage
    inputs: dict[str, Step]
    make: Callable[[Draft], None]
    resumable: bool
    computed: set[str]
    """Digests of the steps that this process computed, shared by the steps of one graph."""

    @property
    def digest(self) -> str:
        return self.stage.digest

    def result(self) -> Stage:
        """The stage, done. Inputs are asked only if there is something to compute."""
        if not self.stage.done:
            for step in self.inputs.values():
                step.result()
            if self.stage.ensure(self.make, resumable=self.resumable):
                self.computed.add(self.digest)
        return self.stage

    def walk(self) -> Iterator[Step]:
        """This step's inputs and theirs, each once, before what is made from them; this step last."""
        yield from self._walk(set())

    def _walk(self, seen: set[str]) -> Iterator[Step]:
        if self.digest in seen:
            return
        seen.add(self.digest)
        for step in self.inputs.values():
            yield from step._walk(seen)
        yield self


@dataclass(slots=True)
class Graph:
    """Makes the steps of one cell."""

    store: Store
    computed: set[str] = field(default_factory=set)

    def step(
        self,
        name: str,
        label: str,
        reads: dict[str, Any],
        inputs: dict[str, Step],
        make: Callable[[Draft], None],
        *,
        version: int,
        resumable: bool = False,
    ) -> Step:
        """A step that `make` computes from `inputs` and from nothing else but what `reads` holds.

        Args:
            name: the stage, and its folder in the store.
            label: readable half of the result's folder name.
            reads: the config fields and outside digests (models, data, templates) that decide the result.
            inputs: earlier steps, by the role that they play here.
            make: writes the result; see `Stage.ensure`.
            version: of the stage's code; raise it when the same inputs give another result.
            resumable: whether a killed attempt leaves something to go on from.
        """
        identity = {"reads": reads, "inputs": {role: step.digest for role, step in inputs.items()}}
        return Step(name, self.store.stage(name, label, identity, version), inputs, make, resumable, self.computed)
