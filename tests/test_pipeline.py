"""One cell, with stages that count how often they are called instead of loading models."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import time
from collections import Counter
from pathlib import Path

import pytest
from support.fake_models import Calls, FakeModels, FakeStudent

from delamo.data.microworld.catalogue import TARGETS
from delamo.experiment.experiment import Experiment, open_experiment, samples_digest
from delamo.pipeline import plan_experiment, run_experiment
from delamo.records import LETTERS, Answer, ItemScore, Leak, Quarantined, Sample, Selected
from delamo.reports.comparison import compare_runs
from delamo.reports.render.formats import markdown
from delamo.reports.sections.accuracy import accuracy_blocks
from delamo.runs.folder import ChangedError, read_status, run_folder
from delamo.runs.read import collect
from delamo.stages import audit
from delamo.stages.answers import CollectAnswers, Evaluate
from delamo.stages.mistakes import error_cases
from delamo.stages.plan import Plan
from delamo.stages.selection import check_fill
from delamo.store import locked, read_rows

SMALL = (
    "budget=custom",
    "budget.num_samples=6",
    "pool.size=40",
    "task.num_val_samples=8",
    "task.num_test_samples=5",
)
TASKS = [f"task=micro/{target}" for target in sorted(TARGETS)][:2]


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def opened(calls, experiment_config, tmp_path):
    """A small experiment with fake models, opened."""

    def opened(*overrides: str) -> Experiment:
        config = experiment_config(*SMALL, f"paths.store={tmp_path}/store", *overrides)
        return open_experiment(config, FakeModels(config, calls))

    return opened


@pytest.fixture
def planned(opened):
    """The plan of a small experiment, as if the audit had removed nothing."""

    def planned(*overrides: str) -> Plan:
        experiment = opened(*overrides)
        return plan_experiment(experiment, None, experiment.pool)

    return planned


@pytest.fixture
def run(calls, experiment_config, tmp_path):
    """Run a small experiment; returns its run directory."""

    def run(*overrides: str, models=FakeModels) -> Path:
        paths = f"paths.runs={tmp_path}/runs", f"paths.store={tmp_path}/store"
        config = experiment_config(*SMALL, *paths, *overrides)
        return run_experiment(config, models(config, calls))

    return run


def stages_of(folder: Path) -> dict:
    return json.loads((folder / "stages.json").read_text())


def metrics_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def test_a_cell_leaves_everything_that_a_reader_needs(run):
    folder = run()
    names = {path.name for path in folder.iterdir()} - {".lock"}
    assert names == {
        *("config.yaml", "manifest.json", "status.json", "metrics.json", "stages.json"),
        *("items.jsonl", "selection.jsonl", "quarantine.jsonl", "leaks.jsonl", "adapter"),
    }
    assert read_status(folder)["state"] == "done"
    selected = read_rows(Selected, folder / "selection.jsonl")
    assert len({row.id for row in selected}) == len(selected) == 6
    assert len(read_rows(ItemScore, folder / "items.jsonl")) == 5
    assert (folder / "adapter/adapter_config.json").is_file()
    stages = stages_of(folder)
    order = [
        "task",
        "fingerprints",
        "audit",
        "answers",
        "mistakes",
        "skills",
        "pool_skills",
        "index",
        "selection",
        "tuning",
        "evaluation",
    ]
    assert list(stages) == [*order, "evaluation_before", "answers_after"]
    for entry in stages.values():
        assert Path(entry["path"], "manifest.json").is_file() and entry["seconds"] >= 0 and not entry["reused"]


def test_what_became_of_the_errors_is_asked_only_where_it_is_wanted(run, calls):
    with_it = run()
    answered = calls["answers"]
    assert run("answers_after=false", "force=true") == with_it  # it is no part of the cell's identity
    assert calls["answers"] == answered
    other = run("answers_after=false", "seeds.training=8")
    assert "answers_after" not in stages_of(other) and calls["answers"] == answered


def test_metrics_have_the_documented_shape(run):
    metrics = metrics_of(run())
    assert metrics["schema_version"] == 1
    assert set(metrics["cell"]) == {
        *("task", "student", "teacher", "pool", "selector", "budget"),
        *("num_samples", "seed", "iterations"),
    }
    assert metrics["test"]["n"] == metrics["test"]["correct"] == 5 and metrics["test"]["accuracy"] == 1
    assert 0 < metrics["test"]["wilson_low"] < metrics["test"]["wilson_high"] <= 1
    assert metrics["validation"] == {"n": 8, "correct": 4, "unparsed": 2, "errors": 4, "accuracy": 0.5, "steps": 1}
    assert metrics["selection"]["num_samples"] == 6 == sum(metrics["selection"]["reasons"].values())
    assert set(metrics["planted"]) >= {"precision_at_n", "mistake_step", "skill_agreement", "by_skill"}


def test_skills_are_compared_with_planted_ones_only_where_the_teacher_names_missing_ones(run):
    assert metrics_of(run())["planted"]["skill_agreement"]["n"] == 4
    quoted = metrics_of(run("ablation=no_skill_analysis", "max_fill=1"))
    assert quoted["planted"]["skill_agreement"] is None and quoted["planted"]["mistake_step"] is not None


def test_a_method_that_is_random_fill_is_not_reported_under_its_name(run, opened, tmp_path):
    """The fake teacher's mistake steps share no word with the pool: all of the selection is drawn at random."""
    with pytest.raises(ValueError, match=r"max_fill is 0.1, and 6 of the 6 .* error_driven chose \(100%\)"):
        run("ablation=no_skill_analysis")
    with pytest.raises(ValueError, match=r"max_fill is 0\.1"):
        run("ablation=no_skill_analysis")  # the stored selection is refused as well
    folder = run("ablation=no_skill_analysis", "max_fill=1")
    run("selector=random")
    report = markdown(accuracy_blocks(compare_runs(collect(folder.parent)).budgets[0]))
    assert "‡ Of the selected samples, drawn at random for want of hits: " in report and "100.0 %" in report


@pytest.mark.parametrize(("num_filled", "limit", "is_refused"), [(0, 0.0, False), (1, 0.1, False), (2, 0.1, True)])
def test_fill_up_to_its_limit_is_allowed(num_filled, limit, is_refused, tmp_path):
    rows = [Selected(id=str(i), rank=i, reason="fill" if i < num_filled else "nearest") for i in range(10)]
    with pytest.raises(ValueError, match="2 of the 10") if is_refused else contextlib.nullcontext():
        check_fill(rows, limit, "insta", tmp_path)


def test_what_the_teacher_cost_is_reported_by_stage(run):
    cost = metrics_of(run())["cost"]
    assert set(cost) == {"mistakes", "skills", "pool_skills"}
    assert cost["mistakes"]["calls"] == 4
    assert cost["pool_skills"] == {
        "calls": 40, "prompt_tokens": 400, "completion_tokens": 0, "usd": 20.0, "cached": 0,
    }  # fmt: skip


def test_a_finished_cell_is_not_run_again(run, calls):
    run()
    before = (Counter(calls), list(calls.adapters))
    run()
    assert Counter(calls) - before[0] == Counter({"teacher digest": 1}) and calls.adapters == before[1]


def test_another_budget_asks_the_teacher_nothing_and_the_student_only_after_tuning(run, calls):
    run()
    before = Counter(calls)
    folder = run("budget.num_samples=9")
    new = Counter(calls) - before
    assert not {"mistakes", "skills", "pool_skills", "load teacher"} & set(new)
    assert new["tuning"] == 1 and new["answers"] == 1 and new["evaluation"] == 1
    reused = {name for name, entry in stages_of(folder).items() if entry["reused"]}
    assert reused == {
        "task",
        "fingerprints",
        "audit",
        "answers",
        "mistakes",
        "skills",
        "pool_skills",
        "index",
        "evaluation_before",
    }


def test_random_needs_no_teacher_and_is_shared_by_all_tasks(run, calls):
    first, second = (run("selector=random", task) for task in TASKS)
    assert not {"load teacher", "teacher digest", "answers", "mistakes", "skills", "pool_skills"} & set(calls)
    assert calls["tuning"] == 1
    for name in ("selection", "tuning"):
        assert stages_of(first)[name]["path"] == stages_of(second)[name]["path"]
    assert stages_of(first)["evaluation"]["path"] != stages_of(second)["evaluation"]["path"]
    assert metrics_of(first)["validation"] is None


def test_random_seeds_differ_and_each_is_itself_again(run, tmp_path):
    chosen = [
        [row.id for row in read_rows(Selected, run("selector=random", f"seed={seed}") / "selection.jsonl")]
        for seed in (0, 1)
    ]
    assert chosen[0] != chosen[1]
    again = run("selector=random", f"paths.store={tmp_path}/other", f"paths.runs={tmp_path}/others")
    assert [row.id for row in read_rows(Selected, again / "selection.jsonl")] == chosen[0]


def test_the_pretrained_student_is_evaluated_once_for_all(run, calls):
    for seed in (0, 1):
        folder = run("selector=none", f"seed={seed}")
        assert not (folder / "adapter").exists() and read_rows(Selected, folder / "selection.jsonl") == []
    run("selector=none", "budget.num_samples=9")
    assert calls["evaluation"] == 1 and calls["tuning"] == 0
    run()
    assert calls["evaluation"] == 2  # the tuned one


def test_the_pool_is_annotated_once_for_all_tasks(run, calls):
    for task in TASKS:
        run(task)
    assert calls["pool_skills"] == 1 and calls["mistakes"] == 2


def test_a_sampled_reply_depends_on_the_seed_and_a_greedy_one_does_not(planned):
    def digest(*overrides: str) -> str:
        return planned("selector=none", *overrides).evaluation.digest

    assert digest("seed=0") == digest("seed=1")
    warm = "student.temperature=0.7"
    assert len({digest("seed=0"), digest(warm, "seed=0"), digest(warm, "seed=1")}) == 3


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("student.batch_size=2", []),
        ("mistakes.delta=0.5", ["mistakes", "skills", "selection", "tuning", "evaluation", "answers_after"]),
        ("retriever.k1=1.1", ["index", "selection", "tuning", "evaluation", "answers_after"]),
        ("selector.merge=score", ["selection", "tuning", "evaluation", "answers_after"]),
        ("tuning.epochs=7", ["tuning", "evaluation", "answers_after"]),
        ("seeds.training=3", ["tuning", "evaluation", "answers_after"]),
        ("teacher.skill_max_new_tokens=5", ["skills", "selection", "tuning", "evaluation", "answers_after"]),
    ],
)
def test_a_stage_depends_on_the_config_that_it_reads_and_on_nothing_else(planned, override, changed):
    def digests(*overrides: str) -> dict[str, str]:
        return {name: stage.digest for name, stage in planned(*overrides).stages().items()}

    before, after = digests(), digests(override)
    assert [name for name in after if after[name] != before[name]] == changed


def test_planning_computes_nothing(planned, calls, tmp_path):
    _ = planned().evaluation.digest
    assert set(calls) == {"teacher digest"} and not (tmp_path / "store").exists()


def test_the_second_iteration_answers_with_the_adapter_and_tunes_it_on(run, calls):
    folder = run("iterations=2")
    stages = stages_of(folder)
    assert {"answers@2", "mistakes@2", "skills@2", "selection@2", "tuning@2"} <= set(stages)
    assert not {"pool_skills@2", "index@2"} & set(stages)
    assert [adapter and str(adapter) for adapter in calls.adapters[:2]] == [None, stages["tuning"]["path"] + "/adapter"]
    assert calls["tuned from an adapter"] == 1 and calls["tuned samples"] == 6
    assert calls["answers"] == 3 and len(read_rows(Selected, folder / "selection.jsonl")) == 12


def test_no_model_stays_beside_another_and_each_is_loaded_once_an_iteration(run, calls):
    """One of 7 billion parameters may fill a GPU.

    Those that answered are dropped, and come back when they are asked.
    """
    run("iterations=2")
    assert calls["models beside tuning"] == calls["models beside one being loaded"] == 0
    assert calls["load teacher"] == 2
    assert calls["load student"] == 5  # answers, answers@2, evaluation, before it, answers after it


def test_a_connection_is_not_given_up_for_tuning(run, calls):
    run("iterations=2", "teacher=gpt_4o_mini")
    assert calls["load teacher"] == 1 and calls["models beside tuning"] == 2  # it, twice


def test_a_restart_tunes_the_base_on_the_union(run, calls):
    folder = run("iterations=2", "iterate_from=restart", "selector=random")
    union = {row.id for row in read_rows(Selected, folder / "selection.jsonl")}
    assert calls["tuned from an adapter"] == 0 and calls["tuned samples"] == len(union) > 6


def test_the_first_iteration_of_two_is_found_by_a_cell_of_one(run, calls):
    run("iterations=2")
    before = Counter(calls)
    run()
    assert not {"tuning", "answers", "mistakes", "skills"} & set(Counter(calls) - before)


def test_a_budget_above_the_pool_is_an_error_before_anything_is_done(run, calls, tmp_path):
    with pytest.raises(ValueError, match=r"budget\.num_samples is 41, the pool has 40: choose at most that"):
        run("budget.num_samples=41")
    assert not calls and not (tmp_path / "store").exists()
    run("budget.num_samples=41", "selector=none")


def test_unparsed_answers_are_errors_with_a_flag_or_none(opened):
    experiment = opened()
    samples, answers = experiment.task.validation, CollectAnswers(experiment).result().rows(Answer)
    flags = {case.id: case.unparsed for case in error_cases(samples, answers, include_unparsed=True)}
    assert flags == {samples[1].id: False, samples[3].id: True, samples[5].id: False, samples[7].id: True}
    assert [case.id for case in error_cases(samples, answers, include_unparsed=False)] == [samples[1].id, samples[5].id]


def test_quarantined_rows_are_kept_and_counted(run):
    class NoRationale(FakeStudent):
        def reply(self, index, sample):
            wrong = LETTERS[(sample.gold + 1) % len(sample.options)]
            return f"The final answer is ({wrong})." if index == 1 else super().reply(index, sample)

    class Fakes(FakeModels):
        def load_student(self, adapter):
            return NoRationale(self.calls, tuned=adapter is not None)

    folder = run(models=Fakes)
    assert metrics_of(folder)["quarantined"] == {"empty rationale": 1}
    assert len(read_rows(Quarantined, folder / "quarantine.jsonl")) == 1


def test_a_failed_run_keeps_its_reason_and_is_run_again(run, calls, tmp_path):
    class Fails(FakeModels):
        def fit(self, job, **options):
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError):
        run(models=Fails)
    (folder,) = (tmp_path / "runs").iterdir()
    status = read_status(folder)
    assert status["state"] == "failed" and status["reason"] == "RuntimeError: out of memory"
    assert not (folder / "metrics.json").exists()
    before = Counter(calls)
    run()
    status = read_status(folder)
    assert status["state"] == "done" and [row["reason"] for row in status["earlier"]] == ["RuntimeError: out of memory"]
    assert not {"mistakes", "pool_skills"} & set(Counter(calls) - before)


def test_a_killed_run_is_taken_over(run, tmp_path, experiment_config):
    folder = run()
    status = read_status(folder)
    (folder / "status.json").write_text(json.dumps(status | {"state": "running", "ended": None}))
    run()
    status = read_status(folder)
    assert status["state"] == "done" and status["earlier"][-1]["state"] == "killed"


def test_an_experiment_that_another_process_runs_is_waited_for(run, capsys):
    folder = run()
    context = multiprocessing.get_context("fork")
    held = context.Event()
    other = context.Process(target=hold, args=(folder / ".lock", held))
    other.start()
    held.wait(10)
    assert run() == folder
    assert "another process is at it" in capsys.readouterr().err
    other.join(10)


def hold(lock: Path, held) -> None:
    with locked(lock):
        held.set()
        time.sleep(0.5)


def test_results_of_other_code_are_refused_unless_forced(run, monkeypatch):
    folder = run()
    monkeypatch.setattr(Evaluate, "version", 99)
    with pytest.raises(ChangedError, match="force=true"):
        run()
    assert read_status(folder)["state"] == "done"
    run("force=true")
    assert len(read_status(folder)["earlier"]) == 1


def test_config_and_paths_are_recorded(run):
    import yaml

    folder = run("seed=3", "selector=random")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["seeds"] == {"selection": 3, "training": 3, "decoding": 3} and config["iterate_from"] == "continue"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {"argv", "code", "packages", "config", "inputs", "stages", "seeds", "seconds"} <= set(manifest)


def test_a_picture_counts_by_its_bytes_wherever_it_lies(tmp_path):
    def digest(path: Path) -> str:
        return samples_digest([Sample(id="1", instruction="q", answer="a", image=str(path))])

    for name, content in (("a", b"x"), ("b", b"x"), ("c", b"y")):
        (tmp_path / name).write_bytes(content)
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")


def test_csv_logger_writes_into_the_run_directory(run):
    folder = run("logger=csv", "selector=none")
    assert "test/accuracy" in (folder / "curves/attempt_1/metrics.csv").read_text()


def test_two_cells_of_one_process_are_two_wandb_runs(run, experiment_config):
    folders = [run("logger=wandb", "selector=none", task) for task in TASKS]
    ids = [[path.name for path in (folder / "wandb").glob("offline-run-*")] for folder in folders]
    assert [len(found) for found in ids] == [1, 1] and ids[0] != ids[1]


def test_the_folder_is_found_by_the_config_alone(run, experiment_config, tmp_path):
    assert run("selector=none") == run_folder(experiment_config(*SMALL, f"paths.runs={tmp_path}/runs", "selector=none"))


ABLATIONS = {
    "no_mistake_identification": {"answers", "skills", "index"},
    "no_error_collection": {"skills", "index"},
    "no_skill_analysis": {"answers", "mistakes", "skills", "index"},
    "no_targeted_tuning": {"selection", "tuning", "evaluation"},
}


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_an_ablation_leaves_out_what_it_says(planned, ablation):
    steps, full = planned(f"ablation={ablation}").stages(), planned().stages()
    assert steps.keys() >= ABLATIONS[ablation]
    assert ("answers" in steps) == (ablation not in ("no_error_collection", "no_targeted_tuning"))
    assert ("skills" in steps) == (ablation != "no_targeted_tuning")
    assert steps["selection"].digest != full["selection"].digest
    if "index" in steps:
        assert steps["index"].digest == full["index"].digest  # the pool is annotated once for all of them


def test_an_annotation_file_counts_by_its_content(planned, tmp_path):
    file = tmp_path / "steps.jsonl"
    override = ("mistakes=annotated", f"mistakes.path={file}")

    def digest():
        return planned(*override).stages()["mistakes"].digest

    file.write_text('{"id": "a", "step": 1}\n')
    first = digest()
    file.write_text('{"id": "a", "step": 2}\n')
    assert digest() != first


def test_a_sample_that_meets_the_task_is_never_selected(run, calls, monkeypatch):
    """Two leaks in a pool of 8: six are left, and all six are chosen."""

    def find(pool, known, splits, **options):
        return [
            Leak(pool_id=id, sample_id="x", split="test", kind="picture", distance=0) for id in list(pool.ids())[:2]
        ]

    monkeypatch.setattr(audit, "find_leaks", find)
    for selector in ("random", "error_driven"):
        folder = run("pool.size=8", f"selector={selector}", "max_fill=1")
        chosen = {row.id for row in read_rows(Selected, folder / "selection.jsonl")}
        leaked = {row.pool_id for row in read_rows(Leak, folder / "leaks.jsonl")}
        assert len(chosen) == 6 and len(leaked) == 2 and not chosen & leaked
        assert json.loads((folder / "metrics.json").read_text())["leakage"] == {"picture": 2}
    with pytest.raises(ValueError, match=r"budget.num_samples is 7, the pool has 6"):
        run("pool.size=8", "budget.num_samples=7")


def test_without_leaks_tasks_share_a_random_selection(run, calls):
    first, second = (stages_of(run(task, "selector=random")) for task in TASKS)
    assert first["audit"]["digest"] != second["audit"]["digest"]
    assert first["tuning"]["digest"] == second["tuning"]["digest"] and calls["tuning"] == 1


def test_the_whole_pool_is_tuned_on_once_for_all_tasks_budgets_and_selection_seeds(run, calls):
    """A budget above the pool is no error, as it does not count."""
    overrides = [
        (TASKS[0],),
        (TASKS[1], "budget.num_samples=4"),
        (TASKS[0], "budget.num_samples=99", "seeds.selection=7"),
    ]
    folders = [run(*some, "selector=full_data") for some in overrides]
    assert calls["tuning"] == 1 and calls["tuned samples"] == 40
    assert len({stages_of(folder)["tuning"]["digest"] for folder in folders}) == 1
    assert metrics_of(folders[1])["selection"] == {"num_samples": 40, "reasons": {"all": 40}}


def test_validation_data_is_tuned_on_without_a_pool(run, calls):
    folder = run(TASKS[0], "selector=validation_data")
    assert calls["tuned samples"] == 8
    assert {"audit", "fingerprints", "answers"}.isdisjoint(stages_of(folder))
    other = run(TASKS[1], "selector=validation_data")
    assert stages_of(folder)["tuning"]["digest"] != stages_of(other)["tuning"]["digest"]
