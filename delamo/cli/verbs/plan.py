"""delamo plan [KEY=VALUE ...] [assume.KEY=VALUE ...].

Say what an experiment, a grid or a table's preset would compute, ask and cost; computes nothing.

Takes what `delamo run -m` takes, and needs no weights, keys, data or network; its assumptions are in conf/plan.yaml.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from omegaconf import DictConfig, OmegaConf, open_dict

from delamo.cli.echo import show
from delamo.cli.errors import plain_errors
from delamo.cli.verbs.run import refuse_keys_in_config_files
from delamo.config.grid import GridComposer
from delamo.experiment.config import ExperimentConfig
from delamo.plan.assumptions import Assumptions
from delamo.plan.summary import look
from delamo.plan.text import text
from delamo.runs.sweeper import GridSweeper, GridSweeperConfig, register_sweepers

CONFIG_NAME = "plan"


@dataclasses.dataclass
class PlanSweeperConfig(GridSweeperConfig):
    """Config node of `PlanSweeper`."""

    _target_: str = "hydra_plugins.delamo.PlanSweeper"
    assume: Assumptions = dataclasses.field(default_factory=Assumptions)


ConfigStore.instance().store(group="hydra/sweeper", name="plan", node=PlanSweeperConfig, provider="delamo")


class PlanSweeper(GridSweeper):
    """Prints what the experiments of all grids would compute, and runs none."""

    def __init__(self, assume: Any, **grid: Any) -> None:
        super().__init__(**grid)
        self.assume = OmegaConf.to_object(assume)

    def sweep(self, arguments: list[str]) -> list[JobReturn]:
        """Print the plan. Raises SystemExit where an experiment cannot run."""
        with plain_errors():
            cells = self.cells(arguments)
            composer = GridComposer(self._load, self.parse, ExperimentConfig)
            summary = look(cells, composer.compose(cells), self.assume)
            show(text(summary, self.assume))
        if summary.failed:
            raise SystemExit(1)
        return []

    def _load(self, overrides: list[str]) -> DictConfig:
        config = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            del config["hydra"]
        return config


register_sweepers(PlanSweeper)


def main(config: DictConfig) -> None:
    """Never called, since the sweeper plans all experiments in place of running them."""
    raise AssertionError("delamo plan runs as a multirun")


@contextlib.contextmanager
def session(arguments: list[str]) -> Iterator[list[str]]:
    """Turn the arguments into those of a sweep. Raises SecretInConfigError for a key in the user's config files."""
    refuse_keys_in_config_files(arguments)
    settings = [f"hydra.sweeper.{text}" if text.startswith("assume.") else text for text in arguments]
    yield ["-m", *(text for text in settings if text not in ("-m", "--multirun"))]
