"""The models of one experiment: loaded when a stage asks for them, dropped when another one needs the memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from delamo.records import Sample

if TYPE_CHECKING:
    from delamo.experiment.config import ExperimentConfig
    from delamo.models.students.local import Student
    from delamo.models.students.served import ServedStudent
    from delamo.models.teachers.base import Teacher
    from delamo.stages.base import Stage
    from delamo.tuning.config import TuningConfig
    from delamo.tuning.job import TuningJob


class Models:
    """What computes for the stages: the student, the teacher and the trainer.

    A GPU that holds a model of 7 billion parameters may not hold two, so at most one model of this process is loaded at
    a time.
    """

    logger: Any = None
    """Lightning's logger, for curves of tuning, while the experiment runs."""

    def __init__(self, config: ExperimentConfig) -> None:
        self.config = config
        self._student: tuple[str | None, Student | ServedStudent] | None = None
        self._teacher: Teacher | None = None

    def student(self, adapter: Stage | None) -> Student | ServedStudent:
        """Return the student, tuned or not.

        The last one asked for stays loaded until something else needs the memory.
        """
        key = adapter.digest if adapter else None
        if self._student is None or self._student[0] != key:
            if self.holds_student:
                self.release()
            self._student = None
            folder = adapter.stored.path / "adapter" if adapter else None
            self._student = key, self.load_student(folder)
        return self._student[1]

    def load_student(self, adapter: Path | None) -> Student | ServedStudent:
        """Load the student, or connect to its server.

        Args:
            adapter: a folder in PEFT's format; None is the untuned student.
        """
        from delamo.models.students.loading import load_student

        return load_student(self.config.student, adapter)

    @property
    def teacher(self) -> Teacher:
        """The teacher, loaded; a local one stays so until something else needs the memory."""
        if self._teacher is None:
            if self.holds_teacher:
                self.release()
            self._teacher = self.load_teacher()
        return self._teacher

    def load_teacher(self) -> Teacher:
        """Load the teacher, or connect to its service."""
        from delamo.models.teachers.loading import load_teacher

        return load_teacher(self.config.teacher, transcripts=Path(self.config.paths.store) / "transcripts")

    @cached_property
    def student_digest(self) -> str:
        """Identity of the untuned student's weights, tokenizer and prompt."""
        from delamo.models.hf.identity import student_digest

        student = self.config.student
        return student_digest(student.path, revision=student.revision, prompt=student.prompt.value)

    @cached_property
    def teacher_digest(self) -> str:
        """Identity of the teacher's model."""
        from delamo.models.teachers.loading import teacher_digest

        return teacher_digest(self.config.teacher)

    def prompt_digest(self, template: str) -> str:
        """Return the identity of one of the teacher's prompt templates."""
        from delamo.models import prompts

        return prompts.digest(self.config.teacher.prompts.value, template)

    def tuning_job(
        self,
        samples: Sequence[Sample],
        recipe: TuningConfig,
        *,
        out_dir: Path,
        checkpoints: Path,
        seed: int,
        start_from: Path | None = None,
    ) -> TuningJob:
        """Describe a tuning of the student.

        Args:
            samples: to train on.
            recipe: the numbers and choices.
            out_dir: where the adapter goes.
            checkpoints: folder for checkpoints to resume from.
            seed: of the training.
            start_from: an adapter to go on from.
        """
        from delamo.tuning.job import TuningJob

        return TuningJob(
            student=self.config.student,
            config=recipe,
            samples=samples,
            out_dir=out_dir,
            checkpoints=checkpoints,
            seed=seed,
            start_from=start_from,
            cpu_threads=self.config.cpu_threads,
        )

    @property
    def fit(self) -> Callable[..., Any]:
        """The trainer: `delamo.tuning.fit.fit`."""
        from delamo.tuning.fit import fit

        return fit

    def set_threads(self) -> None:
        """Let this process compute with `cpu_threads` threads, however many the machine or its environment offers.

        On a GPU they change no result, and are left as they are.
        """
        import torch

        from delamo.models.hf.loading import choose_device

        roles = (self.config.student, self.config.teacher, self.config.selector)
        if any(choose_device(getattr(role, "device", "auto")) == "cpu" for role in roles):
            torch.set_num_threads(self.config.cpu_threads)

    def release(self) -> None:
        """Drop the models in this process, as another is about to be loaded; connections to servers stay.

        Whoever asks again has them loaded again.
        """
        from delamo.models.hf.loading import free_memory

        held = 0
        if self.holds_student and self._student is not None:
            self._student, held = None, held + 1
        if self.holds_teacher and self._teacher is not None:
            self._teacher, held = None, held + 1
        if held:
            free_memory()

    @property
    def holds_student(self) -> bool:
        """Whether the student answers in this process."""
        return self.config.student.engine.value == "transformers"

    @property
    def holds_teacher(self) -> bool:
        """Whether the teacher is a model in this process."""
        from delamo.models.teachers.config import LocalTeacherConfig

        return isinstance(self.config.teacher, LocalTeacherConfig)
