"""How to read the tables: what their columns are."""

from __future__ import annotations

from delamo.reports.comparison import PRETRAINED_LABEL
from delamo.reports.methods import PRETRAINED
from delamo.reports.render.formats import Block, Heading, Lines

DEFINITIONS = (
    "Accuracy: correct / n; an unparsed answer is not correct, and its share stands in the last column. After it the "
    "95 % Wilson interval for n items; a mean over seeds takes the mean and the same n, so that more seeds do not "
    "narrow it.",
    "Minus {reference}: mean over the method's runs minus mean over {reference}'s, in points, paired by test item; "
    "after it the 95 % interval for other runs on other items (crossed random effects of runs and items, Student's t "
    "with Satterthwaite's degrees of freedom). Runs on one selection out of several are one draw, and so are runs that "
    "agree on every item. A method with a single draw is taken to vary between runs as all tuned methods on the target "
    "do that have several; without one, the comparison is not judged. The pretrained student is one model and has no "
    "runs to vary.",
    "p: two-sided, of the same test: below 0.05 exactly where the interval leaves out 0. p Holm: corrected over the "
    "methods and targets that are judged against {reference} in the table, the pretrained student apart.",
    "Beats {reference}: p Holm below 0.05 and a difference above 0; a dagger (†) in the first table marks it. Measured "
    "on random selection judged against itself, the test says so falsely in 6 % of comparisons or less at a nominal "
    "5 %: docs/verdicts.md.",
    "Mean: unweighted mean of a method's accuracies over the targets, where it was run on all of them.",
    "Detectable difference: the smallest true difference in accuracy that the same test finds with 80 % power, for the "
    "comparison's standard error and degrees of freedom (noncentral t). First at alpha 0.05; in brackets at 0.05 "
    "divided by the judged comparisons of the table, which Holm asks of the smallest p. '-': none up to 100 points.",
)


def reference_name(reference: str) -> str:
    """Return a reference as the tables call it."""
    return PRETRAINED_LABEL + reference.removeprefix(PRETRAINED) if reference.startswith(PRETRAINED) else reference


def definition_blocks(reference: str) -> list[Block]:
    """Define the columns of the tables, against this reference."""
    name = reference_name(reference)
    lines = [text.replace("{reference}", name) for text in DEFINITIONS]
    return [Heading("How to read the tables"), Lines(lines, bullets=True)]
