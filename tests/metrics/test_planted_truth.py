"""The planted truth reaches the metrics and nothing else: with other truth, all but the planted metrics is the same."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from delamo.data.microworld import truth
from delamo.data.microworld.questions import KINDS
from delamo.pipeline import run_experiment

pytest.importorskip("pytorch_lightning")
SMALL = (
    "task=micro/surfaces",
    "budget=custom",
    "budget.num_samples=4",
    "pool.size=24",
    "task.num_val_samples=10",
    "task.num_test_samples=6",
    "tuning.epochs=1",
    "tuning.precision=fp32",
)


def run(experiment_config, folder: Path) -> tuple[dict[str, bytes], dict]:
    """(every result in the store but its record of time and place, the cell's planted metrics)."""
    run_folder = run_experiment(experiment_config(*SMALL, f"paths.runs={folder}/runs", f"paths.store={folder}/store"))
    store = folder / "store"
    results = {
        path.relative_to(store).as_posix(): path.read_bytes()
        for path in sorted(store.rglob("*"))
        if path.is_file() and path.suffix in (".jsonl", ".safetensors") and "work" not in path.parts
    }
    return results, json.loads((run_folder / "metrics.json").read_text())["planted"]


def test_other_truth_changes_the_planted_metrics_and_nothing_else(experiment_config, tmp_path, monkeypatch):
    results, planted = run(experiment_config, tmp_path / "true")
    for name, kind in list(KINDS.items()):
        monkeypatch.setitem(KINDS, name, dataclasses.replace(kind, skills=("parity",)))
    monkeypatch.setattr(truth, "first_false_step", lambda locator, steps: 0)
    monkeypatch.setattr(truth, "is_true", lambda sentence, example: False)
    monkeypatch.setattr(truth, "planted_skill", lambda text: "parity")
    others, lied = run(experiment_config, tmp_path / "false")
    assert {name.split("/")[0] for name in results} >= {"answers", "mistakes", "skills", "selection", "tuning"}
    assert others == results
    assert lied["by_skill"] != planted["by_skill"]
    assert lied["mistake_step"] != planted["mistake_step"]
