"""Which runs belong to a cell of one of the paper's tables, and whether their other settings are the preset's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from delamo.config import conf
from delamo.reports import variants
from delamo.runs.read import Run

ROLES = ("student", "teacher", "task", "budget", "selector")
LOCATIONS = ("annotation", "image_root", "root", "folder", "image_cache", "api_base", "transcripts")
"""Where files and services are: no part of what a run is."""


@dataclass(frozen=True, slots=True)
class Found:
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
    """Whether the run is one of the cell that these overrides make at the scale, as far as they say."""
    selector = choices["selector"]
    if run.cell["selector"] != selector:
        return False
    default = conf.choices_at(scale)
    wanted = {"student": default["student"], "teacher": default["teacher"], **choices}
    unused = variants.UNUSED.get(selector, ())
    return all(_same(run, key, value) for key, value in wanted.items() if not f"{key}.".startswith(tuple(unused)))


def deviations(run: Run, choices: Mapping[str, Any], scale: str) -> dict[str, Any]:
    """Settings that decide the run's result and differ from the preset's: key -> the run's value."""
    preset = conf.values(choices, scale)
    own = {key: value for key, value in run.config.items() if key.startswith("selector.")}
    read = {**variants.settings(run, run.cell["selector"]), **own}
    return {
        key: value
        for key, value in read.items()
        if key in preset and not _alike(value, preset[key]) and key.rpartition(".")[2] not in LOCATIONS
    }


def find(cells: Mapping[tuple[int, int], Mapping[str, Any]], runs: Sequence[Run], scale: str) -> Found:
    """Sort runs into cells. All that stand in one table agree in their other settings: the preset's, where a tuned run has them.

    Args:
        cells: by (row, column), the overrides that make the cell.
    """
    wanted = {place: [run for run in runs if matches(run, choices, scale)] for place, choices in cells.items()}
    signs = {
        (place, run.path): deviations(run, cells[place], scale) for place, matched in wanted.items() for run in matched
    }
    chosen = _chosen(
        [sign for (place, _), sign in signs.items() if cells[place]["selector"] != variants.PRETRAINED]
        or list(signs.values())
    )
    alike = {
        place: [run for run in matched if _compatible(run, signs[place, run.path], chosen)]
        for place, matched in wanted.items()
    }
    kept = {place: variants.newest(matched)[0] for place, matched in alike.items()}
    shown = {run.path for some in kept.values() for run in some}
    old = {run.path: run for some in alike.values() for run in some if run.path not in shown}
    others = {run.path: run for some in wanted.values() for run in some if run.path not in shown | old.keys()}
    return Found({place: some for place, some in kept.items() if some}, chosen, [*others.values()], [*old.values()])


def _same(run: Run, key: str, wanted: Any) -> bool:
    if key.endswith(".path"):
        return True
    if key in ROLES or key == "seed":
        return run.cell[key] == wanted
    return _alike(run.config.get(key if "." in key else f"{key}.name"), wanted)


def _alike(one: Any, other: Any) -> bool:
    """Equal, a list of YAML being a tuple elsewhere and 0 being 0.0."""
    return (
        list(one) == list(other) if isinstance(one, list | tuple) and isinstance(other, list | tuple) else one == other
    )


def _chosen(signs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if not signs or {} in signs:
        return {}
    return next(sign for sign in signs if repr(sign) == Counter(map(repr, signs)).most_common(1)[0][0])


def _compatible(run: Run, sign: dict[str, Any], chosen: dict[str, Any]) -> bool:
    """Whether the run differs from the preset just as the chosen ones do, in what it reads."""
    read = variants.settings(run, run.cell["selector"])
    return sign == {
        key: value for key, value in chosen.items() if key in read or key.startswith("selector.") and key in sign
    }
