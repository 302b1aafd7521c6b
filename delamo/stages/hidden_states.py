"""The student's own hidden states of question and reply, as vectors of length 1 (RDS+, Ivison et al. 2025)."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from delamo.config.compose import identity_of
from delamo.retrieval.rows import unit
from delamo.stages.base import Samples, Stage, VectorStage, count_rows, require_local_student, rows_by_sample
from delamo.store import ResultWriter


@dataclass(frozen=True, eq=False)
class ReadHiddenStates(VectorStage):
    """Read one vector of the student, tuned or not, for each of a set of samples."""

    adapter: Stage | None = None

    @property
    @abstractmethod
    def source(self) -> Samples:
        """The samples."""

    @property
    def label(self) -> str:
        """The names of the data and of the student."""
        return self.experiment.label(self.source.role, "student")

    def depends_on(self) -> dict[str, Any]:
        """Return the student and its numbers, the layer and how it is pooled, the template, and the samples."""
        from delamo.models import prompts

        experiment, config = self.experiment, self.experiment.config.selector
        return {
            "template": prompts.digest(prompts.STUDENT, prompts.QUESTION),
            "student": experiment.student_digest,
            "layer": config.layer,
            "pooling": config.pooling.value,
            **identity_of(experiment.config.student, "numerics", "images"),
            **self.source.identity,
        }

    def compute(self, writer: ResultWriter) -> None:
        """Write one vector for each sample."""
        config = self.experiment.config.selector
        require_local_student(self.experiment, "hidden states")
        student = self.experiment.models.student(self.adapter)
        width = student.model.config.get_text_config().hidden_size

        def compute(block: list[Any]) -> tuple[Any, list[Any]]:
            vectors = student.hidden_states(
                block, layer=config.layer, pooling=config.pooling.value, batch_size=config.batch_size
            )
            rows, quarantined = rows_by_sample(block, vectors, width, self.name)
            return unit(rows), quarantined

        quarantined = self.write_vectors(writer, self.source, compute, width=width)
        writer.finish(count_rows(self.source, quarantined), numerics=student.facts)


@dataclass(frozen=True, eq=False)
class ReadPoolStates(ReadHiddenStates):
    """Read the hidden states of the pool's samples."""

    name: ClassVar[str] = "hidden_states"

    @property
    def source(self) -> Samples:
        """The pool."""
        return Samples.of_pool(self.experiment)


@dataclass(frozen=True, eq=False)
class ReadValidationStates(ReadHiddenStates):
    """Read the hidden states of the validation samples."""

    name: ClassVar[str] = "validation_hidden_states"

    @property
    def source(self) -> Samples:
        """The validation samples."""
        return Samples.of_validation(self.experiment)
