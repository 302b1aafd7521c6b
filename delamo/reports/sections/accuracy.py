"""The answer of the report: methods against targets, and each target with intervals, tests and single runs."""

from __future__ import annotations

from delamo.metrics.comparison import Verdict
from delamo.metrics.statistics import mean
from delamo.reports.comparison import Budget, Method, Target, labels
from delamo.reports.methods import PRETRAINED, seed_name
from delamo.reports.render.formats import BEATS, FILLED, WIDTH, Block, Heading, Lines, Table, fitting
from delamo.reports.render.numbers import NOTHING, minus, p_value, percent, span
from delamo.reports.sections.definitions import reference_name

LONG = 30  # characters of a reference's name that a column's head can take


def accuracy_blocks(budget: Budget) -> list[Block]:
    """Build the table of all targets of a budget, and one for each target."""
    return [
        Heading(_title(budget)),
        *_overview(budget),
        *_fill_lines(budget),
        *(block for target in budget.targets for block in _target_blocks(budget, target)),
    ]


def _title(budget: Budget) -> str:
    if budget.budget is None:
        tuned = any(method.selector != PRETRAINED for target in budget.targets for method in target.methods)
        return f"Student {budget.student}, {'no budget' if tuned else 'not tuned'}"
    return f"Budget {budget.budget}: {budget.num_samples} samples of pool {budget.pool}, student {budget.student}"


def _overview(budget: Budget) -> list[Block]:
    """Set accuracies of methods against targets, cut into several tables where the terminal is too narrow."""
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
            marks = (BEATS if method.verdict is Verdict.BEATS else "") + (FILLED if method.random_fill else "")
            return percent(method.accuracy.mean) + marks
    return NOTHING


def _fill_lines(budget: Budget) -> list[Block]:
    """Say which selections are random in part, and how much of them."""
    filled = [
        f"{method.label} on {target.task} {percent(method.random_fill)} %"
        for target in budget.targets
        for method in target.methods
        if method.random_fill
    ]
    return (
        [Lines([f"{FILLED} Of the selected samples, drawn at random for want of hits: {'; '.join(filled)}."])]
        if filled
        else []
    )


def _mean_cell(budget: Budget, label: str) -> str:
    """Write the unweighted mean over the targets, only where the method was run on all of them."""
    accuracies = [m.accuracy.mean for target in budget.targets for m in target.methods if m.label == label]
    return percent(mean(accuracies)) if len(accuracies) == len(budget.targets) else NOTHING


def _target_blocks(budget: Budget, target: Target) -> list[Block]:
    rows = [row for method in target.methods for row in _method_rows(method)]
    name = reference_name(budget.reference)
    above = [Lines([f"The reference is {name}."])] if len(name) > LONG else []
    against = f"minus {'the reference' if above else name} (95 %)"
    columns = ["method", "accuracy % (95 %)", "n", against, "p", "p Holm", "unparsed %"]
    return [Heading(target.task, 3), *above, Table(columns, rows), *_detectable_lines(target)]


def _method_rows(method: Method) -> list[list[str]]:
    """Build the method's own row, and one for each run where it has several."""
    several = len(method.seeds) > 1
    inference = method.versus.inference if method.versus else None
    rows = [
        [
            f"{method.label}, mean of {len(method.seeds)} seeds" if several else method.label,
            f"{percent(method.accuracy.mean)} ({span(method.interval)})",
            str(method.n),
            minus(method.versus),
            p_value(inference.p if inference else None),
            p_value(method.p_holm),
            percent(method.unparsed.mean),
        ]
    ]
    singles = zip(method.runs, method.accuracy.runs, method.unparsed.runs, strict=True) if several else ()
    return rows + [[f"  {seed_name(run)}", percent(a), "", "", "", "", percent(u)] for run, a, u in singles]


def _detectable_lines(target: Target) -> list[Block]:
    """State the smallest difference that each judged comparison could have found."""
    effects = [
        f"{method.label} {percent(effect.alone)} ({percent(effect.corrected)})"
        for method in target.methods
        if (effect := method.detectable_effect)
    ]
    title = "Detectable difference in points, 80 % power, alpha 0.05 (Holm)"
    return [Lines([f"{title}: {'; '.join(effects)}."])] if effects else []
