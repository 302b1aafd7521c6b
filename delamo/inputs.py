"""What selectors go by besides skills: embeddings, hidden states, difficulty and text, each computed once for a pool.

    pool -> embeddings -----------------+
    validation -> embeddings -----------+-> insta
    pool, validation -> hidden states -----> rds
    pool -> difficulty --------------------> superfiltering
    pool -> text index --------------------> bm25_text
    pool -> warm-up -> gradients -----------+-> less
    validation -> gradients ----------------+

What is of the pool serves every task, budget and seed; what is of the validation samples, every budget and seed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from delamo.config.choices import Engine, Strategy, TuningMethod
from delamo.config.compose import arguments, identity_of
from delamo.experiment.config import TuningConfig
from delamo.experiment.experiment import Experiment
from delamo.records import Quarantined, Sample, Skill
from delamo.retrieval.rows import SampleVectors, fill_rows, unit
from delamo.selectors import Inputs
from delamo.stages.base import Step
from delamo.store import ResultWriter, RowCounts

if TYPE_CHECKING:
    from delamo.retrieval import Index

VERSIONS = {
    "embeddings": 1,
    "validation_embeddings": 1,
    "hidden_states": 1,
    "validation_hidden_states": 1,
    "difficulty": 1,
    "text_index": 1,
    "warm_up": 1,
    "gradients": 1,
    "validation_gradients": 1,
}
"""As in the pipeline: a raised number leaves old results aside."""
BLOCK = 8192  # samples that a kill can lose at most
GRADIENT_BLOCK = 512  # they cost more, and take more memory


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


def whole_pool(cell: Experiment) -> Source:
    """All of the pool, whatever was removed from it for the sake of one task."""
    return Source("pool", {"pool": cell.pool.digest}, cell.pool, cell.pool.ids())


def validation(cell: Experiment) -> Source:
    """The task's validation samples."""
    samples = sorted(cell.task.validation, key=lambda sample: sample.id)
    return Source("task", {"samples": cell.samples_digests["validation"]}, samples, [sample.id for sample in samples])


def embed(cell: Experiment, name: str, source: Source) -> Step:
    """The encoder's vectors of the questions, options included (the paper names neither encoder nor text)."""
    from delamo.models.scorers.embedding import encoder_identity

    config = cell.config.selector

    def make(draft: ResultWriter) -> None:
        from delamo.models.scorers.embedding import Encoder
        from delamo.models.scorers.losses import question_text

        encoder = Encoder.load(
            config.encoder, revision=config.revision, batch_size=config.batch_size, device=config.device
        )

        def compute(block: list[Sample]) -> tuple[np.ndarray, list[Quarantined]]:
            return encoder.embed([question_text(sample) for sample in block]), []

        bad = fill(draft, source, name, compute, width=encoder.width, dtype="float16")
        finish(draft, source, bad)

    reads = {"encoder": encoder_identity(config.encoder, config.revision), **source.reads}
    return step(cell, name, cell.label(source.role, "selector"), reads, {}, make)


def read_hidden_states(cell: Experiment, name: str, source: Source, adapter: Step | None) -> Step:
    """The student's own vectors of question and reply, of length 1."""
    config, student = cell.config.selector, cell.config.student

    def make(draft: ResultWriter) -> None:
        if student.engine is not Engine.transformers:
            raise ValueError(
                f"student.engine is {student.engine.value}, which gives no hidden states: use transformers"
            )
        model = cell.student(adapter)
        width = model.model.config.get_text_config().hidden_size
        options = {"layer": config.layer, "pooling": config.pooling.value, "batch_size": config.batch_size}

        def compute(block: list[Sample]) -> tuple[np.ndarray, list[Quarantined]]:
            rows, bad = by_sample(block, model.hidden_states(block, **options), width, name)
            return unit(rows), bad

        bad = fill(draft, source, name, compute, width=width, dtype="float16")
        finish(draft, source, bad, numerics=model.facts)

    reads = {"student": cell.student_digest, "dtype": student.dtype.value, "attn": student.attn.value, **source.reads}
    reads |= {"max_image_pixels": student.max_image_pixels, "layer": config.layer, "pooling": config.pooling.value}
    inputs = {"adapter": adapter} if adapter else {}
    return step(cell, name, cell.label(source.role, "student"), reads, inputs, make)


def score_difficulty(cell: Experiment, adapter: Step | None) -> Step:
    """Both losses of each pool sample's answer, by a small language model (Superfiltering, Li et al. 2024)."""
    from delamo.models.hf.identity import weights_identity

    config, source = cell.config.selector, whole_pool(cell)

    def make(draft: ResultWriter) -> None:
        from delamo.models.scorers.difficulty import Scorer
        from delamo.selectors.superfiltering import difficulties

        options = {"max_length": config.max_length, "batch_tokens": config.batch_tokens, "device": config.device}
        scorer = Scorer.load(config.scorer, revision=config.revision, **options)
        bad = fill(draft, source, "difficulty", scorer.losses, width=2, dtype="float64")
        too_hard = int((difficulties(SampleVectors.load(draft.path)) >= 1).sum())
        finish(draft, source, bad, skipped={"difficulty of 1 or above": too_hard})

    weights = weights_identity(config.scorer, config.revision)
    reads = {"scorer": weights, "max_length": config.max_length, **source.reads}
    return step(cell, "difficulty", cell.label("pool", "selector"), reads, {}, make)


def index_text(cell: Experiment, adapter: Step | None) -> Step:
    """BM25 over the pool as it is worded: a sample's document is its question and its answer."""
    from delamo.retrieval.index import INDEX_VERSION
    from delamo.retrieval.tokenize import TOKENIZER_VERSION

    options = arguments(cell.config.retriever)
    backend = options.pop("backend")

    def make(draft: ResultWriter) -> None:
        from delamo.retrieval import RETRIEVERS

        docs = ((sample.id, f"{sample.instruction}\n{sample.answer}") for sample in cell.pool)
        RETRIEVERS[backend].build(docs, draft.path / "index", **options)
        draft.finish(RowCounts(num_in=len(cell.pool), num_ok=len(cell.pool)))

    reads = {"retriever": identity_of(cell.config.retriever), "format": [TOKENIZER_VERSION, INDEX_VERSION]}
    reads["pool"] = cell.pool.digest
    return step(cell, "text_index", cell.label("pool", "retriever"), reads, {}, make)


def warm_up(cell: Experiment) -> Step:
    """A LoRA adapter tuned on a random part of the pool, with Adam's state after each epoch (LESS, Xia et al. 2024, section 4.1).

    It starts from the untuned student in every iteration, and is one for all tasks unless the audit removed some of what was drawn.
    """
    config, student = cell.config.selector, cell.config.student
    recipe = warm_up_recipe(cell)

    def make(draft: ResultWriter) -> None:
        from delamo.tuning.fit import tune
        from delamo.tuning.optimizer_state import KeepMoments
        from delamo.tuning.recipe import Recipe

        options = arguments(recipe)
        drawn, removed = draw_warm_up(cell)
        samples = [cell.pool.get(id) for id in drawn if id not in removed]
        cell.release()
        result = tune(
            student.path,
            samples,
            draft.work / "adapter",
            checkpoints=draft.work / "checkpoints",
            seed=config.seed,
            revision=student.revision,
            device=student.device,
            attn=student.attn.value,
            max_image_pixels=student.max_image_pixels,
            callbacks=[KeepMoments(draft.path, student.path, Recipe(**options))],
            **options,
        )
        num_ok = len(samples) - len(result.quarantined)
        skipped = {"not drawn": len(cell.pool) - len(drawn), "meets the task": len(drawn) - len(samples)}
        account = RowCounts(num_in=len(cell.pool), num_ok=num_ok, quarantined=result.quarantined, skipped=skipped)
        draft.finish(account, steps=result.steps, loss=result.loss, numerics=result.facts)

    reads = {
        "student": cell.student_digest,
        "tuning": identity_of(recipe),
        "pool": cell.pool.digest,
        "seed": config.seed,
    }
    reads |= {"share": config.warmup_share, "max_image_pixels": student.max_image_pixels}
    left_out = draw_warm_up(cell)[1] if cell.candidates is not None else ()
    if left_out:
        reads["left out"] = sorted(left_out)
    return step(cell, "warm_up", cell.label("pool", "student", "selector"), reads, {}, make)


def warm_up_recipe(cell: Experiment) -> TuningConfig:
    """The cell's own recipe, for an adapter of the language model alone."""
    config = cell.config.selector
    return dataclasses.replace(
        cell.config.tuning,
        method=TuningMethod.lora,
        lora_rank=config.lora_rank,
        lora_alpha=config.lora_alpha,
        learning_rate=config.learning_rate,
        projector_learning_rate=None,
        epochs=config.warmup_epochs,
        target_modules=config.target_modules,
        strategy=Strategy.auto,
    )


def draw_warm_up(cell: Experiment) -> tuple[list[str], set[str]]:
    """(ids drawn from the pool, those among them that meet the task).

    Raises:
        ValueError: the share is no part of the pool.
    """
    config, ids = cell.config.selector, cell.pool.ids()
    if not 0 < config.warmup_share <= 1:
        raise ValueError(
            f"selector.warmup_share is {config.warmup_share}: choose a part of the pool, above 0 and at most 1"
        )
    num_drawn = max(1, round(config.warmup_share * len(ids)))
    places = np.random.default_rng(config.seed).choice(len(ids), num_drawn, replace=False)
    drawn = [ids[place] for place in sorted(places.tolist())]
    return drawn, set(drawn) & getattr(cell.candidates, "removed", frozenset())


def take_gradients(cell: Experiment, name: str, source: Source, *, adam: bool) -> Step:
    """Projected gradients of the warm-up's adapter: Adam's direction of pool samples, the plain one of validation samples."""
    config, student, warm = cell.config.selector, cell.config.student, warm_up(cell)

    def make(draft: ResultWriter) -> None:
        from delamo.models.scorers.gradients import SampleGradients
        from delamo.tuning.optimizer_state import checkpoints

        if student.engine is not Engine.transformers:
            raise ValueError(f"student.engine is {student.engine.value}, which gives no gradients: use transformers")
        model = cell.student(None)
        facts, options = model.facts, {"projection_dim": config.projection_dim, "seed": config.seed}
        with SampleGradients(model, checkpoints(warm.stage.path), **options) as gradients:

            def compute(block: list[Sample]) -> tuple[np.ndarray, list[Quarantined]]:
                found = gradients.rows(block, adam=adam, batch_size=config.batch_size)
                return by_sample(block, found, gradients.width, name)

            width = gradients.width
            bad = fill(draft, source, name, compute, width=width, dtype="float16", block_size=GRADIENT_BLOCK)
        finish(draft, source, bad, numerics=facts)

    reads = {"dtype": student.dtype.value, "attn": student.attn.value, "max_image_pixels": student.max_image_pixels}
    reads |= {"projection_dim": config.projection_dim, "seed": config.seed, **source.reads}
    return step(cell, name, cell.label(source.role, "student", "selector"), reads, {"warm_up": warm}, make)


def by_sample(
    block: list[Sample], found: Iterable[tuple[int, Any]], width: int, stage: str
) -> tuple[np.ndarray, list[Quarantined]]:
    """((len(block), width), NaN where there is no row; the samples without one)."""
    rows, bad = np.full((len(block), width), np.nan, np.float32), []
    for index, row in found:
        if isinstance(row, Exception):
            bad.append(Quarantined(id=block[index].id, stage=stage, reason=row.reason, detail=str(row.detail)))
        elif not np.isfinite(row).all():
            bad.append(Quarantined(id=block[index].id, stage=stage, reason="not finite"))
        else:
            rows[index] = row
    return rows, bad


def answered(cell: Experiment) -> Source:
    """The task's validation samples with their gold answers, worded as the student is asked and as evaluation reads."""
    from delamo.selectors.validation_data import training_sample

    asked, prompt = validation(cell), cell.config.student.prompt.value
    return dataclasses.replace(asked, samples=(training_sample(sample, prompt) for sample in asked.samples))


STEPS: dict[str, Callable[[Experiment, Step | None], Step]] = {
    "embeddings": lambda cell, adapter: embed(cell, "embeddings", whole_pool(cell)),
    "validation_embeddings": lambda cell, adapter: embed(cell, "validation_embeddings", validation(cell)),
    "hidden_states": lambda cell, adapter: read_hidden_states(cell, "hidden_states", whole_pool(cell), adapter),
    "validation_hidden_states": lambda cell, adapter: read_hidden_states(
        cell, "validation_hidden_states", validation(cell), adapter
    ),
    "difficulty": score_difficulty,
    "text_index": index_text,
    "gradients": lambda cell, adapter: take_gradients(cell, "gradients", whole_pool(cell), adam=True),
    "validation_gradients": lambda cell, adapter: take_gradients(
        cell, "validation_gradients", answered(cell), adam=False
    ),
}
"""The steps behind names that a selector declares in `needs`, of the cell and of the adapter that the student wears."""


def given(cell: Experiment, steps: dict[str, Step]) -> Inputs:
    """What the selector is handed: calls, each of which runs its step or finds it done."""

    def rows(name: str) -> Callable[[], SampleVectors]:
        return lambda: SampleVectors.load(steps[name].result().path)

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
        gradients=rows("gradients"),
        validation_gradients=rows("validation_gradients"),
    )


def _load_index(cell: Experiment, built: Step) -> Index:
    from delamo.retrieval import RETRIEVERS

    return RETRIEVERS[cell.config.retriever.backend.value].load(built.result().path / "index")


def method_identity(node: Any) -> dict[str, Any]:
    """`identity` of a selector without what decides its inputs, which have digests of their own."""
    of_input = {f.name for f in dataclasses.fields(node) if f.metadata.get("of_input")}
    return {name: value for name, value in identity_of(node).items() if name not in of_input}


def fill(
    draft: ResultWriter,
    source: Source,
    what: str,
    compute: Callable[[list[Sample]], tuple[np.ndarray, list[Quarantined]]],
    *,
    width: int,
    dtype: str,
    block_size: int = BLOCK,
) -> list[Quarantined]:
    """`fill_rows` of a source into a draft; returns the samples without a row."""
    options = {"width": width, "dtype": dtype, "compute": compute, "block_size": block_size}
    options["what"] = what.replace("_", " ")
    return fill_rows(draft.path, draft.work, source.samples, source.ids, **options)


def finish(
    draft: ResultWriter, source: Source, bad: list[Quarantined], skipped: dict[str, int] | None = None, **notes: Any
) -> None:
    """Account for each sample of a source."""
    skipped, num_in = skipped or {}, len(source.ids)
    num_ok = num_in - len(bad) - sum(skipped.values())
    draft.finish(RowCounts(num_in=num_in, num_ok=num_ok, quarantined=bad, skipped=skipped), **notes)


def step(
    cell: Experiment,
    name: str,
    label: str,
    reads: dict[str, Any],
    inputs: dict[str, Step],
    make: Callable[[ResultWriter], None],
) -> Step:
    """A step of this cell's graph; a killed one goes on after its last block."""
    return cell.graph.step(name, label, reads, inputs, make, version=VERSIONS[name], resumable=True)
