"""Which runs belong to a cell of one of the paper's tables, and whether their other settings are the preset's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from delamo.config import conf
from delamo.reports import methods
from delamo.runs.read import Run

ROLES = ("student", "teacher", "task", "budget", "selector")
LOCATIONS = ("annotation", "image_root", "root", "folder", "image_cache", "api_base", "transcripts")
"""Where files and services are: no part of what a run is."""


@dataclass(frozen=True, slots=True)
class MatchedRuns:
    """The runs of a table's cells at one scale."""

    runs: dict[tuple[int, int], list[Run]]
    """By (row, column); one for each seed, all of the same other settings."""
    deviations: dict[str, Any]
    """Settings in which all of these runs differ from the preset's."""
    left_out: list[Run]
    """Runs of these cells with other settings than those."""
    superseded: list[Run]
    """Runs of these cells that a newer run of the same settings and seeds replaces."""


def matches(run: Run, choices: Mapping[str, Any], scale: str) -> bool:
    """Tell whether the run is one of the cell that these overrides make at the scale, as far as they say."""
    selector = choices["selector"]
    if run.cell["selector"] != selector:
        return False
    default = conf.choices_at(scale)
    wanted = {"student": default["student"], "teacher": default["teacher"], **choices}
    unused = methods.ignored_keys(selector)
    return all(_same(run, key, value) for key, value in wanted.items() if not f"{key}.".startswith(unused))


def deviations(run: Run, choices: Mapping[str, Any], scale: str) -> dict[str, Any]:
    """Return the settings that decide the run's result and differ from the preset's: key -> the run's value."""
    preset = conf.values(choices, scale)
    own = {key: value for key, value in run.config.items() if key.startswith("selector.")}
    read = {**methods.settings(run, run.cell["selector"]), **own}
    return {
        key: value
        for key, value in read.items()
        if key in preset and not _alike(value, preset[key]) and key.rpartition(".")[2] not in LOCATIONS
    }


def find(cells: Mapping[tuple[int, int], Mapping[str, Any]], runs: Sequence[Run], scale: str) -> MatchedRuns:
    """Sort runs into cells.

    All that stand in one table agree in their other settings: the preset's, where a tuned run has them.

    Args:
        cells: by (row, column), the overrides that make the cell.
        runs: to sort.
        scale: of the table.
    """
    wanted = {cell: [run for run in runs if matches(run, choices, scale)] for cell, choices in cells.items()}
    signs = {
        (cell, run.path): deviations(run, cells[cell], scale) for cell, matched in wanted.items() for run in matched
    }
    tuned = [sign for (cell, _), sign in signs.items() if cells[cell]["selector"] != methods.PRETRAINED]
    chosen = _chosen(tuned or list(signs.values()))
    alike = {
        cell: [run for run in matched if _compatible(run, signs[cell, run.path], chosen)]
        for cell, matched in wanted.items()
    }
    kept = {cell: methods.newest(matched)[0] for cell, matched in alike.items()}
    shown = {run.path for same in kept.values() for run in same}
    old = {run.path: run for same in alike.values() for run in same if run.path not in shown}
    others = {run.path: run for same in wanted.values() for run in same if run.path not in shown | old.keys()}
    return MatchedRuns({cell: same for cell, same in kept.items() if same}, chosen, [*others.values()], [*old.values()])


def _same(run: Run, key: str, wanted: Any) -> bool:
    if key.endswith(".path"):
        return True
    if key in ROLES or key == "seed":
        return run.cell[key] == wanted
    return _alike(run.config.get(key if "." in key else f"{key}.name"), wanted)


def _alike(first: Any, second: Any) -> bool:
    """Compare values, a list of YAML being a tuple elsewhere and 0 being 0.0."""
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return list(first) == list(second)
    return first == second


def _chosen(signs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if not signs or {} in signs:
        return {}
    return next(sign for sign in signs if repr(sign) == Counter(map(repr, signs)).most_common(1)[0][0])


def _compatible(run: Run, sign: dict[str, Any], chosen: dict[str, Any]) -> bool:
    """Tell whether the run differs from the preset just as the chosen ones do, in what it reads."""
    read = methods.settings(run, run.cell["selector"])
    return sign == {
        key: value for key, value in chosen.items() if key in read or (key.startswith("selector.") and key in sign)
    }
