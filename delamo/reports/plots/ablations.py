"""Bars: the gain of the method and of its ablations over the pretrained student."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from delamo.metrics import statistics
from delamo.metrics.statistics import PairedComparison
from delamo.reports.comparison import BOOTSTRAP_SEED, Budget, Comparison, Method, Target
from delamo.reports.methods import OURS, PRETRAINED, RANDOM, short
from delamo.reports.plots.style import INK, MUTED, by_budget, caption, color_of, grid, lines_of, num_lines

NOTE = (
    "Accuracy minus that of the pretrained student, in points, paired by test item. Lines: 95 % interval of a "
    "bootstrap of items and runs. Random selection is the ablation without targeted tuning."
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
    low = [100 * (gain.difference - gain.interval.low) for gain in gains]
    high = [100 * (gain.interval.high - gain.difference) for gain in gains]
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
    import numpy as np

    pretrained = next(m for m in target.methods if m.selector == PRETRAINED)
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    return statistics.compare([run.outcomes for run in method.runs], [run.outcomes for run in pretrained.runs], rng=rng)
