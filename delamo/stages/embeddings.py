"""Sentence embeddings of questions, options included; the paper names neither the encoder nor the text."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from delamo.stages.base import MODEL_PACKAGES, Samples, VectorStage, count_rows
from delamo.store import ResultWriter


@dataclass(frozen=True, eq=False)
class EmbedSamples(VectorStage):
    """Embed the questions of a set of samples, by the encoder that the selector's config names."""

    @property
    @abstractmethod
    def source(self) -> Samples:
        """The samples."""

    packages: ClassVar[tuple[str, ...]] = (*MODEL_PACKAGES, "sentence-transformers")

    @property
    def label(self) -> str:
        """The names of the data and of the selector."""
        return self.experiment.label(self.source.role, "selector")

    def depends_on(self) -> dict[str, Any]:
        """Return the encoder's weights, the template that words a question, and the samples."""
        from delamo.models import prompts
        from delamo.models.scorers.embedding import encoder_identity

        config = self.experiment.config.selector
        return {
            "encoder": encoder_identity(config.encoder, config.revision),
            "template": prompts.digest(prompts.STUDENT, prompts.QUESTION),
            **self.source.identity,
        }

    def compute(self, writer: ResultWriter) -> None:
        """Write one vector for each sample."""
        from delamo.models.scorers.embedding import Encoder
        from delamo.models.scorers.losses import question_text

        config = self.experiment.config.selector
        encoder = Encoder.load(
            config.encoder, revision=config.revision, batch_size=config.batch_size, device=config.device
        )
        quarantined = self.write_vectors(
            writer,
            self.source,
            lambda block: (encoder.embed([question_text(sample) for sample in block]), []),
            width=encoder.width,
        )
        writer.finish(count_rows(self.source, quarantined))


@dataclass(frozen=True, eq=False)
class EmbedPool(EmbedSamples):
    """Embed the pool: once for every task, budget and seed."""

    name: ClassVar[str] = "embeddings"

    @property
    def source(self) -> Samples:
        """The pool."""
        return Samples.of_pool(self.experiment)


@dataclass(frozen=True, eq=False)
class EmbedValidation(EmbedSamples):
    """Embed the validation samples."""

    name: ClassVar[str] = "validation_embeddings"

    @property
    def source(self) -> Samples:
        """The validation samples."""
        return Samples.of_validation(self.experiment)
