"""The comparison of a sweep as one W&B run: the report's tables, a curve over budgets for each method, the plots, and the report itself.

What `delamo report` says is logged, and nothing else is computed here.
"""

from __future__ import annotations

import io
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from delamo.experiment.config import LoggerConfig, NoLoggerConfig, WandbLoggerConfig
from delamo.paper import render as layout_tables
from delamo.paper.layout import lay_out
from delamo.paper.numbers import paper_table
from delamo.reports import plots
from delamo.reports.comparison import Results, arrange
from delamo.reports.render import exports
from delamo.reports.render.formats import Block, Heading, Table, markdown
from delamo.reports.tables import blocks, text
from delamo.reports.variants import RANDOM
from delamo.runs.read import Collected, finished_runs
from delamo.store import slug
from delamo.tracking.wandb_runs import MAX_ROWS, curve_key, open_run

if TYPE_CHECKING:
    import wandb

FOLDER = ".comparison"
"""Below the runs, hidden from what looks for runs there."""
PLOTS = "plots"
X = "num_samples"
RESULTS = "comparison"
"""The table of all methods and runs, in numbers."""
LONGEST_NAME = 128  # of an artifact, in characters
Content = tuple[list[str], list[list[Any]]]
"""Columns and rows."""


def log_comparison(
    runs: Path, settings: LoggerConfig, reference: str = RANDOM, *, table: str | None = None, against: str | None = None
) -> None:
    """Log the comparison of the finished runs below a folder where the settings say so.

    Args:
        reference: as in the report.
        table: one of the paper's tables, logged in its layout besides.
        against: as in the report.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no finished run in it, or a logger that has no use for a report.
    """
    if isinstance(settings, NoLoggerConfig):
        return
    if not isinstance(settings, WandbLoggerConfig):
        raise ValueError(  # noqa: TRY004 - a user's choice, not a bug
            f"logger is {settings.name}: a report goes to logger=wandb or logger=none, and format=csv prints a table"
        )
    found, name = finished_runs(runs), runs.resolve().name
    results, layout = arrange(found, reference), _layout(found, table, against)
    recorded = {"runs": [str(run.path) for run in results.runs], "reference": reference, "table": table}
    with open_run(
        settings, runs / FOLDER, name=f"comparison of {name}", job_type="comparison", group=name, config=recorded
    ) as run:
        tables = {**tables_of(results), **dict(_keyed_tables(layout, f"layout/{table}"))}
        _log(run, results, tables, layout, name)


def _layout(found: Collected, table: str | None, against: str | None) -> list[Block]:
    """The paper's table that was asked for, as blocks."""
    if table is None:
        return []
    layout_tables.check(table, against)
    laid_out = lay_out(found, paper_table(table))
    return [block for one in laid_out for block in layout_tables.blocks(one, beside=against is not None)]


def _log(run: wandb.Run, results: Results, tables: dict[str, Content], layout: list[Block], name: str) -> None:
    import wandb

    run.define_metric(X)
    run.define_metric("curve/*", step_metric=X)
    for point in curves(results):
        run.log(point)
    pictures = _pictures(results)
    shown = {f"{PLOTS}/{key}": wandb.Image(_opened(files["png"])) for key, files in pictures.items()}
    run.log({**{key: wandb.Table(columns, rows) for key, (columns, rows) in tables.items()}, **shown})
    run.log_artifact(_report(results, layout, pictures, name))


def curves(results: Results) -> list[dict[str, float]]:
    """One point for each budget: its number of samples, and each method's mean accuracy in percent over its runs there."""
    points: dict[int, dict[str, float]] = {}
    for budget in results.budgets:
        if budget.num_samples is None:
            continue
        point = points.setdefault(budget.num_samples, {X: budget.num_samples})
        for target in budget.targets:
            for method in target.methods:
                key = curve_key(budget.student, budget.pool or "", target.task, method.label)
                point[key] = 100 * method.accuracy.mean
    return [points[n] for n in sorted(points)]


def tables_of(results: Results) -> dict[str, Content]:
    """`comparison`, and each table of the report by the headings above it, as `report/HEADING/HEADING`."""
    rows = [[_cell(column, row.get(column)) for column in exports.COLUMNS] for row in exports.rows(results)]
    return {RESULTS: (list(exports.COLUMNS), rows[:MAX_ROWS]), **dict(_keyed_tables(blocks(results), "report"))}


def plot_keys(results: Results) -> list[str]:
    """The names that the plots are logged by; none where matplotlib is not installed."""
    return [f"{PLOTS}/{name}" for name in plots.figures(results)] if _can_draw() else []


def _cell(column: str, value: Any) -> Any:
    return value if column != "seed" or value is None else str(value)  # a number, or `mean`


def _keyed_tables(found: list[Block], prefix: str) -> Iterator[tuple[str, Content]]:
    headings: list[tuple[int, str]] = []
    seen: Counter[str] = Counter()
    for block in found:
        if isinstance(block, Heading):
            above = [(level, text) for level, text in headings if level < block.level]
            headings = [*above, (block.level, slug(block.text))] if block.level > 1 else []
        elif isinstance(block, Table):
            key = "/".join([prefix, *(text for _, text in headings)])
            seen[key] += 1
            numbered = key if seen[key] == 1 else f"{key}_{seen[key]}"
            yield numbered, (_distinct(block.columns), [list(row) for row in block.rows[:MAX_ROWS]])


def _distinct(columns: Sequence[str]) -> list[str]:
    """W&B wants every column's name once; the report has an `n` behind each of several measures."""
    return [f"{columns[i - 1]}: {name}" if name in columns[:i] else name for i, name in enumerate(columns)]


def _pictures(results: Results) -> dict[str, dict[str, bytes]]:
    """The report's plots by name, as PNG and SVG."""
    if not _can_draw():
        print(
            "the comparison is logged without plots, which need matplotlib: pip install 'delamo[plots]'",
            file=sys.stderr,
        )
        return {}
    drawn = plots.figures(results).items()
    return {name: {kind: plots.rendered(name, figure, kind) for kind in plots.FORMATS} for name, figure in drawn}


def _can_draw() -> bool:
    return find_spec("matplotlib") is not None


def _opened(png: bytes) -> Any:
    from PIL import Image

    return Image.open(io.BytesIO(png))


def _report(results: Results, layout: list[Block], pictures: dict[str, dict[str, bytes]], name: str) -> wandb.Artifact:
    """The report as people and as programs read it, and its plots."""
    import wandb

    artifact = wandb.Artifact(f"report-{slug(name)}"[:LONGEST_NAME], type="report")
    files = {
        "report.md": markdown(blocks(results)).encode(),
        "results.json": exports.json_text(results).encode(),
        "results.csv": exports.csv_table(results).encode(),
        **({"report.html": text(results, "html").encode()} if pictures else {}),
        **{f"plots/{key}.{kind}": data for key, kinds in pictures.items() for kind, data in kinds.items()},
        **({"layout.md": markdown(layout).encode()} if layout else {}),
    }
    for path, content in files.items():
        with artifact.new_file(path, mode="wb") as out:
            out.write(content)
    return artifact
