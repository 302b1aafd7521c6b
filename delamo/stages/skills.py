"""The stages in which the teacher names skills.

Those that errors miss (paper, section 3.4), those that samples need (section 3.5).
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

from omegaconf import MISSING

from delamo.config.fields import not_in_identity
from delamo.config.registry import register
from delamo.data import Pool
from delamo.models import prompts
from delamo.models.teachers.base import Refusal, Teacher
from delamo.models.teachers.replies import is_echo, read_skill, read_skills, without_last
from delamo.models.usage import UsageMeter
from delamo.records import LETTERS, Mistake, PoolSkills, Quarantined, Sample, Skill
from delamo.stages.base import Stage
from delamo.store import ResultWriter, RowCounts, compute_in_shards, iterate_rows, write_rows


class SkillSource(Enum):
    """Which validation samples give the queries: the errors, or all of them."""

    errors = "errors"
    all_samples = "all_samples"


class Query(Enum):
    """The query that the pool is searched with: the skill that the teacher names, or the mistake step as it stands."""

    skill = "skill"
    mistake_step = "mistake_step"


@dataclass(slots=True, kw_only=True)
class SkillsConfig:
    """From mistakes to queries (paper, section 3.4)."""

    name: str = not_in_identity()
    source: SkillSource = MISSING
    """`all_samples` asks which skills each validation sample needs, right or wrong ("w/o Error Collection")."""
    query: Query = MISSING
    """`mistake_step` asks the teacher for no skill ("w/o Skill Analysis")."""

    @property
    def names_missing_skills(self) -> bool:
        """Whether the teacher names one missing skill for each error.

        Quoted steps and skills of all samples are other things.
        """
        return self.source is SkillSource.errors and self.query is Query.skill


register({"skills/skills": SkillsConfig})


@dataclass(frozen=True, eq=False)
class NameSkills(Stage):
    """Name the one skill that each mistake shows to be missing."""

    mistakes: Stage

    name: ClassVar[str] = "skills"
    version: ClassVar[int] = 2  # replies are read as models write them

    @property
    def label(self) -> str:
        """The names of task, student and teacher."""
        return self.experiment.label("task", "student", "teacher")

    @property
    def runs_models(self) -> bool:
        """Whether the teacher is a model in this process."""
        return self.experiment.has_local_teacher

    def depends_on(self) -> dict[str, Any]:
        """Return the teacher, its prompt, the longest reply, and whether it sees the image."""
        teacher = self.experiment.config.teacher
        return {
            "max_new_tokens": teacher.skill_max_new_tokens,
            "sees_images": teacher.sees_images,
            **self.experiment.teacher_identity("skill"),
        }

    def compute(self, writer: ResultWriter) -> None:
        """Write `skills.jsonl`."""
        config, teacher = self.experiment.config.teacher, self.experiment.models.teacher
        mistakes = self.mistakes.stored.rows(Mistake)
        samples = self.experiment.task.validation
        images = {sample.id: sample.image for sample in samples} if config.sees_images else None
        usage = UsageMeter(teacher)
        skills, quarantined = name_skills(mistakes, teacher, max_new_tokens=config.skill_max_new_tokens, images=images)
        write_rows(writer.path / "skills.jsonl", skills)
        counts = RowCounts(num_in=len(mistakes), num_ok=len(skills), quarantined=quarantined)
        demonstrated = prompts.demonstrated_skills(teacher.prompts, "skill")
        facts = health(([row.skill] for row in skills), demonstrated)
        writer.finish(counts, spent=usage.total(), health=facts)


@dataclass(frozen=True, eq=False)
class QuoteMistakes(Stage):
    """Quote the mistake steps as queries, the teacher not asked (paper, Table 5, "w/o Skill Analysis")."""

    mistakes: Stage

    name: ClassVar[str] = "skills"

    @property
    def label(self) -> str:
        """The names of task, student and the kind of query."""
        return self.experiment.label("task", "student", "skills")

    def depends_on(self) -> dict[str, Any]:
        """Return the kind of query."""
        return {"query": "mistake step"}

    def compute(self, writer: ResultWriter) -> None:
        """Write `skills.jsonl`."""
        mistakes = self.mistakes.stored.rows(Mistake)
        skills, quarantined = quote_mistakes(mistakes)
        write_rows(writer.path / "skills.jsonl", skills)
        writer.finish(RowCounts(num_in=len(mistakes), num_ok=len(skills), quarantined=quarantined))


@dataclass(frozen=True, eq=False)
class NameNeededSkills(Stage):
    """Name the skills that every validation sample needs.

    Answered rightly or not (paper, Table 5, "w/o Error Collection").
    """

    name: ClassVar[str] = "skills"
    version: ClassVar[int] = 2  # replies are read as models write them

    @property
    def label(self) -> str:
        """The names of task, teacher and the kind of query."""
        return self.experiment.label("task", "teacher", "skills")

    @property
    def runs_models(self) -> bool:
        """Whether the teacher is a model in this process."""
        return self.experiment.has_local_teacher

    def depends_on(self) -> dict[str, Any]:
        """Return the teacher as in annotation of the pool, and the validation samples."""
        return annotation_identity(self) | {"samples": self.experiment.samples_digests["validation"]}

    def compute(self, writer: ResultWriter) -> None:
        """Write `skills.jsonl`."""
        samples, teacher = self.experiment.task.validation, self.experiment.models.teacher
        max_new_tokens = self.experiment.config.teacher.pool_skills_max_new_tokens
        usage = UsageMeter(teacher)
        skills, quarantined = name_needed_skills(samples, teacher, max_new_tokens=max_new_tokens)
        write_rows(writer.path / "skills.jsonl", skills)
        num_ok = len(samples) - len(quarantined)
        writer.finish(RowCounts(num_in=len(samples), num_ok=num_ok, quarantined=quarantined), spent=usage.total())


@dataclass(frozen=True, eq=False)
class AnnotatePool(Stage):
    """Name the skills that each pool sample needs: once for a pool, a teacher and a prompt."""

    name: ClassVar[str] = "pool_skills"
    version: ClassVar[int] = 2  # replies are read as models write them
    resumable: ClassVar[bool] = True

    @property
    def label(self) -> str:
        """The names of pool and teacher."""
        return self.experiment.label("pool", "teacher")

    @property
    def runs_models(self) -> bool:
        """Whether the teacher is a model in this process."""
        return self.experiment.has_local_teacher

    def depends_on(self) -> dict[str, Any]:
        """Return the teacher, its prompt and the pool."""
        return annotation_identity(self) | {"pool": self.experiment.pool.digest}

    def compute(self, writer: ResultWriter) -> None:
        """Write `pool_skills.jsonl`, shard by shard; what a killed attempt paid for stays counted."""
        pool, teacher = self.experiment.pool, self.experiment.models.teacher
        max_new_tokens = self.experiment.config.teacher.pool_skills_max_new_tokens
        usage = UsageMeter(teacher, writer.work / "spent.json")
        try:
            prepare_pool(pool, teacher, max_new_tokens=max_new_tokens)
        finally:
            usage.save()  # replies that come in batch files are paid for in the run that reads them

        def annotate(batch: list[Sample]) -> tuple[list[PoolSkills], list[Quarantined]]:
            try:
                return annotate_pool(batch, teacher, max_new_tokens=max_new_tokens)
            finally:
                usage.save()

        compute_in_shards(
            writer,
            "pool_skills",
            pool,
            PoolSkills,
            work=annotate,
            shard_size=self.experiment.config.teacher.shard_size,
            notes=lambda: {"spent": usage.total(), "health": self.health(writer.path / "pool_skills.jsonl")},
        )

    def health(self, file: Path) -> dict[str, Any]:
        """Count over the rows of all shards, old and new."""
        demonstrated = prompts.demonstrated_skills(self.experiment.models.teacher.prompts, "pool_skills")
        return health((row.skills for row in iterate_rows(PoolSkills, file)), demonstrated)


def annotation_identity(stage: Stage) -> dict[str, Any]:
    """Return what decides the teacher's replies to the prompt that annotates a sample with skills."""
    teacher = stage.experiment.config.teacher
    return {
        "max_new_tokens": teacher.pool_skills_max_new_tokens,
        "sees_images": teacher.sees_images,
        **stage.experiment.teacher_identity("pool_skills"),
    }


def name_skills(
    mistakes: Sequence[Mistake],
    teacher: Teacher,
    *,
    max_new_tokens: int,
    images: Mapping[str, str | None] | None = None,
) -> tuple[list[Skill], list[Quarantined]]:
    """Name one missing skill for every mistake; in order. A reply that names none, or is cut off, is quarantined.

    Args:
        mistakes: of the student.
        teacher: that is asked.
        max_new_tokens: of a reply.
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
    demonstrated = prompts.demonstrated_skills(teacher.prompts, "skill")
    skills: list[Skill] = []
    bad: list[Quarantined] = []
    for mistake, reply in zip(mistakes, replies, strict=True):
        text = None if isinstance(reply, Refusal) else read_skill(reply)
        if text is None:
            bad.append(_quarantined(mistake.id, "skills", reply))
        else:
            skills.append(Skill(val_id=mistake.id, skill=text, step=mistake.step, echo=is_echo(text, demonstrated)))
    return skills, bad


def quote_mistakes(mistakes: Sequence[Mistake]) -> tuple[list[Skill], list[Quarantined]]:
    """Quote each mistake step in the place of a skill; a mistake without a step has no text to quote."""
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
    """All skills that each task sample needs, joined.

    The pool's annotation prompt on question, options and gold answer.
    """
    as_pool = [
        dataclasses.replace(sample, instruction=_with_options(sample), options=(), gold=None) for sample in samples
    ]
    rows, bad = annotate_pool(as_pool, teacher, max_new_tokens=max_new_tokens)
    renamed = [dataclasses.replace(row, stage="skills") for row in bad]
    return [Skill(val_id=row.id, skill="; ".join(row.skills), step=None) for row in rows], renamed


def _with_options(sample: Sample) -> str:
    """Word a user turn as pools do."""
    options = " ".join(f"({letter}) {text}" for letter, text in zip(LETTERS, sample.options, strict=False))
    return f"{sample.instruction}\nOptions: {options}" if options else sample.instruction


def prepare_pool(pool: Pool, teacher: Teacher, *, max_new_tokens: int) -> None:
    """Say what the pool will cost, before the first of them; in batch mode, exchange the files.

    Raises:
        BatchPendingError: batch files wait for upload, or for their output.
    """

    def asked(every: int = 1) -> Iterator[tuple[str, str | None]]:
        samples = pool if every == 1 else (pool.get(id) for id in pool.ids()[::every])
        return (_pool_prompt(sample, teacher) for sample in samples)

    teacher.prepare(asked, len(pool), max_new_tokens=max_new_tokens)


def annotate_pool(
    samples: Iterable[Sample], teacher: Teacher, *, max_new_tokens: int
) -> tuple[list[PoolSkills], list[Quarantined]]:
    """The skills that each sample's answer needs; in order. A reply that names none is quarantined.

    Of a reply that is cut off, the last skill is left out, as it may be half of one.
    """
    samples = list(samples)
    pairs = [_pool_prompt(sample, teacher) for sample in samples]
    asked, locators = [text for text, _ in pairs], [image for _, image in pairs]
    replies = teacher.complete(asked, max_new_tokens=max_new_tokens, images=locators)
    rows: list[PoolSkills] = []
    bad: list[Quarantined] = []
    for sample, reply in zip(samples, replies, strict=True):
        skills = without_last(reply.text) if isinstance(reply, Refusal) else read_skills(reply)
        if skills:
            rows.append(PoolSkills(id=sample.id, skills=skills))
        else:
            bad.append(_quarantined(sample.id, "pool_skills", reply))
    return rows, bad


def _pool_prompt(sample: Sample, teacher: Teacher) -> tuple[str, str | None]:
    text = prompts.pool_skills(teacher.prompts, instruction=sample.instruction, answer=sample.answer)
    return text, sample.image if teacher.sees_images else None


def health(named: Iterable[Sequence[str]], demonstrated: Sequence[str]) -> dict[str, Any]:
    """Count what tells a teacher that looks from one that repeats itself.

    Args:
        named: the skills of each reply that named some.
        demonstrated: the prompt's examples.

    Returns:
        `replies`, `distinct` skills, `most_frequent`, the replies that name the commonest skill, and `echoes`, the
        replies of which every skill is one of the examples.
    """
    counts: Counter[str] = Counter()
    replies = echoes = 0
    for skills in named:
        replies += 1
        counts.update(set(skills))
        echoes += all(is_echo(skill, demonstrated) for skill in skills)
    most = max(counts.values(), default=0)
    return {"replies": replies, "distinct": len(counts), "most_frequent": most, "echoes": echoes}


def _quarantined(id: str, stage: str, reply: str | Refusal) -> Quarantined:
    if isinstance(reply, Refusal):
        return Quarantined(id=id, stage=stage, reason=reply.reason, detail=reply.detail)
    return Quarantined(id=id, stage=stage, reason="no skill named", detail=f"the teacher replied {reply!r}")
