"""Checks of `delamo check`: counts and lengths of a pool or a task, broken rows, and samples too long for a student.

Every row is read and counted. Images are decoded, and tokens counted, for at most `max_samples` samples; of a larger
pool they are drawn at random, and the text says so. No model is loaded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from omegaconf import MISSING
from tqdm import tqdm

from delamo.data import Pool, PoolConfig, Task, TaskConfig
from delamo.data.images import ImageError, open_image
from delamo.data.quarantine import UnusableError, count_reasons
from delamo.experiment.experiment import read_pool, read_task
from delamo.models.parsing import read_answer
from delamo.models.students.answers import is_correct
from delamo.models.students.config import HuggingFaceStudentConfig, StudentConfig
from delamo.records import Quarantined, Sample
from delamo.reports.render.formats import Block, Heading, Lines, Table, markdown
from delamo.tuning.config import TuningConfig


@dataclass(slots=True, kw_only=True)
class CheckConfig:
    """The data that is checked, and the student that it is held against."""

    pool: PoolConfig = MISSING
    task: TaskConfig | None = MISSING
    student: StudentConfig | None = MISSING
    """The student whose tokens are counted; null counts none."""
    tuning: TuningConfig | None = MISSING
    """The tuning whose `max_length` limits pool samples besides the student's context; null for the context alone."""
    max_samples: int = MISSING
    """Maximum number of samples whose images are decoded and tokens counted; of a larger pool, a draw by `seed`."""
    seed: int = MISSING


NUM_SOURCES = 20
"""Rows of the table of sources; the others are counted together."""
NUM_EXAMPLES = 3
"""Rows shown of each reason."""


@dataclass(slots=True)
class Counts:
    """Counts of all samples of a pool or a split, and the samples that were drawn."""

    num_samples: int = 0
    num_with_image: int = 0
    num_choices: int = 0
    """Samples with options, a task's multiple-choice questions."""
    sources: Counter[str] = field(default_factory=Counter)
    words: list[tuple[int, int]] = field(default_factory=list)
    """(words of the question, words of the answer) of each drawn sample."""
    drawn: list[Sample] = field(default_factory=list)


def check(config: CheckConfig) -> str:
    """Check the data and return the text, as Markdown.

    Raises:
        ValueError: `max_samples` is below 1, data that cannot be read at all, or a student without a checkpoint.
        OSError: a file that cannot be read.
    """
    if config.max_samples < 1:
        raise ValueError(f"max_samples is {config.max_samples}: choose at least 1")
    pool = read_pool(config.pool)
    blocks = _pool_blocks(pool, config)
    if config.task is not None:
        blocks += _task_blocks(read_task(config.task), config)
    return markdown(blocks)


def _pool_blocks(pool: Pool, config: CheckConfig) -> list[Block]:
    counts = count(pool, len(pool), config)
    read = len(pool) + len(pool.quarantined)
    usable = [f"{read:,} rows read: {len(pool):,} can be used, {len(pool.quarantined):,} quarantined."]
    return [
        Heading(f"Pool {config.pool.name}: {pool.name}", 1),
        Lines([*usable, *_content(counts), f"Content digest {pool.digest[:16]}"], bullets=True),
        *_quarantine_blocks(pool.quarantined),
        *_source_blocks(counts),
        *_drawn_blocks(counts, config, answers=True),
    ]


def _task_blocks(task: Task, config: CheckConfig) -> list[Block]:
    blocks: list[Block] = [
        Heading(f"Task {config.task.name}: {task.name}", 1),
        *_quarantine_blocks(task.quarantined),
    ]
    for name, samples in (("Validation", task.validation), ("Test", task.test)):
        counts = count(samples, len(samples), config)
        forms = f"{counts.num_choices:,} multiple-choice, {counts.num_samples - counts.num_choices:,} open questions."
        lines = [f"{counts.num_samples:,} samples.", *_content(counts), forms]
        blocks += [
            Heading(f"{name} samples"),
            Lines(lines, bullets=True),
            *_unread_blocks(samples),
            *_drawn_blocks(counts, config, answers=False),
        ]
    return blocks


def count(samples: Iterable[Sample], size: int, config: CheckConfig) -> Counts:
    """Count the samples in one pass, and keep a random draw of at most `config.max_samples` of them."""
    rng = np.random.default_rng(config.seed)
    drawn = set(rng.choice(size, min(size, config.max_samples), replace=False).tolist())
    counts = Counts()
    for index, sample in enumerate(tqdm(samples, total=size, desc="counting", unit=" samples", delay=5, leave=False)):
        counts.num_samples += 1
        counts.num_with_image += sample.image is not None
        counts.num_choices += bool(sample.options)
        counts.sources[sample.source] += 1
        if index in drawn:
            counts.drawn.append(sample)
            counts.words.append((len(sample.instruction.split()), len(sample.answer.split())))
    return counts


def _content(counts: Counts) -> list[str]:
    text_only = counts.num_samples - counts.num_with_image
    return [f"{counts.num_with_image:,} with a picture, {text_only:,} text only."]


def _quarantine_blocks(rows: Sequence[Quarantined]) -> list[Block]:
    if not rows:
        return []
    table = Table(["reason", "rows"], [[reason, f"{n:,}"] for reason, n in count_reasons(rows).items()])
    blocks: list[Block] = [Heading("Quarantined rows"), table]
    for reason, number in count_reasons(rows).items():
        shown = [f"{row.id}: {row.detail}" for row in rows if row.reason == reason][:NUM_EXAMPLES]
        more = f", the first {NUM_EXAMPLES} of {number:,}" if number > NUM_EXAMPLES else ""
        blocks += [Lines([f"{reason}{more}:"]), Lines(shown, bullets=True)]
    return blocks


def _unread_blocks(samples: Sequence[Sample]) -> list[Block]:
    """Warn of samples whose own gold answer, given as a reply, would not be read as the gold answer."""
    unread = [s for s in samples if is_correct(s, read_answer(s.answer, s.options).prediction) is not True]
    if not unread:
        return []
    share = len(unread) / len(samples)
    text = (
        f"WARNING: the gold answers of {len(unread):,} of {len(samples):,} samples ({share:.1%}), given as replies, "
        "are not read as the right answer: no student can score there by saying it."
    )
    shown = [f"{s.id}: {s.answer!r}" + (f", options {list(s.options)}" if s.options else "") for s in unread]
    return [Lines([text]), Lines(shown[:NUM_EXAMPLES], bullets=True)]


def _source_blocks(counts: Counts) -> list[Block]:
    if set(counts.sources) <= {""}:
        return []
    ordered = sorted(counts.sources.items(), key=lambda pair: (-pair[1], pair[0]))
    rows = [[name or "(none)", f"{n:,}"] for name, n in ordered[:NUM_SOURCES]]
    if rest := ordered[NUM_SOURCES:]:
        rows.append([f"{len(rest):,} others", f"{sum(n for _, n in rest):,}"])
    return [Heading(f"Sources: {len(counts.sources):,}"), Table(["source", "samples"], rows)]


def _drawn_blocks(counts: Counts, config: CheckConfig, *, answers: bool) -> list[Block]:
    """Show lengths, image sizes and tokens of the drawn samples, and those that would not be used."""
    if not counts.drawn:
        return []  # a task of one's own may have no validation samples
    drawn, whole = counts.drawn, len(counts.drawn) == counts.num_samples
    which = f"all {counts.num_samples:,} samples" if whole else f"a draw of {len(drawn):,} of {counts.num_samples:,}"
    question, answer = zip(*counts.words, strict=True)
    rows = [["words of the question", *_spread(question)], ["words of the answer", *_spread(answer)]]
    sizes, bad = decode(drawn)
    if sizes:
        rows += [
            ["picture width", *_spread([w for w, _ in sizes])],
            ["picture height", *_spread([h for _, h in sizes])],
        ]
    limits: list[Block] = []
    if config.student is not None:
        most = config.tuning.max_length if answers and config.tuning is not None else None
        lengths, too_long, limit = tokens(drawn, config.student, answers=answers, most=most)
        bad += too_long
        label = "tokens with picture and reply" if answers else "tokens of the prompt with picture"
        rows += [[label, *_spread(lengths)]] if lengths else []
        fits = f"{len(lengths):,} of them fit student {config.student.name}, whose context is {limit:,} tokens"
        left = "" if answers else f" less {config.student.max_new_tokens:,} for the reply"
        left += f", and tuning {config.tuning.name}, which takes {most:,}" if most is not None and most < limit else ""
        limits.append(Lines([f"{fits}{left}."]))
    table = Table(["", "least", "median", "95 %", "most"], rows)
    distinct = list(dict.fromkeys(bad))
    title = [Heading(f"Measured on {which}", 2 if answers else 3), table, *limits]
    return title + ([Lines(["Would not be used:"]), *_quarantine_blocks(distinct)[1:]] if distinct else [])


def _spread(values: Sequence[int]) -> list[str]:
    return [f"{round(float(np.quantile(values, share))):,}" for share in (0, 0.5, 0.95, 1)]


def decode(samples: Sequence[Sample]) -> tuple[list[tuple[int, int]], list[Quarantined]]:
    """Decode the images; returns the (width, height) of each distinct one in pixels, and the samples of broken ones."""
    seen: dict[str, tuple[int, int] | ImageError] = {}
    bad: list[Quarantined] = []
    for sample in tqdm(samples, desc="decoding pictures", unit=" samples", delay=5, leave=False):
        if sample.image is None:
            continue
        if sample.image not in seen:
            seen[sample.image] = _size(sample.image)
        if isinstance(problem := seen[sample.image], ImageError):
            bad.append(_bad(sample, problem.reason, problem.detail))
    return [size for size in seen.values() if not isinstance(size, ImageError)], bad


def _size(locator: str) -> tuple[int, int] | ImageError:
    try:
        return open_image(locator).size
    except ImageError as error:
        return error


def tokens(
    samples: Sequence[Sample], config: HuggingFaceStudentConfig, *, answers: bool, most: int | None = None
) -> tuple[list[int], list[Quarantined], int]:
    """Count the tokens of samples as a student would.

    Args:
        samples: of a pool or a task.
        config: of the student.
        answers: count prompt and answer, as for tuning; else the prompt, with room for a reply.
        most: limit of the tuning; the context is the limit where it is shorter.

    Returns:
        (tokens of each sample that fits, the samples that do not fit, tokens of the context).
    """
    from delamo.models.hf.loading import quiet
    from delamo.models.hf.token_counts import TokenCounter

    counter = TokenCounter.load(config)
    room = min(counter.limit, most or counter.limit) if answers else counter.limit - config.max_new_tokens
    lengths: list[int] = []
    bad: list[Quarantined] = []
    for sample in tqdm(samples, desc="counting tokens", unit=" samples", delay=5, leave=False):
        try:
            with quiet():  # transformers warns of long samples, which are counted here
                length = counter.of_example(sample) if answers else counter.of_prompt(sample)
        except UnusableError as error:
            bad.append(_bad(sample, error.reason, error.detail))
            continue
        if length <= room:
            lengths.append(length)
        else:
            bad.append(_bad(sample, "too long", f"{length} tokens with its picture, the limit is {room}"))
    return lengths, bad, counter.limit


def _bad(sample: Sample, reason: str, detail: str) -> Quarantined:
    return Quarantined(id=sample.id, stage="check", reason=reason, detail=detail)
