"""Log the comparison of a sweep as one W&B run: the report, its tables and plots, and a curve for each method.

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
from delamo.paper.report import table_blocks
from delamo.reports import plots
from delamo.reports.comparison import Comparison, compare_runs
from delamo.reports.methods import RANDOM
from delamo.reports.render import data
from delamo.reports.render.formats import Block, Heading, Table, markdown
from delamo.reports.report import blocks, text
from delamo.runs.read import finished_runs
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
        runs: the folder.
        settings: of the logger.
        reference: as in the report.
        table: one of the paper's tables, whose layout is logged besides.
        against: as in the report.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no finished run in it, or a logger that has no use for a report.
    """
    if isinstance(settings, NoLoggerConfig):
        return
    if not isinstance(settings, WandbLoggerConfig):
        raise ValueError(
            f"logger is {settings.name}: a report goes to logger=wandb or logger=none, and format=csv prints a table"
        )
    collection, name = finished_runs(runs), runs.resolve().name
    comparison, layout = compare_runs(collection, reference), table_blocks(collection, table, against)
    recorded = {"runs": [str(run.path) for run in comparison.runs], "reference": reference, "table": table}
    with open_run(
        settings, runs / FOLDER, name=f"comparison of {name}", job_type="comparison", group=name, config=recorded
    ) as run:
        tables = {**tables_of(comparison), **dict(_keyed_tables(layout, f"layout/{table}"))}
        _log(run, comparison, tables, layout, name)


def _log(run: wandb.Run, comparison: Comparison, tables: dict[str, Content], layout: list[Block], name: str) -> None:
    import wandb

    run.define_metric(X)
    run.define_metric("curve/*", step_metric=X)
    for point in curves(comparison):
        run.log(point)
    images = _images(comparison)
    drawn = {f"{PLOTS}/{key}": wandb.Image(_opened(files["png"])) for key, files in images.items()}
    run.log({**{key: wandb.Table(columns, rows) for key, (columns, rows) in tables.items()}, **drawn})
    run.log_artifact(_report(comparison, layout, images, name))


def curves(comparison: Comparison) -> list[dict[str, float]]:
    """Return a point for each budget: its number of samples, and each method's mean accuracy in percent."""
    points: dict[int, dict[str, float]] = {}
    for budget in comparison.budgets:
        if budget.num_samples is None:
            continue
        point = points.setdefault(budget.num_samples, {X: budget.num_samples})
        for target in budget.targets:
            for method in target.methods:
                key = curve_key(budget.student, budget.pool or "", target.task, method.label)
                point[key] = 100 * method.accuracy.mean
    return [points[n] for n in sorted(points)]


def tables_of(comparison: Comparison) -> dict[str, Content]:
    """Return `comparison`, and each table of the report by the headings above it, as `report/HEADING/HEADING`."""
    rows = [[_cell(column, row.get(column)) for column in data.COLUMNS] for row in data.rows(comparison)]
    return {RESULTS: (list(data.COLUMNS), rows[:MAX_ROWS]), **dict(_keyed_tables(blocks(comparison), "report"))}


def plot_keys(comparison: Comparison) -> list[str]:
    """Return the names that the plots are logged by; none where matplotlib is not installed."""
    return [f"{PLOTS}/{name}" for name in plots.figures(comparison)] if _can_draw() else []


def _cell(column: str, value: Any) -> Any:
    return value if column != "seed" or value is None else str(value)  # a number, or `mean`


def _keyed_tables(shown: list[Block], prefix: str) -> Iterator[tuple[str, Content]]:
    headings: list[tuple[int, str]] = []
    seen: Counter[str] = Counter()
    for block in shown:
        if isinstance(block, Heading):
            above = [(level, text) for level, text in headings if level < block.level]
            headings = [*above, (block.level, slug(block.text))] if block.level > 1 else []
        elif isinstance(block, Table):
            key = "/".join([prefix, *(text for _, text in headings)])
            seen[key] += 1
            numbered = key if seen[key] == 1 else f"{key}_{seen[key]}"
            yield numbered, (_distinct(block.columns), [list(row) for row in block.rows[:MAX_ROWS]])


def _distinct(columns: Sequence[str]) -> list[str]:
    """Give every column a name of its own, as W&B wants; the report has an `n` behind each of several measures."""
    return [f"{columns[i - 1]}: {name}" if name in columns[:i] else name for i, name in enumerate(columns)]


def _images(comparison: Comparison) -> dict[str, dict[str, bytes]]:
    """Render the report's plots by name, as PNG and SVG."""
    if not _can_draw():
        print(
            "the comparison is logged without plots, which need matplotlib: pip install 'delamo[plots]'",
            file=sys.stderr,
        )
        return {}
    figures = plots.figures(comparison).items()
    return {name: {kind: plots.rendered(name, figure, kind) for kind in plots.FORMATS} for name, figure in figures}


def _can_draw() -> bool:
    return find_spec("matplotlib") is not None


def _opened(png: bytes) -> Any:
    from PIL import Image

    return Image.open(io.BytesIO(png))


def _report(
    comparison: Comparison, layout: list[Block], images: dict[str, dict[str, bytes]], name: str
) -> wandb.Artifact:
    """Make an artifact of the report as people and as programs read it, and its plots."""
    import wandb

    artifact = wandb.Artifact(f"report-{slug(name)}"[:LONGEST_NAME], type="report")
    files = {
        "report.md": markdown(blocks(comparison)).encode(),
        "results.json": data.comparison_json(comparison).encode(),
        "results.csv": data.comparison_csv(comparison).encode(),
        **({"report.html": text(comparison, "html").encode()} if images else {}),
        **{f"plots/{key}.{kind}": content for key, kinds in images.items() for kind, content in kinds.items()},
        **({"layout.md": markdown(layout).encode()} if layout else {}),
    }
    for path, content in files.items():
        with artifact.new_file(path, mode="wb") as out:
            out.write(content)
    return artifact
