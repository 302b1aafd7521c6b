"""What docs/own_selector.md shows works as it stands: its Python file, its YAML file, its line, its command."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from support.command import delamo

from delamo.config.plugins import VARIABLE, load_plugins
from delamo.experiment.experiment import read_pool
from delamo.records import Selected
from delamo.runs.read import finished_runs
from delamo.store import file_digest, read_rows

TEXT = (Path(__file__).parents[2] / "docs" / "own_selector.md").read_text(encoding="utf-8")
SMALL = ("pool.size=60", "task.num_val_samples=4", "task.num_test_samples=4", "budget.num_samples=9")
FAST = (*SMALL, "student.max_new_tokens=8", "student.device=cpu", "tuning.epochs=1")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


LINES = "".join(blocks("sh")).splitlines()
(LINE,) = (line.removeprefix("export ").split("=") for line in LINES if line.startswith("export "))
RUN, REPORT = (shlex.split(line)[1:] for line in LINES if line.startswith("delamo "))


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with the page's files in it."""
    here = tmp_path_factory.mktemp("own")
    for block in blocks("python") + blocks("yaml"):
        path = here / re.match(r"# (\S+)\n", block)[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block)
    return here


def test_one_file_one_yaml_and_one_line_are_enough(place, monkeypatch, experiment_config):
    monkeypatch.setenv(*LINE)
    done = delamo(*RUN, *FAST, cwd=place, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    (run,) = finished_runs(place / "runs").runs
    assert run.cell["selector"] == "longest_answers"
    selected = read_rows(Selected, run.path / "selection.jsonl")
    monkeypatch.delenv(VARIABLE)
    pool = read_pool(experiment_config(SMALL[0]).pool)
    samples = [pool.get(row.id) for row in selected]
    assert len(samples) == 9 == len({sample.source for sample in samples})  # there are more sources than that
    assert [row.score for row in selected] == [len(sample.answer) for sample in samples]
    assert selected[0].score == max(len(sample.answer) for sample in pool)
    (manifest,) = (place / "store" / "selection").glob("*/manifest.json")
    assert json.loads(manifest.read_text())["identity"]["reads"]["code"] == file_digest(place / LINE[1])
    table = delamo(*REPORT, cwd=place, timeout=300)
    assert table.returncode == 0 and "| longest_answers" in table.stdout


def test_without_the_line_the_error_names_what_is_missing(place):
    done = delamo(*RUN, "--cfg", "job", cwd=place, timeout=300)
    assert done.returncode == 1 and "schema/selector/longest_answers" in done.stderr


def test_a_misspelled_key_is_an_error_here_too(place, monkeypatch):
    monkeypatch.setenv(*LINE)
    done = delamo(*RUN, "selector.by_sauce=false", "--cfg", "job", cwd=place, timeout=300)
    assert done.returncode == 1 and "by_sauce" in done.stderr


@pytest.mark.parametrize(
    ("name", "message"), [("mine/nowhere.py", "there is no such file"), ("notes.txt", "does not end in .py")]
)
def test_a_file_that_cannot_be_run_is_named(tmp_path, monkeypatch, name, message):
    (tmp_path / "notes.txt").write_text("no Python")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, name)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_plugins()


def test_each_file_is_run_once_and_names_do_not_clash(tmp_path, monkeypatch):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.py").write_text("import sys\nsys.counted = getattr(sys, 'counted', 0) + 1\n")
    monkeypatch.setattr("sys.counted", 0, raising=False)
    monkeypatch.setenv(VARIABLE, f"{tmp_path / 'a' / 'same.py'}:{tmp_path / 'a' / 'same.py'}")
    load_plugins()
    load_plugins()
    import sys

    assert sys.counted == 1
    monkeypatch.setenv(VARIABLE, str(tmp_path / "b" / "same.py"))
    with pytest.raises(ValueError, match="different names"):
        load_plugins()
    del sys.modules["delamo_plugin_same"]


def test_the_page_on_selectors_shows_a_smaller_one(tmp_path, monkeypatch):
    text = (Path(__file__).parents[2] / "docs" / "selectors.md").read_text(encoding="utf-8")
    for name, block in re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", text, re.DOTALL):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(block)
    (line,) = re.findall(r"^DELAMO_PLUGINS=\S+ delamo .*$", text, re.MULTILINE)
    setting, _, *run = shlex.split(line)
    monkeypatch.setenv(*setting.split("="))
    done = delamo(*run, *FAST, "budget=custom", cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    (found,) = finished_runs(tmp_path / "runs").runs
    selected = read_rows(Selected, found.path / "selection.jsonl")
    assert (
        found.cell["selector"] == "longest" and {row.reason for row in selected} == {"longest"} and len(selected) == 9
    )
