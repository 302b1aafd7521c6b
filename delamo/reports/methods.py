"""Methods: which runs are runs of one, what it is called, and where it stands in a table.

A method is a selector with its settings; its runs differ in the seed only. What is said of selectors follows from their
declarations (`delamo.selectors`). A run may name a selector that is not declared here, as one of a plugin that is not
loaded: it is taken to choose under a budget and to read all of the config.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from delamo.config.registry import SCHEMAS
from delamo.metrics.comparison import MethodRuns
from delamo.records import FILL
from delamo.runs.read import Run
from delamo.selectors import BUILT_IN, SELECTORS, Selector, error_driven, none, random

PRETRAINED, RANDOM, OURS = none.SELECTOR.name, random.SELECTOR.name, error_driven.SELECTOR.name
SEEDS = ("seeds.selection", "seeds.training", "seeds.decoding")
BY_CHANCE = frozenset({"random", FILL})
"""Reasons of selected samples that were drawn."""
NOT_COMPARED = ("seed", "selector.", "paths.", "logger.")
"""Config that never tells the settings of two runs apart; a selector's own keys do so only among its own runs."""
TARGETS = ("mmbench", "appliance", "furniture", "living_things", "vqa", "image_caption_match", "scienceqa")
"""The paper's targets, in the order of its Table 1."""
ABLATIONS = {
    "mistakes=whole_rationale": "without mistake identification",
    "skills=all_samples": "without error collection",
    "skills=mistake_steps": "without skill analysis",
}
"""The settings in `conf/ablation`, as the paper's Table 5 names them."""
WHOLE = ("mistakes=answer_switch", "skills=skill_analysis")
"""The settings of the method itself instead of these."""


def declared(selector: str) -> Selector | None:
    """Return the declaration of a selector; None where it is not known here."""
    return next((known for known in SELECTORS.values() if known.name == selector), None)


def follows_budget(selector: str) -> bool:
    """Tell whether the budget decides the result; the runs of a selector that has none stand in the table of each."""
    declaration = declared(selector)
    return declaration is None or declaration.follows_budget


def tunes(selector: str) -> bool:
    """Tell whether a selector's runs tune the student."""
    declaration = declared(selector)
    return declaration is None or declaration.tunes


def ignored_keys(selector: str) -> tuple[str, ...]:
    """Return the config keys that a selector does not read, groups with a dot behind them.

    Runs that differ in these alone are runs of the same method.
    """
    declaration = declared(selector)
    return declaration.ignores if declaration else ()


def pool_stages() -> set[str]:
    """Return the kinds of stages that are computed once for a pool and serve every task."""
    return {stage for selector in SELECTORS.values() for need in selector.needs for stage in need.pool_stages}


def ranking_stages() -> set[str]:
    """Return the kinds of stages that give each pool sample the numbers that a selector goes by."""
    return {need.name for selector in SELECTORS.values() for need in selector.needs if need.ranks_pool}


def budgeted() -> list[str]:
    """Return the package's selectors that choose under a budget, in the order of tables."""
    return [selector.name for selector in BUILT_IN if selector.follows_budget]


def unbudgeted() -> list[str]:
    """Return the package's selectors that no budget changes, in the order of tables."""
    return [selector.name for selector in BUILT_IN if not selector.follows_budget]


def method_order(selector: str, label: str) -> tuple[int, str]:
    """Return the sort key of a method: the package's selectors in their order, others by label, error-driven last."""
    order = [known.name for known in BUILT_IN if known.name != OURS]
    if selector == OURS:
        return len(order) + 1, label
    return order.index(selector) if selector in order else len(order), label


def target_order(task: str) -> tuple[int, str]:
    """Return the sort key of a target: the paper's seven, then others by name."""
    return TARGETS.index(task) if task in TARGETS else len(TARGETS), task


def short(label: str) -> str:
    """Shorten a label for plots: `error_driven (skills=mistake_steps)` is `error_driven without skill analysis`."""
    selector, _, settings = label.removesuffix(")").partition(" (")
    parts = [part for part in settings.split(", ") if part and part not in WHOLE]
    words = [ABLATIONS[part] for part in parts if part in ABLATIONS]
    others = [part for part in parts if part not in ABLATIONS]
    return " ".join([selector, *words, *([f"({', '.join(others)})"] if others else [])])


def is_ablation(label: str) -> bool:
    """Tell whether a part of the method is left out."""
    return any(part in label for part in ABLATIONS)


def group(runs: Sequence[Run], keys: Mapping[str, Sequence[str]] | None = None) -> list[tuple[str, list[Run]]]:
    """Sort the runs of one task, student and budget into methods.

    A cell's names (task, student, selector, budget) do not tell an ablation from the default; the resolved configs do.
    A label is the selector's name, with the keys in which its runs differ: `error_driven (retriever=rank_bm25)`.

    Args:
        runs: of one task, student and budget.
        keys: those that name the runs of each selector, where the labels of several tasks must agree (`label_keys`).

    Returns:
        (label, its runs in seed order), in order of the labels.
    """
    by_selector: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_selector[run.cell["selector"]].append(run)
    methods: dict[str, list[Run]] = defaultdict(list)
    for selector, same in by_selector.items():
        chosen = _differing(same) if keys is None else keys.get(selector, ())
        for run in same:
            settings = [f"{key.removesuffix('.name')}={run.config.get(key)}" for key in chosen]
            methods[f"{selector} ({', '.join(settings)})" if settings else selector].append(run)
    return [(label, sorted(methods[label], key=seeds)) for label in sorted(methods)]


def label_keys(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Return, by selector, the keys in which its runs differ on any task: an ablation on one names it on all."""
    cells: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        cells[run.cell["selector"], run.cell["task"]].append(run)
    keys: dict[str, set[str]] = defaultdict(set)
    for (selector, _), same in cells.items():
        keys[selector].update(_differing(same))
    return {selector: sorted(names) for selector, names in keys.items()}


def seeds(run: Run) -> tuple[int, ...]:
    """Return the cell's seed, then those of selection, training and decoding, which follow it unless set."""
    seed = run.cell["seed"]
    return seed, *(run.config.get(key, seed) for key in SEEDS)


def seed_name(run: Run) -> str:
    """Name the cell's seed, with those that do not follow it."""
    seed, *others = seeds(run)
    own = [f"{key.removeprefix('seeds.')} {other}" for key, other in zip(SEEDS, others, strict=True) if other != seed]
    return " ".join([f"seed {seed}", *own])


def same_setting(first: Run, second: Run) -> bool:
    """Tell whether two runs agree in all config that both read, the seed and the selector's own apart."""
    selectors = first.cell["selector"], second.cell["selector"]
    return settings(first, *selectors) == settings(second, *selectors)


def drawn(runs: Sequence[Run]) -> MethodRuns:
    """Say what in the runs of a method, on one target, was left to chance.

    A run is one draw of its method. Where several were tuned on one selection out of more, or on the only one that was
    drawn by chance, the selection is the draw: tuning again on it does not tell what another would have brought.
    """
    outcomes = [run.outcomes for run in runs]
    if not tunes(runs[0].cell["selector"]):
        return MethodRuns(outcomes=outcomes, fixed=True)
    digests = [run.selection_digest for run in runs]
    held = len({run.config.get(SEEDS[0], run.cell["seed"]) for run in runs}) == 1
    by_chance = any(BY_CHANCE.intersection(run.metrics["selection"]["reasons"]) for run in runs)
    if len(set(digests)) > 1 or (held and by_chance):
        return MethodRuns(outcomes=outcomes, units=digests)
    return MethodRuns(outcomes=outcomes)


def newest(runs: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """Split runs into one for each choice of seeds, the last one that ended, and the others."""
    kept: dict[tuple[int, ...], Run] = {}
    for run in sorted(runs, key=lambda run: run.ended):
        kept[seeds(run)] = run
    return [kept[chosen] for chosen in sorted(kept)], [run for run in runs if kept[seeds(run)] is not run]


def settings(run: Run, *selectors: str) -> dict[str, Any]:
    """Return the config that decides the result under all of the selectors, without seeds and the selector's own."""
    unused = tuple(key for selector in selectors for key in ignored_keys(selector)) + NOT_COMPARED
    silent = _not_in_identity()
    return {key: value for key, value in run.config.items() if not key.startswith(unused) and key not in silent}


def _differing(runs: Sequence[Run]) -> list[str]:
    """List keys with more than one value; where a group's name is among them it stands for the group's other keys."""
    selector = runs[0].cell["selector"]
    own = [{key: value for key, value in run.config.items() if key.startswith("selector.")} for run in runs]
    configs = [{**settings(run, selector), **chosen} for run, chosen in zip(runs, own, strict=True)]
    keys = {key for config in configs for key in config}
    differing = sorted(key for key in keys if len({repr(config.get(key)) for config in configs}) > 1)
    groups = tuple(key.removesuffix("name") for key in differing if key.endswith(".name"))
    return [key for key in differing if key.endswith(".name") or not key.startswith(groups)]


def _not_in_identity() -> set[str]:
    """List the keys that decide how fast a result comes, not which: `student.batch_size`, ..."""
    keys = set()
    for path, schema in SCHEMAS.items():
        prefix, _, variant = path.partition("/")
        for field in dataclasses.fields(schema):
            if field.name != "name" and not field.metadata.get("identity", True):
                keys.add(f"{prefix}.{field.name}" if variant else field.name)
    return keys
