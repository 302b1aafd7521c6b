"""`delamo doctor`: every fact that would stop a run fails with its way out, by facts made up one at a time."""

from __future__ import annotations

import pytest

from delamo.cli import app, doctor, environment

GPU = {"version": "2.13.0", "cuda_build": "13.0", "cuda": True, "bf16": True, "mps": False, "gpus": [["H", 80 * 2**30]]}
CPU = GPU | {"cuda_build": None, "cuda": False, "bf16": False, "gpus": []}
LARGE = ("student=qwen2_vl_7b", "tuning=llava_lora")


@pytest.fixture(autouse=True)
def healthy(monkeypatch, tmp_path):
    """A machine with nothing wrong; each test spoils one thing."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "WANDB_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(environment, "torch_facts", lambda: CPU)
    monkeypatch.setattr(environment, "run_python", lambda program: None)
    monkeypatch.setattr(environment, "is_cached", lambda path, revision: True)
    monkeypatch.setattr(environment, "in_netrc", lambda host: False)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 100 * 2**30}))


def lines(*overrides: str) -> dict[str, list[doctor.Finding]]:
    found: dict[str, list[doctor.Finding]] = {"ok": [], "warn": [], "fail": []}
    for one in doctor.examine(doctor.read(list(overrides))):
        found[one.level].append(one)
    return found


def the(level: str, what: str, *overrides: str) -> doctor.Finding:
    """The one line of that level, about that."""
    found = lines(*overrides)[level]
    assert [one.subject for one in found] == [what], [*map(str, found)]
    assert level == "ok" or found[0].fix
    return found[0]


def versions(monkeypatch, **changed):
    real = environment.installed
    monkeypatch.setattr(environment, "installed", lambda name: changed[name] if name in changed else real(name))


def test_the_default_runs_here():
    found = lines()
    assert not found["warn"] and not found["fail"] and len(found["ok"]) >= 7


def test_versions_are_held_against_the_projects_own_requirements(monkeypatch):
    versions(monkeypatch, transformers="4.57.1")
    assert the("fail", "transformers").fix == "pip install 'transformers<6,>=5'"
    versions(monkeypatch, peft=None)
    assert {one.subject for one in lines()["fail"]} == {"transformers", "peft"}


def test_malicious_releases_fail(monkeypatch):
    versions(monkeypatch, lightning="2.6.3")
    assert "malicious" in the("fail", "lightning").message


def test_a_broken_torchvision_fails_and_a_mismatched_one_is_named(monkeypatch):
    versions(monkeypatch, torchvision="0.29.0", torch="2.13.0+cpu")
    monkeypatch.setattr(environment, "metadata_requires", lambda name: ["numpy", "torch==2.14.0"])
    assert "built for torch==2.14.0, torch is 2.13.0" in the("warn", "torchvision").message
    monkeypatch.setattr(environment, "run_python", lambda program: "operator torchvision::nms does not exist")
    broken = the("fail", "torchvision")
    assert "nms does not exist" in broken.message and "pip uninstall torchvision" in broken.fix
    monkeypatch.setattr(environment, "run_python", lambda program: None)
    monkeypatch.setattr(environment, "metadata_requires", lambda name: ["torch==2.13.0; python_version >= '3'"])
    assert not lines()["warn"]


def test_devices(monkeypatch):
    assert the("fail", "student.device", "student.device=cuda").fix == "student.device=auto"
    the("warn", "student", *LARGE)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    the("warn", "device")
    monkeypatch.setattr(environment, "torch_facts", lambda: GPU)
    assert not lines(*LARGE, "student.device=cuda")["warn"]
    monkeypatch.setattr(environment, "torch_facts", lambda: GPU | {"bf16": False})
    the("warn", "tuning.precision", *LARGE)
    monkeypatch.setattr(environment, "torch_facts", lambda: {"error": "libcudart.so: cannot open"})
    assert "libcudart" in the("fail", "torch").message


def test_qlora_wants_a_gpu_and_bitsandbytes(monkeypatch):
    monkeypatch.setattr(environment, "importable", lambda name: False)
    assert {one.subject for one in lines("tuning=qlora")["fail"]} == {"tuning.method", "bitsandbytes"}
    monkeypatch.setattr(environment, "torch_facts", lambda: GPU)
    assert the("fail", "bitsandbytes", "tuning=qlora").fix == "pip install 'delamo[qlora]'"


def test_models_that_have_to_be_fetched(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "torch_facts", lambda: GPU)
    monkeypatch.setattr(environment, "is_cached", lambda path, revision: False)
    assert "will be downloaded" in the("warn", "student.path", *LARGE).message
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "unset HF_HUB_OFFLINE" in the("fail", "student.path", *LARGE).fix
    assert not lines(*LARGE, f"student.path={tmp_path}")["fail"]
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    the("warn", "student.path", *LARGE)


def test_disk(monkeypatch, tmp_path):
    for gib, level in ((5, "warn"), (0.5, "fail")):
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path, gib=gib: type("Usage", (), {"free": gib * 2**30}))
        the(level, "paths.store")
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    assert str(tmp_path) in the("fail", "paths.store", f"paths.store={tmp_path}/a/b").message


def test_keys_are_looked_for_and_never_shown(monkeypatch):
    assert "OPENAI_API_KEY is not set" in the("fail", "teacher's key", "teacher=gpt_4o_mini").message
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    monkeypatch.setenv("WANDB_API_KEY", "wb-canary")
    text, good = doctor.doctor(["teacher=gpt_4o_mini", "logger=wandb"])
    assert good and "canary" not in text and "OPENAI_API_KEY present" in text and "key present, not needed" in text


def test_wandb_online_wants_a_key(monkeypatch):
    the("fail", "wandb", "logger=wandb", "logger.mode=online")
    monkeypatch.setattr(environment, "in_netrc", lambda host: host == "api.wandb.ai")
    assert not lines("logger=wandb", "logger.mode=online")["fail"]


def test_extras(monkeypatch):
    versions(monkeypatch, datasets=None, pyarrow=None)
    assert the("fail", "datasets", "pool=hf_dataset").fix == "pip install 'delamo[datasets]'"
    assert the("fail", "pyarrow", "pool=parquet").fix == "pip install 'delamo[parquet]'"


def test_a_server_is_asked_only_where_that_is_asked_for(monkeypatch):
    asked = []
    monkeypatch.setattr(environment, "torch_facts", lambda: GPU)
    monkeypatch.setattr(environment, "ask_server", lambda base, key: asked.append(base) or (False, f"{base}: refused"))
    wanted = ["student=qwen2_vl_7b", "student.engine=vllm", "student.api_base=http://localhost:1/v1"]
    assert doctor.doctor(wanted)[1] and not asked
    text, good = doctor.doctor([*wanted, "servers=true"])
    assert not good and asked == ["http://localhost:1/v1"] and "refused" in text
    the("fail", "student.api_base", "student=qwen2_vl_7b", "student.engine=vllm")


def test_a_server_that_is_not_there():
    assert environment.ask_server("http://127.0.0.1:9/v1", None) == (False, "http://127.0.0.1:9/v1: ConnectError")


def test_what_python_says_of_a_broken_import_is_the_last_line(monkeypatch):
    monkeypatch.undo()
    assert (
        environment.run_python("import no_such_module_here")
        == "ModuleNotFoundError: No module named 'no_such_module_here'"
    )
    assert environment.run_python("pass") is None and not environment.importable("no_such_module_here")


def test_the_verb_leaves_with_1_on_a_failure(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["delamo", "doctor", "teacher=gpt_4o"])
    with pytest.raises(SystemExit) as left:
        app.main()
    assert left.value.code == 1 and "1 that would fail" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["delamo", "doctor"])
    app.main(standalone_mode=False)
    assert "0 that would fail" in capsys.readouterr().out


def test_a_misspelt_override_is_an_error(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["delamo", "doctor", "student=qwen9"])
    with pytest.raises(SystemExit) as left:
        app.main()
    assert left.value.code == 1 and "qwen9" in capsys.readouterr().err
