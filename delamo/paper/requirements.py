"""What a cell at the paper's scale needs and what is missing here: weights, data, a key or a server, a GPU.

It is looked for on disk; nothing is requested over a network.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from delamo.config import conf
from delamo.models.hf.commits import cached_config
from delamo.paper.facts import NUM_GPUS, measured_seconds, tuning_seconds
from delamo.paper.numbers import PAPER
from delamo.reports.methods import PRETRAINED, RANDOM, ignored_keys
from delamo.selectors import full_data, selector_named

NUM_RANDOM_RUNS = 3  # paper, section 4.1
FULL_DATA = full_data.SELECTOR.name
GPU = "GPU"


@dataclass(frozen=True, slots=True, order=True)
class Need:
    """One thing that is missing."""

    kind: str
    """In one word, for a table: student, pool, data, teacher, scorer, steps, selector, GPU."""
    what: str
    """Which, and where it was looked for."""


def missing(choices: Mapping[str, Any]) -> tuple[Need, ...]:
    """List what the cell needs and this machine lacks, in a fixed order.

    Args:
        choices: the overrides that make the cell.
    """
    selector = choices["selector"]
    if not conf.exists("selector", selector):
        return (Need("selector", f"selector={selector}, which this version does not have"),)
    values = conf.values(choices, PAPER)
    unused = ignored_keys(selector)
    needs = [_weights("student", values["student.path"]), *_data(values)]
    if "pool." not in unused and not _is_file(values.get("pool.annotation")):
        needs.append(Need("pool", f"{values['pool.name']}: no {values.get('pool.annotation')}"))
    if "teacher." not in unused:
        needs.append(_teacher(values))
    if "mistakes.path" in values and "mistakes." not in unused and not _is_file(values["mistakes.path"]):
        needs.append(
            Need("steps", f"annotated mistake steps: no {values['mistakes.path']}; the authors' were not released")
        )
    needs += [_weights("scorer", values[key]) for key in ("selector.encoder", "selector.scorer") if values.get(key)]
    if not has_gpu():
        needs.append(Need(GPU, "a GPU: nvidia-smi is not found (the paper: 8 x A100-40GB)"))
    return tuple(dict.fromkeys(need for need in needs if need))


def gpu_hours(choices: Mapping[str, Any]) -> float:
    """Estimate the GPU-hours of one tuning by the paper's own timings (Table 6), in proportion to the samples.

    100K samples took 4,041 to 4,647 s on eight A100-40GB, the whole pool 72,410 s; answering is not in them.
    """
    if choices["selector"] == PRETRAINED:
        return 0.0
    measured = measured_seconds()
    num_samples = max(measured) if choices["selector"] == FULL_DATA else _num_samples(choices)
    return tuning_seconds(num_samples, measured) * NUM_GPUS / 3600


def tunings(choices: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Return what tells a cell's tunings from others: nothing for an untouched student, else one for each seed.

    A method that does not look at the target is tuned once for all of them, as long as the audit removes nothing from
    the pool.
    """
    selector = choices["selector"]
    if selector == PRETRAINED:
        return []
    unused = ignored_keys(selector)
    own = {key: value for key, value in essential(choices).items() if not f"{key}.".startswith(unused)}
    if not selector_named(selector).looks_at_the_task:
        own = {key: value for key, value in own.items() if key != "task" and not key.startswith("task.")}
    seeds = [own.get("seed", 0)] if "seed" in own or selector != RANDOM else range(NUM_RANDOM_RUNS)
    return [tuple(sorted({**own, "seed": seed}.items(), key=repr)) for seed in seeds]


def essential(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the overrides that repeat the scale's defaults; the task and the selector always stay."""
    groups = conf.choices_at(PAPER)
    kept = {}
    for key, value in choices.items():
        others = {other: chosen for other, chosen in choices.items() if other != key}
        default = conf.value(others, PAPER, key) if "." in key else groups.get(key)
        if key in ("task", "selector") or value != default:
            kept[key] = value
    return kept


@lru_cache(maxsize=1)
def has_gpu() -> bool:
    """Tell whether there seems to be a GPU, without torch, whose import takes seconds."""
    return shutil.which("nvidia-smi") is not None


def _num_samples(choices: Mapping[str, Any]) -> int:
    if choices["selector"] == "validation_data":
        return conf.value(choices, PAPER, "task.num_val_samples")
    return conf.value(choices, PAPER, "budget.num_samples")


def _data(values: Mapping[str, Any]) -> list[Need | None]:
    """Look for the target's files: `annotation`, `root` and the like."""
    keys = [key for key in ("task.annotation", "task.root", "task.validation", "task.test") if values.get(key)]
    gone = [values[key] for key in keys if not Path(values[key]).exists()]
    return [Need("data", f"{values['task.name']}: no {', '.join(gone)}")] if gone else []


def _teacher(values: Mapping[str, Any]) -> Need | None:
    """Look for a key in the environment, a server, or local weights."""
    name, key = values["teacher.name"], values.get("teacher.api_key_env")
    if key:
        return None if key in os.environ else Need("teacher", f"{name}: no API key in the environment variable {key}")
    if values.get("teacher.api_base"):
        return Need("teacher", f"{name}: a server at {values['teacher.api_base']} (whether it runs was not asked)")
    return _weights("teacher", values["teacher.path"]) if values.get("teacher.path") else None


def _weights(kind: str, path: str) -> Need | None:
    return None if _has_weights(path) else Need(kind, f"the weights of {path}: neither a folder nor in the hub's cache")


@lru_cache(maxsize=32)
def _has_weights(path: str) -> bool:
    if path.startswith("package:") or Path(path).exists():
        return True
    if path and any(metadata.distributions(name=path)):  # models that travel in packages of their own
        return True
    return cached_config(path, None) is not None


def _is_file(path: Any) -> bool:
    return bool(path) and Path(path).is_file()
