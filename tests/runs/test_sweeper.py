"""Which cells several grids and a command line make, and how a sweep goes through them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus

from delamo.experiment.experiment import keep_data, open_experiment, read_pool
from delamo.runs.folder import attempt, read_status
from delamo.runs.sweeper import cells_of, resume_hint, run_sequentially, time_left
from delamo.store import BusyError, locked
from delamo.store.locks import _waits

GRIDS = [
    {"task": "a,b", "selector": "none"},
    {"task": "a,b", "selector": "random", "seed": "0,1"},
    {"task": "a", "selector": "random", "seed": "1,2"},
]


def cells(*given: str, grids=GRIDS, fast=None) -> list[str]:
    parse = OverridesParser.create().parse_overrides
    return [" ".join(cell) for cell in cells_of(grids, parse(list(given)), parse, fast)]


def test_a_cell_of_two_grids_is_one_cell():
    assert cells() == [
        "task=a selector=none",
        "task=b selector=none",
        "task=a selector=random seed=0",
        "task=a selector=random seed=1",
        "task=b selector=random seed=0",
        "task=b selector=random seed=1",
        "task=a selector=random seed=2",
    ]


def test_a_value_that_some_grid_has_chooses_among_the_grids():
    assert cells("selector=none") == ["task=a selector=none", "task=b selector=none"]
    assert cells("selector=random", "task=b") == ["task=b selector=random seed=0", "task=b selector=random seed=1"]
    assert cells("seed=2") == [
        "task=a selector=none seed=2",
        "task=b selector=none seed=2",
        "task=a selector=random seed=2",
    ]


def test_a_value_that_no_grid_has_replaces_theirs():
    assert cells("task=c", "selector=none,random", "seed=1") == [
        "task=c selector=none seed=1",
        "task=c selector=random seed=1",
    ]


def test_values_of_which_only_some_are_in_a_grid_are_an_error():
    with pytest.raises(ValueError, match="selector=insta is in no grid of the preset, selector=random is"):
        cells("selector=random,insta")


def test_what_no_grid_names_goes_to_every_cell():
    assert all(cell.endswith("budget=10k") for cell in cells("budget=10k")) and len(cells("budget=10k")) == 7
    assert len(cells("budget=10k,30k")) == 14


def test_fast_sets_what_the_preset_says_and_the_command_line_wins():
    fast = {"task": "a", "pool.size": 10}
    assert cells("selector=none", fast=fast) == cells("selector=none")
    assert cells("fast=true", "selector=none", fast=fast) == ["task=a selector=none pool.size=10 fast=True"]
    assert "pool.size=7" in cells("fast=true", "pool.size=7", fast=fast)[0]


def test_without_grids_the_command_line_is_the_grid():
    assert cells("task=a,b", grids=[{}]) == ["task=a", "task=b"]


def test_an_interval_is_no_list_of_cells():
    with pytest.raises(ValueError, match="seed=interval"):
        cells("seed=interval(0,1)")


# Going through them.

CELLS = [["task=a"], ["task=b"], ["task=c"]]
MINUTE = 60.0


def test_a_failed_cell_is_reported_at_once_and_the_others_run(capsys):
    seen = []

    def launch(cell: list[str], index: int) -> JobReturn:
        seen.append(capsys.readouterr().err)
        return JobReturn(status=JobStatus.FAILED if index == 1 else JobStatus.COMPLETED)

    results = run_sequentially(CELLS, launch)
    assert [result.status is JobStatus.COMPLETED for result in results] == [True, False, True]
    assert seen == [
        "cell 1 of 3: task=a\n",
        "cell 2 of 3: task=b\n",
        "cell 2 of 3 FAILED: task=b\ncell 3 of 3: task=c\n",
    ]


def test_a_cell_that_another_process_is_at_is_put_off_to_the_end(capsys):
    order = []

    def launch(cell: list[str], index: int) -> JobReturn:
        order.append(index)
        try:
            if index == 1:
                with locked(lock):
                    return JobReturn(status=JobStatus.COMPLETED)
        except BusyError as error:
            held.close()  # the other process comes to its end
            return JobReturn(status=JobStatus.FAILED, _return_value=error)
        return JobReturn(status=JobStatus.COMPLETED)

    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as held:
        lock = Path(folder) / "lock"
        held.enter_context(locked(lock))
        results = run_sequentially(CELLS, launch)
    assert order == [0, 1, 2, 1]
    assert [result.status for result in results] == [JobStatus.COMPLETED] * 3
    said = capsys.readouterr().err
    assert said.count("put off") == 1 and "FAILED" not in said


def test_where_every_cell_is_busy_one_is_waited_for_and_the_others_are_tried_before_the_next_wait():
    """All wait for one stage at first; then another process is at the first of what is left."""
    tries, waited = [], []

    def launch(cell: list[str], index: int) -> JobReturn:
        tries.append(index)
        if _waits.get():
            waited.append(index)
        elif len(tries) <= 3 or (index == 0 and len(tries) == 5):
            return JobReturn(status=JobStatus.FAILED, _return_value=BusyError("a stage"))
        return JobReturn(status=JobStatus.COMPLETED)

    run_sequentially(CELLS, launch)
    assert (tries, waited) == ([0, 1, 2, 2, 0, 1, 0], [2])


def test_a_cell_that_is_put_off_was_not_tried(tmp_path, experiment_config):
    config = experiment_config(*SMALL)
    with pytest.raises(BusyError), attempt(tmp_path, config) as this:
        this.begin("digest", force=False)
        raise BusyError("a stage")
    assert read_status(tmp_path) == {}


def test_two_processes_share_the_cells(tmp_path):
    with sweep(tmp_path, "jobs=2", "selector=none", "task.seed=0,1,2,3") as process:
        said = process.stderr.read()
    assert process.returncode == 0, said
    other = (tmp_path / "runs/.hydra/helper-1.log").read_text()
    assert len([*tmp_path.glob("runs/*/metrics.json")]) == 4
    assert "cell 1 of 4" in other and "Traceback" not in other


def test_the_time_left_follows_from_what_cells_took(capsys):
    times = iter([0.0, 600.0, 600.0, 1800.0, 1800.0, 1801.0])
    run_sequentially(CELLS, lambda cell, index: JobReturn(status=JobStatus.COMPLETED), clock=lambda: next(times))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "cell 1 of 3: task=a",
        "cell 2 of 3, about 20 min left: task=b",
        "cell 3 of 3, about 15 min left: task=c",
    ]


def test_cells_that_were_found_finished_say_nothing_about_the_rest():
    assert time_left([0.2, 0.2], 10) == ""
    assert time_left([0.2, 0.2, 2 * MINUTE], 10) == ", about 20 min left"
    assert time_left([10.0], 2) == ", less than a minute left"


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_stopped_sweep_says_how_to_go_on(stop, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["delamo run", "-m", "task=a,b", "task.root=my data"])
    with pytest.raises(SystemExit) as caught, resume_hint():
        raise stop(1)
    assert caught.value.code == 130
    error = capsys.readouterr().err
    assert "finished cells and stages are kept" in error and "  delamo run -m task=a,b 'task.root=my data'" in error


SMALL = ("task=micro/numbers", "task.num_val_samples=8", "task.num_test_samples=8", "pool.size=50")


def sweep(folder: Path, *overrides: str) -> subprocess.Popen[str]:
    handler = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = f"import signal; from delamo.cli.app import main; {handler}; main()"
    return subprocess.Popen(
        [sys.executable, "-c", program, "run", "-m", *SMALL, *overrides],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_an_interrupted_sweep_goes_on_where_it_stood_and_past_cells_that_cannot_run(tmp_path):
    common = ("task.seed=0,1", "budget=custom", "budget.num_samples=51")
    with sweep(tmp_path, "selector=none", *common) as process:
        lines = iter(process.stderr.readline, "")
        assert any(line.startswith("cell 2 of 2") for line in lines)
        process.send_signal(signal.SIGINT)
        rest = "".join(lines)
    assert process.returncode == 130
    assert "to go on where this sweep stood, run it again:" in rest and "Traceback" not in rest
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("store/evaluation/*/items.jsonl")}
    assert len(before) == 1

    with sweep(tmp_path, "selector=no_such,random,none", *common) as process:
        text = process.stderr.read()
    assert process.returncode == 1
    said = [(line.split(":")[0].split(",")[0]) for line in text.splitlines() if line.startswith("cell ")]
    failing = [f"cell {number} of 6{end}" for number in range(1, 5) for end in ("", " FAILED")]
    assert sorted(said) == sorted([*failing, "cell 5 of 6", "cell 6 of 6"])
    assert "Could not find 'selector/no_such'" in text and "the pool has 50" in text and "4 of 6 cells failed:" in text
    after = {path: path.stat().st_mtime_ns for path in tmp_path.glob("store/evaluation/*/items.jsonl")}
    assert len(after) == 2 and before.items() <= after.items()


def test_cells_of_a_sweep_read_their_data_once(experiment_config):
    one = experiment_config(*SMALL, "budget=custom", "budget.num_samples=4", "selector=random")
    other = experiment_config(*SMALL, "budget=custom", "budget.num_samples=5", "selector=random")
    apart = open_experiment(one).samples_digests
    with keep_data():
        first, second = open_experiment(one), open_experiment(other)
        assert first.pool is second.pool and first.task is second.task
        assert first.samples_digests is second.samples_digests and first.samples_digests == apart
        larger = read_pool(experiment_config(*SMALL, "pool.size=60").pool)
        assert len(larger) == 60
        assert read_pool(one.pool) is not first.pool  # one pool at a time: it may be a million rows
    assert open_experiment(one).pool is not open_experiment(one).pool


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("experiment=demo",), "experiment=demo is for a sweep: delamo run -m"),
        (("jobs=2",), "jobs=2 is for a sweep"),
        (
            ("ablation=no_targeted_tuning", "selector=error_driven"),
            "ablation=no_targeted_tuning is selector=random, and selector=error_driven undoes it",
        ),
        (
            ("ablation=no_skill_analysis", "skills=skill_analysis"),
            "ablation=no_skill_analysis is skills=mistake_steps, and skills=skill_analysis undoes it",
        ),
    ],
)
def test_what_would_quietly_run_another_cell_is_an_error(tmp_path, overrides, message):
    program = "from delamo.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "run", *SMALL, *overrides],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and message in done.stderr and not (tmp_path / "store").exists()
