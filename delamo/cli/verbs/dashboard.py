"""delamo dashboard [runs=DIR] [project=P] [entity=E] [group=G] [out=FILE].

Lay the runs that were logged with logger=wandb out as a Weights & Biases workspace; out=FILE writes its specification
without an account.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omegaconf import MISSING, DictConfig

from delamo.cli.echo import show
from delamo.cli.errors import plain_errors
from delamo.config.compose import read_verb
from delamo.config.registry import register

CONFIG_NAME = "dashboard"


@dataclass(slots=True, kw_only=True)
class DashboardConfig:
    """The runs of the workspace, and where it is saved."""

    runs: str = MISSING
    project: str = MISSING
    entity: str | None = MISSING
    """User or team; null is the account's own."""
    group: str | None = MISSING
    """The runs of one W&B group; null shows all of the project."""
    reference: str = MISSING
    """The method that others are compared with, as in the report that was logged."""
    out: str | None = MISSING
    """A JSON file for the specification, in place of sending it."""


register({"dashboard": DashboardConfig})


def main(config: DictConfig) -> None:
    """Lay the finished runs below a folder out as a W&B workspace."""
    with plain_errors():
        request: DashboardConfig = read_verb(config)
        from delamo.tracking.dashboard import dashboard

        where = {"project": request.project, "entity": request.entity, "group": request.group}
        out = Path(request.out) if request.out else None
        show(dashboard(Path(request.runs), **where, reference=request.reference, out=out))
