"""The Hydra entries of the verbs that are composed: compose, validate, hand over."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

import delamo.cli.schemas  # noqa: F401 -- registers the schemas of the verbs
import delamo.experiment.config  # noqa: F401 -- registers the schemas of an experiment
from delamo.cli.echo import show
from delamo.cli.sweeper import GridSweeper, register
from delamo.config.compose import as_dict, check_ablation, conf_dir, read_experiment, read_verb
from delamo.config.plugins import load_plugins
from delamo.config.secrets import flatten, refuse_keys
from delamo.experiment.config import ExperimentConfig, NoLoggerConfig
from delamo.store import BusyError
from delamo.tuning.distributed import check_launch

register(GridSweeper)
load_plugins()


@hydra.main(config_path=str(conf_dir()), config_name="config", version_base="1.3")
def main(config: DictConfig) -> None:
    """Run one cell; with `-m`, Hydra calls this for each cell of the sweep."""
    with plain_errors():
        cell = read_experiment(config)
        _check_mode(cell)
        check_ablation(HydraConfig.get().runtime.choices)
        refuse_keys(flatten(as_dict(cell)))
        check_launch(cell.tuning.strategy.value, _launcher())
        from delamo.pipeline import run_experiment  # late: --cfg job and a refused config wait for no model library

        print(run_experiment(cell))


@hydra.main(config_path=str(conf_dir()), config_name="report", version_base="1.3")
def report(config: DictConfig) -> None:
    """Print or write the report on the finished runs below a folder."""
    with plain_errors():
        asked = read_verb(config)
        from delamo.report.output import write

        out, plots = (Path(path) if path else None for path in (asked.out, asked.plots))
        like = {"table": asked.table, "against": asked.against}
        show(write(Path(asked.runs), asked.format, asked.reference, **like, out=out, plots=plots))
        if not isinstance(asked.logger, NoLoggerConfig):
            from delamo.tracking.comparison import log_comparison

            log_comparison(Path(asked.runs), asked.logger, asked.reference, **like)


@hydra.main(config_path=str(conf_dir()), config_name="dashboard", version_base="1.3")
def dashboard(config: DictConfig) -> None:
    """Lay the finished runs below a folder out as a W&B workspace."""
    with plain_errors():
        asked = read_verb(config)
        from delamo.tracking.dashboard import dashboard as save

        where = {"project": asked.project, "entity": asked.entity, "group": asked.group}
        out = Path(asked.out) if asked.out else None
        show(save(Path(asked.runs), **where, reference=asked.reference, out=out))


@hydra.main(config_path=str(conf_dir()), config_name="card", version_base="1.3")
def card(config: DictConfig) -> None:
    """Print or write the reproduction card: every number of the paper, and what the runs below a folder say of it."""
    with plain_errors():
        asked = read_verb(config)
        from delamo.paper.card_tables import card as text

        show(text(Path(asked.runs), asked.format, Path(asked.out) if asked.out else None))


@hydra.main(config_path=str(conf_dir()), config_name="check", version_base="1.3")
def check(config: DictConfig) -> None:
    """Print what a pool or a task holds, what is broken in it, and what would not fit a student."""
    with plain_errors():
        asked = read_verb(config)
        from delamo.cli.check import check as text

        show(text(asked))


@hydra.main(config_path=str(conf_dir()), config_name="export", version_base="1.3")
def export(config: DictConfig) -> None:
    """Write the finished runs below a folder as other tools read them."""
    with plain_errors():
        asked = read_verb(config)
        from delamo.export import export as write

        show(write(Path(asked.runs), asked.format, Path(asked.out)))


@hydra.main(config_path=str(conf_dir()), config_name="convert", version_base="1.3")
def convert(config: DictConfig) -> None:
    """Write a pool as Parquet."""
    with plain_errors():
        asked = read_verb(config)
        from delamo.data.readers.parquet import write_pool
        from delamo.experiment.experiment import read_pool

        show(f"{asked.out}: {write_pool(read_pool(asked.pool), Path(asked.out))} samples")


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """What a user can mend is printed without a traceback; HYDRA_FULL_ERROR=1 shows that too.

    A sweep goes on after a failed cell, and Hydra shows the first failure at its end: each is printed when it happens.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        _show_in_sweep(f"delamo: {error}")
        raise CompactHydraException(f"delamo: {error}") from error
    except OmegaConfBaseException as error:
        _show_in_sweep(f"delamo: {error}")
        raise CompactHydraException(f"delamo: {error}") from None  # Hydra would print a cause of its own kind twice
    except Exception as error:
        if not isinstance(error, BusyError):  # to a busy cell the sweep comes back
            _show_in_sweep(traceback.format_exc())
        raise


def _check_mode(cell: ExperimentConfig) -> None:
    """A sweep's settings without `-m` would be one cell of another kind."""
    hydra_config = HydraConfig.get()
    if hydra_config.mode is RunMode.MULTIRUN:
        return
    experiment = hydra_config.runtime.choices.get("experiment")
    for key, given in (
        (f"experiment={experiment}", hydra_config.sweeper.get("grids")),
        (f"jobs={cell.jobs}", cell.jobs > 1),
    ):
        if given:
            raise ValueError(f"{key} is for a sweep: delamo run -m ...")


def _launcher() -> str | None:
    """Hydra's launcher, in a sweep."""
    hydra_config = HydraConfig.get()
    return hydra_config.launcher._target_ if hydra_config.mode is RunMode.MULTIRUN else None


def _show_in_sweep(message: str) -> None:
    if HydraConfig.get().mode is RunMode.MULTIRUN:
        print(message, file=sys.stderr)
