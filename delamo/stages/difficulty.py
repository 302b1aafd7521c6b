"""Instruction-following difficulty: two losses of each pool sample's answer (Superfiltering, Li et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from delamo.retrieval.rows import SampleVectors
from delamo.stages.base import Samples, VectorStage, count_rows
from delamo.store import ResultWriter


@dataclass(frozen=True, eq=False)
class ScoreDifficulty(VectorStage):
    """Score the pool with the small language model that the selector's config names: once for every task."""

    name: ClassVar[str] = "difficulty"

    @property
    def label(self) -> str:
        """The names of pool and selector."""
        return self.experiment.label("pool", "selector")

    def depends_on(self) -> dict[str, Any]:
        """Return the scorer's weights, the longest sample that it takes, and the pool."""
        from delamo.models.hf.identity import weights_identity

        config = self.experiment.config.selector
        scorer = weights_identity(config.scorer, config.revision)
        return {"scorer": scorer, "max_length": config.max_length, "pool": self.experiment.pool.digest}

    def compute(self, writer: ResultWriter) -> None:
        """Write the loss with the instruction and the loss alone, in nats a token, for each sample."""
        from delamo.models.scorers.difficulty import Scorer

        config, source = self.experiment.config.selector, Samples.of_pool(self.experiment)
        scorer = Scorer.load(
            config.scorer,
            revision=config.revision,
            max_length=config.max_length,
            batch_tokens=config.batch_tokens,
            device=config.device,
        )
        quarantined = self.write_vectors(writer, source, scorer.losses, width=2, dtype="float64")
        too_hard = int((difficulties(SampleVectors.load(writer.path)) >= 1).sum())
        writer.finish(count_rows(source, quarantined, {"difficulty of 1 or above": too_hard}))


def difficulties(losses: SampleVectors) -> np.ndarray:
    """Compute the difficulty of each sample, to six digits, so that the size of a batch decides no rank.

    Args:
        losses: (num_samples, 2) as `ScoreDifficulty` wrote them.

    Returns:
        (num_samples,); NaN for what could not be scored.
    """
    from delamo.models.scorers.difficulty import ifd

    return np.round(ifd(np.asarray(losses.values)), 6)
