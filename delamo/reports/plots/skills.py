"""What tuning gained and cost, skill by skill: the planted ones, missing above known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from delamo.reports.comparison import Budget, Method, Results, Target
from delamo.reports.names import short
from delamo.reports.plots.style import (
    INK,
    MUTED,
    Look,
    by_budget,
    caption,
    grid,
    is_tuned,
    legend,
    lines_of,
    looks,
    named,
)

NOTE = (
    "Test accuracy after tuning minus before, in points, over the items that count for a skill (n in brackets). Shaded: skills that the "
    "student lacked; below them those that it had, where left of zero is forgetting."
)


def draw(results: Results) -> dict[str, Figure]:
    """`gain_by_skill-BUDGET` for each budget with planted truth."""
    return by_budget("gain_by_skill", results, _measured, _figure)


def _measured(target: Target) -> list[Method]:
    return [m for m in target.methods if is_tuned(m.selector) and (m.planted or {}).get("by_skill")]


def _figure(budget: Budget, targets: Sequence[Target]) -> Figure:
    methods = named(m for target in targets for m in _measured(target))
    style = looks(methods)
    most = max(len(_skills(target)) for target in targets)
    figure, panels = grid(len(targets), row_inches=0.5 + 0.27 * most, sharex=True)
    for panel, target in zip(panels, targets, strict=True):
        _panel(panel, target, style)
    handles = [
        Line2D([], [], color=style[name].colour, marker=style[name].mark, linestyle="none", label=lines_of(name))
        for name, _ in methods
    ]
    legend(figure, handles)
    caption(
        figure,
        f"change in accuracy, points; shaded: skills that the student lacked (budget {budget.budget})",
        f"Budget {budget.budget}. {NOTE}",
    )
    return figure


def _panel(panel: Axes, target: Target, style: dict[str, Look]) -> None:
    skills, methods = _skills(target), _measured(target)
    names = list(skills)
    missing = sum(skill["missing"] for skill in skills.values())
    if missing:
        panel.axhspan(-0.5, missing - 0.5, color=MUTED, alpha=0.14, linewidth=0)
    panel.axvline(0, color=INK, linewidth=0.8)
    for place, method in enumerate(methods):
        aside = 0.5 * (place - (len(methods) - 1) / 2) / max(len(methods) - 1, 1)
        found = method.planted["by_skill"]
        rows = [(100 * (found[s]["after"] - found[s]["before"]), i + aside) for i, s in enumerate(names) if s in found]
        look = style[short(method.label)]
        panel.plot(*zip(*rows, strict=True), color=look.colour, marker=look.mark, linestyle="none")
    panel.set_title(target.task)
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.set_yticks(range(len(names)), [f"{name} ({skills[name]['n']})" for name in names])
    panel.tick_params(axis="both", length=0)
    panel.grid(True, axis="x")
    panel.grid(False, axis="y")
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:+.0f}" if value else "0")


def _skills(target: Target) -> dict[str, dict[str, Any]]:
    """Missing skills first, each group by name."""
    found: dict[str, dict[str, Any]] = {}
    for method in _measured(target):
        for name, skill in method.planted["by_skill"].items():
            found.setdefault(name, skill)
    return dict(sorted(found.items(), key=lambda item: (not item[1]["missing"], item[0])))
