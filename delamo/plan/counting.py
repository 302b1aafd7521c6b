"""Which stage results a grid needs, each once: two cells share a stage where its digests agree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from delamo.plan.offline import PlannedCell
from delamo.runs.write import is_planted
from delamo.stages.base import Plan, Step


@dataclass(frozen=True, slots=True)
class Asked:
    """Calls and tokens, estimated."""

    calls: float = 0.0
    prompt_tokens: float = 0.0
    reply_tokens: float = 0.0

    def __add__(self, other: Asked) -> Asked:
        return Asked(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.reply_tokens + other.reply_tokens,
        )

    def times(self, factor: float) -> Asked:
        """So many times that."""
        return Asked(self.calls * factor, self.prompt_tokens * factor, self.reply_tokens * factor)


@dataclass(slots=True)
class Work:
    """One stage result, and the first cell that needs it."""

    step: Step
    cell: PlannedCell
    done: bool
    num_cells: int = 1
    """Cells that name it."""

    @property
    def stage(self) -> str:
        """The stage's name, the same in every iteration."""
        return self.step.name


def distinct(cells: Iterable[tuple[PlannedCell, Plan]]) -> dict[str, Work]:
    """All stage results by digest, inputs before what is made from them."""
    found: dict[str, Work] = {}
    for cell, plan in cells:
        steps = plan.steps(with_pretrained=is_planted(cell.config)).values()
        for step in {step.digest: step for last in steps for step in last.walk()}.values():
            if step.digest in found:
                found[step.digest].num_cells += 1
            else:
                found[step.digest] = Work(step, cell, step.stage.done)
    return found


def num_items(work: Work) -> int | None:
    """Items that the stage takes in, as its manifest will say (`accounting.in`); None where that is not known before."""
    cell, reads = work.cell, work.step.stage.identity["reads"]
    match work.stage:
        case "task":
            return cell.num_validation + cell.num_test or None
        case "answers" | "mistakes" | "validation_embeddings" | "validation_hidden_states" | "validation_gradients":
            return cell.num_validation or None
        case "evaluation":
            return cell.num_test or None
        case "tuning":
            return num_tuned(work)
        case "selection":
            return len(cell.selectable) or None
        case _ if "pool" in reads or work.stage in ("audit", "index"):
            return len(cell.pool) or None
    return None


def num_selected(step: Step, cell: PlannedCell) -> int | None:
    """Samples of a selection."""
    return step.stage.identity["reads"].get("num_samples") or len(cell.selectable) or None


def num_tuned(work: Work) -> int | None:
    """Samples of a tuning: of its selection or, where it restarts from the base, of the union of all."""
    chosen = [num_selected(step, work.cell) for role, step in work.step.inputs.items() if role != "start_from"]
    return None if None in chosen else sum(chosen)
