"""delamo check pool=P [task=T] [student=S] [tuning=R] [max_samples=N].

Say what is in the data, what is broken, and what would not fit the student.

Pools, tasks and students: delamo run --help; of a larger pool, N samples are drawn for their pictures and tokens.
"""

from __future__ import annotations

from omegaconf import DictConfig

from delamo.cli.data_check import CheckConfig, check
from delamo.cli.echo import show
from delamo.cli.errors import plain_errors
from delamo.config.compose import read_verb
from delamo.config.registry import register
from delamo.experiment import config as _experiment_schemas  # noqa: F401 -- registers the groups' schemas

CONFIG_NAME = "check"


register({"check": CheckConfig})


def main(config: DictConfig) -> None:
    """Print what a pool or a task holds, what is broken in it, and what would not fit a student."""
    with plain_errors():
        request: CheckConfig = read_verb(config)
        show(check(request))
