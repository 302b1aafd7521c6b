"""Which runs are runs of one method: those that differ in the seed only.

A cell's names (task, student, selector, budget) do not tell an ablation from the default. The resolved configs do: where
runs of the same names differ in a key that matters to them, the key becomes part of the method's label.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from delamo.config.registry import SCHEMAS
from delamo.runs.read import Run

PRETRAINED, RANDOM = "none", "random"
TAKE_ALL = ("full_data", "validation_data")
NO_BUDGET = (PRETRAINED, *TAKE_ALL)
"""Selectors whose result no budget changes: their runs stand in the table of each."""
_ERRORS = ("teacher.", "retriever.", "mistakes.", "skills.")
UNUSED = {
    PRETRAINED: (
        *_ERRORS,
        "task.num_val_samples",
        "pool.",
        "audit.",
        "budget.",
        "tuning.",
        "iterations",
        "iterate_from",
    ),
    RANDOM: _ERRORS,
    "full_data": (*_ERRORS, "budget."),
    "validation_data": (*_ERRORS, "pool.", "audit.", "budget."),
    "insta": _ERRORS,
    "superfiltering": _ERRORS,
    "bm25_text": ("teacher.", "mistakes.", "skills."),
    "rds": _ERRORS,
    "less": _ERRORS,
}
"""Config that a selector does not read: two runs that differ in it alone are runs of the same method."""
SEEDS = ("seeds.selection", "seeds.training", "seeds.decoding")


def group(runs: Sequence[Run], keys: Mapping[str, Sequence[str]] | None = None) -> list[tuple[str, list[Run]]]:
    """Sort the runs of one task, student and budget into methods: (label, its runs in seed order), in order of the labels.

    A label is the selector's name, with the keys in which its runs differ: `error_driven (retriever=rank_bm25)`. `keys` says which
    those are by selector, where the labels of several tasks must agree (`label_keys`).
    """
    by_selector: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_selector[run.cell["selector"]].append(run)
    methods: dict[str, list[Run]] = defaultdict(list)
    for selector, same in by_selector.items():
        told = _differing(same) if keys is None else keys.get(selector, ())
        for run in same:
            said = [f"{key.removesuffix('.name')}={run.config.get(key)}" for key in told]
            methods[f"{selector} ({', '.join(said)})" if said else selector].append(run)
    return [(label, sorted(methods[label], key=seeds)) for label in sorted(methods)]


def label_keys(runs: Sequence[Run]) -> dict[str, list[str]]:
    """By selector, the keys in which its runs differ on any one task: an ablation on one task names the method on all."""
    cells: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        cells[run.cell["selector"], run.cell["task"]].append(run)
    found: dict[str, set[str]] = defaultdict(set)
    for (selector, _), same in cells.items():
        found[selector].update(_differing(same))
    return {selector: sorted(keys) for selector, keys in found.items()}


def seeds(run: Run) -> tuple[int, ...]:
    """The cell's seed, then those of selection, training and decoding, which follow it unless set."""
    seed = run.cell["seed"]
    return seed, *(run.config.get(key, seed) for key in SEEDS)


def seed_name(run: Run) -> str:
    """The cell's seed, with those that do not follow it."""
    seed, *apart = seeds(run)
    own = [f"{key.removeprefix('seeds.')} {one}" for key, one in zip(SEEDS, apart, strict=True) if one != seed]
    return " ".join([f"seed {seed}", *own])


def same_setting(one: Run, other: Run) -> bool:
    """Whether the runs agree in all config that both read, the seed and the selector's own apart."""
    selectors = one.cell["selector"], other.cell["selector"]
    return settings(one, *selectors) == settings(other, *selectors)


def newest(runs: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """One run for each choice of seeds, the last one that ended, and the others."""
    kept: dict[tuple[int, ...], Run] = {}
    for run in sorted(runs, key=lambda run: run.ended):
        kept[seeds(run)] = run
    return [kept[chosen] for chosen in sorted(kept)], [run for run in runs if kept[seeds(run)] is not run]


def _differing(runs: Sequence[Run]) -> list[str]:
    """Keys with more than one value; where a group's name is among them it stands for the group's other keys."""
    selector = runs[0].cell["selector"]
    own = [{k: v for k, v in run.config.items() if k.startswith("selector.")} for run in runs]
    seen = [{**settings(run, selector), **chosen} for run, chosen in zip(runs, own, strict=True)]
    keys = {key for keys in seen for key in keys}
    differing = sorted(key for key in keys if len({repr(one.get(key)) for one in seen}) > 1)
    named = [key.removesuffix("name") for key in differing if key.endswith(".name")]
    return [key for key in differing if key.endswith(".name") or not key.startswith(tuple(named))]


def settings(run: Run, *selectors: str) -> dict[str, Any]:
    """The config keys that decide the result under all of the selectors; the seeds and the selector's own are left out."""
    unused = [key for selector in selectors for key in UNUSED.get(selector, ())]
    unused += ["seed", "selector.", "paths.", "logger."]
    silent = _no_identity()
    return {k: v for k, v in run.config.items() if not k.startswith(tuple(unused)) and k not in silent}


def _no_identity() -> set[str]:
    """Keys that say how fast a result comes, not which: `student.batch_size`, ..."""
    found = set()
    for path, schema in SCHEMAS.items():
        prefix, _, variant = path.partition("/")
        for field in dataclasses.fields(schema):
            if field.name != "name" and not field.metadata.get("identity", True):
                found.add(f"{prefix}.{field.name}" if variant else field.name)
    return found
