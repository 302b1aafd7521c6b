"""`delamo doctor`: whether this environment can run what is asked, one line a fact, each with the way out.

It takes what `delamo run` takes, and looks at the student, teacher, tuning, logger and paths of that. Nothing is
downloaded, loaded or
written. A server is only asked with `servers=true`. Keys are looked for by name; their values are never shown.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from delamo.cli import environment

OK, WARN, FAIL = "ok", "warn", "fail"
LEAST_FREE_GIB, WANTED_FREE_GIB = 1, 10
MALICIOUS = {"lightning": {"2.6.2", "2.6.3"}, "litellm": {"1.82.7", "1.82.8"}}
"""Releases that stole credentials (GHSA-w37p-236h-pfx3, PYSEC-2026-2)."""
PROVIDER_KEYS = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY", "gemini": "GEMINI_API_KEY"}
VISION_FACTS = "import torch, torchvision; torchvision.ops.nms; from transformers import LlavaForConditionalGeneration"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line."""

    level: str
    """`ok`, `warn` or `fail`."""
    what: str
    said: str
    way_out: str = ""

    def __str__(self) -> str:
        return f"{self.level:<5} {self.what:<16} {self.said}" + (f"\n{'':22} -> {self.way_out}" if self.way_out else "")


@dataclass(frozen=True, slots=True)
class Asked:
    """The config nodes that an environment has to serve."""

    student: Any
    teacher: Any
    tuning: Any
    retriever: Any
    logger: Any
    pool: str
    task: str
    store: str
    servers: bool = False


def doctor(overrides: Sequence[str]) -> tuple[str, bool]:
    """(the whole text, whether nothing fails) for the overrides of a `delamo run`.

    Raises:
        ValueError: a config that does not compose.
    """
    servers = [one for one in overrides if one.startswith("servers=")]
    asked = read([one for one in overrides if one not in servers], servers="servers=true" in servers)
    found = list(examine(asked))
    counts = {level: sum(one.level == level for one in found) for level in (OK, WARN, FAIL)}
    last = f"{counts[OK]} ok, {counts[WARN]} to look at, {counts[FAIL]} that would fail"
    return "\n".join([*map(str, found), last]), not counts[FAIL]


def read(overrides: Sequence[str], *, servers: bool = False) -> Asked:
    """What `delamo run` would be asked; values that are still open, say a path to data, do not matter here."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from delamo.config.compose import compose_nodes
    from delamo.experiment import config as _schemas  # noqa: F401 -- registers the schemas of an experiment
    from delamo.runs import sweeper as _sweeper  # noqa: F401 -- registers the sweeper, which conf/config.yaml names

    try:
        config = compose_nodes(overrides)
        nodes = {
            name: OmegaConf.to_object(config[name]) for name in ("student", "teacher", "tuning", "retriever", "logger")
        }
        return Asked(
            **nodes, pool=config.pool.name, task=config.task.name, store=str(config.paths.store), servers=servers
        )
    except (ValueError, OmegaConfBaseException) as error:
        raise ValueError(f"{error}; `delamo run --help` lists groups and options") from error


def examine(asked: Asked) -> Iterator[Finding]:
    """All lines, one check after another."""
    for check in CHECKS:
        yield from check(asked)


def python(asked: Asked) -> Iterator[Finding]:
    """The interpreter."""
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    yield Finding(OK if good else FAIL, "python", version, "" if good else "install Python 3.11 or later")


def packages(asked: Asked) -> Iterator[Finding]:
    """Every base requirement of the project, and releases that must not be there."""
    from packaging.requirements import Requirement

    wrong = 0
    wanted = [Requirement(text) for text in environment.requirements()]
    for one in wanted:
        version = environment.installed(one.name)
        if version is None or version not in one.specifier:
            wrong += 1
            yield Finding(
                FAIL, one.name, f"{version or 'not installed'}, delamo needs {one.specifier}", f"pip install '{one}'"
            )
    for name, versions in MALICIOUS.items():
        if environment.installed(name) in versions:
            wrong += 1
            way_out = f"pip uninstall {name}, and change every key that this machine has seen"
            yield Finding(FAIL, name, f"{environment.installed(name)} is a malicious release", way_out)
    if not wrong:
        shown = ", ".join(
            f"{name} {environment.installed(name)}" for name in ("transformers", "peft", "pytorch-lightning")
        )
        yield Finding(OK, "packages", f"{len(wanted)} as required; {shown}")


def torch_and_device(asked: Asked) -> Iterator[Finding]:
    """The build of torch, and whether the devices that are asked for are there."""
    facts = environment.torch_facts()
    if "error" in facts:
        yield Finding(FAIL, "torch", facts["error"], "pip install --force-reinstall torch")
        return
    build = f"{facts['version']} ({'CUDA ' + facts['cuda_build'] if facts['cuda_build'] else 'no CUDA'})"
    yield Finding(OK, "torch", build)
    gpus = ", ".join(f"{name}, {memory / 2**30:.0f} GiB" for name, memory in facts["gpus"])
    if gpus:
        yield Finding(OK, "device", gpus)
    elif shutil.which("nvidia-smi"):
        way_out = "install torch for your driver: https://pytorch.org/get-started/locally"
        yield Finding(WARN, "device", "there is an NVIDIA driver, and torch sees no GPU", way_out)
    else:
        yield Finding(OK, "device", "mps" if facts["mps"] else "CPU only")
    for role in ("student", "teacher"):
        device = getattr(getattr(asked, role), "device", None) or ""
        if device.startswith("cuda") and not facts["cuda"]:
            yield Finding(FAIL, f"{role}.device", f"{device}, and torch sees no GPU", f"{role}.device=auto")
    large = not asked.student.path.startswith("package:") and asked.student.engine.value == "transformers"
    if large and not facts["cuda"]:
        way_out = "use a GPU, student.engine=vllm for the answers, or student=micro"
        yield Finding(WARN, "student", f"{asked.student.path} on a CPU takes hours a stage", way_out)
    yield from _arithmetic(asked, facts)


def _arithmetic(asked: Asked, facts: Mapping[str, Any]) -> Iterator[Finding]:
    """What the tuning needs of the GPU."""
    if asked.tuning.precision.value == "bf16" and facts["cuda"] and not facts["bf16"]:
        yield Finding(WARN, "tuning.precision", "bf16, which this GPU only emulates", "tuning.precision=fp32")
    if asked.tuning.method.value == "qlora":
        yield _found(
            bool(facts["cuda"]), "tuning.method", "qlora: a GPU", "qlora without a GPU", "tuning=llava_lora, or a GPU"
        )
        there, version = environment.importable("bitsandbytes"), environment.installed("bitsandbytes")
        yield _found(
            there,
            "bitsandbytes",
            str(version),
            "not installed or broken, qlora needs it",
            "pip install 'delamo[qlora]'",
        )


def vision(asked: Asked) -> Iterator[Finding]:
    """Torchvision is not needed; a build that does not fit torch breaks transformers' imports."""
    version = environment.installed("torchvision")
    if version is None:
        yield Finding(OK, "torchvision", "not installed, not needed")
        return
    way_out = "pip uninstall torchvision, or install the one of your torch from torch's own index"
    wanted = [
        text for text in environment.metadata_requires("torchvision") if text.replace(" ", "").startswith("torch==")
    ]
    torch = (environment.installed("torch") or "").partition("+")[0]
    fits = all(text.replace(" ", "").removeprefix("torch==").partition(";")[0] == torch for text in wanted)
    said = environment.run_python(VISION_FACTS)
    if said is not None:
        yield Finding(FAIL, "torchvision", f"{version} is broken beside torch {torch}: {said}", way_out)
    elif not fits:
        yield Finding(WARN, "torchvision", f"{version} was built for {wanted[0]}, torch is {torch}", way_out)
    else:
        yield Finding(OK, "torchvision", version)


def hub(asked: Asked) -> Iterator[Finding]:
    """Whether models can be fetched, and whether those that are asked for have to be."""
    offline = [name for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if _is_on(os.environ.get(name))]
    home = os.environ.get("HF_HOME", "~/.cache/huggingface")
    yield Finding(OK, "hub", f"{', '.join(offline)} set: nothing is fetched" if offline else "online", f"cache: {home}")
    for role in ("student", "teacher"):
        node = getattr(asked, role)
        path = getattr(node, "path", None)
        if path is None or path.startswith("package:"):
            continue
        if getattr(node, "engine", None) is not None and node.engine.value == "vllm":
            continue
        if Path(path).is_dir() or environment.is_cached(path, node.revision):
            yield Finding(OK, f"{role}.path", f"{path} is on this machine")
        elif offline:
            way_out = f"unset {offline[0]}, or give a folder: {role}.path=DIR"
            yield Finding(
                FAIL, f"{role}.path", f"{path} is neither a folder nor in the cache, and the hub is off", way_out
            )
        else:
            way_out = "a model of 7 B parameters has about 15 GB"
            yield Finding(WARN, f"{role}.path", f"{path} will be downloaded at its first use", way_out)


def disk(asked: Asked) -> Iterator[Finding]:
    """Room and right to write at the store."""
    path = Path(asked.store).absolute()
    place = next(folder for folder in (path, *path.parents) if folder.exists())
    if not os.access(place, os.W_OK):
        yield Finding(FAIL, "paths.store", f"{place} cannot be written to", "paths.store=DIR")
        return
    free = shutil.disk_usage(place).free / 2**30
    level = FAIL if free < LEAST_FREE_GIB else WARN if free < WANTED_FREE_GIB else OK
    yield Finding(
        level, "paths.store", f"{path}: {free:.1f} GiB free", "" if level is OK else "free some, or paths.store=DIR"
    )


def wandb(asked: Asked) -> Iterator[Finding]:
    """The key of Weights & Biases, where runs are to be sent there."""
    there = bool(os.environ.get("WANDB_API_KEY")) or environment.in_netrc("api.wandb.ai")
    said = f"key {'present' if there else 'absent'}"
    mode = getattr(asked.logger, "mode", None)
    if mode is None or mode.value != "online":
        yield Finding(
            OK, "wandb", f"{said}, not needed: {'logger.mode is ' + mode.value if mode else 'another logger'}"
        )
    else:
        yield _found(there, "wandb", said, f"{said}, and logger.mode is online", "wandb login, or logger.mode=offline")


def keys(asked: Asked) -> Iterator[Finding]:
    """The environment variables that hold the keys of the teacher's and the student's services."""
    for role, name in (("teacher", _key_name(asked.teacher)), ("student", _key_name(asked.student))):
        if name:
            there = bool(os.environ.get(name))
            yield _found(there, f"{role}'s key", f"{name} present", f"{name} is not set", f"export {name}=...")


def _key_name(node: Any) -> str | None:
    """The variable that a node's service takes its key from; None where it wants none."""
    if getattr(node, "engine", None) is not None and node.engine.value != "vllm":
        return None
    named = getattr(node, "api_key_env", None)
    remote = getattr(node, "model", None) if getattr(node, "api_base", None) is None else None
    return named or (PROVIDER_KEYS.get(remote.partition("/")[0]) if remote else None)


def extras(asked: Asked) -> Iterator[Finding]:
    """Packages that only some choices need."""
    needs = {
        "pyarrow": ("parquet", asked.pool == "parquet"),
        "datasets": ("datasets", "hf_dataset" in (asked.pool, asked.task)),
        "num2words": ("smolvlm", "smolvlm" in asked.student.path.lower()),
        "PyStemmer": ("stemming", bool(asked.retriever.stemming)),
    }
    for package, (extra, needed) in needs.items():
        if needed:
            version = environment.installed(package)
            yield _found(version is not None, package, str(version), "not installed", f"pip install 'delamo[{extra}]'")


def servers(asked: Asked) -> Iterator[Finding]:
    """Whether the servers of student and teacher answer; only where asked, since it leaves this machine."""
    for role in ("student", "teacher"):
        node = getattr(asked, role)
        base = getattr(node, "api_base", None)
        if role == "student" and node.engine.value == "vllm" and not base:
            yield Finding(
                FAIL, "student.api_base", "null, student.engine=vllm needs it", "student.api_base=http://HOST:8000/v1"
            )
        if base and not asked.servers:
            yield Finding(OK, f"{role}'s server", f"{base} was not asked", "servers=true asks it")
        elif base:
            good, said = environment.ask_server(base, os.environ.get(node.api_key_env or ""))
            yield _found(good, f"{role}'s server", said, said, f"start it, or {role}.api_base=...")


def _found(good: bool, what: str, said: str, otherwise: str, way_out: str) -> Finding:
    return Finding(OK, what, said) if good else Finding(FAIL, what, otherwise, way_out)


def _is_on(value: str | None) -> bool:
    return (value or "").upper() in {"1", "ON", "YES", "TRUE"}


CHECKS: tuple[Callable[[Asked], Iterator[Finding]], ...] = (
    python,
    packages,
    torch_and_device,
    vision,
    hub,
    disk,
    wandb,
    keys,
    extras,
    servers,
)
