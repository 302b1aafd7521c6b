"""How far two judgements of the same errors agree: mistake steps against gold ones, and the skills that two teachers name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from delamo.metrics.statistics import mean
from delamo.reports.render.formats import Block, Heading, Lines, Table
from delamo.runs import lineage
from delamo.runs.read import Run

REACH = 3
"""Steps before the one found in which the gold step counts as recalled (paper, section 5, Recall@3)."""

NOTE = """
Errors: validation samples for which both teachers named a skill, from the same answers of the student.
Same words: share of them whose two skills have the same set of words. Overlap: unweighted mean, over the errors, of the share of words \
in common (2 x common / sum of both, as BM25 splits words). Nobody judged the meaning: in the paper (appendix G) people compared skills \
with gold ones.
""".strip().splitlines()


def step_agreement(found: Mapping[str, int | None], gold: Mapping[str, int | None]) -> dict[str, float] | None:
    """Accuracy and Recall@3 of mistake steps (paper, Table 7), over the errors for which both have one; None where there is none.

    Recall@3: the gold step is the one found, or one of the three before it.

    Args:
        found: 0-based steps by error; None where the method singled no step out.
        gold: likewise; None where no step is wrong.
    """
    both = [(step, gold[id]) for id, step in found.items() if step is not None and gold.get(id) is not None]
    if not both:
        return None
    return {
        "accuracy": sum(step == right for step, right in both) / len(both),
        "recall_at_3": sum(step - REACH <= right <= step for step, right in both) / len(both),
        "n": len(both),
    }


def skill_overlap(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, float] | None:
    """How alike the skills are that two teachers named for the same errors; None where they have no error in common.

    Args:
        first: error -> the skill in the teacher's words; second: likewise.

    Returns:
        `same`: share of errors whose skills have the same set of words; `overlap`: mean share of words in common
        (Dice coefficient); `n`: errors.
    """
    common = sorted(first.keys() & second.keys())
    if not common:
        return None
    shares = [_dice(_words(first[id]), _words(second[id])) for id in common]
    return {"same": sum(share == 1 for share in shares) / len(shares), "overlap": mean(shares), "n": len(shares)}


def skill_blocks(runs: Sequence[Run]) -> list[Block]:
    """A row for each pair of teachers that named skills from the same answers; nothing where there is no such pair."""
    rows = [
        [run.cell["task"], f"{run.cell['teacher']} and {other.cell['teacher']}", *_cells(run, other)]
        for run, other in _pairs(runs)
    ]
    if not rows:
        return []
    titles = ["target", "teachers", "errors", "same words %", "overlap %"]
    return [
        Heading("Do the teachers name the same skills?"),
        Table(titles, rows, num_text=2),
        Lines(NOTE, bullets=True),
    ]


def _pairs(runs: Sequence[Run]) -> list[tuple[Run, Run]]:
    """Runs by two teachers on the same answers and by the same settings of mistakes and skills, each pair of stage results once."""
    by_answers: dict[tuple[Any, ...], dict[str, Run]] = {}
    for run in runs:
        if {"answers", "mistakes", "skills"} <= run.stages.keys():
            settings = [
                (key, run.config[key]) for key in sorted(run.config) if key.startswith(("mistakes.", "skills."))
            ]
            key = (run.cell["task"], run.stages["answers"]["digest"], repr(settings))
            by_answers.setdefault(key, {}).setdefault(run.stages["skills"]["digest"], run)
    pairs = [pair for same in by_answers.values() for pair in combinations(same.values(), 2)]
    return [(one, other) for one, other in pairs if one.cell["teacher"] != other.cell["teacher"]]


def _cells(run: Run, other: Run) -> list[str]:
    skills = [{id: skill.skill for id, skill in lineage.skills(one).items()} for one in (run, other)]
    found = skill_overlap(*skills)
    return (
        [str(found["n"]), f"{100 * found['same']:.1f}", f"{100 * found['overlap']:.1f}"] if found else ["0", "-", "-"]
    )


def _words(text: str) -> frozenset[str]:
    from delamo.retrieval.tokenize import tokenize

    return frozenset(tokenize(text))


def _dice(first: frozenset[str], second: frozenset[str]) -> float:
    return 2 * len(first & second) / (len(first) + len(second)) if first or second else 1.0
