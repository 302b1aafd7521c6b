"""The schemas of the verbs beside `delamo run`, and of the sweeper behind `-m`; see `delamo.experiment.config`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from delamo.config.data import PoolConfig, TaskConfig
from delamo.experiment.config import LoggerConfig, register
from delamo.models.students.config import StudentConfig
from delamo.tuning.config import TuningConfig


@dataclass(slots=True, kw_only=True)
class ReportConfig:
    """What `delamo report` reads and prints."""

    runs: str = MISSING
    format: str = MISSING
    reference: str = MISSING
    """The method that the others are compared with: a selector's name, `pretrained`, or one setting by its label in the tables."""
    out: str | None = MISSING
    """A file for the report, in any format; null prints it."""
    plots: str | None = MISSING
    """A folder for the plots, each as PNG and SVG; null draws none."""
    table: str | None = MISSING
    """One of the paper's tables, whose layout the runs take; null is the report on all runs."""
    against: str | None = MISSING
    """`paper` puts that table's own numbers beside ours."""
    logger: LoggerConfig = MISSING
    """Where the comparison goes besides the terminal."""


@dataclass(slots=True, kw_only=True)
class DashboardConfig:
    """What `delamo dashboard` lays out, and where it is saved."""

    runs: str = MISSING
    project: str = MISSING
    entity: str | None = MISSING
    """User or team; null is the account's own."""
    group: str | None = MISSING
    """The runs of one W&B group; null shows all of the project."""
    reference: str = MISSING
    """As the report was logged with."""
    out: str | None = MISSING
    """A JSON file for the specification; nothing is sent then."""


@dataclass(slots=True, kw_only=True)
class CardConfig:
    """What `delamo card` looks at, and where the card goes."""

    runs: str = MISSING
    format: str = MISSING
    out: str | None = MISSING


@dataclass(slots=True, kw_only=True)
class CheckConfig:
    """What `delamo check` looks at."""

    pool: PoolConfig = MISSING
    task: TaskConfig | None = MISSING
    student: StudentConfig | None = MISSING
    """Whose tokens are counted; null counts none."""
    tuning: TuningConfig | None = MISSING
    """Whose `max_length` pool samples are held against, besides the student's context; null knows the context alone."""
    max_samples: int = MISSING
    """Pictures that are decoded, and samples whose tokens are counted, at most; of a larger pool a draw by `seed`."""
    seed: int = MISSING


@dataclass(slots=True, kw_only=True)
class ExportConfig:
    """What `delamo export` writes, and where."""

    runs: str = MISSING
    format: str = MISSING
    out: str = MISSING
    """A new or empty folder."""


@dataclass(slots=True, kw_only=True)
class ConvertConfig:
    """The pool that `delamo convert` reads, and the folder that it writes."""

    pool: PoolConfig = MISSING
    out: str = MISSING


@dataclass
class GridSweeperConfig:
    """Hydra's node of the sweeper behind `-m` (`delamo.cli.sweeper`)."""

    _target_: str = "hydra_plugins.delamo.GridSweeper"
    params: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Swept in every grid, as Hydra's own sweeper has it."""
    grids: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    fast: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What `fast=true` sets besides."""
    names: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What `${hydra.sweeper.names.X}` in a grid stands for at the chosen scale."""


VERBS: dict[str, type] = {
    "report": ReportConfig,
    "dashboard": DashboardConfig,
    "card": CardConfig,
    "check": CheckConfig,
    "convert": ConvertConfig,
    "export": ExportConfig,
}

register(VERBS)
ConfigStore.instance().store(group="hydra/sweeper", name="grids", node=GridSweeperConfig, provider="delamo")
