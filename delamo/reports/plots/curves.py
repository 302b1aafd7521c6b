"""Curves of accuracy against the budget, a panel for each target; with a single budget, accuracy by method."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from delamo.reports.comparison import Budget, Comparison, Method
from delamo.reports.methods import follows_budget, is_ablation, short, target_order
from delamo.reports.plots.style import Look, caption, distinct_methods, grid, legend, lines_of, looks, num_lines

INTERVALS = (
    "Bars: 95 % Wilson interval for the test items of one run; a mean over seeds has the same, so that seeds do not "
    "narrow it."
)


def draw(comparison: Comparison) -> dict[str, Figure]:
    """Draw `budget_curves` for each student and pool with several budgets, `accuracy` for each with one."""
    groups: dict[tuple[str, str | None], list[Budget]] = defaultdict(list)
    for budget in comparison.budgets:
        if budget.budget is not None:
            groups[budget.student, budget.pool].append(budget)
    figures = {}
    for (student, pool), budgets in groups.items():
        suffix = f"-{student}-{pool}" if len(groups) > 1 else ""
        name, figure = ("budget_curves", _curves) if len(budgets) > 1 else ("accuracy", _dots)
        figures[f"{name}{suffix}"] = figure(budgets)
    return figures


def amount(count: int | None) -> str:
    """Write a number of samples as an axis has room for: 500, 1.5K, 30K."""
    if count is None:
        return "-"
    for size, unit in ((1_000_000, "M"), (1_000, "K")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)


def _curves(budgets: Sequence[Budget]) -> Figure:
    tasks = sorted({target.task for budget in budgets for target in budget.targets}, key=target_order)
    methods = distinct_methods(m for b in budgets for t in b.targets for m in t.methods if not is_ablation(m.label))
    style = looks(methods)
    moving = [name for name, selector in methods if follows_budget(selector)]
    figure, panels = grid(len(tasks))
    for index, (panel, task) in enumerate(zip(panels, tasks, strict=True)):
        _panel(panel, task, budgets, style, moving)
        if index % 4 == 0:
            panel.set_ylabel("accuracy %")
    legend(figure, [_handle(name, style[name], not follows_budget(selector)) for name, selector in methods])
    caption(
        figure,
        "training samples",
        "Accuracy on the test items against the number of training samples; across it, what no budget changes. "
        f"{INTERVALS}",
    )
    return figure


def _panel(panel: Axes, task: str, budgets: Sequence[Budget], style: dict[str, Look], moving: Sequence[str]) -> None:
    points: dict[str, list[tuple[int, Method]]] = defaultdict(list)
    for budget in budgets:
        for method in (m for t in budget.targets if t.task == task for m in t.methods if not is_ablation(m.label)):
            points[short(method.label)].append((budget.num_samples or 1, method))
    for name, curve in points.items():
        look = style[name]
        if name not in moving:
            panel.axhline(100 * curve[0][1].accuracy.mean, color=look.color, linestyle=look.line, linewidth=1)
            continue
        aside = 1.035 ** (moving.index(name) - (len(moving) - 1) / 2)  # side by side, so that no interval hides another
        _errorbars(panel, [x * aside for x, _ in curve], [m for _, m in curve], look)
    panel.set_title(task)
    panel.set_xscale("log")
    sizes = sorted({budget.num_samples or 1 for budget in budgets})
    panel.set_xlim(sizes[0] / 1.35, sizes[-1] * 1.35)
    panel.xaxis.set_major_locator(FixedLocator(sizes))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xticklabels([amount(size) for size in sizes])


def _errorbars(panel: Axes, xs: Sequence[float], methods: Sequence[Method], look: Look) -> None:
    means = [100 * m.accuracy.mean for m in methods]
    reach = [
        [mean - 100 * m.interval.low for mean, m in zip(means, methods, strict=True)],
        [100 * m.interval.high - mean for mean, m in zip(means, methods, strict=True)],
    ]
    bars = {"elinewidth": 0.8, "capsize": 0, "marker": look.mark, "linestyle": look.line}
    panel.errorbar(xs, means, yerr=reach, color=look.color, **bars)


def _dots(budgets: Sequence[Budget]) -> Figure:
    """Draw methods from top to bottom in the table's order."""
    (budget,) = budgets
    methods = distinct_methods(m for target in budget.targets for m in target.methods)
    style, names = looks(methods), [name for name, _ in methods]
    figure, panels = grid(len(budget.targets), row_inches=0.55 + 0.22 * num_lines(names), sharex=True, sharey=True)
    for panel, target in zip(panels, budget.targets, strict=True):
        for method in target.methods:
            mean, look = 100 * method.accuracy.mean, style[short(method.label)]
            reach = [[mean - 100 * method.interval.low], [100 * method.interval.high - mean]]
            mark = look.mark if follows_budget(method.selector) else "d"
            panel.errorbar(
                [mean],
                [names.index(short(method.label))],
                xerr=reach,
                color=look.color,
                marker=mark,
                linestyle="none",
                elinewidth=0.9,
            )
        panel.set_title(target.task)
        panel.set_ylim(len(names) - 0.5, -0.5)
        panel.set_yticks(range(len(names)), [lines_of(name) for name in names])
        panel.tick_params(axis="y", length=0)
        panel.grid(True, axis="x")
        panel.grid(False, axis="y")
    where = f"budget {budget.budget}: {amount(budget.num_samples)} training samples"
    caption(figure, "accuracy %", f"Accuracy on the test items by method, {where}. {INTERVALS}")
    return figure


def _handle(name: str, look: Look, level: bool) -> Line2D:
    return Line2D(
        [], [], color=look.color, linestyle=look.line, marker=None if level else look.mark, label=lines_of(name)
    )
