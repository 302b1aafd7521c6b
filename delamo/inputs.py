"""What selectors go by besides skills: embeddings, hidden states, difficulty and text, each computed once for a pool.

    pool -> embeddings -----------------+
    validation -> embeddings -----------+-> insta
    pool, validation -> hidden states -----> rds
    pool -> difficulty --------------------> superfiltering
    pool -> text index --------------------> bm25_text

What is of the pool serves every task, budget and seed; what is of the validation samples, every budget and seed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from delamo.cell import Cell
from delamo.compose import arguments, identity
from delamo.config import Engine
from delamo.graph import Step
from delamo.records import Quarantined, Sample, Skill
from delamo.retrieval.rows import Rows, fill_rows, unit
from delamo.selectors import Inputs
from delamo.store import Account, Draft

if TYPE_CHECKING:
    from delamo.retrieval import Index

VERSIONS = {
    "embeddings": 1,
    "validation_embeddings": 1,
    "hidden_states": 1,
    "validation_hidden_states": 1,
    "difficulty": 1,
    "text_index": 1,
}
"""As in the pipeline: a raised number leaves old results aside."""
BLOCK = 8192  # samples that a kill can lose at most


@dataclass(frozen=True, slots=True)
class Source:
    """Samples that get a row each."""

    role: str
    """The config choice that they come from."""
    reads: dict[str, Any]
    """Their identity."""
    samples: Iterable[Sample]
    ids: Sequence[str]
    """Ascending, in the order of `samples`."""


def whole_pool(cell: Cell) -> Source:
    """All of the pool, whatever was removed from it for the sake of one task."""
    return Source("pool", {"pool": cell.pool.digest}, cell.pool, cell.pool.ids())


def validation(cell: Cell) -> Source:
    """The task's validation samples."""
    samples = sorted(cell.task.validation, key=lambda sample: sample.id)
    return Source("task", {"samples": cell.samples_digests["validation"]}, samples, [sample.id for sample in samples])


def embed(cell: Cell, name: str, source: Source) -> Step:
    """The encoder's vectors of the questions, options included (the paper names neither encoder nor text)."""
    from delamo.models.embedding import encoder_identity

    config = cell.config.selector

    def make(draft: Draft) -> None:
        from delamo.models.embedding import Encoder
        from delamo.models.scoring import question_text

        encoder = Encoder.load(
            config.encoder, revision=config.revision, batch_size=config.batch_size, device=config.device
        )

        def compute(block: list[Sample]) -> tuple[np.ndarray, list[Quarantined]]:
            return encoder.embed([question_text(sample) for sample in block]), []

        bad = fill(draft, source, name, compute, width=encoder.width, dtype="float16")
        finish(draft, source, bad)

    reads = {"encoder": encoder_identity(config.encoder, config.revision), **source.reads}
    return step(cell, name, cell.label(source.role, "selector"), reads, {}, make)


def read_hidden_states(cell: Cell, name: str, source: Source, adapter: Step | None) -> Step:
    """The student's own vectors of question and reply, of length 1."""
    config, student = cell.config.selector, cell.config.student

    def make(draft: Draft) -> None:
        if student.engine is not Engine.transformers:
            raise ValueError(
                f"student.engine is {student.engine.value}, which gives no hidden states: use transformers"
            )
        model = cell.student(adapter)
        width = model.model.config.get_text_config().hidden_size
        options = {"layer": config.layer, "pooling": config.pooling.value, "batch_size": config.batch_size}

        def compute(block: list[Sample]) -> tuple[np.ndarray, list[Quarantined]]:
            rows, bad = np.full((len(block), width), np.nan, np.float32), []
            for index, found in model.hidden_states(block, **options):
                if isinstance(found, Exception):
                    bad.append(
                        Quarantined(id=block[index].id, stage=name, reason=found.reason, detail=str(found.detail))
                    )
                else:
                    rows[index] = found
            return unit(rows), bad

        bad = fill(draft, source, name, compute, width=width, dtype="float16")
        finish(draft, source, bad, numerics=model.facts)

    reads = {"student": cell.student_digest, "dtype": student.dtype.value, "attn": student.attn.value, **source.reads}
    reads |= {"max_image_pixels": student.max_image_pixels, "layer": config.layer, "pooling": config.pooling.value}
    inputs = {"adapter": adapter} if adapter else {}
    return step(cell, name, cell.label(source.role, "student"), reads, inputs, make)


def score_difficulty(cell: Cell, adapter: Step | None) -> Step:
    """Both losses of each pool sample's answer, by a small language model (Superfiltering, Li et al. 2024)."""
    from delamo.models.identity import weights_identity

    config, source = cell.config.selector, whole_pool(cell)

    def make(draft: Draft) -> None:
        from delamo.models.difficulty import Scorer
        from delamo.selectors.superfiltering import difficulties

        options = {"max_length": config.max_length, "batch_tokens": config.batch_tokens, "device": config.device}
        scorer = Scorer.load(config.scorer, revision=config.revision, **options)
        bad = fill(draft, source, "difficulty", scorer.losses, width=2, dtype="float64")
        too_hard = int((difficulties(Rows.load(draft.path)) >= 1).sum())
        finish(draft, source, bad, skipped={"difficulty of 1 or above": too_hard})

    weights = weights_identity(config.scorer, config.revision)
    reads = {"scorer": weights, "max_length": config.max_length, **source.reads}
    return step(cell, "difficulty", cell.label("pool", "selector"), reads, {}, make)


def index_text(cell: Cell, adapter: Step | None) -> Step:
    """BM25 over the pool as it is worded: a sample's document is its question and its answer."""
    from delamo.retrieval.index import INDEX_VERSION
    from delamo.retrieval.tokenize import TOKENIZER_VERSION

    options = arguments(cell.config.retriever)
    backend = options.pop("backend")

    def make(draft: Draft) -> None:
        from delamo.retrieval import RETRIEVERS

        docs = ((sample.id, f"{sample.instruction}\n{sample.answer}") for sample in cell.pool)
        RETRIEVERS[backend].build(docs, draft.path / "index", **options)
        draft.finish(Account(num_in=len(cell.pool), num_ok=len(cell.pool)))

    reads = {"retriever": identity(cell.config.retriever), "format": [TOKENIZER_VERSION, INDEX_VERSION]}
    reads["pool"] = cell.pool.digest
    return step(cell, "text_index", cell.label("pool", "retriever"), reads, {}, make)


STEPS: dict[str, Callable[[Cell, Step | None], Step]] = {
    "embeddings": lambda cell, adapter: embed(cell, "embeddings", whole_pool(cell)),
    "validation_embeddings": lambda cell, adapter: embed(cell, "validation_embeddings", validation(cell)),
    "hidden_states": lambda cell, adapter: read_hidden_states(cell, "hidden_states", whole_pool(cell), adapter),
    "validation_hidden_states": lambda cell, adapter: read_hidden_states(
        cell, "validation_hidden_states", validation(cell), adapter
    ),
    "difficulty": score_difficulty,
    "text_index": index_text,
}
"""The steps behind names that a selector declares in `needs`, of the cell and of the adapter that the student wears."""


def given(cell: Cell, steps: dict[str, Step]) -> Inputs:
    """What the selector is handed: calls, each of which runs its step or finds it done."""

    def rows(name: str) -> Callable[[], Rows]:
        return lambda: Rows.load(steps[name].result().path)

    def index(name: str) -> Callable[[], Index]:
        return lambda: _load_index(cell, steps[name])

    return Inputs(
        missing_skills=lambda: steps["missing_skills"].result().rows(Skill),
        index=index("index"),
        validation=lambda: cell.task.validation,
        text_index=index("text_index"),
        embeddings=rows("embeddings"),
        validation_embeddings=rows("validation_embeddings"),
        hidden_states=rows("hidden_states"),
        validation_hidden_states=rows("validation_hidden_states"),
        difficulty=rows("difficulty"),
    )


def _load_index(cell: Cell, built: Step) -> Index:
    from delamo.retrieval import RETRIEVERS

    return RETRIEVERS[cell.config.retriever.backend.value].load(built.result().path / "index")


def method_identity(node: Any) -> dict[str, Any]:
    """`identity` of a selector without what decides its inputs, which have digests of their own."""
    of_input = {f.name for f in dataclasses.fields(node) if f.metadata.get("of_input")}
    return {name: value for name, value in identity(node).items() if name not in of_input}


def fill(
    draft: Draft,
    source: Source,
    what: str,
    compute: Callable[[list[Sample]], tuple[np.ndarray, list[Quarantined]]],
    *,
    width: int,
    dtype: str,
) -> list[Quarantined]:
    """`fill_rows` of a source into a draft; returns the samples without a row."""
    options = {"width": width, "dtype": dtype, "compute": compute, "block_size": BLOCK, "what": what.replace("_", " ")}
    return fill_rows(draft.path, draft.work, source.samples, source.ids, **options)


def finish(
    draft: Draft, source: Source, bad: list[Quarantined], skipped: dict[str, int] | None = None, **notes: Any
) -> None:
    """Account for each sample of a source."""
    skipped, num_in = skipped or {}, len(source.ids)
    num_ok = num_in - len(bad) - sum(skipped.values())
    draft.finish(Account(num_in=num_in, num_ok=num_ok, quarantined=bad, skipped=skipped), **notes)


def step(
    cell: Cell,
    name: str,
    label: str,
    reads: dict[str, Any],
    inputs: dict[str, Step],
    make: Callable[[Draft], None],
) -> Step:
    """A step of this cell's graph; a killed one goes on after its last block."""
    return cell.graph.step(name, label, reads, inputs, make, version=VERSIONS[name], resumable=True)
