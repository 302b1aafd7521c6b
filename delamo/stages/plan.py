"""The stages of one experiment, wired and not computed yet."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from delamo.stages.base import Stage


@dataclass(frozen=True, slots=True)
class Round:
    """One iteration: what the selector is given, what it chooses, what comes of it."""

    inputs: dict[str, Stage]
    selection: Stage
    adapter: Stage


@dataclass(slots=True)
class Plan:
    """The stages of one experiment."""

    task: Stage
    audit: Stage | None
    """Which pool samples overlap the task's."""
    evaluation: Stage
    """Of the tuned student; of the untuned one where nothing is tuned."""
    rounds: list[Round] = field(default_factory=list)
    compared_with: Stage | None = None
    """The untuned student's evaluation, where a tuned one is compared with it skill by skill."""
    answers_after: Stage | None = None
    """The tuned student's answers to the validation samples, where the selector learned from them."""

    def stages(self) -> dict[str, Stage]:
        """Name all stages, inputs first; in the second round, a name gets `@2`."""
        stages: dict[str, Stage] = {"task": self.task}
        for stage in self.audit.walk() if self.audit else ():
            stages[stage.name] = stage
        times: Counter[str] = Counter()
        for stage in self.evaluation.walk():
            times[stage.name] += 1
            number = times[stage.name]
            stages[stage.name if number == 1 else f"{stage.name}@{number}"] = stage
        if self.compared_with:
            stages["evaluation_before"] = self.compared_with
        if self.answers_after:
            stages["answers_after"] = self.answers_after
        return stages
