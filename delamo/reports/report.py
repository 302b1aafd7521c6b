"""The report on finished runs, as Markdown, HTML, JSON, CSV or LaTeX.

One table a budget: methods against targets, then each target with n, intervals, the test against the reference
and the unparsed rate; under them the planted metrics, validation, quarantine, seconds, runs and the commands that trace
a sample. Each section is a file in `sections/`.
"""

from __future__ import annotations

from pathlib import Path

from delamo.reports.comparison import Comparison, compare_runs
from delamo.reports.methods import RANDOM
from delamo.reports.render import data, html
from delamo.reports.render.formats import Block, Heading, latex, markdown
from delamo.reports.sections.accuracy import accuracy_blocks
from delamo.reports.sections.agreement import agreement_blocks
from delamo.reports.sections.circular import circular_blocks
from delamo.reports.sections.configs import config_blocks
from delamo.reports.sections.costs import cost_blocks
from delamo.reports.sections.definitions import definition_blocks
from delamo.reports.sections.leakage import leakage_blocks
from delamo.reports.sections.overlap import overlap_blocks
from delamo.reports.sections.planted import planted_blocks
from delamo.reports.sections.plots import plot_blocks
from delamo.reports.sections.retention import retention_blocks
from delamo.reports.sections.runs import run_blocks
from delamo.reports.sections.selection_costs import selection_cost_blocks
from delamo.reports.sections.stages import quarantine_blocks, seconds_blocks
from delamo.reports.sections.teacher_health import teacher_health_blocks
from delamo.reports.sections.unranked import unranked_blocks
from delamo.reports.sections.validation import validation_blocks
from delamo.reports.sections.variance import variance_blocks
from delamo.reports.sections.verdicts import verdict_blocks
from delamo.runs.read import finished_runs
from delamo.store import write_text

FORMATS = ("markdown", "html", "json", "csv", "latex")


def report(
    runs: Path,
    format: str = "markdown",
    reference: str = RANDOM,
    *,
    out: Path | None = None,
    plots: Path | None = None,
) -> str:
    """Report on all finished runs below a folder.

    Args:
        runs: the folder.
        format: one of `FORMATS`.
        reference: the method that the others are compared with; see `delamo.reports.comparison.compare_runs`.
        out: a file for the report; None returns it.
        plots: a folder for the plots, each as PNG and SVG; None draws none, except into an HTML page.

    Returns:
        The report, or where it was written, and where its plots lie.

    Raises:
        FileNotFoundError: no such folder of runs.
        ValueError: no finished run in it, an unknown format, no run of the reference, a run that contradicts itself, or
            plots without matplotlib.
        OSError: a file or folder cannot be written.
    """
    check_format(format)
    comparison = compare_runs(finished_runs(Path(runs)), reference)
    return delivered(text(comparison, format), out, comparison, plots)


def check_format(format: str) -> None:
    """Refuse an unknown format.

    Raises:
        ValueError: it is none of `FORMATS`.
    """
    if format not in FORMATS:
        raise ValueError(f"format is {format!r}: choose one of {', '.join(FORMATS)}")


def text(comparison: Comparison, format: str) -> str:
    """Write the whole report in one of `FORMATS`."""
    if format == "json":
        return data.comparison_json(comparison)
    if format == "csv":
        return data.comparison_csv(comparison)
    if format == "html":
        return html.page(page_blocks(comparison))
    return (markdown if format == "markdown" else latex)(blocks(comparison))


def fragment(comparison: Comparison) -> str:
    """Write the report as HTML for the inside of a page, as a notebook shows it."""
    return html.fragment(page_blocks(comparison))


def delivered(report: str, out: Path | None, comparison: Comparison | None, plots: Path | None) -> str:
    """Write a report and its plots to where they belong; returns what to print.

    Args:
        report: the text.
        out: a file for it; None leaves it to be printed.
        comparison: what is drawn.
        plots: a folder for the plots; None draws none.
    """
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, report + "\n")
    lines = [str(out) if out else report]
    if plots and comparison:
        from delamo.reports import plots as drawing

        lines += map(str, drawing.save(drawing.figures(comparison), plots))
    return "\n".join(lines)


def blocks(comparison: Comparison) -> list[Block]:
    """Build the whole report, the answer first."""
    return [*answer_blocks(comparison), *account_blocks(comparison)]


def page_blocks(comparison: Comparison) -> list[html.PageBlock]:
    """Build the whole report for a page, which has room for plots and configs."""
    return [
        *answer_blocks(comparison),
        *plot_blocks(comparison),
        *account_blocks(comparison),
        *config_blocks(comparison.runs),
    ]


def answer_blocks(comparison: Comparison) -> list[Block]:
    """Build what the runs say, budget by budget."""
    shown: list[Block] = [Heading(f"Report on {comparison.root}", 1)]
    for budget in comparison.budgets:
        shown += [
            *accuracy_blocks(budget),
            *verdict_blocks(budget),
            *retention_blocks(budget),
            *planted_blocks(budget),
            *variance_blocks(budget),
            *overlap_blocks(budget),
        ]
    return shown


def account_blocks(comparison: Comparison) -> list[Block]:
    """Build how to read the answer, and what it rests on and cost."""
    runs = comparison.runs
    return [
        *definition_blocks(comparison.reference),
        *validation_blocks(runs),
        *quarantine_blocks(comparison),
        *leakage_blocks(runs),
        *agreement_blocks(runs),
        *circular_blocks(runs),
        *teacher_health_blocks(runs),
        *unranked_blocks(runs),
        *selection_cost_blocks(comparison.budgets),
        *cost_blocks(runs),
        *seconds_blocks(comparison),
        *run_blocks(comparison),
    ]
