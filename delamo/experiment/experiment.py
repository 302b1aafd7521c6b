"""What the stages of one cell work with: its data, its models loaded once and only when asked for, and their digests."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from delamo.config.choices import Engine
from delamo.config.compose import arguments, as_dict
from delamo.config.data import PoolConfig, TaskConfig
from delamo.config.models import LocalTeacherConfig
from delamo.data import POOLS, TASKS, Pool, Task
from delamo.data.images import encoded
from delamo.experiment.config import ExperimentConfig
from delamo.models.hf.loading import free_memory
from delamo.records import Sample, to_dict
from delamo.selectors import SELECTORS, Selector
from delamo.stages.base import Graph, Step
from delamo.store import Store, digest_of, file_digest

if TYPE_CHECKING:
    from delamo.models.students.local import Student
    from delamo.models.students.served import ServedStudent
    from delamo.models.teachers.base import Teacher

T = TypeVar("T")


@dataclass
class Experiment:
    """One experiment cell, opened: the data is read, the models are not."""

    config: ExperimentConfig
    graph: Graph
    task: Task
    pool: Pool
    candidates: Pool | None = None
    """The pool without the samples that meet the task's; None before the audit, or where it removed none."""
    logger: Any = None
    """Lightning's logger, for curves of tuning."""
    _student: dict[str | None, Student | ServedStudent] = field(default_factory=dict, repr=False)

    @property
    def selector(self) -> Selector:
        """The method, by the type of its config."""
        return SELECTORS[type(self.config.selector)]

    @property
    def selectable(self) -> Pool:
        """What the selector chooses from: the pool as the audit left it, or a pool of the selector's own making."""
        if self.selector.own_pool:
            return self.selector.own_pool(self.task.validation, self.config.student.prompt.value)
        return self.candidates or self.pool

    @cached_property
    def student_digest(self) -> str:
        """Identity of the untuned student's weights, tokenizer and prompt."""
        from delamo.models.students.local import student_digest

        student = self.config.student
        return student_digest(student.path, revision=student.revision, prompt=student.prompt.value)

    @cached_property
    def teacher_digest(self) -> str:
        """Identity of the teacher's model."""
        from delamo.models.teachers.loading import teacher_digest

        return teacher_digest(self.config.teacher)

    def teacher_reads(self, *templates: str) -> dict[str, Any]:
        """What decides a teacher's replies to some kinds of prompt: the model and the templates' texts."""
        from delamo.models import prompts

        texts = [prompts.digest(self.config.teacher.prompts.value, template) for template in templates]
        return {"teacher": self.teacher_digest, "prompts": texts}

    def label(self, *roles: str) -> str:
        """The names of those choices, for a folder that people can read."""
        return "-".join(getattr(self.config, role).name for role in roles)

    @cached_property
    def samples_digests(self) -> dict[str, str]:
        """Identity of the validation and of the test samples."""

        def digests() -> dict[str, str]:
            return {"validation": samples_digest(self.task.validation), "test": samples_digest(self.task.test)}

        return _once("samples", self.config.task, digests)

    def content_digest(self, file: Path) -> str:
        """Of a file that the config names. Raises FileNotFoundError where there is none."""
        return file_digest(file)

    def student(self, adapter: Step | None) -> Student | ServedStudent:
        """The student, tuned or not; the last one asked for stays loaded until something else needs the memory."""
        key = adapter.digest if adapter else None
        if key not in self._student:
            if self._holds_student:
                self.release()
            self._student.clear()
            self._student[key] = self._load_student(adapter.stage.path / "adapter" if adapter else None)
        return self._student[key]

    @property
    def _holds_student(self) -> bool:
        """Whether the student is a model in this process, not a server's."""
        return self.config.student.engine is Engine.transformers

    @property
    def _holds_teacher(self) -> bool:
        return isinstance(self.config.teacher, LocalTeacherConfig)

    def release(self) -> None:
        """Drop the models in this process, as another is about to be loaded: a GPU that holds one of 7 billion parameters may not
        hold two. Whoever asks again has them loaded again; connections stay.
        """
        held = 0
        if self._holds_student:
            held += len(self._student)
            self._student.clear()
        if self._holds_teacher:
            held += self.__dict__.pop("teacher", None) is not None
        if held:
            free_memory()

    def _load_student(self, adapter: Path | None) -> Student | ServedStudent:
        from delamo.models.students.local import Student

        student = self.config.student
        common = {"adapter": adapter, "prompt": student.prompt.value, "max_image_pixels": student.max_image_pixels}
        if student.engine is Engine.vllm:
            from delamo.models.students.served import ServedStudent

            return ServedStudent.connect(
                student.path,
                api_base=student.api_base,
                api_key_env=student.api_key_env,
                concurrency=student.concurrency,
                timeout_s=student.timeout_s,
                revision=student.revision,
                **common,
            )
        return Student.load(
            student.path,
            revision=student.revision,
            dtype=student.dtype.value,
            device=student.device,
            attn=student.attn.value,
            **common,
        )

    @cached_property
    def teacher(self) -> Teacher:
        """The teacher, loaded; a local one stays so until something else needs the memory."""
        from delamo.models.teachers.loading import load_teacher

        if self._holds_teacher:
            self.release()
        return load_teacher(self.config.teacher, transcripts=Path(self.config.paths.store) / "transcripts")


def open_experiment(config: ExperimentConfig) -> Experiment:
    """Read the cell's task and pool.

    Raises:
        ValueError: the budget is above the pool, so that nothing is answered, asked or tuned in vain.
    """
    task, pool = read_task(config.task), read_pool(config.pool)
    cell = Experiment(config, Graph(Store(Path(config.paths.store))), task, pool)
    check_budget(cell)
    return cell


def check_budget(cell: Experiment) -> None:
    """Raises ValueError for a budget above the pool."""
    num_samples, follows_budget = cell.config.budget.num_samples, cell.selector.tunes and not cell.selector.takes_all
    if follows_budget and num_samples > len(cell.pool):
        raise ValueError(f"budget.num_samples is {num_samples}, the pool has {len(cell.pool)}: choose at most that")


def read_task(config: TaskConfig) -> Task:
    """The task, by the reader of its config's type."""
    return _once("task", config, lambda: TASKS[type(config)](**arguments(config)))


def read_pool(config: PoolConfig) -> Pool:
    """The pool, by the reader of its config's type."""
    return _once("pool", config, lambda: POOLS[type(config)](**arguments(config)))


_KEPT: dict[str, OrderedDict[str, Any]] | None = None
_MOST = {"task": 16, "samples": 64, "pool": 1}
"""Of each kind, the last ones are kept."""


@contextlib.contextmanager
def keep_data() -> Iterator[None]:
    """Inside, cells of this process that name the same data share it: a pool of a million takes minutes to read."""
    global _KEPT
    before, _KEPT = _KEPT, _KEPT or {kind: OrderedDict() for kind in _MOST}
    try:
        yield
    finally:
        _KEPT = before


def _once(kind: str, config: TaskConfig | PoolConfig, make: Callable[[], T]) -> T:
    if _KEPT is None:
        return make()
    kept, key = _KEPT[kind], digest_of([type(config).__name__, as_dict(config)])
    if key not in kept:
        kept[key] = make()
    kept.move_to_end(key)
    while len(kept) > _MOST[kind]:
        kept.popitem(last=False)
    return kept[key]


def samples_digest(samples: list[Sample] | tuple[Sample, ...]) -> str:
    """Identity of samples by their content: texts, and the bytes of picture files wherever they lie."""
    return digest_of([to_dict(sample) | {"image": _picture(sample.image)} for sample in samples])


def _picture(locator: str | None) -> str | None:
    path = Path(locator) if locator else None
    if locator and locator.startswith("arrow:"):
        return sha256(encoded(locator) or b"").hexdigest()
    return file_digest(path) if path and path.is_absolute() and path.is_file() else locator
