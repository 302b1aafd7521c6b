"""Runs that an earlier version made: they still report and can be looked up, and are not taken for those of today.

`tests/golden/older_runs` was made by version 0.1.0 before its modules were sorted into rooms: three experiments of six
samples, the
results that look-ups read, and the report that it printed. `@ROOT@` stands for the folder that they lay in.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import delamo
from delamo.experiment.experiment import open_experiment
from delamo.pipeline import find_candidates, plan_audit, plan_experiment
from delamo.records import Selected
from delamo.reports.report import report
from delamo.reports.trace import trace, why
from delamo.runs.folder import read_status, run_folder
from delamo.store import read_rows

GOLDEN = Path(__file__).parents[1] / "golden" / "older_runs"
SMALL = (
    *("task=micro/numbers", "pool.size=60", "task.num_val_samples=6", "task.num_test_samples=6", "budget=custom"),
    *("budget.num_samples=5", "student.device=cpu", "tuning.epochs=1"),
)


@pytest.fixture
def root(tmp_path) -> Path:
    """The older runs and their store, as if they had been made here."""
    for path in GOLDEN.rglob("*"):
        if path.is_file():
            target = tmp_path / path.relative_to(GOLDEN)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(path.read_text().replace("@ROOT@", str(tmp_path)))
    return tmp_path


def test_the_report_is_the_same(root, monkeypatch):
    monkeypatch.chdir(root)
    assert report(Path("runs"), "markdown", "random").strip() == (root / "report.md").read_text().strip()


def test_samples_are_traced_both_ways(root):
    run = next((root / "runs").glob("*-error_driven-*"))
    retrieved = [row for row in read_rows(Selected, run / "selection.jsonl") if row.val_id]
    assert retrieved and '"error_id"' in (run / "selection.jsonl").read_text()  # the name that the field had then
    assert retrieved[0].skill in why(retrieved[0].id, run)
    assert retrieved[0].skill in trace(retrieved[0].val_id, run)
    assert delamo.Run(run).skills.get(retrieved[0].val_id).skill == retrieved[0].skill


@pytest.mark.parametrize(
    ("selector", "same"),
    [
        ("none", {"task"}),
        ("random", {"task", "fingerprints", "audit", "selection"}),
        ("error_driven", {"task", "fingerprints", "audit"}),
    ],
)
def test_they_are_left_as_they_are_and_computed_anew(root, experiment_config, selector, same):
    """What decides a result has grown since: library versions, attention, threads, all of an image's bytes.

    An older run is never taken for one of today: it has another folder, and no stage that runs a model is found done.
    """
    config = experiment_config(*SMALL, f"selector={selector}", f"paths.runs={root}/runs", f"paths.store={root}/store")
    assert read_status(run_folder(config)) == {}
    experiment = open_experiment(config)
    audit = plan_audit(experiment)
    plan = plan_experiment(experiment, audit, find_candidates(experiment, audit))
    assert not any(stage.stored.done for stage in plan.stages().values() if stage.runs_models)
    (older,) = (root / "runs").glob(f"*-{selector}-*")
    stages = json.loads((older / "stages.json").read_text())
    assert same == {n for n, stage in plan.stages().items() if stages.get(n, {}).get("digest") == stage.digest}
