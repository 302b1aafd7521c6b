"""The plan as people read it."""

from __future__ import annotations

from collections.abc import Sequence

from delamo.plan.assumptions import Assumptions
from delamo.plan.resources import is_measured
from delamo.plan.summary import Bill, Outlook, StageRow, Tunings, bills, stages, total, tunings
from delamo.reports.render.formats import Block, Heading, Lines, Table, markdown

GIB = 2**30
UNKNOWN = "-"
MEASURED = (
    "Minutes and GiB: what is to be done will take, by the manifests of results of the same kind and models in this "
    "store; without "
    f"any, GiB by assumption. {UNKNOWN}: nothing to go by; a sum without it ends in +."
)
NO_LEAKS = (
    "No stage is computed for the plan, and where the audit has not been done no sample is taken to be removed by it: "
)
TEACHER_NOTES = (
    (
        "USD: list prices of litellm's own table, or those that the teacher's config declares; 0 for a model on this "
        "machine. Replies "
        "that are kept in store/transcripts are not taken off."
    ),
    (
        "Calls and tokens: by the manifests of this store where the same teacher was asked the same; errors, by the "
        "student's answers "
        "where they are there. Else as follows."
    ),
    (
        "Errors: for the paper's targets 1 - accuracy of the untuned LLaVA-1.5-7B (paper, Table 1), whatever the "
        "student, and steps "
        "by its Table 12; for others {assume.error_rate:.0%} of the validation samples, {assume.num_steps:g} steps "
        "(assume.error_rate, assume.num_steps)."
    ),
    (
        "Tokens: characters / 4 of the prompt templates, with questions of {assume.question_chars} characters, "
        "{assume.num_options} "
        "options of {assume.option_chars}, steps of {assume.step_chars}, pool samples of {assume.pool_question_chars} "
        "+ "
        "{assume.pool_answer_chars} where the pool is not here; a picture counts teacher.tokens_per_image. Replies: "
        "{assume.skill_tokens} tokens for a skill, {assume.pool_skills_tokens} for a pool sample's skills."
    ),
    "Each prefix of a rationale is a call; a model on this machine takes them in one pass.",
)
TUNING_NOTES = (
    (
        "GPU-hours: the paper's Table 6, {points}, on {assume.tuning_gpus} A100 of 40 GB with {assume.tuning_student} "
        "and LoRA; that "
        "of 100,000 is the mean of its six. Between them, on the line through both; below, in proportion: "
        "extrapolated, as for "
        "any other student."
    ),
    (
        "Not in it: answers, evaluation, the annotation of the pool, embeddings and other inputs of selectors, which "
        "the paper "
        "does not time."
    ),
)


def text(found: Outlook, assume: Assumptions) -> str:
    """The whole plan."""
    blocks = [Heading(f"Plan of {found.num_cells} cells", 1), Lines(_head(found))]
    if found.works:
        blocks += _stage_blocks(found, assume) + _teacher_blocks(found, assume) + _tuning_blocks(found, assume)
    if found.missing:
        blocks += [Heading("Not read"), Lines(found.missing, bullets=True)]
    if found.failed:
        lines = [f"{' '.join(overrides)}: {why}" for overrides, why in found.failed]
        blocks += [Heading(f"{len(found.failed)} of {found.num_cells} cells cannot run"), Lines(lines, bullets=True)]
    return markdown(blocks)


def _head(found: Outlook) -> list[str]:
    named = sum(work.num_experiments for work in found.works.values())
    lines = [f"Finished: {found.num_finished}."] if found.num_finished else []
    return [
        *lines,
        f"They name {named:,} stage results; {len(found.works):,} are distinct; {len(found.to_do()):,} are to be done.",
    ]


def _stage_blocks(found: Outlook, assume: Assumptions) -> list[Block]:
    rows = stages(found, assume)
    titles = ["stage", "named by cells", "distinct", "done", "to do", "minutes", "GiB"]
    number = [sum(values) for values in zip(*(_numbers(row) for row in rows), strict=True)]
    minutes, size = [row.seconds for row in rows], [row.disk_bytes for row in rows]
    last = ["all", *(f"{n:,}" for n in number), _sum(minutes, 60, 0), _sum(size, GIB, 1)]
    notes = [MEASURED] if found.audits_done else [MEASURED, NO_LEAKS + _if_leaks(found, assume)]
    return [
        Heading("Stage results"),
        Table(titles, [*map(_stage_row, rows), last]),
        Lines(notes, bullets=True),
    ]


def _numbers(row: StageRow) -> list[int]:
    return [row.named, len(row.done) + len(row.to_do), len(row.done), len(row.to_do)]


def _stage_row(row: StageRow) -> list[str]:
    return [row.name, *(f"{n:,}" for n in _numbers(row)), _amount(row.seconds, 60, 1), _amount(row.disk_bytes, GIB, 2)]


def _if_leaks(found: Outlook, assume: Assumptions) -> str:
    if not found.unshared:
        return "leaks would change which samples are left, not how many results there are."
    to_do = [work for work in found.unshared.values() if not work.done]
    number = sum(work.name == "tuning" for work in to_do)
    hours = total(row.gpu_hours for row in tunings(to_do, assume))
    more = f", {hours:,.0f} GPU-hours," if hours else ""
    tunings_in_all = f"{number:,} tunings{more} are to be done in all."
    return f"if it removes samples for every target, targets share no selection, and {tunings_in_all}"


def _teacher_blocks(found: Outlook, assume: Assumptions) -> list[Block]:
    rows = bills(found.to_do(), assume)
    if not rows:
        return []
    titles = ["stage", "teacher", "calls", "prompt tokens", "reply tokens", "USD"]
    cells = [_bill_row(row) for row in rows]
    usd = total(row.usd for row in rows)
    whole = [sum(getattr(row.asked, name) for row in rows) for name in ("calls", "prompt_tokens", "reply_tokens")]
    cells.append(["all", "", *map(_count, whole), _usd(usd)])
    return [
        Heading("Teacher, to do"),
        Table(titles, cells, num_text=2),
        Lines([note.format(assume=assume) for note in TEACHER_NOTES], bullets=True),
    ]


def _bill_row(row: Bill) -> list[str]:
    tokens = (row.asked.calls, row.asked.prompt_tokens, row.asked.reply_tokens)
    return [row.stage, row.teacher, *map(_count, tokens), _usd(row.usd)]


def _tuning_blocks(found: Outlook, assume: Assumptions) -> list[Block]:
    rows = tunings(found.to_do(), assume)
    if not rows:
        return []
    titles = ["student", "samples", "epochs", "tunings", "GPU-hours", "by"]
    cells = [_tuning_row(row, assume) for row in rows]
    cells.append(["all", "", "", f"{sum(row.number for row in rows):,}", _hours(total(r.gpu_hours for r in rows)), ""])
    points = ", ".join(f"{n:,} samples in {seconds:,.0f} s" for n, seconds in sorted(assume.tuning_seconds.items()))
    notes = [note.format(assume=assume, points=points) for note in TUNING_NOTES]
    return [Heading("Tuning, to do"), Table(titles, cells), Lines(notes, bullets=True)]


def _tuning_row(row: Tunings, assume: Assumptions) -> list[str]:
    seen = 0 if row.num_samples is None else row.num_samples * row.epochs
    measured = row.student == assume.tuning_student and is_measured(seen, assume.tuning_seconds)
    samples = UNKNOWN if row.num_samples is None else f"{row.num_samples:,}"
    by = UNKNOWN if row.gpu_hours is None else "Table 6" if measured else "extrapolated"
    return [row.student, samples, str(row.epochs), str(row.number), _hours(row.gpu_hours), by]


def _sum(parts: Sequence[float | None], unit: float, digits: int) -> str:
    known = sum(part for part in parts if part is not None)
    return f"{known / unit:,.{digits}f}{'+' if None in parts else ''}"


def _amount(value: float | None, unit: float, digits: int) -> str:
    return UNKNOWN if value is None else f"{value / unit:,.{digits}f}"


def _hours(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.1f}"


def _usd(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.2f}"


def _count(value: float) -> str:
    return f"{value:,.0f}" if value < 1e6 else f"{value / 1e6:,.1f} M"
