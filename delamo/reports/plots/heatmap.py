"""Heat map of how much of what the selectors chose is the same, at each budget."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from delamo.reports.comparison import Budget, Comparison
from delamo.reports.plots.style import LABEL_CHARACTERS, caption, grid
from delamo.reports.sections.overlap import DEFINITION

LIGHT, DARK = "#ffffff", "#000000"


def draw(comparison: Comparison) -> dict[str, Figure]:
    """Draw `overlap`, a panel for each budget, for each student and pool."""
    budgets = [budget for budget in comparison.budgets if budget.overlap]
    groups: dict[tuple[str, str | None], list[Budget]] = {}
    for budget in budgets:
        groups.setdefault((budget.student, budget.pool), []).append(budget)
    return {
        f"overlap-{student}-{pool}" if len(groups) > 1 else "overlap": _figure(same)
        for (student, pool), same in groups.items()
    }


def _figure(budgets: Sequence[Budget]) -> Figure:
    most = max(len(budget.overlap.methods) for budget in budgets)
    figure, panels = grid(len(budgets), row_inches=1.0 + 0.36 * most, column_inches=1.0 + 0.42 * most)
    longest = max(len(name) for budget in budgets for name in budget.overlap.methods)
    figure.set_figwidth(figure.get_figwidth() + 0.065 * max(0, longest - 14))
    for index, (panel, budget) in enumerate(zip(panels, budgets, strict=True)):
        _panel(panel, budget, with_names=index % 4 == 0)
    caption(figure, "Jaccard index of the selected samples", DEFINITION)
    return figure


def _panel(panel: Axes, budget: Budget, *, with_names: bool) -> None:
    """Draw the lower triangle: the index has no direction."""
    import numpy as np

    names, values = budget.overlap.methods, budget.overlap.values
    shown = np.full((len(names), len(names)), np.nan)
    for row in range(len(names)):
        for column in range(row + 1):
            value = values[row][column]
            if value is not None:
                shown[row, column] = value
                color = LIGHT if value > 0.55 else DARK
                panel.text(column, row, f"{value:.2f}", ha="center", va="center", color=color, fontsize=7)
    panel.imshow(shown, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    panel.set_title(str(budget.budget))
    numbered = max(map(len, names)) > LABEL_CHARACTERS  # slanted, they would take more room than the cells
    rows = [f"{name} {number}" if numbered else name for number, name in enumerate(names, start=1)]
    panel.set_yticks(range(len(names)), rows if with_names else [""] * len(names))
    if numbered:
        panel.set_xticks(range(len(names)), [str(number) for number in range(1, len(names) + 1)])
    else:
        panel.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    panel.tick_params(length=0)
    panel.grid(False)
    for spine in panel.spines.values():
        spine.set_visible(False)
