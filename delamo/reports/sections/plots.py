"""The plots of `delamo.reports.plots` on a page."""

from __future__ import annotations

from importlib.util import find_spec

from delamo.reports.comparison import Comparison
from delamo.reports.render.formats import Heading, Lines
from delamo.reports.render.html import PageBlock, Plot


def plot_blocks(comparison: Comparison) -> list[PageBlock]:
    """Draw the plots under a heading of their own; a line in their place without matplotlib."""
    title = Heading("Plots")
    if find_spec("matplotlib") is None:
        return [title, Lines(["Not drawn: matplotlib is not installed (pip install 'delamo[plots]')."])]
    from delamo.reports import plots

    figures = plots.figures(comparison)
    shown = [
        Plot(name, plots.rendered(name, figure, "svg").decode("utf-8"), figure.get_label())
        for name, figure in figures.items()
    ]
    return [title, *shown] if shown else []
