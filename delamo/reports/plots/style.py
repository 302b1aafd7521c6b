"""How the plots look: one color, mark and line for each method in all of them, told apart without color too."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from delamo.reports.comparison import Budget, Comparison, Method, Target
from delamo.reports.methods import budgeted, method_order, short, unbudgeted

INK = "#1b1e23"
"""Text and axes. In the HTML report it gives way to the page's own color, so that a dark page has light text."""
MUTED = "#7d838a"
COLUMN_INCHES = 2.75
LINE_INCHES = 0.17
LABEL_CHARACTERS = 36
NO_METADATA = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}

# Okabe and Ito 2008, distinct under all common forms of color blindness; its yellow is too pale for a white page.
COLORS = (MUTED, "#0072B2", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#D55E00")
MARKS = ("s", "^", "D", "v", "X", "P", "o")
"""As the colors: of the methods that choose under a budget, in the order of tables."""
LEVEL_MARKS = ("|", "1", "x")
LEVEL_LINES = ((0, (4, 2)), "-", (0, (1, 1.5)))
"""Of the methods that no budget changes, in the order of tables; they have the color of the text."""
OTHER_MARKS = ("*", "h", "<", ">", "p")
"""Of further settings of a method, and of methods beyond the package's."""
DASHES = ("-", "--", ":", "-.")

RC = {
    "font.size": 8,
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],  # the first comes with matplotlib; an SVG is read elsewhere
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": MUTED,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "axes.linewidth": 0.7,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "text.parse_math": False,  # a name with dollars is a name
    "svg.fonttype": "none",  # text stays text: searched, read aloud, and in the page's color
}


@dataclass(frozen=True, slots=True)
class Look:
    """One method's color, mark and line."""

    color: str
    mark: str
    line: object


def applied(*, svg_salt: str = "delamo") -> AbstractContextManager[None]:
    """Set matplotlib's defaults with ours over them, whatever the user's own; ids in an SVG follow from the salt."""
    return matplotlib.rc_context({**matplotlib.rcParamsDefault, **RC, "svg.hashsalt": svg_salt, "backend": "agg"})


def distinct_methods(methods: Iterable[Method]) -> list[tuple[str, str]]:
    """List each method's name in the plots with its selector, once, in the order of tables."""
    pairs = {(short(method.label), method.selector) for method in methods}
    return sorted(pairs, key=lambda pair: method_order(pair[1], pair[0]))


def looks(methods: Sequence[tuple[str, str]]) -> dict[str, Look]:
    """Choose looks by name; the settings of one selector share its color and differ in mark and line.

    Args:
        methods: (name, selector) of each.
    """
    chosen: dict[str, Look] = {}
    settings: dict[str, int] = {}
    marks = {
        **dict(zip(budgeted(), MARKS, strict=False)),
        **dict(zip(unbudgeted(), LEVEL_MARKS, strict=False)),
    }
    lines = dict(zip(unbudgeted(), LEVEL_LINES, strict=False))
    others = itertools.cycle(OTHER_MARKS)
    for name, selector in methods:
        if name not in chosen:
            setting = settings[selector] = settings.get(selector, -1) + 1
            mark = marks[selector] if selector in marks and not setting else next(others)
            chosen[name] = Look(color_of(selector), mark, lines.get(selector) or DASHES[setting % len(DASHES)])
    return chosen


def color_of(selector: str) -> str:
    """Return the color of a method: by its place among those that choose under a budget; of others that of the text."""
    return dict(zip(budgeted(), COLORS, strict=False)).get(selector, INK)


def grid(
    num_panels: int, *, max_columns: int = 4, row_inches: float = 2.1, column_inches: float = COLUMN_INCHES, **axes: Any
) -> tuple[Figure, list[Axes]]:
    """Make a figure of small multiples, row by row; what the last row has no panel for stays empty."""
    rows = math.ceil(num_panels / max_columns)
    columns = math.ceil(num_panels / rows)
    figure = Figure(figsize=(max(column_inches * columns, 4), row_inches * rows + 0.75), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.09, h_pad=0.06)
    panels = figure.subplots(rows, columns, squeeze=False, **axes).ravel().tolist()
    for panel in panels[num_panels:]:
        panel.remove()
    lowest = slice(max(0, num_panels - columns), num_panels)  # of each column, also where the last row is short
    for panel in panels[lowest]:
        panel.tick_params(axis="x", labelbottom=True)
    return figure, panels[:num_panels]


def lines_of(name: str) -> str:
    """Break a long name into lines for which an axis or legend has room."""
    return textwrap.fill(name, LABEL_CHARACTERS, break_long_words=False, break_on_hyphens=False)


def num_lines(names: Iterable[str]) -> int:
    """Count the lines that the names take, one below another."""
    return sum(lines_of(name).count("\n") + 1 for name in names)


def legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    """Put a legend above all panels, in as many columns as fit; the figure grows by what it takes."""
    names = [str(handle.get_label()).splitlines() for handle in handles]
    longest = max(len(line) for lines in names for line in lines)
    columns = min(len(handles), max(1, int(figure.get_figwidth() / (0.55 + 0.062 * longest))))
    rows = math.ceil(len(handles) / columns)
    figure.set_figheight(figure.get_figheight() + LINE_INCHES * (rows * max(map(len, names)) - 1))
    figure.legend(handles=list(handles), loc="outside upper left", ncols=columns)


def caption(figure: Figure, axis: str, note: str) -> None:
    """Put the unit under all panels; the whole note is the figure's label."""
    figure.supxlabel(axis, fontsize=RC["font.size"])
    figure.set_label(note)


def by_budget(
    name: str,
    comparison: Comparison,
    wanted: Callable[[Target], Any],
    draw: Callable[[Budget, Sequence[Target]], Figure],
) -> dict[str, Figure]:
    """Draw `NAME-BUDGET`, a figure of the wanted targets, for each budget that has one.

    Where there are several students or pools, the figure's name has them too.
    """
    several = len({(budget.student, budget.pool) for budget in comparison.budgets}) > 1
    figures = {}
    for budget in comparison.budgets:
        targets = [target for target in budget.targets if wanted(target)]
        if targets:
            models = f"-{budget.student}-{budget.pool}" if several else ""
            figures[f"{name}{models}-{budget.budget}"] = draw(budget, targets)
    return figures
