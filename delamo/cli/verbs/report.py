"""delamo report [runs=DIR] [format=markdown|html|json|csv|latex] [table=table1|...|table12].

Print the tables of all finished runs below DIR, or those runs in the layout of one of the paper's tables.

Further options: [reference=METHOD] [against=paper] [out=FILE] [plots=DIR] [logger=none|wandb]. runs defaults to runs,
format to markdown, reference to random; against=paper puts the paper's own numbers beside ours; without out=FILE the
report is printed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from omegaconf import MISSING, DictConfig

from delamo.cli.echo import show
from delamo.cli.errors import plain_errors
from delamo.config.compose import read_verb
from delamo.config.registry import register
from delamo.experiment.config import LoggerConfig, NoLoggerConfig

CONFIG_NAME = "report"


@dataclass(slots=True, kw_only=True)
class ReportConfig:
    """The runs that are reported on, and how."""

    runs: str = MISSING
    format: str = MISSING
    reference: str = MISSING
    """The method that others are compared with: a selector's name, `pretrained`, or a setting's label in the tables."""
    out: str | None = MISSING
    """A file for the report, in any format; null prints it."""
    plots: str | None = MISSING
    """A folder for the plots, each as PNG and SVG; null draws none."""
    table: str | None = MISSING
    """One of the paper's tables, whose layout the runs take; null is the report on all runs."""
    against: str | None = MISSING
    """`paper` adds that table's numbers in the paper."""
    logger: LoggerConfig = MISSING
    """Where the comparison goes besides the terminal."""


register({"report": ReportConfig})


def main(config: DictConfig) -> None:
    """Print or write the report on the finished runs below a folder."""
    with plain_errors():
        request: ReportConfig = read_verb(config)
        from delamo.paper.report import report

        out, plots = (Path(path) if path else None for path in (request.out, request.plots))
        layout = {"table": request.table, "against": request.against}
        show(report(Path(request.runs), request.format, request.reference, **layout, out=out, plots=plots))
        if not isinstance(request.logger, NoLoggerConfig):
            from delamo.tracking.comparison import log_comparison

            log_comparison(Path(request.runs), request.logger, request.reference, **layout)
