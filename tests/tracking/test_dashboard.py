"""The dashboard's specification, built without an account: every metric and table that it names is logged."""

from __future__ import annotations

import json

import pytest
from support.fake_runs import write_example, write_run

from delamo.reports.comparison import compare_runs
from delamo.runs.read import finished_runs
from delamo.tracking import dashboard as module
from delamo.tracking.comparison import plot_keys, tables_of
from delamo.tracking.dashboard import build, dashboard, specification

pytest.importorskip("wandb_workspaces")


@pytest.fixture
def runs(tmp_path):
    folder = write_example(tmp_path)
    for task in ("micro/easy", "micro/hard"):
        for seed in range(2):
            more = {"task": task, "selector": "random", "seed": seed, "budget": "b80", "num_samples": 80}
            write_run(folder, **more, bits="1" * 20 + "0" * 20)
    return folder


@pytest.fixture
def spec(runs):
    view = build(compare_runs(finished_runs(runs)), project="p", entity="team", group="table1")
    return specification(view)


def sections(spec) -> dict[str, list[dict]]:
    found = spec["spec"]["section"]["panelBankConfig"]["sections"]
    return {section["name"]: section["panels"] for section in found}


def test_it_has_a_section_for_everything_that_is_compared(spec):
    assert (spec["entity"], spec["project"]) == ("team", "p")
    assert list(sections(spec)) == [
        *("Accuracy by selector", "Budget curves", "Comparison", "Plots", "From error to skill to sample"),
        *("Test items", "Report", "Tuning", "Configurations"),
    ]


def test_bars_are_by_selector_for_each_task_and_budget(spec):
    easy, hard = (panel["config"] for panel in sections(spec)["Accuracy by selector"])
    assert easy["chartTitle"] == "micro/easy, student micro: accuracy" and "hard" in hard["chartTitle"]
    prefix = "accuracy/micro/micro_easy"
    assert {f"{prefix}/b20", f"{prefix}/b80", f"{prefix}/any_budget"} == set(easy["metrics"])
    assert easy["groupBy"] == "selector.value.name" and easy["groupAgg"] == "mean"


def test_curves_run_over_the_number_of_samples(spec):
    easy, _ = (panel["config"] for panel in sections(spec)["Budget curves"])
    assert easy["xAxis"] == "num_samples"
    assert {key.rpartition("/")[2] for key in easy["metrics"]} == {"pretrained", "random", "error_driven"}


def test_tables_are_those_that_are_logged(spec, runs):
    text = json.dumps(spec)
    results = compare_runs(finished_runs(runs))
    names = ("selection", "errors", "items", "by_skill", *tables_of(results), *plot_keys(results))
    for name in names:
        assert f'"{name}"' in text, name


def test_only_the_group_and_its_comparison_are_shown(spec, runs):
    filters = json.dumps(spec["spec"]["section"]["runSets"][0]["filters"])
    assert "table1" in filters and "comparison" in filters
    everything = build(compare_runs(finished_runs(runs)), project="p", entity="team", group=None)
    assert "table1" not in json.dumps(specification(everything))


def test_out_writes_the_specification_and_needs_no_account(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_save", lambda *_: pytest.fail("sent"))
    said = dashboard(runs, project="p", entity=None, group=None, out=tmp_path / "spec.json")
    assert "not sent" in said
    assert json.loads((tmp_path / "spec.json").read_text())["spec"]


def test_without_an_account_it_says_what_to_do(runs, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    with pytest.raises(ValueError, match="wandb login"):
        dashboard(runs, project="p", entity=None, group=None)


def test_without_runs_it_says_how_to_make_them(tmp_path):
    (tmp_path / "runs").mkdir()
    with pytest.raises(ValueError, match="no finished run"):
        dashboard(tmp_path / "runs", project="p", entity=None, group=None)
