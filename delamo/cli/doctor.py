"""Checks of `delamo doctor`: whether this environment can run an experiment, one line for each finding, with a fix.

They look at the student, teacher, tuning, logger and paths of the experiment. Nothing is downloaded, loaded or written.
A server is only asked with `servers=true`. Keys are looked up by name; their values are never shown.
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
    """One line of the text."""

    level: str
    """`ok`, `warn` or `fail`."""
    subject: str
    message: str
    fix: str = ""
    """A command or an override that helps."""

    def __str__(self) -> str:
        return f"{self.level:<5} {self.subject:<16} {self.message}" + (f"\n{'':22} -> {self.fix}" if self.fix else "")


@dataclass(frozen=True, slots=True)
class DoctorRequest:
    """The config nodes that the environment has to serve."""

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
    """Check the environment for the overrides of a `delamo run`.

    Returns:
        (the text, whether nothing would fail).

    Raises:
        ValueError: a config that does not compose.
    """
    servers = [override for override in overrides if override.startswith("servers=")]
    request = read([override for override in overrides if override not in servers], servers="servers=true" in servers)
    findings = list(examine(request))
    counts = {level: sum(finding.level == level for finding in findings) for level in (OK, WARN, FAIL)}
    last = f"{counts[OK]} ok, {counts[WARN]} to look at, {counts[FAIL]} that would fail"
    return "\n".join([*map(str, findings), last]), not counts[FAIL]


def read(overrides: Sequence[str], *, servers: bool = False) -> DoctorRequest:
    """Compose the nodes of an experiment; values that are missing, say a path to data, do not matter here."""
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
        return DoctorRequest(
            **nodes, pool=config.pool.name, task=config.task.name, store=str(config.paths.store), servers=servers
        )
    except (ValueError, OmegaConfBaseException) as error:
        raise ValueError(f"{error}; `delamo run --help` lists groups and options") from error


def examine(request: DoctorRequest) -> Iterator[Finding]:
    """Run all checks, one after another."""
    for check in CHECKS:
        yield from check(request)


def python(request: DoctorRequest) -> Iterator[Finding]:
    """Check the interpreter's version."""
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    yield Finding(OK if good else FAIL, "python", version, "" if good else "install Python 3.11 or later")


def packages(request: DoctorRequest) -> Iterator[Finding]:
    """Check every base requirement of the project, and that no malicious release is installed."""
    from packaging.requirements import Requirement

    wrong = 0
    requirements = [Requirement(text) for text in environment.requirements()]
    for required in requirements:
        version = environment.installed(required.name)
        if version is None or version not in required.specifier:
            wrong += 1
            message = f"{version or 'not installed'}, delamo needs {required.specifier}"
            yield Finding(FAIL, required.name, message, f"pip install '{required}'")
    for name, versions in MALICIOUS.items():
        if environment.installed(name) in versions:
            wrong += 1
            fix = f"pip uninstall {name}, and change every key that this machine has seen"
            yield Finding(FAIL, name, f"{environment.installed(name)} is a malicious release", fix)
    if not wrong:
        shown = ", ".join(
            f"{name} {environment.installed(name)}" for name in ("transformers", "peft", "pytorch-lightning")
        )
        yield Finding(OK, "packages", f"{len(requirements)} as required; {shown}")


def torch_and_device(request: DoctorRequest) -> Iterator[Finding]:
    """Check the build of torch, and that the configured devices exist."""
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
        fix = "install torch for your driver: https://pytorch.org/get-started/locally"
        yield Finding(WARN, "device", "there is an NVIDIA driver, and torch sees no GPU", fix)
    else:
        yield Finding(OK, "device", "mps" if facts["mps"] else "CPU only")
    for role in ("student", "teacher"):
        device = getattr(getattr(request, role), "device", None) or ""
        if device.startswith("cuda") and not facts["cuda"]:
            yield Finding(FAIL, f"{role}.device", f"{device}, and torch sees no GPU", f"{role}.device=auto")
    large = not request.student.path.startswith("package:") and request.student.engine.value == "transformers"
    if large and not facts["cuda"]:
        fix = "use a GPU, student.engine=vllm for the answers, or student=micro"
        yield Finding(WARN, "student", f"{request.student.path} on a CPU takes hours a stage", fix)
    yield from _arithmetic(request, facts)


def _arithmetic(request: DoctorRequest, facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Check what the tuning's precision and method need of the GPU."""
    if request.tuning.precision.value == "bf16" and facts["cuda"] and not facts["bf16"]:
        yield Finding(WARN, "tuning.precision", "bf16, which this GPU only emulates", "tuning.precision=fp32")
    if request.tuning.method.value == "qlora":
        yield _finding(
            bool(facts["cuda"]), "tuning.method", "qlora: a GPU", "qlora without a GPU", "tuning=llava_lora, or a GPU"
        )
        works, version = environment.importable("bitsandbytes"), environment.installed("bitsandbytes")
        yield _finding(
            works,
            "bitsandbytes",
            str(version),
            "not installed or broken, qlora needs it",
            "pip install 'delamo[qlora]'",
        )


def vision(request: DoctorRequest) -> Iterator[Finding]:
    """Check torchvision, which is not needed; a build that does not fit torch breaks the imports of transformers."""
    version = environment.installed("torchvision")
    if version is None:
        yield Finding(OK, "torchvision", "not installed, not needed")
        return
    fix = "pip uninstall torchvision, or install the one of your torch from torch's own index"
    requirements = [text.replace(" ", "") for text in environment.metadata_requires("torchvision")]
    built_for = [text.partition(";")[0] for text in requirements if text.startswith("torch==")]
    torch = (environment.installed("torch") or "").partition("+")[0]
    error = environment.run_python(VISION_FACTS)
    if error is not None:
        yield Finding(FAIL, "torchvision", f"{version} is broken beside torch {torch}: {error}", fix)
    elif any(text != f"torch=={torch}" for text in built_for):
        yield Finding(WARN, "torchvision", f"{version} was built for {built_for[0]}, torch is {torch}", fix)
    else:
        yield Finding(OK, "torchvision", version)


def hub(request: DoctorRequest) -> Iterator[Finding]:
    """Check whether models can be downloaded, and which of the configured ones have to be."""
    offline = [name for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if _is_on(os.environ.get(name))]
    home = os.environ.get("HF_HOME", "~/.cache/huggingface")
    yield Finding(OK, "hub", f"{', '.join(offline)} set: nothing is fetched" if offline else "online", f"cache: {home}")
    for role in ("student", "teacher"):
        node = getattr(request, role)
        path = getattr(node, "path", None)
        if path is None or path.startswith("package:"):
            continue
        if getattr(node, "engine", None) is not None and node.engine.value == "vllm":
            continue
        if Path(path).is_dir() or environment.is_cached(path, node.revision):
            yield Finding(OK, f"{role}.path", f"{path} is on this machine")
        elif offline:
            fix = f"unset {offline[0]}, or give a folder: {role}.path=DIR"
            yield Finding(FAIL, f"{role}.path", f"{path} is neither a folder nor in the cache, and the hub is off", fix)
        else:
            fix = "a model of 7 B parameters has about 15 GB"
            yield Finding(WARN, f"{role}.path", f"{path} will be downloaded at its first use", fix)


def disk(request: DoctorRequest) -> Iterator[Finding]:
    """Check free space and write permission at the store."""
    path = Path(request.store).absolute()
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    if not os.access(existing, os.W_OK):
        yield Finding(FAIL, "paths.store", f"{existing} cannot be written to", "paths.store=DIR")
        return
    free = shutil.disk_usage(existing).free / 2**30
    level = FAIL if free < LEAST_FREE_GIB else WARN if free < WANTED_FREE_GIB else OK
    yield Finding(
        level, "paths.store", f"{path}: {free:.1f} GiB free", "" if level is OK else "free some, or paths.store=DIR"
    )


def wandb(request: DoctorRequest) -> Iterator[Finding]:
    """Check the key of Weights & Biases, where runs are sent there."""
    has_key = bool(os.environ.get("WANDB_API_KEY")) or environment.in_netrc("api.wandb.ai")
    message = f"key {'present' if has_key else 'absent'}"
    mode = getattr(request.logger, "mode", None)
    if mode is None or mode.value != "online":
        yield Finding(
            OK, "wandb", f"{message}, not needed: {'logger.mode is ' + mode.value if mode else 'another logger'}"
        )
    else:
        failure = f"{message}, and logger.mode is online"
        yield _finding(has_key, "wandb", message, failure, "wandb login, or logger.mode=offline")


def keys(request: DoctorRequest) -> Iterator[Finding]:
    """Check the environment variables with the keys of the teacher's and the student's services."""
    for role, name in (("teacher", _key_name(request.teacher)), ("student", _key_name(request.student))):
        if name:
            yield _finding(
                bool(os.environ.get(name)),
                f"{role}'s key",
                f"{name} present",
                f"{name} is not set",
                f"export {name}=...",
            )


def _key_name(node: Any) -> str | None:
    """Return the environment variable with the key of a node's service; None where it needs none."""
    if getattr(node, "engine", None) is not None and node.engine.value != "vllm":
        return None
    variable = getattr(node, "api_key_env", None)
    remote = getattr(node, "model", None) if getattr(node, "api_base", None) is None else None
    return variable or (PROVIDER_KEYS.get(remote.partition("/")[0]) if remote else None)


def extras(request: DoctorRequest) -> Iterator[Finding]:
    """Check packages that only some choices need."""
    needs = {
        "pyarrow": ("parquet", request.pool == "parquet"),
        "datasets": ("datasets", "hf_dataset" in (request.pool, request.task)),
        "num2words": ("smolvlm", "smolvlm" in request.student.path.lower()),
        "PyStemmer": ("stemming", bool(request.retriever.stemming)),
    }
    for package, (extra, needed) in needs.items():
        if needed:
            version = environment.installed(package)
            yield _finding(
                version is not None, package, str(version), "not installed", f"pip install 'delamo[{extra}]'"
            )


def servers(request: DoctorRequest) -> Iterator[Finding]:
    """Check that the servers of student and teacher answer; only with `servers=true`, since it uses the network."""
    for role in ("student", "teacher"):
        node = getattr(request, role)
        base = getattr(node, "api_base", None)
        if role == "student" and node.engine.value == "vllm" and not base:
            yield Finding(
                FAIL, "student.api_base", "null, student.engine=vllm needs it", "student.api_base=http://HOST:8000/v1"
            )
        if base and not request.servers:
            yield Finding(OK, f"{role}'s server", f"{base} was not asked", "servers=true asks it")
        elif base:
            answers, message = environment.ask_server(base, os.environ.get(node.api_key_env or ""))
            yield _finding(answers, f"{role}'s server", message, message, f"start it, or {role}.api_base=...")


def _finding(good: bool, subject: str, message: str, failure: str, fix: str) -> Finding:
    return Finding(OK, subject, message) if good else Finding(FAIL, subject, failure, fix)


def _is_on(value: str | None) -> bool:
    return (value or "").upper() in {"1", "ON", "YES", "TRUE"}


CHECKS: tuple[Callable[[DoctorRequest], Iterator[Finding]], ...] = (
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
