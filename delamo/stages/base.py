"""A stage as one object: what decides its result, and how the result is computed.

A stage is a frozen dataclass. Fields that hold other stages are its inputs; `depends_on` says what else decides the
result. From both follows a digest, so that a whole experiment is planned, and found done, without loading a model.
Asking a stage for its result computes what the store lacks, inputs first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from delamo.config.plugins import code_of
from delamo.data import Pool, Task
from delamo.records import Quarantined, Sample
from delamo.retrieval.rows import fill_rows
from delamo.store import ResultWriter, RowCounts, Store, StoredResult
from delamo.store.provenance import versions

if TYPE_CHECKING:
    import numpy as np


class Experiment(Protocol):
    """What a stage may use of the experiment that it belongs to; `delamo.experiment.experiment.Experiment` is one."""

    config: Any
    """`ExperimentConfig`."""
    store: Store
    task: Task
    pool: Pool
    models: Any
    """Loads the student and the teacher, and tunes: `delamo.experiment.models.Models`."""
    computed: set[str]
    """Digests of the results that this process computed."""

    @property
    def selector(self) -> Any:
        """The selector, by the type of its config."""

    @property
    def student_digest(self) -> str:
        """Identity of the untuned student."""

    @property
    def samples_digests(self) -> dict[str, str]:
        """Identity of the `validation` and of the `test` samples."""

    @property
    def decoding_seed(self) -> int:
        """Seed of the student's replies."""

    @property
    def has_local_student(self) -> bool:
        """Whether the student answers in this process."""

    @property
    def has_local_teacher(self) -> bool:
        """Whether the teacher is a model in this process."""

    def teacher_identity(self, *templates: str) -> dict[str, Any]:
        """Return what decides a teacher's replies to some kinds of prompt."""

    def content_digest(self, file: Path) -> str:
        """Return the digest of a file that the config names."""

    def label(self, *roles: str) -> str:
        """Join the names of some choices, for a folder that people can read."""

    def selection_roles(self, *others: str) -> tuple[str, ...]:
        """Return the config groups that a selection depends on, for a label."""


MODEL_PACKAGES = ("torch", "torchvision", "transformers", "tokenizers", "peft", "pillow")
"""What computes the numbers of a model and of the images before it."""


@dataclass(frozen=True, eq=False)
class Stage(ABC):
    """One stage of an experiment.

    Attributes:
        name: of the stage, and of its folder in the store.
        version: of the code; raise it when the same inputs give another result, so that results made before are left
            aside.
        resumable: whether a killed attempt leaves something to go on from.
        packages: whose versions decide the result where models run in this process.
    """

    experiment: Experiment

    name: ClassVar[str]
    version: ClassVar[int] = 1
    resumable: ClassVar[bool] = False
    packages: ClassVar[tuple[str, ...]] = MODEL_PACKAGES

    @property
    @abstractmethod
    def label(self) -> str:
        """The readable half of the result's folder name; it decides nothing."""

    @abstractmethod
    def depends_on(self) -> dict[str, Any]:
        """Return what decides the result besides the inputs, as JSON values.

        Config fields, digests of models, data and templates.
        """

    @property
    def runs_models(self) -> bool:
        """Whether a model runs in this process: its results then depend on the number of threads that add up sums."""
        return False

    @abstractmethod
    def compute(self, writer: ResultWriter) -> None:
        """Compute the result: write files into `writer.path` and end with `writer.finish(...)`."""

    @property
    def inputs(self) -> dict[str, Stage]:
        """The stages that this one is made from, by the role that they play here."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {role: value for role, value in values.items() if isinstance(value, Stage)}

    @cached_property
    def stored(self) -> StoredResult:
        """Where the result lies, or will lie."""
        inputs = {role: stage.digest for role, stage in self.inputs.items()}
        reads = self.depends_on() | code_of(type(self))
        if self.runs_models:
            reads |= {"cpu_threads": self.experiment.config.cpu_threads, "packages": versions(self.packages)}
        identity = {"reads": reads, "inputs": inputs}
        return self.experiment.store.result(self.name, self.label, identity, self.version)

    @property
    def digest(self) -> str:
        """The identity of the result, 64 hex digits."""
        return self.stored.digest

    def result(self) -> StoredResult:
        """Return the result, computed now if the store lacks it.

        Inputs are asked only if there is something to compute.
        """
        if not self.stored.done:
            for stage in self.inputs.values():
                stage.result()
            with self.stored.writing(resumable=self.resumable) as writer:
                if writer is not None:  # else another process computed it meanwhile
                    if self.runs_models:
                        self.experiment.models.set_threads()
                    self.compute(writer)
                    self.experiment.computed.add(self.digest)
        return self.stored

    def walk(self) -> Iterator[Stage]:
        """Yield the inputs and theirs, each once, before what is made from them; this stage last."""
        yield from self._walk(set())

    def _walk(self, seen: set[str]) -> Iterator[Stage]:
        if self.digest in seen:
            return
        seen.add(self.digest)
        for stage in self.inputs.values():
            yield from stage._walk(seen)
        yield self


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples that get one vector each, in ascending order of id."""

    role: str
    """The config group that they come from, for labels."""
    identity: dict[str, Any]
    samples: Iterable[Sample]
    ids: Sequence[str]

    @classmethod
    def of_pool(cls, experiment: Experiment) -> Samples:
        """All of the pool, whatever was removed from it for the sake of one task."""
        pool = experiment.pool
        return cls("pool", {"pool": pool.digest}, pool, pool.ids())

    @classmethod
    def of_validation(cls, experiment: Experiment) -> Samples:
        """The task's validation samples."""
        samples = sorted(experiment.task.validation, key=lambda sample: sample.id)
        digest = experiment.samples_digests["validation"]
        return cls("task", {"samples": digest}, samples, [sample.id for sample in samples])


VECTOR_BLOCK = 8192
"""Vectors that a kill can lose at most."""


@dataclass(frozen=True, eq=False)
class VectorStage(Stage):
    """A stage whose result is one vector (or a few numbers) for each sample, in a memory-mapped file."""

    resumable: ClassVar[bool] = True
    block_size: ClassVar[int] = VECTOR_BLOCK

    @property
    def runs_models(self) -> bool:
        """True: vectors come from models in this process."""
        return True

    def write_vectors(
        self,
        writer: ResultWriter,
        source: Samples,
        compute: Callable[[list[Sample]], tuple[np.ndarray, list[Quarantined]]],
        *,
        width: int,
        dtype: str = "float16",
    ) -> list[Quarantined]:
        """Fill the file block by block; a killed run goes on after its last block.

        Returns the samples without a vector.

        Args:
            writer: of the result.
            source: the samples.
            compute: a block of samples -> ((len(block), width), the samples that got none).
            width: numbers in a vector.
            dtype: numpy's name of the stored format.
        """
        return fill_rows(
            writer.path,
            writer.work,
            source.samples,
            source.ids,
            width=width,
            dtype=dtype,
            compute=compute,
            block_size=self.block_size,
            what=self.name.replace("_", " "),
        )


def count_rows(source: Samples, quarantined: list[Quarantined], skipped: dict[str, int] | None = None) -> RowCounts:
    """Account for each sample of a source."""
    skipped, num_in = skipped or {}, len(source.ids)
    num_ok = num_in - len(quarantined) - sum(skipped.values())
    return RowCounts(num_in=num_in, num_ok=num_ok, quarantined=quarantined, skipped=skipped)


def rows_by_sample(
    block: list[Sample], vectors: Iterable[tuple[int, Any]], width: int, stage: str
) -> tuple[np.ndarray, list[Quarantined]]:
    """Arrange what a student gave for a block of samples.

    Args:
        block: the samples.
        vectors: (index in the block, vector or the exception that stands in its place).
        width: numbers in a vector.
        stage: for the quarantined samples.

    Returns:
        ((len(block), width) float32, NaN where there is no vector; the samples without one).
    """
    import numpy as np

    rows, quarantined = np.full((len(block), width), np.nan, np.float32), []
    for index, vector in vectors:
        if isinstance(vector, Exception):
            reason, detail = vector.reason, str(vector.detail)
            quarantined.append(Quarantined(id=block[index].id, stage=stage, reason=reason, detail=detail))
        elif not np.isfinite(vector).all():
            quarantined.append(Quarantined(id=block[index].id, stage=stage, reason="not finite"))
        else:
            rows[index] = vector
    return rows, quarantined


def require_local_student(experiment: Experiment, what: str) -> None:
    """Refuse a student behind a server, which gives replies and nothing else.

    Raises:
        ValueError: the student's engine is not transformers.
    """
    engine = experiment.config.student.engine
    if engine.value != "transformers":
        raise ValueError(f"student.engine is {engine.value}, which gives no {what}: use transformers")
