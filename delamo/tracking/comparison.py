"""The comparison of a sweep as one W&B run: the report's tables, a curve over budgets for each method, the plots, and the report itself.

What `delamo report` says is logged, and nothing else is computed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from delamo.config import LoggerConfig, NoLoggerConfig, WandbLoggerConfig
from delamo.report import exports
from delamo.report.collect import finished_runs
from delamo.report.formats import Heading, Table, markdown
from delamo.report.results import Results, arrange
from delamo.report.tables import blocks
from delamo.report.variants import RANDOM
from delamo.store import slug
from delamo.tracking.wandb_runs import MAX_ROWS, curve_key, open_run

if TYPE_CHECKING:
    import wandb

FOLDER = ".comparison"
"""Below the runs, hidden from what looks for runs there."""
X = "num_samples"
RESULTS = "comparison"
"""The table of all methods and runs, in numbers."""


def log_comparison(runs: Path, settings: LoggerConfig, reference: str = RANDOM) -> None:
    """Log the comparison of the finished runs below a folder where the settings say so.

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
    results = arrange(finished_runs(runs), reference)
    name, cells = runs.resolve().name, [str(run.path) for run in results.runs]
    recorded = {"runs": cells, "reference": reference}
    with open_run(
        settings, runs / FOLDER, name=f"comparison of {name}", job_type="comparison", group=name, config=recorded
    ) as run:
        _log(run, results, name)


def _log(run: wandb.Run, results: Results, name: str) -> None:
    import wandb

    run.define_metric(X)
    run.define_metric("curve/*", step_metric=X)
    for point in curves(results):
        run.log(point)
    tables = {key: wandb.Table(columns, rows) for key, (columns, rows) in tables_of(results).items()}
    run.log(tables)
    run.log_artifact(_report(results, name))


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


def tables_of(results: Results) -> dict[str, tuple[list[str], list[list[Any]]]]:
    """`comparison`, and each table of the report by the headings above it, as `report/HEADING/HEADING`."""
    rows = [[_cell(column, row.get(column)) for column in exports.COLUMNS] for row in exports.rows(results)]
    return {RESULTS: (list(exports.COLUMNS), rows[:MAX_ROWS]), **dict(_report_tables(results))}


def _cell(column: str, value: Any) -> Any:
    return value if column != "seed" or value is None else str(value)  # a number, or `mean`


def _report_tables(results: Results) -> Iterator[tuple[str, tuple[list[str], list[list[Any]]]]]:
    headings: list[str] = []
    seen: dict[str, int] = {}
    for block in blocks(results):
        if isinstance(block, Heading):
            headings = [*headings[: block.level - 2], slug(block.text)] if block.level > 1 else []
        elif isinstance(block, Table):
            key = "/".join(["report", *headings])
            seen[key] = seen.get(key, 0) + 1
            numbered = key if seen[key] == 1 else f"{key}_{seen[key]}"
            yield numbered, (_distinct(block.columns), [list(row) for row in block.rows[:MAX_ROWS]])


def _distinct(columns: Any) -> list[str]:
    """W&B wants every column's name once; the report has `n` behind two measures."""
    return [name if name not in columns[:i] else f"{columns[i - 1]}: {name}" for i, name in enumerate(columns)]


def plot_keys(results: Results) -> list[str]:
    """The names that the plots are logged by."""
    return []


def _report(results: Results, name: str) -> wandb.Artifact:
    """The report as people and as programs read it."""
    import wandb

    artifact = wandb.Artifact(f"report-{slug(name)}"[:128], type="report")
    texts = {
        "report.md": markdown(blocks(results)),
        "results.json": exports.json_text(results),
        "results.csv": exports.csv_table(results),
    }
    for file, text in texts.items():
        with artifact.new_file(file, encoding="utf-8") as out:
            out.write(text + "\n")
    return artifact
