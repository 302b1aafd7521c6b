"""The planted metrics: what each selector picked, how the teacher did, and what tuning gained and cost by skill.

They exist only for tasks with planted truth; `delamo.metrics.planted` computes them when a cell ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from delamo.metrics.retention import change, change_over_skills
from delamo.reports.comparison import Budget, Method, Target
from delamo.reports.methods import PRETRAINED
from delamo.reports.render.formats import Block, Heading, Lines, Table, fitting
from delamo.reports.render.numbers import NOTHING, percent, points

NOTES = (
    "Precision at N: share of the N selected samples that need a skill which the target asks for and the student "
    "lacks; any: a skill that the student lacks, asked for or not. Step: share of the errors whose mistake step is "
    "the first false sentence; recall@3: or where that lies in the three steps before it. Skill: share of the errors "
    "whose named skill is a missing one that the question needs.",
    "By skill: test accuracy before tuning, and its change in points. Gain: unweighted mean change over the missing "
    "skills; forgetting: over the known ones, negative where tuning did harm.",
)
QUALITY = (
    *("target", "method", "precision %", "any %", "step %", "recall@3 %", "n"),
    *("skill %", "n", "gain", "forgetting"),
)


def planted_blocks(budget: Budget) -> list[Block]:
    """Build the tables of one budget; nothing where no run has planted truth."""
    if not any(_has_truth(m) for target in budget.targets for m in target.methods):
        return []
    blocks: list[Block] = [Heading("Planted truth", 3), _quality_table(budget)]
    for target in budget.targets:
        blocks += _skill_blocks(target)
    return [*blocks, Lines(NOTES, bullets=True)]


def _quality_table(budget: Budget) -> Table:
    rows = []
    for target in budget.targets:
        for method in target.methods:
            if _has_truth(method):
                rows.append([target.task, method.label, *_quality(method.planted)])
    return Table(QUALITY, rows, num_text=2)


def _has_truth(method: Method) -> bool:
    return method.selector != PRETRAINED and any((method.planted or {}).values())


def _quality(planted: dict[str, Any]) -> list[str]:
    step, skill, by_skill = planted.get("mistake_step"), planted.get("skill_agreement"), planted.get("by_skill") or {}
    return [
        percent(planted.get("precision_at_n")),
        percent(planted.get("precision_any")),
        *((percent(step["accuracy"]), percent(step["recall_at_3"]), _count(step["n"])) if step else (NOTHING,) * 3),
        *((percent(skill["accuracy"]), _count(skill["n"])) if skill else (NOTHING,) * 2),
        points(change_over_skills(by_skill, missing=True)),
        points(change_over_skills(by_skill, missing=False)),
    ]


def _count(n: float) -> str:
    """Write a number of errors, which is a mean where the runs have different ones."""
    return f"{n:.1f}" if n % 1 else f"{n:.0f}"


def _skill_blocks(target: Target) -> list[Block]:
    """Set skills against methods, the missing skills first."""
    methods = [method for method in target.methods if method.planted and method.planted.get("by_skill")]
    if not methods:
        return []
    skills = skills_of(methods)
    fixed = [
        [name, "missing" if skill["missing"] else "known", str(skill["n"]), percent(skill["before"])]
        for name, skill in skills.items()
    ]
    columns = [
        (method.label, [points(change(method.planted["by_skill"].get(name))) for name in skills])
        for method in methods
        if method.selector != PRETRAINED
    ]
    width = sum(max(8, *(len(row[i]) for row in fixed)) + 3 for i in range(4)) + 1
    blocks: list[Block] = [Heading(f"{target.task}, by skill", 4)]
    for part in fitting([max(len(label), 6) for label, _ in columns], width):
        rows = [[*row, *(cells[i] for _, cells in columns[part])] for i, row in enumerate(fixed)]
        heads = ["skill", "student", "n", "before %", *(label for label, _ in columns[part])]
        blocks.append(Table(heads, rows, num_text=2))
    return blocks


def skills_of(methods: Sequence[Method]) -> dict[str, dict[str, Any]]:
    """Merge the planted metrics of methods by skill, missing skills first, each group by name."""
    skills: dict[str, dict[str, Any]] = {}
    for method in methods:
        for name, skill in method.planted["by_skill"].items():
            skills.setdefault(name, skill)
    return dict(sorted(skills.items(), key=lambda item: (not item[1]["missing"], item[0])))
