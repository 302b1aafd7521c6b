"""delamo convert pool=P out=DIR.

Write a pool as Parquet, which opens in seconds at any size: delamo run pool=parquet pool.folder=DIR. Images stay where
they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omegaconf import MISSING, DictConfig

from delamo.cli.echo import show
from delamo.cli.errors import plain_errors
from delamo.config.compose import read_verb
from delamo.config.registry import register
from delamo.data import PoolConfig
from delamo.experiment import config as _experiment_schemas  # noqa: F401 -- registers the groups' schemas

CONFIG_NAME = "convert"


@dataclass(slots=True, kw_only=True)
class ConvertConfig:
    """The pool that is read, and the folder that is written."""

    pool: PoolConfig = MISSING
    out: str = MISSING


register({"convert": ConvertConfig})


def main(config: DictConfig) -> None:
    """Write a pool as Parquet."""
    with plain_errors():
        request: ConvertConfig = read_verb(config)
        from delamo.data.readers.parquet import write_pool
        from delamo.experiment.experiment import read_pool

        show(f"{request.out}: {write_pool(read_pool(request.pool), Path(request.out))} samples")
