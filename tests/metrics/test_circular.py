"""Circular evaluation of MMBench: an item is asked in every rotation of its options, and right only in all of them."""

from __future__ import annotations

import base64
import csv
import io
import json

import pytest
from PIL import Image
from support.fake_runs import write_run
from support.readers import read_task

from delamo.data.rotations import original, rotations
from delamo.metrics.circular import circular_items, vanilla_accuracy
from delamo.pipeline import run_experiment
from delamo.records import ItemScore, Sample
from delamo.reports.report import report
from delamo.runs.read import read_run
from delamo.store import read_rows

NUM_ITEMS = 3


@pytest.fixture
def dev(tmp_path):
    out = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(out, "PNG")
    image = base64.b64encode(out.getvalue()).decode()
    with (tmp_path / "dev.tsv").open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(["index", "question", "A", "B", "C", "D", "answer", "image"])
        for i in range(NUM_ITEMS + 1):
            writer.writerow([i, f"Which shape, {i}?", "circle", "square", "star", "cross" if i % 2 else "", "C", image])
    return tmp_path / "dev.tsv"


def test_rotations_by_hand():
    sample = Sample(id="m", instruction="?", answer="c", options=("a", "b", "c"), gold=2)
    turned = [(s.id, s.options, s.gold, s.answer) for s in rotations(sample)]
    assert turned == [
        ("m", ("a", "b", "c"), 2, "c"),
        ("m@rotation-1", ("b", "c", "a"), 1, "c"),
        ("m@rotation-2", ("c", "a", "b"), 0, "c"),
    ]
    assert all(s.options[s.gold] == s.answer and original(s.id) == "m" for s in rotations(sample))


def row(id: str, correct: bool | None) -> ItemScore:
    return ItemScore(
        id=id,
        text="",
        prediction=None if correct is None else "A",
        gold="A",
        parsed=correct is not None,
        correct=correct,
    )


def test_scores_by_hand():
    outcomes = {
        "all": [True, True, True],
        "position": [True, False, True],  # right as first asked by its place, not by its content
        "unread": [True, None, True],
        "first": [False, True, True],
        "silent": [None, True, True],
    }
    rows = [
        row(id if k == 0 else f"{id}@rotation-{k}", correct)
        for id, found in outcomes.items()
        for k, correct in enumerate(found)
    ]
    items, bad = circular_items(rows, dict.fromkeys(outcomes, 3))
    assert not bad
    assert {item.id: item.correct for item in items} == {
        "all": True,
        "position": False,
        "unread": False,
        "first": False,
        "silent": None,
    }
    assert vanilla_accuracy(rows, items) == 3 / 5


def test_an_item_without_all_of_its_rotations_is_quarantined():
    rows = [row("a", True), row("a@rotation-1", True), row("b", True), row("c@rotation-1", True)]
    items, bad = circular_items(rows, {"a": 2, "b": 2, "c": 2})
    assert [item.id for item in items] == ["a"]
    assert [(one.id, one.reason) for one in bad] == [("b", "rotation missing"), ("c", "rotation missing")]


def test_the_task_asks_test_items_in_turn_and_validation_once(dev):
    wanted = {"annotation": dev, "num_val_samples": 1, "num_test_samples": NUM_ITEMS}
    plain, circular = read_task("mmbench", **wanted), read_task("mmbench", **wanted, circular=True)
    assert [s for s in circular.test if "@" not in s.id] == plain.test and circular.validation == plain.validation
    assert len(circular.test) == sum(len(s.options) for s in plain.test)
    assert circular.digest != plain.digest


def test_a_cell_reports_both_accuracies(dev, experiment_config, tmp_path):
    config = experiment_config(
        "task=mmbench",
        f"task.annotation={dev}",
        "task.circular=true",
        "task.num_val_samples=1",
        f"task.num_test_samples={NUM_ITEMS}",
        "selector=none",
        "pool.size=50",
        "budget.num_samples=5",
        "student.max_new_tokens=24",
        "student.device=cpu",
        f"paths.runs={tmp_path / 'runs'}",
        f"paths.store={tmp_path / 'store'}",
    )
    folder = run_experiment(config)
    run = read_run(folder)
    asked = read_rows(ItemScore, folder / "rotations.jsonl")
    assert (run.metrics["test"]["n"], len(run.scores)) == (NUM_ITEMS, NUM_ITEMS) and len(asked) > 2 * NUM_ITEMS
    right = [bool(one.correct) for one in asked if "@" not in one.id]
    assert run.metrics["test"]["vanilla_accuracy"] == sum(right) / NUM_ITEMS
    assert run.metrics["test"]["accuracy"] <= run.metrics["test"]["vanilla_accuracy"]


def test_the_report_has_both(tmp_path):
    path = write_run(tmp_path, task="mmbench", selector="random", seed=0, bits="1100")
    metrics = json.loads((path / "metrics.json").read_text())
    assert "Circular" not in report(tmp_path)
    metrics["test"]["vanilla_accuracy"] = 0.75
    (path / "metrics.json").write_text(json.dumps(metrics))
    text = report(tmp_path)
    assert "## Circular evaluation" in text
    assert any(
        [cell.strip() for cell in line.split("|")][1:6] == ["mmbench", "random", "0", "75.0", "50.0"]
        for line in text.splitlines()
    )
