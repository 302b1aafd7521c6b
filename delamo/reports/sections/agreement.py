"""Do two teachers name the same skills for the same errors?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from delamo.metrics.agreement import skill_overlap
from delamo.reports.render.formats import Block, Heading, Lines, Table
from delamo.reports.render.numbers import NOTHING, percent
from delamo.retrieval.tokenize import tokenize
from delamo.runs import lineage
from delamo.runs.read import Run

NOTES = (
    "Errors: validation samples for which both teachers named a skill, from the same answers of the student.",
    "Same words: share of them whose two skills have the same set of words. Overlap: unweighted mean, over the "
    "errors, of the share of words in common (2 x common / sum of both, as BM25 splits words). Nobody judged the "
    "meaning: in the paper (appendix G) people compared skills with gold ones.",
)


def agreement_blocks(runs: Sequence[Run]) -> list[Block]:
    """Build a row for each pair of teachers that named skills from the same answers.

    Nothing where there is no such pair.
    """
    rows = [
        [run.cell["task"], f"{run.cell['teacher']} and {other.cell['teacher']}", *_cells(run, other)]
        for run, other in _pairs(runs)
    ]
    if not rows:
        return []
    columns = ["target", "teachers", "errors", "same words %", "overlap %"]
    title = Heading("Do the teachers name the same skills?")
    return [title, Table(columns, rows, num_text=2), Lines(NOTES, bullets=True)]


def _pairs(runs: Sequence[Run]) -> list[tuple[Run, Run]]:
    """Pair runs by two teachers on the same answers and of the same settings, each pair of results once."""
    by_answers: dict[tuple[Any, ...], dict[str, Run]] = {}
    for run in runs:
        if {"answers", "mistakes", "skills"} <= run.stages.keys():
            settings = [
                (key, run.config[key]) for key in sorted(run.config) if key.startswith(("mistakes.", "skills."))
            ]
            key = (run.cell["task"], run.stages["answers"]["digest"], repr(settings))
            by_answers.setdefault(key, {}).setdefault(run.stages["skills"]["digest"], run)
    pairs = [pair for same in by_answers.values() for pair in combinations(same.values(), 2)]
    return [(first, second) for first, second in pairs if first.cell["teacher"] != second.cell["teacher"]]


def _cells(first: Run, second: Run) -> list[str]:
    words = [
        {id: frozenset(tokenize(skill.skill)) for id, skill in lineage.skills(run).items()} for run in (first, second)
    ]
    overlap = skill_overlap(*words)
    if overlap is None:
        return ["0", NOTHING, NOTHING]
    return [str(overlap["n"]), percent(overlap["same"]), percent(overlap["overlap"])]
