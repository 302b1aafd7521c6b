"""`delamo report`: what the runs under a folder say, as Markdown, HTML, JSON, CSV or LaTeX.

One table a budget: methods against targets, then each target with n, intervals, the paired test against the reference and the unparsed rate;
under them the planted metrics, validation, quarantine, seconds, runs and the commands that trace a sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from delamo.metrics.agreement import skill_blocks
from delamo.metrics.statistics import Interval, mean
from delamo.paper import render as layout_tables
from delamo.reports.comparison import ALPHA, PRETRAINED_LABEL, Budget, Method, Results, Target, arrange, labels
from delamo.reports.render import exports, html
from delamo.reports.render.formats import BEATS, WIDTH, Block, Code, Heading, Lines, Table, fitting, latex, markdown
from delamo.reports.sections.circular import circular_blocks
from delamo.reports.sections.costs import cost_blocks
from delamo.reports.sections.leakage import leakage_blocks
from delamo.reports.sections.noise import definitions, detectable_lines, kept_blocks, variance_blocks
from delamo.reports.sections.overlap import overlap_blocks
from delamo.reports.sections.planted import planted_blocks
from delamo.reports.sections.selection_costs import selection_cost_blocks
from delamo.reports.sections.unranked import unranked_blocks
from delamo.reports.variants import PRETRAINED, RANDOM, seed_name
from delamo.runs.read import Collected, Run, finished_runs

FORMATS = ("markdown", "html", "json", "csv", "latex")
NOTHING = "-"
LONG = 30  # characters of a reference's name that a column's head can take

FOOTER = """
Accuracy: correct / n; an unparsed answer is not correct, and its share stands in the last column. After it the 95 % Wilson interval for \
n items; a mean over seeds takes the mean and the same n, so that more seeds do not narrow it.
Minus {reference}: mean over the method's runs minus mean over {reference}'s, in points, paired by test item; after it the 95 % interval of a \
bootstrap (10,000 draws, seed 0) of items and of runs.
p: exact two-sided paired test over the items (Cochran-Mantel-Haenszel, one stratum an item; with one run each it is McNemar's). It \
speaks of these runs; how far seeds move a result, the single runs show. p Holm: corrected over the methods and targets that are \
compared with {reference} in the table, the pretrained student apart.
Beats {reference}: p Holm below 0.05 and the interval of the difference above 0; a dagger (†) in the first table marks it.
Mean: unweighted mean of a method's accuracies over the targets, where it was run on all of them.
""".strip().splitlines()


def report(
    runs: Path,
    format: str = "markdown",
    reference: str = RANDOM,
    *,
    table: str | None = None,
    against: str | None = None,
) -> str:
    """The report on all finished runs under `runs`; `reference` as in `arrange`.

    Args:
        table: one of the paper's tables, whose layout the runs take instead.
        against: `paper` puts that table's numbers beside ours.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no finished run in it, an unknown format, table or comparison, no run of the reference, or a run that contradicts itself.
    """
    check(format, table, against)
    found = finished_runs(Path(runs))
    if table is not None:
        return layout_text(found, format, table, against)
    return text(arrange(found, reference), format)


def check(format: str, table: str | None = None, against: str | None = None) -> None:
    """Raises ValueError for an unknown format, table or comparison."""
    if format not in FORMATS:
        raise ValueError(f"format is {format!r}: choose one of {', '.join(FORMATS)}")
    layout_tables.check(table, against)


def text(results: Results, format: str) -> str:
    """The whole report in one of `FORMATS`."""
    if format == "json":
        return exports.json_text(results)
    if format == "csv":
        return exports.csv_table(results)
    if format == "html":
        shown = [*answers(results), *html.pictures(results), *accounts(results), *html.config_blocks(results.runs)]
        return html.page(shown)
    return (markdown if format == "markdown" else latex)(blocks(results))


def layout_text(found: Collected, format: str, table: str, against: str | None) -> str:
    """The runs in the layout of one of the paper's tables."""
    if format != "html":
        return layout_tables.report(found, table, format, against=against)
    laid_out = layout_tables.report_blocks(found, table, against=against)
    return html.page([*laid_out, *html.pictures(arrange(found)), *html.config_blocks(found.runs)])


def blocks(results: Results) -> list[Block]:
    """The whole report as blocks, the answer first."""
    return [*answers(results), *accounts(results)]


def answers(results: Results) -> list[Block]:
    """What the runs say, budget by budget."""
    return [
        Heading(f"Report on {results.root}", 1),
        *(block for budget in results.budgets for block in _budget_blocks(budget)),
    ]


def accounts(results: Results) -> list[Block]:
    """How to read it, and what it rests on and cost."""
    return [
        Heading("How to read the tables"),
        Lines(footer(results.reference), bullets=True),
        *_validation_blocks(results),
        *_quarantine_blocks(results),
        *leakage_blocks(results.runs),
        *skill_blocks(results.runs),
        *circular_blocks(results.runs),
        *unranked_blocks(results.runs),
        *selection_cost_blocks(results.budgets),
        *cost_blocks(results.runs),
        *_seconds_blocks(results),
        *_run_blocks(results),
    ]


def verdicts(budget: Budget) -> list[str]:
    """One sentence for each judged method on each target: does it beat the reference?"""
    name = reference_name(budget.reference)
    return [_verdict(name, target, m) for target in budget.targets for m in target.methods if m.is_judged]


def reference_name(reference: str) -> str:
    """As the tables call it."""
    return PRETRAINED_LABEL + reference.removeprefix(PRETRAINED) if reference.startswith(PRETRAINED) else reference


def footer(reference: str) -> list[str]:
    """The definitions of the tables' columns."""
    name = reference_name(reference)
    return [*(line.replace("{reference}", name) for line in FOOTER), *definitions(name)]


def percent(share: float | None, digits: int = 1) -> str:
    """A fraction of 1 as percent, without the sign."""
    return NOTHING if share is None else f"{100 * share:.{digits}f}"


def points(share: float) -> str:
    """A difference of fractions in percentage points, with its sign."""
    return f"{100 * share:+.1f}"


def p_value(p: float | None) -> str:
    """A p value to four places; smaller ones as a bound."""
    return NOTHING if p is None else "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def span(interval: Interval, show=percent) -> str:
    """An interval of fractions, in percent or points."""
    return f"{show(interval.low)} to {show(interval.high)}"


def _budget_blocks(budget: Budget) -> list[Block]:
    return [
        Heading(_budget_title(budget)),
        *_overview(budget),
        *(block for target in budget.targets for block in _target_blocks(budget, target)),
        *_verdict_blocks(budget),
        *kept_blocks(budget),
        *planted_blocks(budget),
        *variance_blocks(budget),
        *overlap_blocks(budget),
    ]


def _budget_title(budget: Budget) -> str:
    if budget.budget is None:
        tuned = any(method.selector != PRETRAINED for target in budget.targets for method in target.methods)
        return f"Student {budget.student}, {'no budget' if tuned else 'not tuned'}"
    return f"Budget {budget.budget}: {budget.num_samples} samples of pool {budget.pool}, student {budget.student}"


def _overview(budget: Budget) -> list[Block]:
    """Accuracy of methods against targets, cut into several tables where the terminal is too narrow."""
    methods = labels(budget.targets)
    columns = [(target.task, [_overview_cell(target, label) for label in methods]) for target in budget.targets]
    if len(columns) > 1:
        columns.append(("mean", [_mean_cell(budget, label) for label in methods]))
    names = [_row_name(budget, label) for label in methods]
    first = max(len(name) for name in ("accuracy %", *names)) + 4
    widths = [max(len(title), *map(len, cells)) for title, cells in columns]
    tables = []
    for part in fitting(widths, first, WIDTH):
        rows = [[name, *(cells[i] for _, cells in columns[part])] for i, name in enumerate(names)]
        tables.append(Table(["accuracy %", *(title for title, _ in columns[part])], rows))
    return tables


def _row_name(budget: Budget, label: str) -> str:
    runs = {len(m.seeds) for target in budget.targets for m in target.methods if m.label == label}
    return label if runs == {1} else f"{label}, mean of {' or '.join(map(str, sorted(runs)))} seeds"


def _overview_cell(target: Target, label: str) -> str:
    for method in target.methods:
        if method.label == label:
            return percent(method.accuracy.mean) + (BEATS if method.is_judged and method.beats_reference else "")
    return NOTHING


def _mean_cell(budget: Budget, label: str) -> str:
    """The unweighted mean over the targets, only where the method was run on all of them."""
    found = [m.accuracy.mean for target in budget.targets for m in target.methods if m.label == label]
    return percent(mean(found)) if len(found) == len(budget.targets) else NOTHING


def _target_blocks(budget: Budget, target: Target) -> list[Block]:
    rows = [row for method in target.methods for row in _method_rows(method)]
    name = reference_name(budget.reference)
    said = [Lines([f"The reference is {name}."])] if len(name) > LONG else []
    minus = f"minus {'the reference' if said else name} (95 %)"
    columns = ["method", "accuracy % (95 %)", "n", minus, "p", "p Holm", "unparsed %"]
    return [Heading(target.task, 3), *said, Table(columns, rows), *detectable_lines(target)]


def _method_rows(method: Method) -> list[list[str]]:
    """The method's own row, and one for each run where it has several."""
    versus, several = method.versus, len(method.seeds) > 1
    rows = [
        [
            f"{method.label}, mean of {len(method.seeds)} seeds" if several else method.label,
            f"{percent(method.accuracy.mean)} ({span(method.interval)})",
            str(method.n),
            f"{points(versus.difference)} ({span(versus.interval, points)})" if versus else NOTHING,
            p_value(versus.p if versus else None),
            p_value(method.p_holm),
            percent(method.unparsed.mean),
        ]
    ]
    singles = zip(method.runs, method.accuracy.runs, method.unparsed.runs, strict=True) if several else ()
    return rows + [[f"  {seed_name(run)}", percent(a), "", "", "", "", percent(u)] for run, a, u in singles]


def _verdict_blocks(budget: Budget) -> list[Block]:
    lines = verdicts(budget)
    if not lines:
        return []
    judged = [m for target in budget.targets for m in target.methods if m.is_judged and m.versus]
    won = sum(m.beats_reference for m in judged)
    if not judged:
        return [Lines(lines, bullets=True)]
    return [
        Lines(
            [
                f"Against {reference_name(budget.reference)}: ahead, and significantly so, in {won} of {len(judged)} comparisons."
            ]
        ),
        Lines(lines, bullets=True),
    ]


def _verdict(reference: str, target: Target, method: Method) -> str:
    name, versus, p = f"{target.task}: {method.label}", method.versus, method.p_holm
    if versus is None or p is None:
        return f"{name} has no {reference} run with the same settings to compare with, or more than one kind."
    pairs = [pair for row in versus.pairs for pair in row]
    ahead = sum(pair.only_first > pair.only_second for pair in pairs)
    said = (
        f"{points(versus.difference)} points ({span(versus.interval, points)}), p Holm {p_value(p)}, ahead in {ahead} of "
        f"{len(pairs)} pairs of runs (largest McNemar p {p_value(max(pair.p for pair in pairs))})."
    )
    if method.beats_reference:
        return f"{name} beats {reference}: {said}"
    if p < ALPHA and versus.interval.high < 0:
        return f"{name} is WORSE than {reference}: {said}"
    return f"{name} does NOT beat {reference}: {said}"


def _validation_blocks(results: Results) -> list[Block]:
    columns = ["target", "student", "n", "correct", "wrong", "unparsed", "errors", "accuracy %"]
    rows = []
    for run in results.runs:
        v = run.metrics["validation"]
        if v and v["n"]:
            wrong = v["n"] - v["correct"] - v["unparsed"]
            counts = [str(x) for x in (v["n"], v["correct"], wrong, v["unparsed"], v["errors"])]
            rows.append((run.cell["task"], run.cell["student"], *counts, percent(v["correct"] / v["n"])))
    if not rows:
        return []
    note = Lines(
        ["Errors: samples that went on to mistake identification, by default the wrong and the unparsed ones."]
    )
    return [Heading("Validation samples, before tuning"), Table(columns, list(dict.fromkeys(rows)), num_text=2), note]


def _quarantine_blocks(results: Results) -> list[Block]:
    title = Heading("Quarantined rows")
    if not results.quarantined:
        return [title, Lines(["None: every row of every input was used."])]
    rows = [[c.stage, c.reason, str(c.rows), str(c.runs)] for c in results.quarantined]
    files = Lines(["Each row with file, place and value: quarantine.jsonl in the run directories below."])
    return [title, Table(["stage", "reason", "rows", "runs"], rows, num_text=2), files]


def _seconds_blocks(results: Results) -> list[Block]:
    if not results.stages:
        return []
    rows = [[s.stage, f"{s.seconds:.1f}", str(s.computed), str(s.reused)] for s in results.stages]
    rows.append(["all", f"{sum(s.seconds for s in results.stages):.1f}", "", ""])
    note = Lines(
        [
            "Seconds: of each distinct result once, as measured when it was computed. Reused: how often a run found one in the store."
        ]
    )
    return [Heading("Seconds of each stage"), Table(["stage", "seconds", "computed", "reused"], rows), note]


def _run_blocks(results: Results) -> list[Block]:
    rows = [[str(run.path), percent(run.metrics["test"]["accuracy"])] for run in results.runs]
    found: list[Block] = [Heading("Runs"), Table(["run directory", "accuracy %"], rows)]
    if results.superseded:
        found.append(Lines([f"Not in the tables: {len(results.superseded)} runs of a cell that has a newer run."]))
        found.append(Lines([str(run.path) for run in results.superseded], bullets=True))
    if results.unfinished:
        found.append(Lines([f"Not in the tables: {len(results.unfinished)} unfinished runs."]))
        found.append(Lines([f"{one.path}: {one.why}" for one in results.unfinished], bullets=True))
    commands = trace_commands(results.runs, results.root)
    if commands:
        found += [
            Lines(["From an error to the samples that it brought in, and from a sample back to its error:"]),
            Code(commands),
        ]
    return found


def trace_commands(runs: Sequence[Run], root: Path) -> list[str]:
    """A `delamo trace` and a `delamo why` for the first sample that an error brought in; empty where none did."""
    from shlex import quote

    from delamo.runs.lineage import selection

    where = f"runs={quote(str(root))}"
    rows = (row for run in runs for row in (selection(run) if "mistakes" in run.stages else ()))
    first = next((row for row in rows if row.val_id is not None), None)
    return [f"delamo trace {quote(first.val_id)} {where}", f"delamo why {quote(first.id)} {where}"] if first else []
