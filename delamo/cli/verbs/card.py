"""delamo card [runs=DIR] [format=markdown|json|csv|latex] [out=FILE].

List each number of the paper: reproduced, not run for want of what, or not derivable. runs defaults to runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omegaconf import MISSING, DictConfig

from delamo.cli.echo import show
from delamo.cli.errors import plain_errors
from delamo.config.compose import read_verb
from delamo.config.registry import register

CONFIG_NAME = "card"


@dataclass(slots=True, kw_only=True)
class CardConfig:
    """The runs that the card looks at, and where it goes."""

    runs: str = MISSING
    format: str = MISSING
    out: str | None = MISSING


register({"card": CardConfig})


def main(config: DictConfig) -> None:
    """Print or write the reproduction card."""
    with plain_errors():
        request: CardConfig = read_verb(config)
        from delamo.paper.card import card

        show(card(Path(request.runs), request.format, Path(request.out) if request.out else None))
