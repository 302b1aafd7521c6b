"""Reader of `conf/` beside Hydra: groups, their choices, and the values of a choice, without composing.

Each file is read once, while Hydra takes a third of a second to compose one experiment. Values with an interpolation
are left out, because they depend on the rest of the experiment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parents[1]
ABLATION = "ablation"
PRESETS = ("scale", "experiment", ABLATION)
"""Groups whose choices set other groups; they are no node of an experiment."""


def conf_dir() -> Path:
    """Find the YAML files: inside the installed package, or beside it in a checkout.

    Raises:
        FileNotFoundError: the installation carries no `conf`.
    """
    for folder in (_PACKAGE / "conf", _PACKAGE.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise FileNotFoundError(
        f"no conf/config.yaml in {_PACKAGE} or beside it: the installation is incomplete, reinstall delamo"
    )


RENAMED = {"pool.num_samples": "pool.size", "teacher.num_samples": "teacher.num_draws"}
"""Keys that once had another name: runs from then are read by it, and the command line is told."""


def refuse_renamed(overrides: Iterable[str]) -> None:
    """Refuse an override by a key's old name.

    Raises:
        ValueError: the key is called otherwise now.
    """
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        if key in RENAMED:
            raise ValueError(f"{override}: the key is now {RENAMED[key]}")


def groups() -> list[str]:
    """Return the names of the config groups."""
    return [entry.name for entry in conf_dir().iterdir() if entry.is_dir() and entry.name != "local"]


def choices(group: str) -> list[str]:
    """Return the options of a group, in order."""
    folder = conf_dir() / group
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))


def has_root(root: str) -> bool:
    """Return whether there is a root file of that name: `config` is an experiment's, a verb may have its own."""
    return (conf_dir() / f"{root}.yaml").is_file()


def default_choices(root: str = "config") -> dict[str, str]:
    """Return group -> choice of an unchanged root file, in the order of composition."""
    entries = [entry for entry in _read(conf_dir() / f"{root}.yaml")["defaults"] if isinstance(entry, dict)]
    return {group: choice for entry in entries for group, choice in entry.items() if " " not in group}


def root_values(root: str = "config") -> dict[str, Any]:
    """Return the keys of a root file that belong to no group, with their defaults."""
    return {k: v for k, v in _read(conf_dir() / f"{root}.yaml").items() if k not in ("defaults", "hydra")}


def values(overrides: Mapping[str, Any], scale: str) -> dict[str, Any]:
    """Return the dotted config of an experiment at a scale.

    Args:
        overrides: as on the command line, group or dotted key -> value, which win over the scale's.
        scale: `micro` or `paper`.

    Raises:
        FileNotFoundError: no file in `conf/` for one of the choices.
    """
    chosen = {**choices_at(scale), **expanded(overrides)}
    composed: dict[str, Any] = {}
    for group, choice in chosen.items():
        if "." not in group and group not in PRESETS and (conf_dir() / group).is_dir():
            composed |= {f"{group}.{key}": value for key, value in group_values(group, str(choice)).items()}
    own = {key: value for key, value in root_values().items() if not isinstance(value, dict)}
    settled = {key: value for key, value in (composed | own).items() if "${" not in repr(value)}
    return settled | {key: value for key, value in chosen.items() if "." in key or key in own}


def value(overrides: Mapping[str, Any], scale: str, key: str) -> Any:
    """Return one dotted value of an experiment, without reading its other groups; None where there is no such key."""
    chosen = {**choices_at(scale), **expanded(overrides)}
    group, _, _ = key.partition(".")
    return chosen.get(key, group_values(group, str(chosen[group])).get(key.removeprefix(f"{group}.")))


def expanded(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Replace an ablation by the groups that it overrides."""
    rest = {key: value for key, value in overrides.items() if key != ABLATION}
    if ABLATION not in overrides:
        return rest
    return {**rest, **_overrides(conf_dir() / ABLATION / f"{overrides[ABLATION]}.yaml")}


@lru_cache(maxsize=8)
def choices_at(scale: str) -> dict[str, str]:
    """Return group -> choice of an unchanged experiment at a scale."""
    return {**default_choices(), "scale": scale, **_overrides(conf_dir() / "scale" / f"{scale}.yaml")}


@lru_cache(maxsize=8)
def names(scale: str) -> dict[str, list[str]]:
    """Return what the tables' presets mean by their names at a scale: `tasks` -> the seven tasks."""
    lists = _read(conf_dir() / "scale" / f"{scale}.yaml")["hydra"]["sweeper"]["names"]
    return {name: value.split(",") for name, value in lists.items() if isinstance(value, str)}


@lru_cache(maxsize=256)
def group_values(group: str, choice: str) -> dict[str, Any]:
    """Return the dotted values of `conf/GROUP/CHOICE.yaml`, with those of the files of the group that it builds on."""
    path = conf_dir() / group / f"{choice}.yaml"
    read = _read(path)
    own = {key: value for key, value in read.items() if key != "defaults"}
    inherited: dict[str, Any] = {}
    for entry in read.get("defaults", []):
        if entry == "_self_":
            inherited |= own
        elif isinstance(entry, str) and not entry.startswith("/"):
            inherited |= group_values(group, (Path(choice).parent / entry).as_posix())
    return inherited or own


def exists(group: str, choice: str) -> bool:
    """Return whether this version has that choice."""
    return (conf_dir() / group / f"{choice}.yaml").is_file()


def _overrides(path: Path) -> dict[str, str]:
    """Collect the `override /group: choice` entries of a preset."""
    entries = [entry for entry in _read(path).get("defaults", []) if isinstance(entry, dict)]
    return {
        k.removeprefix("override /"): v for entry in entries for k, v in entry.items() if k.startswith("override /")
    }


@lru_cache(maxsize=256)
def _read(path: Path) -> dict[str, Any]:
    """Read a file. Raises FileNotFoundError, naming what there is."""
    from omegaconf import OmegaConf

    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml")))
        raise FileNotFoundError(f"{path} is missing: in that folder are {there}")
    # not PyYAML alone, to which 3e-4 is a string
    return OmegaConf.to_container(OmegaConf.load(path), resolve=False)  # type: ignore[return-value]
