"""Plots of the numbers in the tables; no statistics are computed here.

matplotlib is the extra `plots`; it is imported when a plot is drawn, without pyplot and its global state.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from delamo.reports.comparison import Comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg")
DPI = 200


def figures(comparison: Comparison) -> dict[str, Figure]:
    """Draw every plot that the runs have the numbers for.

    Returns:
        By name, figures whose label (`get_label()`) is their caption: `budget_curves`, `accuracy`, `gain_by_skill`,
        `ablations`, `overlap`, each followed by what tells it from others of its kind (`gain_by_skill-micro_500`).

    Raises:
        ValueError: matplotlib is not installed.
    """
    style = _style()
    drawn: dict[str, Figure] = {}
    with style.applied():
        for draw in _drawers():
            drawn |= {re.sub(r"[^\w.-]+", "_", name): figure for name, figure in draw(comparison).items()}
    return drawn


def save(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write each figure as PNG and SVG, the same bytes for the same numbers; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in figures.items():
        for kind in FORMATS:
            path = folder / f"{name}.{kind}"
            path.write_bytes(rendered(name, figure, kind))
            paths.append(path)
    return paths


def rendered(name: str, figure: Figure, kind: str) -> bytes:
    """Render a figure as PNG or SVG, without dates, and with ids in the SVG that follow from its name alone."""
    import io

    style, out = _style(), io.BytesIO()
    with style.applied(svg_salt=name):
        figure.savefig(out, format=kind, dpi=DPI, metadata=style.NO_METADATA[kind], transparent=kind == "svg")
    return out.getvalue()


def _drawers() -> list[Callable[[Comparison], dict[str, Figure]]]:
    from delamo.reports.plots import ablations, curves, heatmap, skills

    return [curves.draw, skills.draw, ablations.draw, heatmap.draw]


def _style():
    try:
        from delamo.reports.plots import style
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise ValueError("plots need matplotlib, which is not installed: pip install 'delamo[plots]'") from error
    return style
