"""`delamo report`: the report on finished runs, or those runs in the layout of one of the paper's tables."""

from __future__ import annotations

from pathlib import Path

from delamo.paper import render
from delamo.paper.layout import lay_out
from delamo.paper.numbers import PAPER, TABLES, paper_table
from delamo.reports import report as all_runs
from delamo.reports.comparison import compare_runs
from delamo.reports.methods import RANDOM
from delamo.reports.render import html
from delamo.reports.render.formats import Block, csv_records, json_text, latex, markdown
from delamo.reports.sections.configs import config_blocks
from delamo.reports.sections.plots import plot_blocks
from delamo.runs.read import RunCollection, finished_runs

SCHEMA_VERSION = 1
AGAINST = (PAPER,)


def report(
    runs: Path,
    format: str = "markdown",
    reference: str = RANDOM,
    *,
    table: str | None = None,
    against: str | None = None,
    out: Path | None = None,
    plots: Path | None = None,
) -> str:
    """Report on all finished runs below a folder.

    Args:
        runs: the folder.
        format: `markdown`, `html`, `json`, `csv` or `latex`.
        reference: the method that the others are compared with, in the report on all runs.
        table: one of the paper's tables, whose layout the runs take; None is the report on all runs.
        against: `paper` puts that table's own numbers beside ours.
        out: a file for the report; None returns it.
        plots: a folder for the plots, each as PNG and SVG; None draws none, except into an HTML page.

    Returns:
        The report, or where it was written, and where its plots lie.

    Raises:
        FileNotFoundError: no such folder of runs.
        ValueError: no finished run in it, or none of the table; an unknown format, table or comparison; a reference
            that no run is of, or one for a table, which has its own; a run that contradicts itself; or plots without
            matplotlib.
        OSError: a file or folder cannot be written.
    """
    all_runs.check_format(format)
    check(table, against)
    if table is None:
        return all_runs.report(runs, format, reference, out=out, plots=plots)
    if reference != RANDOM:
        raise ValueError(
            f"reference is {reference!r}, and {table} compares with random alone: leave out reference or table"
        )
    collection = finished_runs(Path(runs))
    text = table_text(collection, format, table, against)
    return all_runs.delivered(text, out, compare_runs(collection) if plots else None, plots)


def check(table: str | None, against: str | None) -> None:
    """Refuse a table or a comparison that there is not.

    Raises:
        ValueError: an unknown table or comparison, or a comparison without a table.
    """
    if table is not None and table not in TABLES:
        raise ValueError(f"table is {table!r}: choose one of {', '.join(TABLES)}, or null for the report on all runs")
    if against is not None and against not in AGAINST:
        raise ValueError(f"against is {against!r}: choose {', '.join(AGAINST)}, or null for our numbers alone")
    if against is not None and table is None:
        raise ValueError(f"against is {against!r} and table is null: say which table, as in table={TABLES[0]}")


def table_text(collection: RunCollection, format: str, table: str, against: str | None) -> str:
    """Write runs in the layout of one of the paper's tables.

    Raises:
        ValueError: no run belongs to a cell of it.
    """
    layouts, beside = lay_out(collection, paper_table(table)), against is not None
    if format == "json":
        plain = [render.plain(layout, beside=beside) for layout in layouts]
        return json_text({"schema_version": SCHEMA_VERSION, "layouts": plain})
    if format == "csv":
        records = [record for layout in layouts for record in render.records(layout, beside=beside)]
        return csv_records(render.columns(beside=beside), records)
    blocks: list[Block] = [block for layout in layouts for block in render.blocks(layout, beside=beside)]
    if format == "html":
        return html.page([*blocks, *plot_blocks(compare_runs(collection)), *config_blocks(collection.runs)])
    return (markdown if format == "markdown" else latex)(blocks)


def table_blocks(collection: RunCollection, table: str | None, against: str | None) -> list[Block]:
    """Build the layout of one of the paper's tables; nothing for no table.

    Raises:
        ValueError: an unknown table or comparison, or no run belongs to a cell of it.
    """
    check(table, against)
    layouts = lay_out(collection, paper_table(table)) if table else []
    return [block for layout in layouts for block in render.blocks(layout, beside=against is not None)]
