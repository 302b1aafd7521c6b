"""One cell's stages as a graph: what each is made from is known before anything is computed.

A step's digest follows from config, code version and the digests of its inputs, so that a whole cell is planned, and found
done, without loading a model. Asking for a step's result computes what is missing, inputs first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from delamo.store import ResultWriter, Stage, Store


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A stage of a cell, and how to compute it when somebody asks."""

    name: str
    stage: Stage
    inputs: dict[str, Step]
    make: Callable[[ResultWriter], None]
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
        make: Callable[[ResultWriter], None],
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


@dataclass(frozen=True, slots=True)
class Round:
    """One iteration: what the selector is given, what it chooses, what comes of it."""

    inputs: dict[str, Step]
    selection: Step
    adapter: Step


@dataclass(slots=True)
class Plan:
    """The steps of one cell, nothing computed yet."""

    task: Step
    pretrained: Step
    """The untuned student's evaluation."""
    evaluation: Step
    """The tuned student's; `pretrained` itself where nothing is tuned."""
    rounds: list[Round] = field(default_factory=list)
    """One for each iteration."""
    audit: Step | None = None
    """Which pool samples meet the task's; done before the cell is planned."""
    answers_after: Step | None = None
    """The tuned student's answers to the validation samples, where the selector learned from them."""

    def steps(self, *, with_pretrained: bool) -> dict[str, Step]:
        """All steps by name, inputs first; in the second iteration, a name gets `@2`.

        Args:
            with_pretrained: whether a tuned cell is compared with the untuned student (`evaluation_before`).
        """
        named = {"task": self.task}
        seen: Counter[str] = Counter()
        for step in self.audit.walk() if self.audit else ():
            named[step.name] = step
        for step in self.evaluation.walk():
            seen[step.name] += 1
            named[step.name if seen[step.name] == 1 else f"{step.name}@{seen[step.name]}"] = step
        if with_pretrained and self.rounds:
            named["evaluation_before"] = self.pretrained
        if self.answers_after:
            named["answers_after"] = self.answers_after
        return named
