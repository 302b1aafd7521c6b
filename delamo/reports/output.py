"""Where a report goes: to the terminal or into a file, and its plots into a folder."""

from __future__ import annotations

from pathlib import Path

from delamo.reports import tables
from delamo.reports.comparison import arrange
from delamo.reports.variants import RANDOM
from delamo.runs.read import finished_runs
from delamo.store import write_text


def write(
    runs: Path,
    format: str,
    reference: str,
    *,
    table: str | None = None,
    against: str | None = None,
    out: Path | None = None,
    plots: Path | None = None,
) -> str:
    """Make the report; returns what to print: the report itself, or where it and its plots lie.

    Args:
        out: a file for the report, in any format.
        plots: a folder for the plots, each as PNG and SVG.

    Raises:
        FileNotFoundError: no such folder of runs.
        ValueError: as `delamo.reports.tables.report`, a reference for a table of the paper, which has its own, or plots without matplotlib.
        OSError: a file or folder cannot be written.
    """
    tables.check(format, table, against)
    if table is not None and reference != RANDOM:
        raise ValueError(
            f"reference is {reference!r}, and {table} compares with random alone: leave out reference or table"
        )
    found = finished_runs(runs)
    results = arrange(found, reference) if table is None or plots else None
    text = tables.layout_text(found, format, table, against) if table else tables.text(results, format)
    written = [_written(out, text)] if out else [text]
    if plots:
        from delamo.reports import plots as pictures

        written += map(str, pictures.save(pictures.figures(results), plots))
    return "\n".join(written)


def _written(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text + "\n")
    return str(path)
