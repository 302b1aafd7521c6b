"""Build the dashboard of a comparison: a W&B workspace of the metrics and tables that cells and reports log.

    delamo run -m experiment=table1 logger=wandb logger.mode=online
    delamo report runs=runs logger=wandb logger.mode=online
    delamo dashboard runs=runs entity=TEAM

Building it needs no account, saving it does. Panels are made for the tasks, budgets, methods and skills that the runs
have.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from delamo.reports.comparison import Comparison, compare_runs
from delamo.reports.methods import RANDOM
from delamo.runs.read import Run, finished_runs
from delamo.store import write_text
from delamo.tracking.cells import cell_key
from delamo.tracking.comparison import RESULTS, X, curves, plot_keys, tables_of

if TYPE_CHECKING:
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

BY_SELECTOR = "selector.name"
PINNED = ("config:task.name", "config:selector.name", "config:budget.name", "config:seed", "summary:test/accuracy")
EXTRA = "the dashboard needs wandb-workspaces: pip install 'delamo[dashboard]'"
NO_ACCOUNT = (
    "no W&B account is at hand: run `wandb login`, or set WANDB_API_KEY; without one, out=FILE writes the dashboard's "
    "specification, and logger=wandb keeps working offline"
)


def dashboard(
    runs: Path, *, project: str, entity: str | None, group: str | None, reference: str = RANDOM, out: Path | None = None
) -> str:
    """Save the dashboard of the finished runs below a folder, or write its specification to a file.

    Args:
        runs: a folder of runs; what they hold decides which panels there are.
        project: of W&B, the one that the runs are logged to.
        entity: user or team; None is the account's own.
        group: the W&B group whose runs are shown, with the comparison's; None shows all of the project.
        reference: as in the report.
        out: a JSON file; nothing is sent then, and no account is needed.

    Returns:
        The address of the dashboard, or where its specification lies.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no finished run in it, no account, no wandb-workspaces, or W&B refused.
    """
    comparison = compare_runs(finished_runs(runs), reference)
    if out is not None:
        view = build(comparison, project=project, entity=entity or "", group=group)
        write_text(out, json.dumps(specification(view), indent=2) + "\n")
        return f"{out}: the specification of the dashboard, not sent"
    return _save(comparison, project, entity, group)


def build(comparison: Comparison, *, project: str, entity: str, group: str | None) -> ws.Workspace:
    """Build the workspace without saving it."""
    ws = _workspaces()
    shown = ws.RunsetSettings(pinned_columns=list(PINNED))
    if group:
        shown.filters = ws.Or(ws.Metric("Group") == group, ws.Metric("JobType") == "comparison")
    return ws.Workspace(
        name=f"delamo: {comparison.root.resolve().name}",
        entity=entity,
        project=project,
        sections=_sections(comparison),
        runset_settings=shown,
    )


def specification(view: ws.Workspace) -> dict[str, Any]:
    """Return what W&B would be sent."""
    return view._model.model_dump(mode="json", by_alias=True, exclude_none=True)


def _sections(comparison: Comparison) -> list[ws.Section]:
    ws, panels = _workspaces(), _panels()
    table = panels.WeavePanelSummaryTable
    reports = [table(table_name=key) for key in tables_of(comparison) if key != RESULTS]
    sections = {
        "Accuracy by selector": _bars(comparison.runs),
        "Budget curves": _curves(comparison),
        "Comparison": [table(table_name=RESULTS)],
        "Plots": [panels.MediaBrowser(media_keys=[key]) for key in plot_keys(comparison)],
        "From error to skill to sample": [table(table_name=key) for key in ("errors", "selection")],
        "Test items": [
            table(table_name="items"),
            *([table(table_name="by_skill")] if _planted(comparison.runs) else []),
        ],
        "Report": reports,
        "Tuning": [panels.LinePlot(title="Loss", x="Step", y=["train/loss"], groupby=panels.Config(BY_SELECTOR))],
        "Configurations": [panels.RunComparer(diff_only="split")],
    }
    return [
        ws.Section(name=name, panels=contents, is_open=name not in ("Report", "Tuning", "Configurations"))
        for name, contents in sections.items()
        if contents
    ]


def _bars(runs: Sequence[Run]) -> list[wr.BarPlot]:
    """Build a panel for each student and task: mean accuracy of a selector at each budget, with its spread."""
    panels, metrics = _panels(), {}
    for run in runs:
        metrics.setdefault((run.cell["student"], run.cell["task"]), {})[cell_key(run)] = None
    return [
        panels.BarPlot(
            title=f"{task}, student {student}: accuracy",
            metrics=list(keys),
            groupby=panels.Config(BY_SELECTOR),
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
            range_x=(0, 1),
        )
        for (student, task), keys in metrics.items()
    ]


def _curves(comparison: Comparison) -> list[wr.LinePlot]:
    """Build a panel for each student, pool and task: a line for each method over the number of samples."""
    panels, keys = _panels(), dict.fromkeys(key for point in curves(comparison) for key in point if key != X)
    targets: dict[str, list[str]] = {}
    for key in keys:
        targets.setdefault(key.rpartition("/")[0], []).append(key)
    return [
        panels.LinePlot(
            title=f"{target.removeprefix('curve/')}: accuracy % over samples",
            x=X,
            y=lines,
            title_x="samples selected",
            title_y="accuracy %",
        )
        for target, lines in targets.items()
    ]


def _planted(runs: Sequence[Run]) -> bool:
    return any(run.metrics["planted"] for run in runs)


def _save(comparison: Comparison, project: str, entity: str | None, group: str | None) -> str:
    _workspaces()
    import wandb

    try:
        api = wandb.Api()
    except wandb.errors.UsageError as error:
        raise ValueError(NO_ACCOUNT) from error
    try:
        view = build(comparison, project=project, entity=entity or api.default_entity, group=group)
        return view.save().url
    except wandb.Error as error:
        raise ValueError(f"W&B did not take the dashboard of {project}: {error}") from error


def _workspaces() -> Any:
    try:
        import wandb_workspaces.workspaces as ws
    except ModuleNotFoundError as error:
        raise ValueError(EXTRA) from error
    return ws


def _panels() -> Any:
    import wandb_workspaces.reports.v2 as wr

    return wr
