"""`delamo check`: what is in a pool or a task, what is broken in it, and what would not fit a student.

No model is loaded.

Every row is read and counted. Pictures are decoded, and tokens counted, on at most `max_samples` samples: of more, on a
draw,
and the text says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from delamo.cli.verbs.check import CheckConfig
from delamo.data import Pool, Task
from delamo.data.images import ImageError, open_image
from delamo.data.quarantine import count_reasons
from delamo.experiment.experiment import read_pool, read_task
from delamo.models.students.config import HuggingFaceStudentConfig
from delamo.records import Quarantined, Sample
from delamo.reports.render.formats import Block, Heading, Lines, Table, markdown

NUM_SOURCES = 20
"""Rows of the table of sources; the others are counted together."""
NUM_EXAMPLES = 3
"""Rows shown of each reason."""


@dataclass(slots=True)
class Counts:
    """All rows of a pool or of one split, counted in one pass."""

    num_samples: int = 0
    num_pictured: int = 0
    num_choices: int = 0
    """Samples with options of their own: a task's multiple-choice questions."""
    sources: Counter[str] = field(default_factory=Counter)
    words: list[tuple[int, int]] = field(default_factory=list)
    """Words of the question and of the answer, of each sample that was drawn."""
    drawn: list[Sample] = field(default_factory=list)


def check(config: CheckConfig) -> str:
    """The whole text, as Markdown.

    Raises:
        ValueError, OSError: data that cannot be read at all, `max_samples` below 1, or a student without a checkpoint.
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
    head = [f"{read:,} rows read: {len(pool):,} can be used, {len(pool.quarantined):,} quarantined."]
    return [
        Heading(f"Pool {config.pool.name}: {pool.name}", 1),
        Lines([*head, *_content(counts), f"Content digest {pool.digest[:16]}"], bullets=True),
        *_quarantine_blocks(pool.quarantined),
        *_source_blocks(counts),
        *_drawn_blocks(counts, config, answers=True),
    ]


def _task_blocks(task: Task, config: CheckConfig) -> list[Block]:
    found: list[Block] = [
        Heading(f"Task {config.task.name}: {task.name}", 1),
        *_quarantine_blocks(task.quarantined),
    ]
    for name, samples in (("Validation", task.validation), ("Test", task.test)):
        counts = count(samples, len(samples), config)
        chosen = f"{counts.num_choices:,} multiple-choice, {counts.num_samples - counts.num_choices:,} open questions."
        lines = [f"{counts.num_samples:,} samples.", *_content(counts), chosen]
        found += [Heading(f"{name} samples"), Lines(lines, bullets=True), *_drawn_blocks(counts, config, answers=False)]
    return found


def count(samples: Iterable[Sample], size: int, config: CheckConfig) -> Counts:
    """One pass over the samples; those that are drawn are kept."""
    rng = np.random.default_rng(config.seed)
    places = set(rng.choice(size, min(size, config.max_samples), replace=False).tolist())
    counts = Counts()
    for place, sample in enumerate(tqdm(samples, total=size, desc="counting", unit=" samples", delay=5, leave=False)):
        counts.num_samples += 1
        counts.num_pictured += sample.image is not None
        counts.num_choices += bool(sample.options)
        counts.sources[sample.source] += 1
        if place in places:
            counts.drawn.append(sample)
            counts.words.append((len(sample.instruction.split()), len(sample.answer.split())))
    return counts


def _content(counts: Counts) -> list[str]:
    text_only = counts.num_samples - counts.num_pictured
    return [f"{counts.num_pictured:,} with a picture, {text_only:,} text only."]


def _quarantine_blocks(rows: Sequence[Quarantined]) -> list[Block]:
    if not rows:
        return []
    found: list[Block] = [Heading("Quarantined rows")]
    found.append(Table(["reason", "rows"], [[reason, f"{n:,}"] for reason, n in count_reasons(rows).items()]))
    for reason, number in count_reasons(rows).items():
        shown = [f"{row.id}: {row.detail}" for row in rows if row.reason == reason][:NUM_EXAMPLES]
        more = f", the first {NUM_EXAMPLES} of {number:,}" if number > NUM_EXAMPLES else ""
        found += [Lines([f"{reason}{more}:"]), Lines(shown, bullets=True)]
    return found


def _source_blocks(counts: Counts) -> list[Block]:
    if set(counts.sources) <= {""}:
        return []
    ordered = sorted(counts.sources.items(), key=lambda pair: (-pair[1], pair[0]))
    rows = [[name or "(none)", f"{n:,}"] for name, n in ordered[:NUM_SOURCES]]
    if rest := ordered[NUM_SOURCES:]:
        rows.append([f"{len(rest):,} others", f"{sum(n for _, n in rest):,}"])
    return [Heading(f"Sources: {len(counts.sources):,}"), Table(["source", "samples"], rows)]


def _drawn_blocks(counts: Counts, config: CheckConfig, *, answers: bool) -> list[Block]:
    """Lengths, pictures and tokens of the samples that were drawn."""
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
    found: list[Block] = []
    if config.student is not None:
        most = config.tuning.max_length if answers and config.tuning is not None else None
        lengths, too_long, limit = tokens(drawn, config.student, answers=answers, most=most)
        bad += too_long
        what = "tokens with picture and reply" if answers else "tokens of the prompt with picture"
        rows += [[what, *_spread(lengths)]] if lengths else []
        fits = f"{len(lengths):,} of them fit student {config.student.name}, whose context is {limit:,} tokens"
        left = "" if answers else f" less {config.student.max_new_tokens:,} for the reply"
        left += f", and tuning {config.tuning.name}, which takes {most:,}" if most is not None and most < limit else ""
        found.append(Lines([f"{fits}{left}."]))
    table = Table(["", "least", "median", "95 %", "most"], rows)
    distinct = list(dict.fromkeys(bad))
    title = [Heading(f"Measured on {which}", 2 if answers else 3), table, *found]
    return title + ([Lines(["Would not be used:"]), *_quarantine_blocks(distinct)[1:]] if distinct else [])


def _spread(values: Sequence[int]) -> list[str]:
    return [f"{round(float(np.quantile(values, share))):,}" for share in (0, 0.5, 0.95, 1)]


def decode(samples: Sequence[Sample]) -> tuple[list[tuple[int, int]], list[Quarantined]]:
    """(width, height) of each distinct picture in pixels, and the samples whose picture cannot be decoded."""
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
    """Count tokens.

    Returns:
        (tokens of each sample that fits, the samples that do not, tokens of the context).

    Args:
        samples: to count.
        config: of the student.
        answers: as tuning counts a pool sample, reply and all; else as a task's question is asked, with room for the
            reply.
        most: tokens that tuning takes, where they are fewer than the context.
    """
    from delamo.models.hf.chat import SampleError
    from delamo.models.hf.loading import quiet
    from delamo.models.hf.token_counts import TokenCounter

    counter = TokenCounter.load(config)
    room = min(counter.limit, most or counter.limit) if answers else counter.limit - config.max_new_tokens
    lengths: list[int] = []
    bad: list[Quarantined] = []
    for sample in tqdm(samples, desc="counting tokens", unit=" samples", delay=5, leave=False):
        try:
            with quiet():  # transformers warns of what is counted here
                length = counter.of_example(sample) if answers else counter.of_prompt(sample)
        except (SampleError, ImageError) as error:
            bad.append(_bad(sample, error.reason, error.detail))
            continue
        if length <= room:
            lengths.append(length)
        else:
            bad.append(_bad(sample, "too long", f"{length} tokens with its picture, the limit is {room}"))
    return lengths, bad, counter.limit


def _bad(sample: Sample, reason: str, detail: str) -> Quarantined:
    return Quarantined(id=sample.id, stage="check", reason=reason, detail=detail)
