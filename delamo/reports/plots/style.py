"""How the pictures look: one colour, mark and line for each method in all of them, told apart without colour too."""

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

from delamo.reports.comparison import Budget, Method, Results, Target
from delamo.reports.names import short
from delamo.reports.order import method_place
from delamo.reports.variants import NO_BUDGET, PRETRAINED

INK = "#1b1e23"
"""Text and axes. In the HTML report it gives way to the page's own colour, so that a dark page has light text."""
MUTED = "#7d838a"
COLUMN_INCHES = 2.75
LINE_INCHES = 0.17
LABEL_CHARACTERS = 36
NO_METADATA = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}

# Okabe and Ito 2008, distinct under all common forms of colour blindness; its yellow is too pale for a white page.
COLOURS = {
    "error_driven": "#D55E00",
    "random": "#7d838a",
    "insta": "#0072B2",
    "superfiltering": "#009E73",
    "bm25_text": "#E69F00",
    "rds": "#56B4E9",
    "less": "#CC79A7",
}
MARKS = {
    "error_driven": "o",
    "random": "s",
    "insta": "^",
    "superfiltering": "D",
    "bm25_text": "v",
    "rds": "P",
    "less": "X",
    "none": "|",
    "full_data": "1",
    "validation_data": "x",
}
OTHER_MARKS = ("*", "h", "<", ">", "p")
DASHES = ("-", "--", ":", "-.")
LEVELS = {"none": (0, (4, 2)), "full_data": "-", "validation_data": (0, (1, 1.5))}
"""Lines of the methods that have no budget, in the colour of the text."""

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
    "svg.fonttype": "none",  # text stays text: searched, read aloud, and in the page's colour
}


@dataclass(frozen=True, slots=True)
class Look:
    """One method's colour, mark and line."""

    colour: str
    mark: str
    line: object


def applied(*, svg_salt: str = "delamo") -> AbstractContextManager[None]:
    """matplotlib's defaults with ours over them, whatever the user's own; ids in an SVG follow from the salt."""
    return matplotlib.rc_context({**matplotlib.rcParamsDefault, **RC, "svg.hashsalt": svg_salt, "backend": "agg"})


def named(methods: Iterable[Method]) -> list[tuple[str, str]]:
    """Each method's name in the pictures with its selector, once, in the paper's order."""
    found = {(short(method.label), method.selector) for method in methods}
    return sorted(found, key=lambda pair: method_place(pair[1], pair[0]))


def looks(methods: Sequence[tuple[str, str]]) -> dict[str, Look]:
    """By name, for (name, selector) pairs; the settings of one selector share its colour and differ in mark and line."""
    found: dict[str, Look] = {}
    settings: dict[str, int] = {}
    others = itertools.cycle(OTHER_MARKS)
    for name, selector in methods:
        if name not in found:
            place = settings[selector] = settings.get(selector, -1) + 1
            line = LEVELS.get(selector) or DASHES[place % len(DASHES)]
            mark = MARKS[selector] if selector in MARKS and not place else next(others)
            found[name] = Look(COLOURS.get(selector, INK), mark, line)
    return found


def grid(
    num_panels: int, *, max_columns: int = 4, row_inches: float = 2.1, column_inches: float = COLUMN_INCHES, **axes: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of small multiples, row by row; places of the last row that no panel needs stay empty."""
    rows = math.ceil(num_panels / max_columns)
    columns = math.ceil(num_panels / rows)
    figure = Figure(figsize=(max(column_inches * columns, 4), row_inches * rows + 0.75), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.09, h_pad=0.06)
    panels = figure.subplots(rows, columns, squeeze=False, **axes).ravel().tolist()
    for panel in panels[num_panels:]:
        panel.remove()
    for panel in panels[
        max(0, num_panels - columns) : num_panels
    ]:  # where the last row is short, the one above ends its columns
        panel.tick_params(axis="x", labelbottom=True)
    return figure, panels[:num_panels]


def lines_of(name: str) -> str:
    """A name as an axis or legend has room for it: a long one on several lines."""
    return textwrap.fill(name, LABEL_CHARACTERS, break_long_words=False, break_on_hyphens=False)


def num_lines(names: Iterable[str]) -> int:
    """How many lines the names take, one below another."""
    return sum(lines_of(name).count("\n") + 1 for name in names)


def legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    """Above all panels, in as many columns as their width has room for; the figure grows by what it takes."""
    names = [str(handle.get_label()).splitlines() for handle in handles]
    longest = max(len(line) for lines in names for line in lines)
    columns = min(len(handles), max(1, int(figure.get_figwidth() / (0.55 + 0.062 * longest))))
    rows = math.ceil(len(handles) / columns)
    figure.set_figheight(figure.get_figheight() + LINE_INCHES * (rows * max(map(len, names)) - 1))
    figure.legend(handles=list(handles), loc="outside upper left", ncols=columns)


def caption(figure: Figure, axis: str, note: str) -> None:
    """The unit under all panels; the whole note is the figure's label."""
    figure.supxlabel(axis, fontsize=RC["font.size"])
    figure.set_label(note)


def has_level(selector: str) -> bool:
    """Whether a method is a line across the budgets: no budget changes it."""
    return selector in NO_BUDGET


def is_tuned(selector: str) -> bool:
    """Every method but the pretrained student."""
    return selector != PRETRAINED


def by_budget(
    name: str,
    results: Results,
    wanted: Callable[[Target], Any],
    draw: Callable[[Budget, Sequence[Target]], Figure],
) -> dict[str, Figure]:
    """`NAME-BUDGET`, a figure of the wanted targets for each budget that has one; student and pool in the name where there are several."""
    several = len({(budget.student, budget.pool) for budget in results.budgets}) > 1
    found = {}
    for budget in results.budgets:
        targets = [target for target in budget.targets if wanted(target)]
        if targets:
            place = f"-{budget.student}-{budget.pool}" if several else ""
            found[f"{name}{place}-{budget.budget}"] = draw(budget, targets)
    return found
