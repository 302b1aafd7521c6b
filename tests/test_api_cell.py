"""A whole cell with the embedded teacher behind a server.

What it spends, what a killed run keeps, and where the key is not.
"""

import json
import subprocess
import sys

import pytest
from support.configs import node
from support.model_server import ModelServer

from delamo.models.teachers.local import LocalTeacher
from delamo.pipeline import run_experiment

CANARY = "sk-canary0123456789abcdefgh"
SMALL = (
    *(
        "budget=custom",
        "budget.num_samples=4",
        "pool.size=24",
        "task.num_val_samples=8",
        "task.num_test_samples=4",
    ),
    *("tuning.epochs=1", "student.max_new_tokens=40", "teacher.shard_size=8"),
)


@pytest.fixture(scope="module")
def server():
    micro = LocalTeacher.load(node("teacher", "micro", device="cpu"))
    with ModelServer(micro.model, micro.tokenizer) as made:
        yield made


@pytest.fixture
def cell(experiment_config, server, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_KEY", CANARY)

    def cell(*overrides):
        return experiment_config(
            *("teacher=litellm", "teacher.model=hosted_vllm/micro", "teacher.prompts=micro", "teacher.api=completions"),
            *(f"teacher.api_base={server.address}", "teacher.api_key_env=FAKE_KEY", "teacher.answer_max_tokens=1"),
            *(
                "teacher.input_usd_per_million=10",
                "teacher.output_usd_per_million=100",
                "teacher.pool_skills_max_new_tokens=32",
            ),
            *(*SMALL, f"paths.runs={tmp_path}/runs", f"paths.store={tmp_path}/store"),
            *overrides,
        )

    return cell


def test_a_stopped_cell_goes_on_pays_nothing_twice_and_leaves_no_key(cell, server, tmp_path, monkeypatch, capfd):
    from delamo.models.teachers.litellm import LiteLLMTeacher

    whole, shards = LiteLLMTeacher.complete, []

    def stopped(self, prompts, **options):
        if len(prompts) == 8:
            shards.append(len(prompts))
            if len(shards) == 2:
                whole(self, prompts[:4], max_new_tokens=options["max_new_tokens"])
                raise KeyboardInterrupt
        return whole(self, prompts, **options)

    monkeypatch.setattr(LiteLLMTeacher, "complete", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(cell())
    monkeypatch.setattr(LiteLLMTeacher, "complete", whole)
    folder = run_experiment(cell())

    asked = [json.dumps(body, sort_keys=True) for path, body in server.requests if path != "/tokenize"]
    assert len(asked) == len(set(asked))
    cost = json.loads((folder / "metrics.json").read_text())["cost"]
    assert set(cost) == {"mistakes", "skills", "pool_skills"}
    assert sum(spent["calls"] for spent in cost.values()) == len(asked)
    assert cost["pool_skills"]["cached"] == 4  # of the shard that was broken off
    for spent in cost.values():
        price = 10e-6 * spent["prompt_tokens"] + 100e-6 * spent["completion_tokens"]
        assert spent["usd"] == pytest.approx(price) and spent["calls"] > 0
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 20 and all(CANARY.encode() not in path.read_bytes() for path in files)
    told = capfd.readouterr()
    assert CANARY not in told.out + told.err and "24 calls" in told.err


def test_a_cap_stops_the_cell(cell):
    from delamo.models.api.budget import BudgetExhaustedError

    with pytest.raises(BudgetExhaustedError, match="max_usd"):
        run_experiment(cell("teacher.max_usd=0.02"))


@pytest.mark.parametrize("mode", [(), ("-m",)])
@pytest.mark.parametrize("line", [f"model: {CANARY}", "api_key: anything"])
def test_a_key_in_a_file_of_ones_own_is_refused_before_anything_is_written(tmp_path, mode, line):
    (tmp_path / "mine/teacher").mkdir(parents=True)
    (tmp_path / "mine/teacher/own.yaml").write_text(f"defaults:\n  - litellm\n  - _self_\n{line}\n")
    (tmp_path / "here").mkdir()
    code = "import sys; from delamo.cli.app import main; sys.argv[0] = 'delamo'; main()"
    command = [sys.executable, "-c", code, "run", *mode, "--config-dir", str(tmp_path / "mine"), "teacher=own"]
    options = {"cwd": tmp_path / "here", "capture_output": True, "text": True, "timeout": 120}
    done = subprocess.run(command, check=False, **options)
    assert done.returncode == 1 and "own.yaml" in done.stderr, done.stderr
    assert CANARY not in done.stdout + done.stderr
    assert list((tmp_path / "here").iterdir()) == []


def test_in_batch_mode_the_second_run_reads_the_files_and_goes_on(cell, server, tmp_path):
    from delamo.models.api.batches import BatchPendingError

    with pytest.raises(BatchPendingError, match="24 requests"):
        run_experiment(cell("teacher.mode=batch"))
    (given,) = tmp_path.glob("store/transcripts/*/batches/in/*.jsonl")
    out = given.parents[1] / "out/batch_abc_output.jsonl"
    with out.open("w") as file:
        for row in map(json.loads, given.read_text().splitlines()):
            response = {"status_code": 200, "request_id": "r", "body": server.answer(row["url"], row["body"])}
            file.write(
                json.dumps({"id": "b", "custom_id": row["custom_id"], "response": response, "error": None}) + "\n"
            )
    sent = len(server.requests)
    folder = run_experiment(cell("teacher.mode=batch"))
    assert len(server.requests) == sent
    spent = json.loads((folder / "metrics.json").read_text())["cost"]["pool_skills"]
    assert spent["calls"] == 24
    assert spent["usd"] == pytest.approx((10e-6 * spent["prompt_tokens"] + 100e-6 * spent["completion_tokens"]) / 2)
