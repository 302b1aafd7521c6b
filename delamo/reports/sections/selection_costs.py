"""What choosing took, method by method: seconds, memory, disk and the teacher, each distinct result once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from delamo.reports.comparison import Budget
from delamo.reports.methods import follows_budget, pool_stages
from delamo.reports.render.formats import Block, Heading, Lines, Table
from delamo.reports.render.numbers import NOTHING, usd
from delamo.runs.read import Run, stage_kind, with_measured

NOT_CHOOSING = ("task", "fingerprints", "audit", "tuning", "evaluation")
"""Kinds of stages that a cell needs however it chooses; the first tuning of several iterations is one too."""
AFTERWARDS = "answers_after"
"""A look at the tuned student, which no selection needs."""
NOTE = (
    "All that a method's selections are made from, over all runs in the tables above: answers, mistakes, skills, "
    "annotation and index, or embeddings, difficulty, hidden states, gradients. Each distinct result counts once, as "
    "measured when it was computed, whichever cells share it; reading, auditing, tuning and evaluating do not. Of it "
    "for the pool: what serves every task. Peak memory: the process's, with the models that it held; on a GPU its own "
    "after the slash. USD: '-' where a price is not known."
)
COLUMNS = (
    *("method", "selections", "seconds", "of it for the pool"),
    *("peak memory GiB", "disk MiB", "teacher tokens", "USD"),
)
GIB, MIB = 2**30, 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionCost:
    """What the selections of one method took."""

    label: str
    selections: int
    """Distinct ones."""
    seconds: float
    pool_seconds: float
    """The part of `seconds` that is spent once for a pool."""
    host_bytes: int | None
    """Highest peak; None where no stage recorded one."""
    device_bytes: int | None
    """Highest peak of a GPU; None where no stage recorded one."""
    disk_bytes: int | None
    tokens: int
    """Of the teacher, prompts and replies."""
    usd: float | None
    """0 where no teacher is asked; None where a price is unknown."""


def selection_cost_blocks(budgets: Sequence[Budget]) -> list[Block]:
    """Build a row for each method that selects from the pool under a budget; nothing where none does."""
    costs = selection_costs(budgets)
    if not costs:
        return []
    return [Heading("What choosing cost"), Table(COLUMNS, [_cells(cost) for cost in costs]), Lines([NOTE])]


def selection_costs(budgets: Sequence[Budget]) -> list[SelectionCost]:
    """Sum what selections took by method, in the order of the tables."""
    runs: dict[str, dict[Path, Run]] = {}
    for method in (method for budget in budgets for target in budget.targets for method in target.methods):
        if follows_budget(method.selector) and any("selection" in run.stages for run in method.runs):
            runs.setdefault(method.label, {}).update({run.path: run for run in method.runs})
    return [_cost(label, list(same.values())) for label, same in runs.items()]


def _cost(label: str, runs: Sequence[Run]) -> SelectionCost:
    distinct: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {}
    for run in runs:
        distinct.update({stage["digest"]: (kind, stage, usage) for kind, stage, usage in _choosing(run)})
    stages = list(distinct.values())
    of_pool = pool_stages()
    peaks = [stage["peak_memory_bytes"] for _, stage, _ in stages if stage.get("peak_memory_bytes")]
    disk = [stage["disk_bytes"] for _, stage, _ in stages if stage.get("disk_bytes") is not None]
    usages = [usage for _, _, usage in stages if usage]
    return SelectionCost(
        label=label,
        selections=sum(kind == "selection" for kind, _, _ in stages),
        seconds=sum(stage["seconds"] for _, stage, _ in stages),
        pool_seconds=sum(stage["seconds"] for kind, stage, _ in stages if kind in of_pool),
        host_bytes=max((peak["host"] for peak in peaks), default=None),
        device_bytes=max((peak["device"] for peak in peaks if "device" in peak), default=None),
        disk_bytes=sum(disk) if disk else None,
        tokens=sum(usage["prompt_tokens"] + usage["completion_tokens"] for usage in usages),
        usd=None if any(usage["usd"] is None for usage in usages) else sum(usage["usd"] for usage in usages),
    )


def _choosing(run: Run) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield (kind, stage, teacher's usage) of the stages that the run's selections need."""
    usage = run.metrics.get("cost") or {}
    for name, stage in run.stages.items():
        kind = stage_kind(stage)
        if kind not in NOT_CHOOSING and name != AFTERWARDS:
            yield kind, with_measured(stage), usage.get(name) or {}


def _cells(cost: SelectionCost) -> list[str]:
    memory = [f"{size / GIB:.1f}" for size in (cost.host_bytes, cost.device_bytes) if size is not None]
    return [
        cost.label,
        f"{cost.selections:,}",
        f"{cost.seconds:,.1f}",
        f"{cost.pool_seconds:,.1f}",
        " / ".join(memory) or NOTHING,
        NOTHING if cost.disk_bytes is None else f"{cost.disk_bytes / MIB:,.1f}",
        f"{cost.tokens:,}",
        usd(cost.usd),
    ]
