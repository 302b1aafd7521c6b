"""What Weights & Biases gets, read back from its offline files: a run for each cell, and one for the comparison."""

from __future__ import annotations

import contextlib
import csv
import json
import re
from importlib import import_module
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from support.fake_runs import write_example
from support.offline_runs import OfflineRun, read_runs
from support.table_runs import write_table1

from delamo.config.compose import read_experiment, read_verb
from delamo.config.conf import conf_dir
from delamo.config.secrets import SecretInConfigError
from delamo.reports.comparison import compare_runs
from delamo.runs.read import finished_runs
from delamo.tracking import cells
from delamo.tracking.comparison import log_comparison, plot_keys
from delamo.tracking.wandb_runs import curve_key, open_run

CANARY = "0123456789abcdef0123456789abcdef01234567"
SMALL = (
    "pool.size=40",
    "budget=custom",
    "budget.num_samples=4",
    "task.num_val_samples=2",
    "task.num_test_samples=2",
)


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """W&B writes below the test's folder, and keys in the environment are there to be found."""
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home" / name.lower()))
    monkeypatch.setenv("NETRC", str(tmp_path / "home/netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_CONSOLE", "off")


@pytest.fixture
def config(experiment_config, tmp_path):
    """A cell's config with this logger; `delamo run` would have run the cell that the folder `ours` holds."""
    return experiment_config("logger=wandb", "task=micro/numbers", f"paths.runs={tmp_path}/runs")


@pytest.fixture
def ours(tmp_path) -> Path:
    """A finished error-driven run made by hand, with an adapter."""
    write_example(tmp_path)
    (folder,) = (tmp_path / "runs").glob("micro_easy-micro-error_driven-b20-s0-*")
    (folder / "adapter").mkdir()
    (folder / "adapter/adapter_model.safetensors").write_bytes(b"weights")
    return folder


def logged(root: Path) -> OfflineRun:
    (run,) = read_runs(root)
    return run


def log(config, folder: Path) -> OfflineRun:
    with cells.cell_run(config, folder, 1) as run:
        cells.log_results(run, config, folder)
    return logged(folder)


def test_a_cell_is_one_finished_run_named_by_its_choices(config, ours):
    found = log(config, ours)
    assert found.exit_code == 0
    assert (found.run.display_name, found.run.job_type, found.run.run_group) == (ours.name, "cell", "runs")
    assert re.fullmatch(r"0123456789-1-[0-9a-f]{6}", found.run.run_id) and found.run.project == "delamo"
    assert set(found.run.tags) == {
        *("task=micro/numbers", "selector=error_driven", "budget=micro_500"),
        *("student=micro", "teacher=micro"),
    }
    assert found.config["selector"]["name"] == "error_driven" and found.config["budget"]["num_samples"] == 500
    assert not {"paths", "logger", "force", "fast"} & set(found.config)


def test_its_metrics_and_its_tables_are_those_of_the_run_directory(config, ours):
    found = log(config, ours)
    assert found.last["test/accuracy"] == found.last["accuracy/micro/micro_easy/b20"] == 0.9
    assert found.last["planted/mistake_step/recall_at_3"] == 0.9 and "planted/by_skill/size/n" not in found.last
    items = found.table("items")
    assert [row["correct"] for row in items] == [True] * 36 + [False] * 4
    assert items[0]["question"] == "Is it big?" and items[0]["reply"].startswith("So it is big.")
    skills = {row["skill"]: row for row in found.table("by_skill")}
    assert skills["size"]["gain"] == pytest.approx(0.75) and skills["colour"]["missing"] is False


def test_the_selection_leads_from_sample_to_skill_to_error(config, ours):
    found = log(config, ours)
    retrieved, filled = found.table("selection")
    assert (retrieved["id"], retrieved["rank"], retrieved["score"]) == ("p7", 0, 7.25)
    assert retrieved["instruction"].startswith("Which shape is larger?")
    assert retrieved["skill"] == "compare the size of shapes" and retrieved["matched terms"] == "size, shapes"
    assert (retrieved["error"], retrieved["mistake step"]) == ("v2", "It is small.")
    assert retrieved["error question"] == "Is the red circle big or small?"
    assert (filled["id"], filled["reason"], filled["error"], filled["skill"]) == ("p3", "fill", None, None)
    (error,) = found.table("errors")
    assert (error["id"], error["prediction"], error["step"], error["steps"]) == ("v2", "B", 2, 3)
    assert (error["missing skill"], error["samples brought in"]) == ("compare the size of shapes", 1)
    assert error["right after tuning"] is True


def test_its_files_are_artifacts_and_its_weights_a_reference(config, ours):
    artifacts = log(config, ours).artifacts
    contents = {name: {entry.path: entry for entry in one.manifest.contents} for name, one in artifacts.items()}
    assert {"selection.jsonl"} == set(contents["selection-0123456789"])
    assert {"metrics.json", "items.jsonl", "config.yaml", "stages.json"} <= set(contents["results-0123456789"])
    (weights,) = contents["adapter-0123456789"].values()
    assert weights.ref == (ours / "adapter/adapter_model.safetensors").as_uri() and weights.size == 7
    assert artifacts["adapter-0123456789"].type == "model"


def test_a_cell_that_fails_marks_its_run_failed(config, tmp_path):
    with pytest.raises(KeyboardInterrupt), cells.cell_run(config, tmp_path / "cell-0123456789", 1):
        raise KeyboardInterrupt
    assert logged(tmp_path).exit_code == 1


def test_a_finished_cell_is_logged_once_in_each_project(config, experiment_config, ours, tmp_path):
    for _ in range(2):
        cells.log_finished(config, ours, 2)
    assert logged(ours).last["test/accuracy"] == 0.9
    elsewhere = experiment_config("logger=wandb", "logger.project=other", f"paths.runs={tmp_path}/runs")
    cells.log_finished(elsewhere, ours, 3)
    cells.log_finished(config, ours, 3)
    assert [run.run.project for run in read_runs(ours)] == ["delamo", "other"]
    (ours / "status.json").write_text(json.dumps({"state": "done", "result": "of other code"}))
    cells.log_finished(elsewhere, ours, 4)
    assert len(read_runs(ours)) == 3


def test_what_is_offline_so_far_is_logged_again_online_and_never_the_other_way_round(
    config, experiment_config, ours, monkeypatch
):
    opened = []

    @contextlib.contextmanager
    def opening(config, folder, attempt):
        opened.append(config.logger.mode.name)
        with cell_run(config, folder, attempt) as run:
            yield run

    cell_run = cells.cell_run
    monkeypatch.setattr(cells, "cell_run", opening)
    cells.log_finished(config, ours, 1)
    marker = json.loads((ours / cells.MARKER).read_text())
    assert [entry["mode"] for entry in marker["logged"]] == ["offline"]
    online = experiment_config("logger=wandb", "logger.mode=online", f"paths.runs={ours.parent}")
    monkeypatch.setattr(cells, "cell_run", lambda config, folder, attempt: opening(offline, folder, attempt))
    offline = config
    cells.log_finished(online, ours, 2)
    assert opened == ["offline", "offline"]  # tried again; here without an account
    marker["logged"][0]["mode"] = "online"
    (ours / cells.MARKER).write_text(json.dumps(marker))
    cells.log_finished(online, ours, 3)
    cells.log_finished(config, ours, 3)
    assert len(opened) == 2


def test_two_runs_of_one_config_are_two_runs(config, tmp_path):
    for folder in ("a", "b"):
        with cells.cell_run(config, tmp_path / folder / "cell-0123456789", 1):
            pass
    assert len({run.run.run_id for run in read_runs(tmp_path)}) == 2


def test_no_key_is_written(config, ours, tmp_path, monkeypatch):
    for name in ("OPENAI_API_KEY", "WANDB_API_KEY", "HF_TOKEN"):
        monkeypatch.setenv(name, CANARY)
    log(config, ours)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 20 and not [path for path in files if CANARY.encode() in path.read_bytes()]


def test_a_config_with_a_key_opens_no_run(config, tmp_path):
    where = {
        "name": "x",
        "job_type": "cell",
        "group": "x",
        "config": {"teacher": {"api_base": "sk-proj-abcdefghijklmnop"}},
    }
    with pytest.raises(SecretInConfigError, match=r"teacher\.api_base"), open_run(config.logger, tmp_path, **where):
        raise AssertionError("opened")
    assert not read_runs(tmp_path)


def test_online_without_an_account_says_what_to_do(experiment_config, tmp_path):
    online = experiment_config("logger=wandb", "logger.mode=online")
    with (
        pytest.raises(ValueError, match=r"wandb login.*logger\.mode=offline"),
        cells.cell_run(online, tmp_path / "x", 1),
    ):
        raise AssertionError("opened")


DOCUMENT = Path(__file__).parents[2] / "docs/tracking.md"


@pytest.mark.parametrize("line", re.findall(r"^    (delamo .*)$", DOCUMENT.read_text(), re.MULTILINE))
def test_every_command_of_the_page_composes(line):
    verb, *overrides = line.partition("#")[0].removeprefix("delamo ").split()
    overrides = [one.partition(",")[0] for one in overrides if one != "-m"]
    import_module(f"delamo.cli.verbs.{verb}")  # registers its schema
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        composed = compose({"run": "config"}.get(verb, verb), overrides=overrides)
    (read_experiment if verb == "run" else read_verb)(composed)


def test_the_page_names_every_table_and_artifact(config, ours):
    found = log(config, ours)
    text = DOCUMENT.read_text()
    for key in found.last:
        if key.endswith("/path"):
            assert f"`{key.removesuffix('/path')}`" in text, key
    for artifact in found.artifacts.values():
        assert artifact.name.startswith("run-") or f"`{artifact.name.partition('-')[0]}-" in text, artifact.name


def test_a_group_is_the_experiment_unless_one_is_given(config, experiment_config, tmp_path):
    assert cells.sweep_name(config) == "runs"
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            composed = compose("config", overrides=["experiment=demo"], return_hydra_config=True)
        HydraConfig.instance().set_config(composed)
        assert cells.sweep_name(config) == "demo"
    finally:
        HydraConfig.instance().cfg = None
    given = experiment_config("logger=wandb", "logger.group=mine")
    with cells.cell_run(given, tmp_path / "cell-0123456789", 1):
        pass
    assert logged(tmp_path).run.run_group == "mine"


def test_two_real_cells_of_one_process_are_two_runs_and_csv_writes_the_same_numbers(experiment_config, tmp_path):
    from delamo.pipeline import run_experiment

    where = (f"paths.runs={tmp_path}/runs", f"paths.store={tmp_path}/store")
    tuned = run_experiment(experiment_config(*SMALL, *where, "selector=random", "logger=wandb"))
    untuned = run_experiment(experiment_config(*SMALL, *where, "selector=none", "logger=wandb"))
    run_experiment(experiment_config(*SMALL, *where, "selector=none", "logger=wandb"))  # found finished and logged
    one, two = logged(tuned), logged(untuned)
    assert [run.exit_code for run in (one, two)] == [0, 0]
    assert [run.config["selector"]["name"] for run in (one, two)] == ["random", "none"]
    assert one.last["train/loss"] > 0 and "train/loss" not in two.last
    assert len(one.table("selection")) == 4 and "selection/path" not in two.last
    assert "adapter-" + tuned.name[-10:] in one.artifacts

    again = run_experiment(
        experiment_config(*SMALL, where[1], f"paths.runs={tmp_path}/csv", "selector=none", "logger=csv")
    )
    (row,) = csv.DictReader((again / "curves/attempt_1/metrics.csv").open())
    assert float(row["test/accuracy"]) == two.last["test/accuracy"]
    plain = run_experiment(
        experiment_config(*SMALL, where[1], f"paths.runs={tmp_path}/none", "selector=none", "logger=none")
    )
    assert not (plain / "curves").exists() and not (plain / "wandb").exists()
    assert (
        json.loads((plain / "metrics.json").read_text())["test"]
        == json.loads((again / "metrics.json").read_text())["test"]
    )


def test_w_and_b_that_fails_leaves_the_cell_finished(config, ours, monkeypatch, capsys):
    import wandb

    def refuse(*_, **__):
        raise wandb.errors.CommError("no space")

    with cells.cell_run(config, ours, 1) as run:
        monkeypatch.setattr(run, "log_artifact", refuse)
        cells.log_results(run, config, ours)
    assert "W&B did not take the results (no space)" in capsys.readouterr().err
    assert not (ours / cells.MARKER).exists()


def test_a_comparison_is_a_run_with_the_reports_tables_and_curves(config, ours, tmp_path):
    runs = tmp_path / "runs"
    before = finished_runs(runs)
    log_comparison(runs, config.logger)
    found = logged(runs)
    assert (found.exit_code, found.run.job_type, found.run.run_group) == (0, "comparison", "runs")
    rows = found.table("comparison")
    (mine,) = [row for row in rows if row["target"] == "micro/easy" and row["method"] == "error_driven"]
    assert mine["accuracy"] == 0.9 and mine["beats_reference"] == 1 and mine["seed"] == "0"
    assert {row["seed"] for row in rows if row["selector"] == "random"} == {"mean", "0", "1", "2"}
    (point,) = [row for row in found.history if "num_samples" in row]
    assert point["num_samples"] == 20
    assert point[curve_key("micro", "micro", "micro/easy", "error_driven")] == 90
    tables = [key.removesuffix("/path") for key in found.last if key.startswith("report/") and key.endswith("/path")]
    assert any(key.endswith("/micro_easy") for key in tables) and any("/Planted_truth" in key for key in tables)
    (report,) = (one for one in found.artifacts.values() if one.type == "report")
    files = {entry.path for entry in report.manifest.contents}
    assert files >= {"report.md", "report.html", "results.json", "results.csv"}
    plots = plot_keys(compare_runs(before))
    assert plots and all((found.folder / "files" / found.last[f"{key}/path"]).is_file() for key in plots)
    assert files >= {f"{key}.{kind}" for key in plots for kind in ("png", "svg")}
    assert [run.path for run in finished_runs(runs).runs] == [run.path for run in before.runs]  # it is no run itself


def test_a_table_of_the_paper_is_logged_in_its_layout(config, tmp_path):
    runs = write_table1(tmp_path / "runs")
    log_comparison(runs, config.logger, table="table1", against="paper")
    found = logged(runs)
    assert found.table("layout/table1")[0]["Method"] == "Pre-trained LMM"
    beside = found.table("layout/table1/objects_beside_the_paper_s_MM-Bench")
    assert beside[0]["paper"] == "64.30" and beside[0]["ours (microworld)"].startswith("30.0")
    (report,) = (one for one in found.artifacts.values() if one.type == "report")
    assert "layout.md" in {entry.path for entry in report.manifest.contents}


def test_a_report_goes_to_wandb_or_nowhere(config, experiment_config, ours, tmp_path):
    with pytest.raises(ValueError, match="logger is csv"):
        log_comparison(tmp_path / "runs", experiment_config("logger=csv").logger)
    log_comparison(tmp_path / "runs", experiment_config("logger=none").logger)
    assert not read_runs(tmp_path)
