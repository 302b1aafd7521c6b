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
    "after it the 95 % interval of a bootstrap (10,000 draws, seed 0) of items and of runs.",
    "p: exact two-sided paired test over the items (Cochran-Mantel-Haenszel, one stratum an item; with one run each it "
    "is McNemar's). It speaks of these runs; how far seeds move a result, the single runs show. p Holm: corrected over "
    "the methods and targets that are compared with {reference} in the table, the pretrained student apart.",
    "Beats {reference}: p Holm below 0.05 and the interval of the difference above 0; a dagger (†) in the first table "
    "marks it.",
    "Mean: unweighted mean of a method's accuracies over the targets, where it was run on all of them.",
    "Detectable difference: the smallest true difference in accuracy that McNemar's two-sided test of one run against "
    "one run of {reference} finds with 80 % power, for this n and this share of discordant items (right in one of the "
    "two runs, mean over pairs of runs); normal approximation (Miettinen 1968). First at alpha 0.05; in brackets at "
    "0.05 divided by the comparisons of the table, which Holm asks of the smallest p. '-': more than the discordant "
    "items can show.",
)


def reference_name(reference: str) -> str:
    """Return a reference as the tables call it."""
    return PRETRAINED_LABEL + reference.removeprefix(PRETRAINED) if reference.startswith(PRETRAINED) else reference


def definition_blocks(reference: str) -> list[Block]:
    """Define the columns of the tables, against this reference."""
    name = reference_name(reference)
    lines = [text.replace("{reference}", name) for text in DEFINITIONS]
    return [Heading("How to read the tables"), Lines(lines, bullets=True)]
