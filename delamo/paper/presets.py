"""The values that a choice of groups stands for, read from the YAML files in `conf/` without composing.

Hydra composes a cell in a third of a second and a table has over a hundred: here each file is read once. Values with an
interpolation are left out, as their place in the cell decides them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from delamo.config.compose import conf_dir

SCALES = ("micro", "paper")
ABLATION = "ablation"
PRESETS = ("scale", "experiment", ABLATION)
"""Groups that choose other groups and are no node of a cell."""


def values(choices: Mapping[str, Any], scale: str) -> dict[str, Any]:
    """The dotted config of a cell at a scale.

    Args:
        choices: overrides as on the command line, group or dotted key -> value, which win over the scale's.

    Raises:
        FileNotFoundError: no file in `conf/` for one of the choices.
    """
    chosen = {**groups(scale), **expanded(choices)}
    found: dict[str, Any] = {}
    for group, choice in chosen.items():
        if "." not in group and group not in PRESETS and (conf_dir() / group).is_dir():
            found |= {f"{group}.{key}": value for key, value in group_values(group, str(choice)).items()}
    own = {key: value for key, value in _read(conf_dir() / "config.yaml").items() if not isinstance(value, dict)}
    found |= {key: value for key, value in own.items() if key != "defaults"}
    return _settled(found) | {key: value for key, value in chosen.items() if "." in key or key in own}


def value(choices: Mapping[str, Any], scale: str, key: str) -> Any:
    """One dotted value of a cell, without reading the cell's other groups; None where there is no such key."""
    chosen = {**groups(scale), **expanded(choices)}
    group, _, _ = key.partition(".")
    return chosen.get(key, group_values(group, str(chosen[group])).get(key.removeprefix(f"{group}.")))


def expanded(choices: Mapping[str, Any]) -> dict[str, Any]:
    """The choices with an ablation replaced by the groups that it overrides."""
    rest = {key: value for key, value in choices.items() if key != ABLATION}
    if ABLATION not in choices:
        return rest
    return {**rest, **_overrides(conf_dir() / ABLATION / f"{choices[ABLATION]}.yaml")}


@lru_cache(maxsize=8)
def groups(scale: str) -> dict[str, str]:
    """Group -> choice of an unchanged cell at a scale."""
    found = {}
    for entry in _read(conf_dir() / "config.yaml")["defaults"]:
        if isinstance(entry, dict):
            found |= {k: v for k, v in entry.items() if not k.startswith(("override ", "optional "))}
    return {**found, "scale": scale, **_overrides(conf_dir() / "scale" / f"{scale}.yaml")}


@lru_cache(maxsize=8)
def names(scale: str) -> dict[str, list[str]]:
    """What the tables' presets mean by their names at a scale: `tasks` -> the seven tasks."""
    found = _read(conf_dir() / "scale" / f"{scale}.yaml")["hydra"]["sweeper"]["names"]
    return {name: value.split(",") for name, value in found.items() if isinstance(value, str)}


@lru_cache(maxsize=256)
def group_values(group: str, choice: str) -> dict[str, Any]:
    """The dotted values of `conf/GROUP/CHOICE.yaml`, with those of the files of the group that it builds on."""
    path = conf_dir() / group / f"{choice}.yaml"
    read = _read(path)
    own = {key: value for key, value in read.items() if key != "defaults"}
    found: dict[str, Any] = {}
    for entry in read.get("defaults", []):
        if entry == "_self_":
            found |= own
        elif isinstance(entry, str) and not entry.startswith("/"):
            found |= group_values(group, (Path(choice).parent / entry).as_posix())
    return found or own


def exists(group: str, choice: str) -> bool:
    """Whether this version has that choice."""
    return (conf_dir() / group / f"{choice}.yaml").is_file()


def _overrides(path: Path) -> dict[str, str]:
    """`override /group: choice` entries of a preset."""
    entries = [entry for entry in _read(path).get("defaults", []) if isinstance(entry, dict)]
    return {
        k.removeprefix("override /"): v for entry in entries for k, v in entry.items() if k.startswith("override /")
    }


def _settled(found: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if "${" not in repr(value)}


@lru_cache(maxsize=256)
def _read(path: Path) -> dict[str, Any]:
    """Raises FileNotFoundError, naming what there is."""
    from omegaconf import OmegaConf

    if not path.is_file():
        there = ", ".join(sorted(one.stem for one in path.parent.glob("*.yaml")))
        raise FileNotFoundError(f"{path} is missing: in that folder are {there}")
    # not PyYAML alone, to which 3e-4 is a string
    return OmegaConf.to_container(OmegaConf.load(path), resolve=False)  # type: ignore[return-value]
