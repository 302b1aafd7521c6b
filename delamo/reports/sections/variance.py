"""Where the noise of the accuracies comes from: the seeds, and the draw of the test items."""

from __future__ import annotations

from delamo.reports.comparison import Budget
from delamo.reports.methods import PRETRAINED
from delamo.reports.render.formats import Block, Heading, Lines, Table
from delamo.reports.render.numbers import NOTHING, percent

DEFINITION = (
    "Standard deviations of one run's accuracy, in points, from an analysis of variance of runs and test items "
    "(random effects; a negative estimate is 0). Test items: other items of the same kind, sqrt of the mean over runs "
    "of p (1 - p) / (n - 1). Seeds: other runs on the same items, without what they differ in by item alone. "
    "Selection seed: between different selections; training seed: between runs on one selection, '-' where no two "
    "runs tell; both seeds: where every run has a selection of its own, so that they cannot be told apart."
)


def variance_blocks(budget: Budget) -> list[Block]:
    """Build a row for each method with several runs on a target; name those with one, which tell nothing of seeds."""
    rows, single = [], []
    for target in budget.targets:
        for method in target.methods:
            split = method.variance
            if split.num_runs == 1:
                single += [] if method.selector == PRETRAINED else [method.label]
                continue
            apart = split.selection is not None or split.training is not None
            seeds = [percent(split.selection), percent(split.training), NOTHING if apart else percent(split.both)]
            counts = [str(split.num_runs), str(split.num_selections)]
            rows.append([target.task, method.label, *counts, *seeds, percent(split.test_items)])
    if not rows:
        return []
    columns = ["target", "method", "runs", "selections", "selection seed", "training seed", "both seeds", "test items"]
    lines = [DEFINITION]
    if single:
        labels = ", ".join(dict.fromkeys(single))
        lines.append(f"One run on some target, so that nothing is known of its seeds there: {labels}.")
    return [Heading("Where the noise comes from", 3), Table(columns, rows, num_text=2), Lines(lines, bullets=True)]
