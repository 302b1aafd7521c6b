"""Typed configs for tests, with the values that `conf/` gives them."""

from __future__ import annotations

import functools

from hydra import compose, initialize_config_dir

from delamo.config.compose import conf_dir, read_experiment
from delamo.experiment.config import ExperimentConfig


@functools.cache  # composing takes a third of a second
def experiment_config(*overrides: str) -> ExperimentConfig:
    """Overrides, as on the command line, to a typed config; shared, so not to be changed (`dataclasses.replace` a node)."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return read_experiment(compose("config", overrides=list(overrides)))
