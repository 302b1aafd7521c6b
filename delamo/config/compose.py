"""From YAML to typed objects: composing and checking a config, and which of its fields decide a result."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from delamo.config import conf
from delamo.config.conf import conf_dir
from delamo.config.plugins import load_plugins
from delamo.config.secrets import flatten, refuse_keys, refuse_keys_in_arguments


def compose_experiment(overrides: Sequence[str]) -> Any:
    """Compose an experiment as the command line does, outside of Hydra's own program or within it.

    The schemas must have been registered.

    Args:
        overrides: as on the command line.

    Returns:
        The typed config, an `ExperimentConfig`.

    Raises:
        ValueError: a key or choice that does not exist, a missing value, an undone ablation, or something that looks
            like an API key.
    """
    config = compose_nodes(overrides)
    try:
        experiment = read_experiment(config)
    except OmegaConfBaseException as error:
        raise ValueError(str(error)) from error
    refuse_keys(flatten(as_dict(experiment)))
    return experiment


def compose_nodes(overrides: Sequence[str]) -> DictConfig:
    """Compose an experiment's nodes, in which values may be missing and unknown keys be added, with plugins loaded.

    Args:
        overrides: as on the command line.

    Raises:
        ValueError: the overrides do not compose, undo an ablation, or hold something that looks like an API key.
    """
    refuse_keys_in_arguments(overrides)
    conf.refuse_renamed(overrides)
    load_plugins()
    outer = GlobalHydra.instance().hydra  # of a program of Hydra's that is running
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            config = compose("config", overrides=list(overrides), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(str(error)) from error
    finally:
        GlobalHydra.instance().hydra = outer
    check_ablation(config.hydra.runtime.choices)
    with open_dict(config):
        del config["hydra"]
    return config


def read_experiment(config: DictConfig) -> Any:
    """Turn a composed experiment into typed objects.

    Raises:
        ConfigKeyError: a key that the schema does not have; Hydra lets `+key=value` through.
        MissingMandatoryValue: a `???` that was not filled in.
        ValueError: a number out of range.
    """
    experiment = read_verb(config)
    for key, value, least in (
        ("iterations", experiment.iterations, 1),
        ("budget.num_samples", experiment.budget.num_samples, 1),
        ("seed", experiment.seed, 0),
    ):
        if value < least:
            raise ValueError(f"{key} is {value}: choose at least {least}")
    return experiment


def check_ablation(choices: Mapping[str, str | None]) -> None:
    """Refuse an ablation that the command line undoes.

    An ablation sets the choice of another group, which the command line may override.

    Args:
        choices: group -> choice, as Hydra composed them.

    Raises:
        ValueError: another choice has undone the ablation, so that the whole method would run under its name.
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
    """Return the part of a config node that decides a result: its schema's name and the fields that are not left out.

    Args:
        node: a config node.
        parts: names of parts; only their fields are returned, without the schema's name, and without those at the value
            that a stage's identity leaves out (`delamo.config.fields.identity_field`).

    Returns:
        Field -> JSON value.
    """
    fields = [f for f in dataclasses.fields(node) if f.metadata.get("identity", True)]
    if not parts:
        values = {f.metadata.get("identity_name", f.name): _plain(getattr(node, f.name)) for f in fields}
        return {"schema": type(node).__name__, **values}
    chosen = [f for f in fields if f.metadata.get("part") in parts]
    present = [f for f in chosen if "omit" not in f.metadata or getattr(node, f.name) != f.metadata["omit"]]
    return {f.metadata.get("identity_name", f.name): _plain(getattr(node, f.name)) for f in present}


def arguments(node: Any) -> dict[str, Any]:
    """Return the fields of `node` but its name as keyword arguments for the code that it configures, enums by value."""
    fields = (f for f in dataclasses.fields(node) if f.name != "name" and not f.metadata.get("of_input"))
    pairs = ((f.name, getattr(node, f.name)) for f in fields)
    return {name: value.value if isinstance(value, Enum) else value for name, value in pairs}


def as_dict(node: Any) -> dict[str, Any]:
    """Return all fields of `node`, as JSON and YAML values."""
    pairs = ((f.name, getattr(node, f.name)) for f in dataclasses.fields(node))
    return {name: as_dict(value) if dataclasses.is_dataclass(value) else _plain(value) for name, value in pairs}


def _check_keys(node: DictConfig, prefix: str) -> None:
    schema: Any = OmegaConf.get_type(node)
    known = [f.name for f in dataclasses.fields(schema)]
    for key in map(str, node):
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
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
