"""Typed configs for tests, with the values that `conf/` gives them."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import delamo.experiment.config  # registers the schemas of an experiment
import delamo.runs.sweeper  # noqa: F401 -- registers the sweeper
from delamo.config.compose import compose_experiment
from delamo.experiment.config import ExperimentConfig


@functools.cache  # composing takes a third of a second
def experiment_config(*overrides: str) -> ExperimentConfig:
    """Compose a typed config; it is shared, so not to be changed in place (`dataclasses.replace` a node)."""
    return compose_experiment(overrides)


def node(group: str, choice: str, **changes: Any) -> Any:
    """Return one group's choice with the values of its YAML file, and some fields changed."""
    return dataclasses.replace(getattr(experiment_config(f"{group}={choice}"), group), **changes)


def column_map(**names: Any) -> Any:
    """A map of columns in which what is not named is null."""
    from delamo.data.readers.hf_rows import ColumnsConfig

    unset = {field.name: None for field in dataclasses.fields(ColumnsConfig)} | {"option_columns": ()}
    return ColumnsConfig(**unset | names)
