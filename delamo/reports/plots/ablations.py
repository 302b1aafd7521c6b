"""Bars: the gain of the method and of its ablations over the pretrained student."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from delamo.metrics.comparison import PairedComparison
from delamo.reports.comparison import Budget, Comparison, Method, Target, compared
from delamo.reports.methods import OURS, PRETRAINED, RANDOM, short
from delamo.reports.plots.style import INK, MUTED, by_budget, caption, color_of, grid, lines_of, num_lines

NOTE = (
    "Accuracy minus that of the pretrained student, in points, paired by test item. Lines: 95 % interval for other "
    "runs on other items; none where too few runs tell how much they vary. Random selection is the ablation without "
    "targeted tuning."
)
WITHOUT_ALL = "without targeted tuning (random)"


def draw(comparison: Comparison) -> dict[str, Figure]:
    """Draw `ablations-BUDGET` for each budget at which error-driven selection was run with several settings."""
    return by_budget("ablations", comparison, _has_ablations, _figure)


def _has_ablations(target: Target) -> bool:
    ours = [m for m in target.methods if m.selector == OURS]
    return len(ours) > 1 and any(m.selector == PRETRAINED for m in target.methods)


def _figure(budget: Budget, targets: Sequence[Target]) -> Figure:
    shown = [[m for m in target.methods if m.selector in (OURS, RANDOM)] for target in targets]
    names = list(dict.fromkeys(_name(m) for methods in shown for m in methods))
    names.sort(key=lambda name: (name == WITHOUT_ALL, name != OURS, name))  # the whole method first, random last
    figure, panels = grid(len(targets), row_inches=0.6 + 0.26 * num_lines(names), sharex=True, sharey=True)
    figure.set_figwidth(figure.get_figwidth() + 1.5)
    for panel, target, methods in zip(panels, targets, shown, strict=True):
        _bars(panel, target, methods, names)
    caption(figure, f"accuracy minus pretrained, points (budget {budget.budget})", f"Budget {budget.budget}. {NOTE}")
    return figure


def _bars(panel: Axes, target: Target, methods: Sequence[Method], names: Sequence[str]) -> None:
    gains = [_gain(target, method) for method in methods]
    ends = [gain.inference.interval if gain.inference else None for gain in gains]
    low = [100 * (gain.difference - end.low) if end else nan for gain, end in zip(gains, ends, strict=True)]
    high = [100 * (end.high - gain.difference) if end else nan for gain, end in zip(gains, ends, strict=True)]
    rows = [names.index(_name(method)) for method in methods]
    colors = [color_of(OURS) if _name(method) == OURS else MUTED for method in methods]
    lines = {"linewidth": 0.9, "ecolor": INK}
    panel.barh(rows, [100 * gain.difference for gain in gains], 0.62, xerr=[low, high], color=colors, error_kw=lines)
    panel.axvline(0, color=INK, linewidth=0.8)
    panel.set_title(target.task)
    panel.set_ylim(len(names) - 0.5, -0.5)
    panel.set_yticks(range(len(names)), [lines_of(name.removeprefix(f"{OURS} ")) for name in names])
    panel.tick_params(axis="y", length=0)
    panel.grid(True, axis="x")
    panel.grid(False, axis="y")
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:+.0f}" if value else "0")


def _name(method: Method) -> str:
    return WITHOUT_ALL if method.selector == RANDOM else short(method.label)


def _gain(target: Target, method: Method) -> PairedComparison:
    pretrained = next(m for m in target.methods if m.selector == PRETRAINED)
    return compared(method.runs, pretrained.runs, [other.runs for other in target.methods])
