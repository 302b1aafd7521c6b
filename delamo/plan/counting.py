"""Which stage results a grid needs, each once: two cells share a stage where its digests agree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from delamo.plan.offline import OfflineExperiment
from delamo.stages.base import Stage
from delamo.stages.plan import Plan


@dataclass(frozen=True, slots=True)
class TeacherUsage:
    """Calls and tokens, estimated."""

    calls: float = 0.0
    prompt_tokens: float = 0.0
    reply_tokens: float = 0.0

    def __add__(self, other: TeacherUsage) -> TeacherUsage:
        return TeacherUsage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.reply_tokens + other.reply_tokens,
        )

    def times(self, factor: float) -> TeacherUsage:
        """Multiply calls and tokens by a factor."""
        return TeacherUsage(self.calls * factor, self.prompt_tokens * factor, self.reply_tokens * factor)


@dataclass(slots=True)
class StageWork:
    """One stage result, and the first experiment that needs it."""

    stage: Stage
    experiment: OfflineExperiment
    done: bool
    num_experiments: int = 1
    """Experiments that name it."""

    @property
    def name(self) -> str:
        """The stage's name, the same in every round."""
        return self.stage.name


def distinct_stages(plans: Iterable[tuple[OfflineExperiment, Plan]]) -> dict[str, StageWork]:
    """Collect all stage results by digest, inputs before what is made from them."""
    works: dict[str, StageWork] = {}
    for experiment, plan in plans:
        stages = {stage.digest: stage for last in plan.stages().values() for stage in last.walk()}
        for digest, stage in stages.items():
            if digest in works:
                works[digest].num_experiments += 1
            else:
                works[digest] = StageWork(stage, experiment, stage.stored.done)
    return works


def num_items(work: StageWork) -> int | None:
    """Count the items that the stage takes in, as its manifest will say (`accounting.in`).

    None where that is not known yet.
    """
    experiment, stage = work.experiment, work.stage
    match stage.name:
        case "task":
            return experiment.num_validation + experiment.num_test or None
        case "answers" | "mistakes" | "validation_embeddings" | "validation_hidden_states" | "validation_gradients":
            return experiment.num_validation or None
        case "evaluation":
            return experiment.num_test or None
        case "tuning":
            return num_tuned(work)
        case "selection":
            return len(stage.candidates) or None
        case _ if "pool" in stage.depends_on() or stage.name in ("audit", "index"):
            return len(experiment.pool) or None
    return None


def num_selected(selection: Stage) -> int | None:
    """Count the samples of a selection; None where the pool was not read."""
    return selection.num_samples or None


def num_tuned(work: StageWork) -> int | None:
    """Count the samples of a tuning: of its selection or, where it restarts from the base, of the union of all."""
    counts = [num_selected(selection) for selection in work.stage.chosen]
    return None if None in counts else sum(counts)
