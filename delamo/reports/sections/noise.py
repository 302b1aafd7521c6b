"""Blocks on what the accuracies leave open: differences too small to find, noise by its source, and what tuning took."""

from __future__ import annotations

from delamo.metrics import minimum_detectable_effect, retention, variance
from delamo.reports.comparison import Budget, Target
from delamo.reports.render.formats import Block, Heading, Lines, Table
from delamo.reports.sections.planted import gain
from delamo.reports.variants import PRETRAINED


def detectable_lines(target: Target) -> list[Block]:
    """Under a target's table: the smallest difference that each judged comparison could have found."""
    found = [(m.label, m.detectable) for m in target.methods if m.detectable]
    if not found:
        return []
    said = [
        f"{label} {_percent(d.alone)} ({_percent(d.corrected)}) at {_percent(d.discordant)} % discordant"
        for label, d in found
    ]
    return [Lines([f"Detectable difference in points, 80 % power, alpha 0.05 (Holm): {'; '.join(said)}."])]


def variance_blocks(budget: Budget) -> list[Block]:
    """A row for each method with several runs on a target; a line names those with one, which tell nothing of seeds."""
    rows, single = [], []
    for target in budget.targets:
        for method in target.methods:
            found = method.variance
            if found.num_runs == 1:
                single += [] if method.selector == PRETRAINED else [method.label]
                continue
            apart = found.selection is not None or found.training is not None
            seeds = [_percent(found.selection), _percent(found.training), "-" if apart else _percent(found.both)]
            counts = [str(found.num_runs), str(found.num_selections)]
            rows.append([target.task, method.label, *counts, *seeds, _percent(found.test_items)])
    if not rows:
        return []
    columns = ["target", "method", "runs", "selections", "selection seed", "training seed", "both seeds", "test items"]
    lines = [variance.DEFINITION]
    if single:
        lines.append(
            f"One run on some target, so that nothing is known of its seeds there: {', '.join(dict.fromkeys(single))}."
        )
    return [Heading("Where the noise comes from", 3), Table(columns, rows, num_text=2), Lines(lines, bullets=True)]


def kept_blocks(budget: Budget) -> list[Block]:
    """A row for each tuned method; nothing where the pretrained student was not run."""
    rows = []
    for target in budget.targets:
        for method in target.methods:
            found = method.kept
            if found:
                had = [
                    str(found.num_right),
                    _percent(found.still_right),
                    str(found.num_wrong),
                    _percent(found.now_right),
                ]
                skills = gain((method.planted or {}).get("by_skill") or {}, missing=False)
                rows.append([target.task, method.label, *had, _points(found.forgetting), _points(skills)])
    if not rows:
        return []
    columns = ["target", "method", "right", "still %", "wrong", "now %", "forgetting of items", "of skills"]
    return [Heading("What tuning kept", 3), Table(columns, rows, num_text=2), Lines([retention.DEFINITION])]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _points(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:+.1f}"


def definitions(reference: str) -> list[str]:
    """What the report's list of definitions says of the lines under the tables."""
    return [minimum_detectable_effect.DEFINITION.replace("{reference}", reference)]
