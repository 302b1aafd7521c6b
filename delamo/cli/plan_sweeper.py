"""`delamo plan`, behind Hydra: the grid of `delamo run -m`, looked at instead of run."""

from __future__ import annotations

from typing import Any

import hydra
from hydra.core.utils import JobReturn
from omegaconf import DictConfig, OmegaConf, open_dict

from delamo.cli.echo import show
from delamo.cli.entries import plain_errors
from delamo.cli.sweeper import GridSweeper, register
from delamo.config.compose import conf_dir
from delamo.config.compose_grid import GridComposer
from delamo.plan.summary import look
from delamo.plan.text import text

GROUPS = frozenset(
    {
        "student",
        "teacher",
        "task",
        "pool",
        "audit",
        "budget",
        "selector",
        "retriever",
        "mistakes",
        "skills",
        "tuning",
        "logger",
    }
)


class PlanSweeper(GridSweeper):
    """Prints what the cells of all grids would compute."""

    def __init__(self, assume: Any, **grid: Any) -> None:
        super().__init__(**grid)
        self.assume = OmegaConf.to_object(assume)

    def sweep(self, arguments: list[str]) -> list[JobReturn]:
        """Print the plan. Raises SystemExit where a cell cannot run."""
        with plain_errors():
            cells = self.cells(arguments)
            composer = GridComposer(self._load, self.parse, GROUPS)
            found = look(cells, composer.compose(cells), self.assume)
            show(text(found, self.assume))
        if found.failed:
            raise SystemExit(1)
        return []

    def _load(self, overrides: list[str]) -> DictConfig:
        config = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            del config["hydra"]
        return config


register(PlanSweeper)


@hydra.main(config_path=str(conf_dir()), config_name="plan", version_base="1.3")
def main(config: DictConfig) -> None:
    """Never called: the sweeper plans all cells."""
    raise AssertionError("delamo plan runs as a multirun")
