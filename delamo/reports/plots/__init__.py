"""The pictures beside the tables, from the same results: they compute no statistics of their own.

matplotlib is the extra `plots`; it is imported when a picture is asked for, without pyplot and its global state.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from delamo.reports.comparison import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg")
DPI = 200


def figures(results: Results) -> dict[str, Figure]:
    """Every picture that the results have the numbers for, by name: `budget_curves`, `accuracy`, `gain_by_skill`, `ablations`, `overlap`.

    A name is followed by what tells it from its like (`gain_by_skill-micro_500`); a figure's label (`get_label()`) is its caption.

    Raises:
        ValueError: matplotlib is not installed.
    """
    style = _style()
    found: dict[str, Figure] = {}
    with style.applied():
        for draw in _drawers():
            found |= {re.sub(r"[^\w.-]+", "_", name): figure for name, figure in draw(results).items()}
    return found


def save(pictures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write each picture as PNG and SVG, the same bytes for the same results; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in pictures.items():
        for kind in FORMATS:
            path = folder / f"{name}.{kind}"
            path.write_bytes(rendered(name, figure, kind))
            paths.append(path)
    return paths


def rendered(name: str, figure: Figure, kind: str) -> bytes:
    """A picture as PNG or SVG. Without dates, and with ids in the SVG that follow from its name alone."""
    import io

    style, out = _style(), io.BytesIO()
    with style.applied(svg_salt=name):
        figure.savefig(out, format=kind, dpi=DPI, metadata=style.NO_METADATA[kind], transparent=kind == "svg")
    return out.getvalue()


def _drawers() -> list[Callable[[Results], dict[str, Figure]]]:
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
