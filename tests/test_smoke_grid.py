"""The smoke grid of Table 1: every selector of the paper on the embedded models, from nothing to the report."""

from __future__ import annotations

from pathlib import Path

from support.command import delamo

from delamo.runs.read import finished_runs

SELECTORS = {"none", "full_data", "validation_data", "random", "insta", "superfiltering", "error_driven"}

SMALLER = ("pool.size=200", "budget.num_samples=30", "task.num_val_samples=12", "task.num_test_samples=12")
"""The same cells in a fraction of the time."""


def test_the_smoke_grid_of_table_1_runs(tmp_path: Path):
    done = delamo("run", "-m", "experiment=table1", "scale=micro", "fast=true", *SMALLER, cwd=tmp_path, timeout=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    more = ("selector=random", "seed=1,2")  # the grid has one seed
    done = delamo(
        "run", "-m", "experiment=table1", "scale=micro", "fast=true", *more, *SMALLER, cwd=tmp_path, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    runs = finished_runs(tmp_path / "runs").runs
    assert len(runs) == 9 and {run.cell["selector"] for run in runs} == SELECTORS
    assert sorted(run.cell["seed"] for run in runs if run.cell["selector"] == "random") == [0, 1, 2]
    again = delamo("run", "-m", "experiment=table1", "scale=micro", "fast=true", *SMALLER, cwd=tmp_path, timeout=300)
    assert again.returncode == 0 and "tune:" not in again.stderr
    table = delamo("report", cwd=tmp_path, timeout=300)
    assert table.returncode == 0 and all(f"| {name} " in table.stdout for name in SELECTORS - {"none", "random"})
