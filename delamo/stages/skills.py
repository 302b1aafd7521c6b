"""Skill analysis (paper, section 3.4) and the annotation of the pool with skills (section 3.5)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from delamo.data import Pool
from delamo.models import prompts
from delamo.models.teachers.base import Refusal, Teacher
from delamo.records import LETTERS, Mistake, PoolSkills, Quarantined, Sample, Skill


def name_skills(
    mistakes: Sequence[Mistake],
    teacher: Teacher,
    *,
    max_new_tokens: int,
    images: Mapping[str, str | None] | None = None,
) -> tuple[list[Skill], list[Quarantined]]:
    """One missing skill for every mistake; in order. An empty or refused reply is quarantined.

    Args:
        images: validation id -> locator, for a teacher that sees.
    """
    asked = [
        prompts.skill(
            teacher.prompts,
            question=mistake.question,
            options=mistake.options if len(mistake.options) > 1 else (),
            answer=mistake.options[mistake.gold],
            steps=mistake.steps,
            step=mistake.step,
        )
        for mistake in mistakes
    ]
    locators = [images.get(mistake.id) for mistake in mistakes] if images is not None else None
    replies = teacher.complete(asked, max_new_tokens=max_new_tokens, images=locators)
    skills: list[Skill] = []
    bad: list[Quarantined] = []
    for mistake, reply in zip(mistakes, replies, strict=True):
        text = reply if isinstance(reply, Refusal) else one_line(reply)
        if isinstance(text, Refusal) or not text:
            bad.append(_quarantined(mistake.id, "skills", text))
        else:
            skills.append(Skill(val_id=mistake.id, skill=text, step=mistake.step))
    return skills, bad


def quote_mistakes(mistakes: Sequence[Mistake]) -> tuple[list[Skill], list[Quarantined]]:
    """The text of each mistake step in the place of a skill; a mistake without a step has no text to quote."""
    quoted, bad = [], []
    for mistake in mistakes:
        if mistake.step is None:
            detail = "the mistake step is the query, and none was found"
            bad.append(Quarantined(id=mistake.id, stage="skills", reason="no mistake step", detail=detail))
        else:
            quoted.append(Skill(val_id=mistake.id, skill=mistake.steps[mistake.step].strip(), step=mistake.step))
    return quoted, bad


def name_needed_skills(
    samples: Sequence[Sample], teacher: Teacher, *, max_new_tokens: int
) -> tuple[list[Skill], list[Quarantined]]:
    """All skills that each task sample needs, joined: the pool's annotation prompt on question, options and gold answer."""
    as_pool = [
        dataclasses.replace(sample, instruction=_with_options(sample), options=(), gold=None) for sample in samples
    ]
    rows, bad = annotate_pool(as_pool, teacher, max_new_tokens=max_new_tokens)
    renamed = [dataclasses.replace(row, stage="skills") for row in bad]
    return [Skill(val_id=row.id, skill="; ".join(row.skills), step=None) for row in rows], renamed


def _with_options(sample: Sample) -> str:
    """The user turn as pools word it."""
    options = " ".join(f"({letter}) {text}" for letter, text in zip(LETTERS, sample.options, strict=False))
    return f"{sample.instruction}\nOptions: {options}" if options else sample.instruction


def prepare_pool(pool: Pool, teacher: Teacher, *, max_new_tokens: int) -> None:
    """Where calls cost money: say what the pool will cost, before the first of them; in batch mode, exchange the files.

    Raises:
        BatchPending: batch files wait for upload, or for their output.
    """
    prepare = getattr(teacher, "prepare", None)
    if prepare is None:
        return

    def asked(every: int = 1) -> Iterator[tuple[str, str | None]]:
        samples = pool if every == 1 else (pool.get(id) for id in pool.ids()[::every])
        return (_pool_prompt(sample, teacher) for sample in samples)

    prepare(asked, len(pool), max_new_tokens=max_new_tokens)


def annotate_pool(
    samples: Iterable[Sample], teacher: Teacher, *, max_new_tokens: int
) -> tuple[list[PoolSkills], list[Quarantined]]:
    """The skills that each sample's answer needs; in order. An empty or refused reply is quarantined."""
    samples = list(samples)
    pairs = [_pool_prompt(sample, teacher) for sample in samples]
    asked, locators = [text for text, _ in pairs], [image for _, image in pairs]
    replies = teacher.complete(asked, max_new_tokens=max_new_tokens, images=locators)
    rows: list[PoolSkills] = []
    bad: list[Quarantined] = []
    for sample, reply in zip(samples, replies, strict=True):
        skills = () if isinstance(reply, Refusal) else split_skills(reply)
        if skills:
            rows.append(PoolSkills(id=sample.id, skills=skills))
        else:
            bad.append(_quarantined(sample.id, "pool_skills", reply))
    return rows, bad


def _pool_prompt(sample: Sample, teacher: Teacher) -> tuple[str, str | None]:
    text = prompts.pool_skills(teacher.prompts, instruction=sample.instruction, answer=sample.answer)
    return text, sample.image if getattr(teacher, "sees_images", False) else None


def split_skills(reply: str) -> tuple[str, ...]:
    """`a; b; a.` as `("a", "b")`: distinct, in order, without outer blanks, bullets and full stops."""
    return tuple(dict.fromkeys(skill for part in one_line(reply).split(";") if (skill := part.strip(" .-*\t"))))


def one_line(reply: str) -> str:
    """The first line that says something, without quotes, bullets and a full stop at the end."""
    lines = [line.strip().strip("\"'`*-. ") for line in reply.splitlines()]
    return next((line for line in lines if line), "")


def _quarantined(id: str, stage: str, reply: str | Refusal) -> Quarantined:
    if isinstance(reply, Refusal):
        return Quarantined(id=id, stage=stage, reason=reply.reason, detail=reply.detail)
    return Quarantined(id=id, stage=stage, reason="no skill named", detail=f"the teacher replied {reply!r}")
