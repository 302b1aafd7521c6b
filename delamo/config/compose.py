"""From YAML to typed objects: where `conf/` lies, the composed config checked, and which of its fields decide a result."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from enum import Enum
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue

from delamo.config import conf


def read_experiment(config: DictConfig) -> Any:
    """The composed config as typed objects.

    Raises:
        ConfigKeyError: a key that the schema does not have; Hydra lets `+key=value` through.
        MissingMandatoryValue: a `???` that was not filled in.
        ValueError: a number out of range.
    """
    _check_keys(config, "")
    cell = OmegaConf.to_object(config)
    for key, value, least in (
        ("iterations", cell.iterations, 1),
        ("budget.num_samples", cell.budget.num_samples, 1),
        ("seed", cell.seed, 0),
    ):
        if value < least:
            raise ValueError(f"{key} is {value}: choose at least {least}")
    return cell


def check_ablation(choices: Mapping[str, str | None]) -> None:
    """Refuse an ablation that the command line undoes: it says what it leaves out as the choice of another group.

    Args:
        choices: of the groups, as Hydra composed them.

    Raises:
        ValueError: another choice has undone the ablation: the experiment would be the whole method under its name.
    """
    name = choices.get(conf.ABLATION)
    for group, value in conf.expanded({conf.ABLATION: name}).items() if name else ():
        if choices.get(group) != value:
            raise ValueError(
                f"ablation={name} is {group}={value}, and {group}={choices.get(group)} undoes it: leave out one"
            )


def read_verb(config: DictConfig) -> Any:
    """Turn the composed config of a verb into typed objects. Raises ConfigKeyError for an unknown key."""
    _check_keys(config, "")
    return OmegaConf.to_object(config)


def identity_of(node: Any, *parts: str) -> dict[str, Any]:
    """Return what decides a result, as JSON values: the schema's name and every field that is part of the identity.

    Args:
        node: a config node.
        parts: names of parts; only their fields are returned, without the schema's name, and without those at the value
            that a stage's identity leaves out (`delamo.config.fields.identity_field`).
    """
    fields = [f for f in dataclasses.fields(node) if f.metadata.get("identity", True)]
    if not parts:
        values = {f.metadata.get("identity_name", f.name): _plain(getattr(node, f.name)) for f in fields}
        return {"schema": type(node).__name__, **values}
    chosen = [f for f in fields if f.metadata.get("part") in parts]
    present = [f for f in chosen if "omit" not in f.metadata or getattr(node, f.name) != f.metadata["omit"]]
    return {f.metadata.get("identity_name", f.name): _plain(getattr(node, f.name)) for f in present}


def arguments(node: Any) -> dict[str, Any]:
    """The fields of `node` without its name, as keyword arguments for the code that the schema stands for (enums by value)."""
    fields = (f for f in dataclasses.fields(node) if f.name != "name" and not f.metadata.get("of_input"))
    pairs = ((f.name, getattr(node, f.name)) for f in fields)
    return {name: value.value if isinstance(value, Enum) else value for name, value in pairs}


def as_dict(node: Any) -> dict[str, Any]:
    """All fields of `node`, as JSON and YAML values."""
    pairs = ((f.name, getattr(node, f.name)) for f in dataclasses.fields(node))
    return {name: as_dict(value) if dataclasses.is_dataclass(value) else _plain(value) for name, value in pairs}


def _check_keys(node: DictConfig, prefix: str) -> None:
    known = [f.name for f in dataclasses.fields(OmegaConf.get_type(node))]
    for key in node:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {prefix}{close[0]}?" if close else f"there are {', '.join(known)}"
            raise ConfigKeyError(f"{prefix}{key} is no config key: {hint}")
        if OmegaConf.is_interpolation(node, key):
            continue
        if OmegaConf.is_missing(node, key):
            raise MissingMandatoryValue(f"{prefix}{key} has no value: give one, as in {prefix}{key}=...")
        if OmegaConf.is_dict(node[key]):
            _check_keys(node[key], f"{prefix}{key}.")


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.name
    return identity_of(value) if dataclasses.is_dataclass(value) else value
