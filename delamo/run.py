"""The Hydra entry of `delamo run`: compose, validate, hand over."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from delamo.compose import conf_dir, read_cell, to_plain
from delamo.keys import flatten, refuse_keys


@hydra.main(config_path=str(conf_dir()), config_name="config", version_base="1.3")
def main(config: DictConfig) -> None:
    """Run one cell; with `-m`, Hydra calls this for each cell of the sweep."""
    cell = read_cell(config)
    refuse_keys(flatten(to_plain(cell)))
    from delamo.pipeline import run_cell  # late: --cfg job and a refused config wait for no model library

    print(run_cell(cell))
