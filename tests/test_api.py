"""The public API: what a notebook does, on an experiment whose models compute nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.fake_models import Calls, FakeModels
from support.fake_runs import write_example

import delamo
from delamo.records import Selected

SMALL = (
    *("task=micro/numbers", "budget=custom", "budget.num_samples=6", "pool.size=40"),
    *("task.num_val_samples=8", "task.num_test_samples=5"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> delamo.Run:
    """A small experiment, composed and run as in a notebook; the models are fakes."""
    folder, calls = tmp_path_factory.mktemp("api"), Calls()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("delamo.experiment.experiment.Models", lambda config: FakeModels(config, calls))
        paths = f"paths.runs={folder}/runs", f"paths.store={folder}/store"
        return delamo.run(delamo.compose(*SMALL, *paths, "selector=error_driven"))


def test_importing_it_is_quick_and_brings_nothing_heavy():
    heavy = ("torch", "transformers", "numpy", "hydra", "scipy", "pandas", "pytorch_lightning")
    program = f"import sys, delamo; print([name for name in {heavy!r} if name in sys.modules], len(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded, number = done.stdout.rsplit(maxsplit=1)
    assert loaded == "[]" and int(number) < 120  # modules, of which Python itself needs some 60


def test_every_public_name_is_there():
    for name in delamo.__all__:
        assert getattr(delamo, name) is not None and name in dir(delamo)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = delamo.nothing


def test_a_run_shows_what_it_did(run):
    assert run.path.parent.name == "runs" and run.accuracy == 1.0
    assert len(run.items) == 5 and len(run.selection) == len(run.selected_samples) == 6
    assert isinstance(run.selection[0], Selected) and [row.rank for row in run.selection[:2]] == [0, 1]
    assert run.names["selector"] == "error_driven" and run.config["budget.num_samples"] == 6
    skill = run.skills[0]
    assert skill.skill == "count red circles" and run.mistakes.get(skill.val_id).step == 0
    assert run.answers.get(skill.val_id).correct is not True
    assert run.adapter_path == run.path / "adapter"
    assert run.image(run.validation_samples[0], width=64).width == 64
    with pytest.raises(KeyError, match="no row of skills has the id 'x'"):
        run.skills.get("x")


def test_a_run_follows_a_sample_both_ways(run):
    assert "count red circles" in run.trace(run.skills[0].val_id)
    assert run.selection[0].id in run.why(run.selection[0].id)
    with pytest.raises(ValueError, match="no validation sample 'nobody'"):
        run.trace("nobody")


def test_objects_show_themselves_in_a_notebook(run):
    assert "accuracy 100.0 % of 5" in repr(run) and "<table>" in run._repr_html_()
    assert repr(run.items) == "<5 test items>" and "numbers-test-0000" in run.items._repr_html_()
    assert run.trace(run.skills[0].val_id)._repr_html_().startswith("<pre>")
    assert "&lt;b&gt;" in delamo.api.Text("<b>")._repr_html_()


def test_records_become_a_data_frame(run):
    pandas = pytest.importorskip("pandas")
    frame = run.items.to_pandas()
    assert isinstance(frame, pandas.DataFrame) and frame.shape == (5, 6) and frame.correct.all()


def test_finished_runs_are_found(run, tmp_path):
    assert [found.path for found in delamo.load_runs(run.path.parent)] == [run.path]
    with pytest.raises(FileNotFoundError, match="no such folder"):
        delamo.load_runs(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("override", "message"),
    [("task=nowhere", "task/nowhere"), ("+sed=1", "did you mean seed"), ("budget.num_samples=0", "at least 1")],
)
def test_what_does_not_compose_is_named(override, message):
    with pytest.raises(ValueError, match=message):
        delamo.compose(*SMALL, override)


def test_a_report_of_a_folder(tmp_path):
    runs = write_example(tmp_path)
    report = delamo.report(runs)
    assert str(report).startswith("# Report on") and report.text("json").startswith("{")
    assert any("error_driven beats random" in line for lines in report.verdicts.values() for line in lines)
    assert report.save(tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert {"random", "error_driven"} <= set(report.to_pandas().method.str.split(",").str[0])
    with pytest.raises(FileNotFoundError, match="no such folder"):
        delamo.report(tmp_path / "nowhere")


def test_the_tuned_student_answers(tmp_path):
    """The real embedded student.

    `none` tunes nothing, so that one evaluation of two samples is all that is computed.
    """
    paths = f"paths.runs={tmp_path}/runs", f"paths.store={tmp_path}/store", "student.device=cpu"
    sizes = "task.num_val_samples=1", "task.num_test_samples=2"
    run = delamo.run(delamo.compose(*sizes, *paths, "selector=none", "student.max_new_tokens=120"))
    student = delamo.load_student(run)
    sample = run.test_samples[0]
    reply = student.ask(sample.instruction, options=sample.options, image=sample.image)
    assert reply == run.items[0].text and student.model.config.model_type and student.processor.tokenizer


def test_the_answer_is_read_by_the_rule_of_the_scores():
    assert delamo.parse_answer("The answer is (b).", options=["red", "blue"]).prediction == "B"
    assert delamo.parse_answer("I cannot tell.", options=["red", "blue"]).prediction is None


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no metrics\.json"):
        delamo.Run(Path(tmp_path))


def test_a_report_shows_itself_in_a_notebook(tmp_path):
    report = delamo.report(write_example(tmp_path))
    assert "<table" in report._repr_html_() and "<head>" not in report._repr_html_()
    assert report._repr_markdown_() == str(report)
