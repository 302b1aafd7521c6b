"""delamo export out=DIR [runs=DIR] [format=llava|llama_factory|hf|lmms_eval].

Write selection, adapter and results as other tools read them. runs defaults to runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omegaconf import MISSING, DictConfig

from delamo.cli.echo import show
from delamo.cli.errors import plain_errors
from delamo.config.compose import read_verb
from delamo.config.registry import register

CONFIG_NAME = "export"


@dataclass(slots=True, kw_only=True)
class ExportConfig:
    """The runs that are exported, and where to."""

    runs: str = MISSING
    format: str = MISSING
    out: str = MISSING
    """A new or empty folder."""


register({"export": ExportConfig})


def main(config: DictConfig) -> None:
    """Write the finished runs below a folder as other tools read them."""
    with plain_errors():
        request: ExportConfig = read_verb(config)
        from delamo.export import export

        show(export(Path(request.runs), request.format, Path(request.out)))
