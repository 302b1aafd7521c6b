"""Two processes tune as one: torchrun with gloo on this machine's CPU, under a watchdog."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from support.recipes import tune
from support.tiny_models import save_tiny_llava

from delamo.records import Sample, to_dict
from delamo.tuning import distributed
from delamo.tuning.config import Strategy

WATCHDOG_S = 120
RECIPE = {
    "lora_rank": 4,
    "lora_alpha": 8,
    "lora_dropout": 0.1,
    "learning_rate": 1e-3,
    "projector_learning_rate": 1e-4,
    "batch_size": 2,
    "micro_batch_size": 1,
    "loss_average": "tokens",
    "epochs": 1,
    "warmup_ratio": 0.1,
    "weight_decay": 0.0,
    "gradient_clip": 1.0,
    "max_length": None,
    "precision": "32",
    "gradient_checkpointing": False,
    "target_modules": "language_model",
    "resume": "auto",
    "num_workers": 0,
    "timeout_s": 60.0,
}
PROGRAM = """
import json, os, signal, sys
from pathlib import Path
from pytorch_lightning import Callback
from delamo.records import Sample, from_dict
from support.recipes import tune
from delamo.tuning.fit import run_worker
from delamo.tuning import checkpoints, distributed

class Kill(Callback):
    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if batch_idx == asked["kill_at"]:
            os.kill(os.getpid(), signal.SIGKILL)

checkpoints.EVERY_N_STEPS = 1
asked = json.loads(Path(sys.argv[1]).read_text())
if distributed.rank() > 0:
    run_worker()
else:
    try:
        samples = [from_dict(Sample, row) for row in asked["samples"]]
        for name, changes in asked["jobs"].items():
            folder = Path(sys.argv[1]).parent / name
            tune(asked["base"], samples, folder / "adapter", seed=3, checkpoints=folder / "checkpoints",
                 callbacks=[Kill()], **changes)
    finally:
        distributed.stop_workers()
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_tiny_llava(tmp_path_factory.mktemp("student") / "tiny")


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Seven samples, so that one process has one batch more; every other one without a picture."""
    folder = tmp_path_factory.mktemp("pictures")
    rows = []
    for number in range(7):
        path = folder / f"{number}.png"
        Image.new("RGB", (16, 16), (30 * number, 10, 200)).save(path)
        picture = str(path) if number % 2 else None
        rows.append(Sample(id=f"p{number}", instruction=f"Which? {number}", answer=f"It is {number}.", image=picture))
    return rows


def torchrun(program, *arguments, processes=2, **options):
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    root = Path(__file__).parents[2]
    environment = os.environ | {
        "PYTHONPATH": f"{root}:{root / 'tests'}",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [*launch, str(program), *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True, **options
    )


def finish(process):
    """Standard error, within the watchdog's time; a hanging process is an error, and ended."""
    try:
        _, errors = process.communicate(timeout=WATCHDOG_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"still running after {WATCHDOG_S} s")
    return errors


def ask(folder, base, samples, jobs, kill_at=None):
    """(exit status, standard error) of two processes that tune."""
    asked = {"base": str(base), "samples": [to_dict(sample) for sample in samples], "jobs": jobs, "kill_at": kill_at}
    (folder / "asked.json").write_text(json.dumps(asked))
    (folder / "program.py").write_text(PROGRAM)
    process = torchrun(folder / "program.py", folder / "asked.json")
    errors = finish(process)
    return process.returncode, errors


def test_two_processes_make_the_adapter_of_one_and_go_on_after_a_kill(base, samples, tmp_path):
    """Samples with an image and without on different processes; the projector trained, with a kill -9, and frozen."""
    workers = {**RECIPE, "num_workers": 1}
    status, _ = ask(tmp_path, base, samples, {"trained": workers}, kill_at=2)
    assert status != 0 and list((tmp_path / "trained" / "checkpoints").glob("*.ckpt"))
    jobs = {
        "trained": {**workers, "resume": "must"},
        "frozen": {**RECIPE, "projector_learning_rate": None},
        "sharded": {**RECIPE, "strategy": "fsdp"},
        "full": {**RECIPE, "strategy": "fsdp", "method": "full"},
    }
    status, errors = ask(tmp_path, base, samples, jobs)
    assert status == 0, errors[-3000:]
    assert errors.count("tuning: trainable parameters") == 4  # the first process alone speaks
    for name, changes in jobs.items():
        alone = {**changes, "resume": "never", "num_workers": 0, "strategy": "auto"}
        tune(str(base), samples, tmp_path / "one" / name, seed=3, **alone)
        file = "trained.safetensors" if name == "full" else "adapter_model.safetensors"
        one, two = load_file(tmp_path / "one" / name / file), load_file(tmp_path / name / "adapter" / file)
        assert one.keys() == two.keys()
        assert any("projector" in key for key in two) is (name != "frozen")
        assert all(torch.allclose(one[key], two[key], atol=1e-5) for key in one)
        assert not (tmp_path / name / "checkpoints").exists()


def test_a_sweep_under_torchrun_leaves_one_directory_for_each_cell(tmp_path):
    (tmp_path / "program.py").write_text("import sys; from delamo.cli.app import main; sys.argv[0] = 'delamo'; main()")
    tiny = ["pool.size=40", "task.num_val_samples=1", "task.num_test_samples=2", "student.max_new_tokens=4"]
    tuning = ["tuning.strategy=ddp", "tuning.batch_size=4", "tuning.micro_batch_size=2", "tuning.epochs=1"]
    sweep = ["-m", "selector=random", "seed=0,1", "budget=custom", "budget.num_samples=5"]
    process = torchrun(tmp_path / "program.py", "run", *sweep, *tiny, *tuning, cwd=tmp_path)
    errors = finish(process)
    assert process.returncode == 0, errors[-3000:]
    cells = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/status.json")]
    assert [cell["state"] for cell in cells] == ["done", "done"]
    manifests = [json.loads(path.read_text()) for path in (tmp_path / "store" / "tuning").glob("*/manifest.json")]
    assert [manifest["processes"] for manifest in manifests] == [2, 2]
    assert all(manifest["numerics"]["image_backend"] == "pil" for manifest in manifests)


STUCK = """
import sys, time
from pathlib import Path
import torch
from delamo.tuning import distributed

distributed.init_process_group(float(sys.argv[2]), "cpu")
torch.distributed.barrier()
Path(sys.argv[1], str(distributed.rank())).touch()
if distributed.rank() == 0:
    torch.distributed.all_reduce(torch.ones(1))  # the other never comes
else:
    time.sleep(600)
"""


def test_a_process_that_waits_for_another_gives_up(tmp_path):
    (tmp_path / "stuck.py").write_text(STUCK)
    started = time.monotonic()
    process = torchrun(tmp_path / "stuck.py", tmp_path, 15)
    errors = finish(process)
    assert process.returncode != 0 and time.monotonic() - started < WATCHDOG_S
    assert (tmp_path / "0").exists() and "imed out" in errors


def test_several_processes_without_torchrun_are_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"tuning.strategy is ddp, and this is one process: start it as torchrun"):
        distributed.check_launch(Strategy.ddp)
    distributed.check_launch(Strategy.auto, "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    distributed.check_launch(Strategy.ddp, "hydra._internal.core_plugins.basic_launcher.BasicLauncher")
    with pytest.raises(ValueError, match="JoblibLauncher: its processes would each believe to be the first of 2"):
        distributed.check_launch(Strategy.ddp, "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher")
