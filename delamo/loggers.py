"""Where curves go besides the run directory. Each logger is a context manager, so that two cells of one process are two runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from delamo.compose import to_plain
from delamo.config import CellConfig, CsvLoggerConfig, LoggerConfig, NoLoggerConfig, WandbLoggerConfig


@contextlib.contextmanager
def open_logger(config: CellConfig, folder: Path, attempt: int) -> Iterator[Any]:
    """Lightning's logger for one attempt at a cell, closed when the cell ends, however it ends; None for no logger.

    Args:
        config: of the cell; all of it but its paths is recorded with the run.
        folder: the run directory.
        attempt: 1 for the first; a retry is a run of its own.
    """
    with LOGGERS[type(config.logger)](config, folder, attempt) as logger:
        yield logger


@contextlib.contextmanager
def _none(config: CellConfig, folder: Path, attempt: int) -> Iterator[None]:
    yield None


@contextlib.contextmanager
def _csv(config: CellConfig, folder: Path, attempt: int) -> Iterator[Any]:
    from pytorch_lightning.loggers import CSVLogger

    logger = CSVLogger(folder, name="curves", version=f"attempt_{attempt}")
    try:
        yield logger
    finally:
        logger.save()


@contextlib.contextmanager
def _wandb(config: CellConfig, folder: Path, attempt: int) -> Iterator[Any]:
    import wandb
    from pytorch_lightning.loggers import WandbLogger

    settings: WandbLoggerConfig = config.logger
    recorded = {key: value for key, value in to_plain(config).items() if key not in ("paths", "logger", "force")}
    # Without an end to the earlier run, a second cell of the same process would join it and lose its config.
    run = wandb.init(
        project=settings.project,
        entity=settings.entity,
        group=settings.group,
        mode=settings.mode.value,
        name=folder.name,
        id=f"{folder.name[-10:]}-{attempt}",
        dir=str(folder),
        config=recorded,
        reinit="finish_previous",
    )
    exit_code = 1
    try:
        yield WandbLogger(experiment=run)
        exit_code = 0
    finally:
        run.finish(exit_code=exit_code)


LOGGERS: dict[type[LoggerConfig], Callable[..., contextlib.AbstractContextManager[Any]]] = {
    NoLoggerConfig: _none,
    CsvLoggerConfig: _csv,
    WandbLoggerConfig: _wandb,
}
"""By the type of their config."""
