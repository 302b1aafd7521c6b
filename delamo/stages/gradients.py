"""Gradients of a LoRA adapter after a warm-up (LESS, Xia et al. 2024, sections 4.1 and 4.2)."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from delamo.config.compose import identity_of
from delamo.data import Pool
from delamo.stages.base import (
    Experiment,
    Samples,
    Stage,
    VectorStage,
    count_rows,
    require_local_student,
    rows_by_sample,
)
from delamo.store import ResultWriter, RowCounts
from delamo.tuning.config import Strategy, TuningConfig, TuningMethod


@dataclass(frozen=True, eq=False)
class WarmUp(Stage):
    """Tune a LoRA adapter on a random part of the pool, keeping Adam's state after each epoch.

    It starts from the untuned student in every round, and is one for all tasks unless the audit removed some of what
    was drawn.
    """

    candidates: Pool
    """The pool as the audit left it."""

    name: ClassVar[str] = "warm_up"
    version: ClassVar[int] = 2  # the loss is a mean over the batch of a step, however it is cut
    resumable: ClassVar[bool] = True

    @property
    def label(self) -> str:
        """The names of pool, student and selector."""
        return self.experiment.label("pool", "student", "selector")

    @property
    def recipe(self) -> TuningConfig:
        """The experiment's own recipe, for an adapter of the language model alone."""
        config = self.experiment.config.selector
        return dataclasses.replace(
            self.experiment.config.tuning,
            method=TuningMethod.lora,
            lora_rank=config.lora_rank,
            lora_alpha=config.lora_alpha,
            learning_rate=config.learning_rate,
            projector_learning_rate=None,
            epochs=config.warmup_epochs,
            target_modules=config.target_modules,
            strategy=Strategy.auto,
        )

    def draw(self) -> tuple[list[str], set[str]]:
        """Draw the ids of the warm-up.

        Returns:
            (ids drawn from the pool, those among them that the audit removed).

        Raises:
            ValueError: the share is no part of the pool.
        """
        config, ids = self.experiment.config.selector, self.experiment.pool.ids()
        if not 0 < config.warmup_share <= 1:
            raise ValueError(
                f"selector.warmup_share is {config.warmup_share}: choose a part of the pool, above 0 and at most 1"
            )
        num_drawn = max(1, round(config.warmup_share * len(ids)))
        rows = np.random.default_rng(config.seed).choice(len(ids), num_drawn, replace=False)
        drawn = [ids[row] for row in sorted(rows.tolist())]
        return drawn, set(drawn) & self.candidates.removed

    @property
    def runs_models(self) -> bool:
        """True: tuning is always done here."""
        return True

    def depends_on(self) -> dict[str, Any]:
        """Return the untuned student, the recipe, the pool, and what is drawn of it."""
        experiment, config = self.experiment, self.experiment.config.selector
        reads = {
            "student": experiment.student_digest,
            "tuning": identity_of(self.recipe),
            "pool": experiment.pool.digest,
            "seed": config.seed,
            "share": config.warmup_share,
            "attn": experiment.config.student.attn.name,
            **identity_of(experiment.config.student, "images"),
        }
        left_out = self.draw()[1] if self.candidates.removed else ()
        return reads | ({"left out": sorted(left_out)} if left_out else {})

    def compute(self, writer: ResultWriter) -> None:
        """Write the adapter and the optimizer's state of each epoch."""
        from delamo.tuning.optimizer_state import SaveOptimizerState

        pool, models, seed = self.experiment.pool, self.experiment.models, self.experiment.config.selector.seed
        drawn, removed = self.draw()
        samples = [pool.get(id) for id in drawn if id not in removed]
        job = models.tuning_job(
            samples, self.recipe, out_dir=writer.work / "adapter", checkpoints=writer.work / "checkpoints", seed=seed
        )
        models.release()
        keep = SaveOptimizerState(writer.path, self.experiment.config.student.path, self.recipe)
        result = models.fit(job, callbacks=[keep])
        num_ok = len(samples) - len(result.quarantined)
        skipped = {"not drawn": len(pool) - len(drawn), "meets the task": len(drawn) - len(samples)}
        counts = RowCounts(num_in=len(pool), num_ok=num_ok, quarantined=result.quarantined, skipped=skipped)
        writer.finish(counts, steps=result.steps, loss=result.loss, numerics=result.facts)


@dataclass(frozen=True, eq=False)
class TakeGradients(VectorStage):
    """Project the gradient of the warm-up's adapter by each of a set of samples."""

    warm_up: Stage

    block_size: ClassVar[int] = 512  # gradients cost more than embeddings, and take more memory
    adam: ClassVar[bool]
    """Whether the direction is Adam's step (pool samples) or the plain gradient (validation samples)."""

    @property
    @abstractmethod
    def source(self) -> Samples:
        """The samples."""

    @property
    def label(self) -> str:
        """The names of the data, of the student and of the selector."""
        return self.experiment.label(self.source.role, "student", "selector")

    def depends_on(self) -> dict[str, Any]:
        """Return the student's number format, the projection and the samples."""
        config = self.experiment.config.selector
        return {
            "projection_dim": config.projection_dim,
            "seed": config.seed,
            **({"adam_formula": config.adam_formula.value} if self.adam else {}),
            **identity_of(self.experiment.config.student, "numerics", "images"),
            **self.source.identity,
        }

    def compute(self, writer: ResultWriter) -> None:
        """Write one vector for each sample: C checkpoints times D dimensions."""
        from delamo.models.scorers.gradients import SampleGradients
        from delamo.tuning.optimizer_state import checkpoint_folders

        config, source = self.experiment.config.selector, self.source
        require_local_student(self.experiment, "gradients")
        student = self.experiment.models.student(None)
        facts, folders = student.facts, checkpoint_folders(self.warm_up.stored.path)
        projection = {"projection_dim": config.projection_dim, "seed": config.seed}
        formula = config.adam_formula if self.adam else None
        with SampleGradients(student, folders, **projection) as gradients:

            def compute(block: list[Any]) -> tuple[np.ndarray, list[Any]]:
                vectors = gradients.rows(block, adam=formula, batch_size=config.batch_size)
                return rows_by_sample(block, vectors, gradients.width, self.name)

            quarantined = self.write_vectors(writer, source, compute, width=gradients.width)
        writer.finish(count_rows(source, quarantined), numerics=facts)


@dataclass(frozen=True, eq=False)
class TakePoolGradients(TakeGradients):
    """Take Adam's directions by the pool's samples."""

    name: ClassVar[str] = "gradients"
    adam: ClassVar[bool] = True

    @property
    def source(self) -> Samples:
        """The pool."""
        return Samples.of_pool(self.experiment)


@dataclass(frozen=True, eq=False)
class TakeValidationGradients(TakeGradients):
    """Take the plain gradients by the validation samples with their gold answers."""

    name: ClassVar[str] = "validation_gradients"
    adam: ClassVar[bool] = False

    @property
    def source(self) -> Samples:
        """The validation samples, worded as the student is asked and as evaluation reads."""
        return answered(self.experiment)


def answered(experiment: Experiment) -> Samples:
    """Return the validation samples with their gold answers as replies."""
    from delamo.models.students.training_sample import training_sample

    source, prompt = Samples.of_validation(experiment), experiment.config.student.prompt.value
    return dataclasses.replace(source, samples=(training_sample(sample, prompt) for sample in source.samples))
