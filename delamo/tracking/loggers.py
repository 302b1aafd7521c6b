"""Loggers: where curves and metrics go besides the run directory.

Each is a context manager, so that two cells of one process are two runs.

    none   nothing
    csv    curves/attempt_N/metrics.csv in the run directory: curves of tuning, and the cell's numbers as the last row
    wandb  a W&B run for each cell (`delamo.tracking`); its folder is wandb/ in the run directory

A cell that is found finished writes no curves, since none were computed. W&B gets its results all the same, once.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from delamo.experiment.config import CsvLoggerConfig, ExperimentConfig, LoggerConfig, NoLoggerConfig, WandbLoggerConfig


@contextlib.contextmanager
def open_logger(config: ExperimentConfig, folder: Path, attempt: int) -> Iterator[Any]:
    """Open Lightning's logger for one attempt at a cell, closed however the cell ends; None for no logger.

    A block that ends well has written the run directory: its metrics are logged then.

    Args:
        config: of the cell; all of it but its paths is recorded with the run.
        folder: the run directory.
        attempt: 1 for the first; a retry is a run of its own.
    """
    with LOGGERS[type(config.logger)](config, folder, attempt) as logger:
        yield logger


def log_finished(config: ExperimentConfig, folder: Path, attempt: int) -> None:
    """Log a cell that was found finished: W&B gets results that it does not have yet, the others nothing."""
    if isinstance(config.logger, WandbLoggerConfig):
        from delamo.tracking import cells

        cells.log_finished(config, folder, attempt)


@contextlib.contextmanager
def _none(config: ExperimentConfig, folder: Path, attempt: int) -> Iterator[None]:
    yield None


@contextlib.contextmanager
def _csv(config: ExperimentConfig, folder: Path, attempt: int) -> Iterator[Any]:
    from pytorch_lightning.loggers import CSVLogger

    from delamo.tracking.cells import numbers

    logger = CSVLogger(folder, name="curves", version=f"attempt_{attempt}")
    try:
        yield logger
        logger.log_metrics(numbers(json.loads((folder / "metrics.json").read_text(encoding="utf-8"))))
    finally:
        logger.save()


@contextlib.contextmanager
def _wandb(config: ExperimentConfig, folder: Path, attempt: int) -> Iterator[Any]:
    from pytorch_lightning.loggers import WandbLogger

    from delamo.tracking.cells import cell_run, log_results

    with cell_run(config, folder, attempt) as run:
        yield WandbLogger(experiment=run)
        log_results(run, config, folder)


LOGGERS: dict[type[LoggerConfig], Callable[..., contextlib.AbstractContextManager[Any]]] = {
    NoLoggerConfig: _none,
    CsvLoggerConfig: _csv,
    WandbLoggerConfig: _wandb,
}
"""By the type of their config."""
