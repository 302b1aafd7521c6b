"""What tuning kept of what the student had, and what it gained."""

from __future__ import annotations

from delamo.metrics.retention import change_over_skills
from delamo.reports.comparison import Budget
from delamo.reports.render.formats import Block, Heading, Lines, Table
from delamo.reports.render.numbers import percent, points

DEFINITION = (
    "Still right: of the test items that the pretrained student answers correctly, the share that the tuned one does; "
    "now right: of those that it does not, unparsed ones among them. Forgetting is accuracy after minus before on what "
    "the student had, in points, negative where tuning did harm: of items, over those that it had right (still right "
    "minus 100); of skills, the unweighted mean over the skills that it was taught (planted truth). All are means over "
    "the method's runs, described and not tested. An item that was right by luck counts as had: read the numbers "
    "beside those of random."
)


def retention_blocks(budget: Budget) -> list[Block]:
    """Build a row for each tuned method; nothing where the pretrained student was not run."""
    rows = []
    for target in budget.targets:
        for method in target.methods:
            retention = method.retention
            if retention:
                by_skill = (method.planted or {}).get("by_skill") or {}
                rows.append(
                    [
                        *(target.task, method.label),
                        *(str(retention.num_right), percent(retention.still_right)),
                        *(str(retention.num_wrong), percent(retention.now_right)),
                        *(points(retention.forgetting), points(change_over_skills(by_skill, missing=False))),
                    ]
                )
    if not rows:
        return []
    columns = ["target", "method", "right", "still %", "wrong", "now %", "forgetting of items", "of skills"]
    return [Heading("What tuning kept", 3), Table(columns, rows, num_text=2), Lines([DEFINITION])]
