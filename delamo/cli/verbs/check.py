"""delamo check pool=P [task=T] [student=S] [tuning=R] [max_samples=N].

Say what is in the data, what is broken, and what would not fit the student.

Pools, tasks and students: delamo run --help; of a larger pool, N samples are drawn for their pictures and tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING, DictConfig

from delamo.cli.echo import show
from delamo.cli.errors import plain_errors
from delamo.config.compose import read_verb
from delamo.config.registry import register
from delamo.data import PoolConfig, TaskConfig
from delamo.experiment import config as _experiment_schemas  # noqa: F401 -- registers the groups' schemas
from delamo.models.students.config import StudentConfig
from delamo.tuning.config import TuningConfig

CONFIG_NAME = "check"


@dataclass(slots=True, kw_only=True)
class CheckConfig:
    """The data that is checked, and the student that it is held against."""

    pool: PoolConfig = MISSING
    task: TaskConfig | None = MISSING
    student: StudentConfig | None = MISSING
    """The student whose tokens are counted; null counts none."""
    tuning: TuningConfig | None = MISSING
    """The tuning whose `max_length` limits pool samples besides the student's context; null for the context alone."""
    max_samples: int = MISSING
    """Maximum number of samples whose images are decoded and tokens counted; of a larger pool, a draw by `seed`."""
    seed: int = MISSING


register({"check": CheckConfig})


def main(config: DictConfig) -> None:
    """Print what a pool or a task holds, what is broken in it, and what would not fit a student."""
    with plain_errors():
        request: CheckConfig = read_verb(config)
        from delamo.cli.data_check import check

        show(check(request))
