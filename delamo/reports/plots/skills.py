"""Dots of what tuning gained and cost, by planted skill, missing above known."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from delamo.reports.comparison import Budget, Comparison, Method, Target
from delamo.reports.methods import PRETRAINED, short
from delamo.reports.plots.style import (
    INK,
    MUTED,
    Look,
    by_budget,
    caption,
    distinct_methods,
    grid,
    legend,
    lines_of,
    looks,
)
from delamo.reports.sections.planted import skills_of

NOTE = (
    "Test accuracy after tuning minus before, in points, over the items that count for a skill (n in brackets). "
    "Shaded: skills that the student lacked; below them those that it had, where left of zero is forgetting."
)


def draw(comparison: Comparison) -> dict[str, Figure]:
    """Draw `gain_by_skill-BUDGET` for each budget with planted truth."""
    return by_budget("gain_by_skill", comparison, _measured, _figure)


def _measured(target: Target) -> list[Method]:
    return [m for m in target.methods if m.selector != PRETRAINED and (m.planted or {}).get("by_skill")]


def _figure(budget: Budget, targets: Sequence[Target]) -> Figure:
    methods = distinct_methods(m for target in targets for m in _measured(target))
    style = looks(methods)
    most = max(len(skills_of(_measured(target))) for target in targets)
    figure, panels = grid(len(targets), row_inches=0.5 + 0.27 * most, sharex=True)
    for panel, target in zip(panels, targets, strict=True):
        _panel(panel, target, style)
    handles = [
        Line2D([], [], color=style[name].color, marker=style[name].mark, linestyle="none", label=lines_of(name))
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
    methods = _measured(target)
    skills = skills_of(methods)
    names = list(skills)
    missing = sum(skill["missing"] for skill in skills.values())
    if missing:
        panel.axhspan(-0.5, missing - 0.5, color=MUTED, alpha=0.14, linewidth=0)
    panel.axvline(0, color=INK, linewidth=0.8)
    for index, method in enumerate(methods):
        aside = 0.5 * (index - (len(methods) - 1) / 2) / max(len(methods) - 1, 1)
        by_skill = method.planted["by_skill"]
        changes = {name: by_skill[name]["after"] - by_skill[name]["before"] for name in names if name in by_skill}
        rows = [(100 * change, names.index(name) + aside) for name, change in changes.items()]
        look = style[short(method.label)]
        panel.plot(*zip(*rows, strict=True), color=look.color, marker=look.mark, linestyle="none")
    panel.set_title(target.task)
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.set_yticks(range(len(names)), [f"{name} ({skills[name]['n']})" for name in names])
    panel.tick_params(axis="both", length=0)
    panel.grid(True, axis="x")
    panel.grid(False, axis="y")
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:+.0f}" if value else "0")
