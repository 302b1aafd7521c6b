"""delamo run [-m] [KEY=VALUE ...].

Run one experiment or, with -m and KEY=A,B, a sweep; finished ones are skipped. Its own --help lists groups and options.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from delamo.cli.errors import plain_errors
from delamo.config.compose import as_dict, check_ablation, read_experiment
from delamo.config.conf import conf_dir
from delamo.config.plugins import load_plugins
from delamo.config.secrets import flatten, refuse_keys, refuse_keys_in_files
from delamo.experiment.config import ExperimentConfig
from delamo.runs.sweeper import GridSweeper, register_sweepers
from delamo.tuning import distributed

CONFIG_NAME = "config"

register_sweepers(GridSweeper)
load_plugins()


def main(config: DictConfig) -> None:
    """Run one experiment; in a sweep, Hydra calls this for each."""
    with plain_errors():
        experiment = read_experiment(config)
        _check_mode(experiment)
        check_ablation(HydraConfig.get().runtime.choices)
        refuse_keys(flatten(as_dict(experiment)))
        distributed.check_launch(experiment.tuning.strategy, _launcher())
        from delamo.pipeline import run_experiment  # after the checks: it imports model libraries

        print(run_experiment(experiment))


@contextlib.contextmanager
def session(arguments: list[str]) -> Iterator[list[str] | None]:
    """Refuse API keys in the user's config files; under torchrun, make every process but the first a tuning worker.

    Yields:
        The arguments; None in a worker, after the first process has finished.

    Raises:
        SecretInConfigError: a config file holds an API key.
    """
    refuse_keys_in_config_files(arguments)
    if distributed.rank() > 0:
        from delamo.tuning.fit import run_worker

        run_worker()
        yield None
        return
    try:
        yield arguments
    finally:
        distributed.stop_workers()


def refuse_keys_in_config_files(arguments: list[str]) -> None:
    """Refuse API keys in the user's own files before a sweep writes its composed config.

    Raises:
        SecretInConfigError: a value looks like a key.
    """
    folders = [conf_dir() / "local"]
    for flag in ("--config-dir", "-cd", "--config-path", "-cp"):
        folders += [Path(value) for name, value in pairwise(arguments) if name == flag]
        folders += [Path(text.partition("=")[2]) for text in arguments if text.startswith(f"{flag}=")]
    refuse_keys_in_files(folders)


def _check_mode(experiment: ExperimentConfig) -> None:
    """Refuse settings of a sweep without `-m`, where they would be ignored. Raises ValueError."""
    hydra_config = HydraConfig.get()
    if hydra_config.mode is RunMode.MULTIRUN:
        return
    preset = hydra_config.runtime.choices.get("experiment")
    for setting, is_set in (
        (f"experiment={preset}", hydra_config.sweeper.get("grids")),
        (f"jobs={experiment.jobs}", experiment.jobs > 1),
    ):
        if is_set:
            raise ValueError(f"{setting} is for a sweep: delamo run -m ...")


def _launcher() -> str | None:
    """Return the target of Hydra's launcher in a sweep, else None."""
    hydra_config = HydraConfig.get()
    return hydra_config.launcher._target_ if hydra_config.mode is RunMode.MULTIRUN else None
