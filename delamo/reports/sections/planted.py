"""The planted metrics as tables: what each selector picked, how the teacher did, and what tuning gained and cost by skill.

They exist only for tasks with planted truth; `delamo.metrics.planted` computes them when a cell ends.
"""

from __future__ import annotations

from typing import Any

from delamo.metrics.statistics import mean
from delamo.reports.comparison import Budget, Method, Target
from delamo.reports.render.formats import Block, Heading, Lines, Table, fitting
from delamo.reports.variants import PRETRAINED

NOTE = """
Precision at N: share of the N selected samples that need a skill which the target asks for and the student lacks; any: a skill that \
the student lacks, asked for or not. Step: share of the \
errors whose mistake step is the first false sentence; recall@3: or where that lies in the three steps before it. Skill: share of the \
errors whose named skill is a missing one that the question needs.
By skill: test accuracy before tuning, and its change in points. Gain: unweighted mean change over the missing skills; forgetting: \
over the known ones, negative where tuning did harm.
""".strip().splitlines()


def planted_blocks(budget: Budget) -> list[Block]:
    """Tables for one budget; none where no run has planted truth."""
    if not any(_has_truth(m) for target in budget.targets for m in target.methods):
        return []
    blocks: list[Block] = [Heading("Planted truth", 3), _quality_table(budget)]
    for target in budget.targets:
        blocks += _skill_blocks(target)
    return [*blocks, Lines(NOTE, bullets=True)]


def gain(by_skill: dict[str, dict[str, Any]], *, missing: bool) -> float | None:
    """Unweighted mean change in accuracy over the missing or over the known skills; None where there is none."""
    changes = [_change(skill) for skill in by_skill.values() if skill["missing"] is missing]
    known = [change for change in changes if change is not None]
    return mean(known) if known else None


def _quality_table(budget: Budget) -> Table:
    columns = [
        "target",
        "method",
        "precision %",
        "any %",
        "step %",
        "recall@3 %",
        "n",
        "skill %",
        "n",
        "gain",
        "forgetting",
    ]
    rows = []
    for target in budget.targets:
        for method in target.methods:
            if _has_truth(method):
                rows.append([target.task, method.label, *_quality(method.planted)])
    return Table(columns, rows, num_text=2)


def _has_truth(method: Method) -> bool:
    return method.selector != PRETRAINED and any((method.planted or {}).values())


def _quality(planted: dict[str, Any]) -> list[str]:
    step, skill, by_skill = planted.get("mistake_step"), planted.get("skill_agreement"), planted.get("by_skill") or {}
    return [
        _percent(planted.get("precision_at_n")),
        _percent(planted.get("precision_any")),
        *((_percent(step["accuracy"]), _percent(step["recall_at_3"]), _count(step["n"])) if step else ("-", "-", "-")),
        *((_percent(skill["accuracy"]), _count(skill["n"])) if skill else ("-", "-")),
        _points(gain(by_skill, missing=True)),
        _points(gain(by_skill, missing=False)),
    ]


def _count(n: float) -> str:
    """Runs whose errors differ in number have a mean one."""
    return f"{n:.1f}" if n % 1 else f"{n:.0f}"


def _skill_blocks(target: Target) -> list[Block]:
    """Skills against methods; the missing skills first."""
    methods = [m for m in target.methods if m.planted and m.planted.get("by_skill")]
    if not methods:
        return []
    skills = _merged(methods)
    order = sorted(skills, key=lambda name: (not skills[name]["missing"], name))
    fixed = [
        [
            name,
            "missing" if skills[name]["missing"] else "known",
            str(skills[name]["n"]),
            _percent(skills[name]["before"]),
        ]
        for name in order
    ]
    tuned = [m for m in methods if m.selector != PRETRAINED]
    columns = [(m.label, [_points(_change(m.planted["by_skill"].get(name))) for name in order]) for m in tuned]
    width = sum(max(8, *(len(row[i]) for row in fixed)) + 3 for i in range(4)) + 1
    blocks: list[Block] = [Heading(f"{target.task}, by skill", 4)]
    for part in fitting([max(len(label), 6) for label, _ in columns], width):
        rows = [[*row, *(cells[i] for _, cells in columns[part])] for i, row in enumerate(fixed)]
        blocks.append(
            Table(["skill", "student", "n", "before %", *(label for label, _ in columns[part])], rows, num_text=2)
        )
    return blocks


def _merged(methods: list[Method]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for method in methods:
        for name, skill in method.planted["by_skill"].items():
            found.setdefault(name, skill)
    return found


def _change(skill: dict[str, Any] | None) -> float | None:
    if not skill or skill.get("before") is None or skill.get("after") is None:
        return None
    return skill["after"] - skill["before"]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _points(change: float | None) -> str:
    return "-" if change is None else f"{100 * change:+.1f}"
