"""What choosing took, method by method: seconds, memory, disk and the teacher, each distinct result once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from delamo.reports.comparison import Budget
from delamo.reports.render.formats import Block, Heading, Lines, Table
from delamo.reports.variants import NO_BUDGET
from delamo.runs.read import MANIFEST, Run

NOT_CHOOSING = ("task", "fingerprints", "audit", "tuning", "evaluation")
"""Kinds of stages that a cell needs however it chooses; the first tuning of several iterations is one too."""
AFTERWARDS = "answers_after"
"""A look at the tuned student, which no selection needs."""
NOTE = (
    "All that a method's selections are made from, over all runs in the tables above: answers, mistakes, skills, annotation and index, or embeddings, "
    "difficulty, hidden states, gradients. Each distinct result counts once, as measured when it was computed, whichever cells "
    "share it; reading, auditing, tuning and evaluating do not. Of it for the pool: what serves every task. Peak memory: the "
    "process's, with the models that it held; on a GPU its own after the slash. USD: '-' where a price is not known."
)
OF_POOL = ("pool_skills", "index", "text_index", "embeddings", "hidden_states", "difficulty", "warm_up", "gradients")
GIB, MIB = 2**30, 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoosingCost:
    """One method's."""

    label: str
    selections: int
    """Distinct ones."""
    seconds: float
    pool_seconds: float
    """The part of `seconds` that is spent once for a pool."""
    host_bytes: int | None
    """Highest peak; None where no stage recorded one."""
    device_bytes: int | None
    disk_bytes: int | None
    tokens: int
    """Of the teacher, prompts and replies."""
    usd: float | None
    """0 where no teacher is asked; None where a price is unknown."""


def selection_cost_blocks(budgets: Sequence[Budget]) -> list[Block]:
    """A row for each method that selects from the pool under a budget; nothing where none does."""
    costs = choosing_costs(budgets)
    if not costs:
        return []
    columns = ["method", "selections", "seconds", "of it for the pool", "peak memory GiB", "disk MiB"]
    rows = [[*_cells(cost)] for cost in costs]
    return [Heading("What choosing cost"), Table([*columns, "teacher tokens", "USD"], rows), Lines([NOTE])]


def choosing_costs(budgets: Sequence[Budget]) -> list[ChoosingCost]:
    """By method, in the order of the tables."""
    runs: dict[str, dict[Path, Run]] = {}
    for method in (method for budget in budgets for target in budget.targets for method in target.methods):
        if method.selector not in NO_BUDGET and any("selection" in run.stages for run in method.runs):
            runs.setdefault(method.label, {}).update({run.path: run for run in method.runs})
    return [_cost(label, list(same.values())) for label, same in runs.items()]


def _cost(label: str, runs: Sequence[Run]) -> ChoosingCost:
    stages: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {}
    for run in runs:
        stages.update({stage["digest"]: (kind, stage, spent) for kind, stage, spent in _choosing(run)})
    found = list(stages.values())
    peaks = [stage["peak_memory_bytes"] for _, stage, _ in found if stage.get("peak_memory_bytes")]
    disk = [stage["disk_bytes"] for _, stage, _ in found if stage.get("disk_bytes") is not None]
    spent = [spent for _, _, spent in found if spent]
    return ChoosingCost(
        label=label,
        selections=sum(kind == "selection" for kind, _, _ in found),
        seconds=sum(stage["seconds"] for _, stage, _ in found),
        pool_seconds=sum(stage["seconds"] for kind, stage, _ in found if kind in OF_POOL),
        host_bytes=max((peak["host"] for peak in peaks), default=None),
        device_bytes=max((peak["device"] for peak in peaks if "device" in peak), default=None),
        disk_bytes=sum(disk) if disk else None,
        tokens=sum(one["prompt_tokens"] + one["completion_tokens"] for one in spent),
        usd=None if any(one["usd"] is None for one in spent) else sum(one["usd"] for one in spent),
    )


def _choosing(run: Run) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(kind, stage, spent) of the stages that the run's selections need."""
    cost = run.metrics.get("cost") or {}
    for name, stage in run.stages.items():
        kind = Path(stage["path"]).parent.name
        if kind not in NOT_CHOOSING and name != AFTERWARDS:
            yield kind, measured(stage), cost.get(name) or {}


def measured(stage: dict[str, Any]) -> dict[str, Any]:
    """An entry of `stages.json` with what it took; of an older run, as the store says where it still has the result."""
    manifest = Path(stage["path"]) / MANIFEST
    if "disk_bytes" in stage or not manifest.is_file():
        return stage
    return json.loads(manifest.read_text(encoding="utf-8")) | stage


def _cells(cost: ChoosingCost) -> list[str]:
    memory = [f"{size / GIB:.1f}" for size in (cost.host_bytes, cost.device_bytes) if size is not None]
    return [
        cost.label,
        f"{cost.selections:,}",
        f"{cost.seconds:,.1f}",
        f"{cost.pool_seconds:,.1f}",
        " / ".join(memory) or "-",
        "-" if cost.disk_bytes is None else f"{cost.disk_bytes / MIB:,.1f}",
        f"{cost.tokens:,}",
        "-" if cost.usd is None else f"{cost.usd:.2f}",
    ]
