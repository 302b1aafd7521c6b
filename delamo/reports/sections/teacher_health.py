"""Whether the teacher looked: how its replies read, and how much they repeat themselves or the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from delamo.models.teachers.base import CUT_OFF
from delamo.reports.render.formats import Block, Heading, Lines, Table
from delamo.reports.render.numbers import NOTHING, percent
from delamo.runs.read import Run, stage_kind, with_measured

KINDS = {"mistakes": "mistake steps", "skills": "missing skills", "pool_skills": "pool skills"}
MOST_ECHOES = 0.2
"""Share of replies that repeat the prompt's examples, above which selection goes by the prompt, not by the data."""
MOST_ALIKE = 0.9
"""Share of replies with one and the same skill, above which the queries do not tell errors apart."""
MOST_LOST = 0.2
"""Share of replies that named nothing or were cut off."""
MOST_OUTSIDE = 0.5
"""Mean probability of anything but an option letter, above which the answer switch reads noise."""
FEW = 20
"""Replies below which nothing is said of a share."""
NOTE = (
    "distinct: skills per 100 replies. alike: replies that name the commonest skill. echoes: replies that repeat the "
    "prompt's own examples. lost: replies that named no skill or were refused; cut off: at their limit of tokens. "
    "outside: mean probability, where the teacher judges a rationale, of anything but an option letter."
)


def teacher_health_blocks(runs: Sequence[Run]) -> list[Block]:
    """Describe the replies behind each distinct result of a teacher, and warn where selection by them is near random.

    Nothing where no teacher was asked, or where older code did not count.
    """
    results = _results(runs)
    if not results:
        return []
    columns = [
        "teacher",
        "on",
        "stage",
        "replies",
        "distinct",
        "alike %",
        "echoes %",
        "lost %",
        "cut off %",
        "outside %",
    ]
    warnings = [warning for result in results for warning in _warnings(result)]
    return [
        Heading("Teacher health"),
        Table(columns, [_row(result) for result in results], num_text=3),
        Lines([NOTE]),
        *([Lines(warnings, bullets=True)] if warnings else []),
    ]


def _results(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Collect what each distinct result recorded of its replies."""
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        for stage in run.stages.values():
            kind = stage_kind(stage)
            measured = with_measured(stage) if kind in KINDS else {}
            if health := measured.get("health"):
                on = run.cell["pool"] if kind == "pool_skills" else run.cell["task"]
                names = {"teacher": run.cell.get("teacher") or NOTHING, "on": on, "kind": kind}
                found[stage["digest"]] = names | {"accounting": measured.get("accounting") or {}} | health
    return sorted(
        found.values(), key=lambda result: (result["teacher"], list(KINDS).index(result["kind"]), result["on"])
    )


def _shares(result: dict[str, Any]) -> dict[str, float]:
    """Compute shares of 1 from the counts of a result; of replies that could be read, and of all that were asked."""
    failed = result["accounting"].get("failed", {})
    lost, cut = sum(failed.values()), failed.get(CUT_OFF, 0)
    read = result.get("replies", 0)
    asked = max(read + lost, 1)
    return {
        "distinct": result.get("distinct", 0) / max(read, 1),
        "alike": result.get("most_frequent", 0) / max(read, 1),
        "echoes": result.get("echoes", 0) / max(read, 1),
        "lost": (lost - cut) / asked,
        "cut off": cut / asked,
    }


def _row(result: dict[str, Any]) -> list[str]:
    names = [result["teacher"], result["on"], KINDS[result["kind"]]]
    if result["kind"] == "mistakes":
        outside = result.get("outside_mass")
        return [*names, *[NOTHING] * 6, NOTHING if outside is None else percent(outside)]
    shares = _shares(result)
    return [*names, f"{result['replies']:,}", *(percent(share) for share in shares.values()), NOTHING]


def _warnings(result: dict[str, Any]) -> list[str]:
    who = f"WARNING: teacher {result['teacher']} on {result['on']}, {KINDS[result['kind']]}: "
    if result["kind"] == "mistakes":
        outside = result.get("outside_mass") or 0.0
        text = f"{percent(outside)} % of the probability is on no option: the mistake steps are near chance"
        return [who + text] if outside > MOST_OUTSIDE else []
    shares, said = _shares(result), []
    if result["replies"] >= FEW:
        if shares["echoes"] > MOST_ECHOES:
            said.append(f"{percent(shares['echoes'])} % of the replies repeat the prompt's own examples")
        if shares["alike"] > MOST_ALIKE:
            said.append(f"{percent(shares['alike'])} % name one and the same skill")
    lost = shares["lost"] + shares["cut off"]
    if lost > MOST_LOST:
        said.append(f"{percent(lost)} % named no skill or were cut off")
    return [who + "; ".join(said) + ": selection by them is close to random"] if said else []
