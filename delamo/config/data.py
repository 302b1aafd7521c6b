"""The schemas of the groups `task` and `pool`; see `delamo.experiment.config`."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from delamo.config.fields import not_in_identity


@dataclass(slots=True, kw_only=True)
class TaskConfig:
    """The target: what the student should get better at."""

    name: str = not_in_identity()


@dataclass(slots=True, kw_only=True)
class MicroTaskConfig(TaskConfig):
    """A target of the embedded microworld."""

    target: str = MISSING
    num_val_samples: int = MISSING
    num_test_samples: int = MISSING
    seed: int = MISSING


@dataclass(slots=True, kw_only=True)
class NlvrTaskConfig(TaskConfig):
    """NLVR: human-written statements about drawn pictures, true or false; `root` holds the folders dev and test."""

    root: str = MISSING
    num_val_samples: int | None = MISSING
    """null takes all."""
    num_test_samples: int | None = MISSING
    seed: int = MISSING
    """Draws the subset."""


@dataclass(slots=True, kw_only=True)
class LlavaJsonTaskConfig(TaskConfig):
    """A target in LLaVA's JSON, one file for each split."""

    validation: str = MISSING
    test: str = MISSING
    image_root: str | None = MISSING
    """null is the folder of the annotation file."""
    num_val_samples: int | None = MISSING
    num_test_samples: int | None = MISSING
    seed: int = MISSING


@dataclass(slots=True, kw_only=True)
class VisionFlanTaskConfig(TaskConfig):
    """One task of Vision-Flan, held out of the pool (`pool.exclude_tasks`)."""

    annotation: str = MISSING
    image_root: str | None = MISSING
    """null is the folder of the annotation file."""
    task_name: str = MISSING
    num_val_samples: int = MISSING
    num_test_samples: int = MISSING
    seed: int = MISSING


@dataclass(slots=True, kw_only=True)
class ScienceQaTaskConfig(TaskConfig):
    """ScienceQA; `root` holds problems.json, pid_splits.json and images/SPLIT."""

    root: str = MISSING
    images_only: bool = MISSING
    num_val_samples: int | None = MISSING
    num_test_samples: int | None = MISSING
    seed: int = MISSING


@dataclass(slots=True, kw_only=True)
class MmBenchTaskConfig(TaskConfig):
    """MMBench; one TSV with answers."""

    annotation: str = MISSING
    image_cache: str | None = not_in_identity()
    circular: bool = MISSING
    """Whether a test item counts as right only where it is right in every rotation of its options."""
    num_val_samples: int = MISSING
    num_test_samples: int = MISSING
    seed: int = MISSING


@dataclass(slots=True, kw_only=True)
class CocoTaskConfig(TaskConfig):
    """Objects of one COCO supercategory, from its instances file."""

    annotation: str = MISSING
    image_root: str = MISSING
    supercategory: str = MISSING
    drop_present_distractors: bool = MISSING
    num_val_samples: int = MISSING
    num_test_samples: int = MISSING
    seed: int = MISSING


@dataclass(slots=True, kw_only=True)
class CaltechTaskConfig(TaskConfig):
    """Living or non-living, from the class folders of Caltech101."""

    root: str = MISSING
    num_val_samples: int = MISSING
    num_test_samples: int = MISSING
    seed: int = MISSING


@dataclass(slots=True, kw_only=True)
class Visual7wTaskConfig(TaskConfig):
    """Visual7W, telling questions."""

    annotation: str = MISSING
    image_root: str = MISSING
    num_val_samples: int | None = MISSING
    num_test_samples: int | None = MISSING
    seed: int = MISSING


@dataclass(slots=True, kw_only=True)
class CaptionMatchTaskConfig(TaskConfig):
    """Whether a caption belongs to a picture, from COCO's captions file."""

    annotation: str = MISSING
    image_root: str = MISSING
    num_val_samples: int = MISSING
    num_test_samples: int = MISSING
    seed: int = MISSING


@dataclass(slots=True, kw_only=True)
class PoolConfig:
    """Where training samples are selected from."""

    name: str = not_in_identity()


@dataclass(slots=True, kw_only=True)
class MicroPoolConfig(PoolConfig):
    """The embedded microworld's pool."""

    num_samples: int = MISSING
    surface_overlap: float = MISSING
    """0 to 1: how often a sample that trains a target's skill is worded as the target is, and how rarely an unrelated
    one is."""
    seed: int = MISSING
    planted_leaks: int = MISSING
    """Copies of the target's first validation and test samples, in turn, behind the others: what the audit has to
    find."""
    planted_target: str | None = MISSING
    planted_seed: int | None = MISSING
    """The target's own."""


@dataclass(slots=True, kw_only=True)
class LlavaJsonPoolConfig(PoolConfig):
    """A pool in LLaVA's JSON (Vision-Flan, LLaVA-Instruct)."""

    annotation: str = MISSING
    image_root: str | None = MISSING


@dataclass(slots=True, kw_only=True)
class VisionFlanPoolConfig(PoolConfig):
    """Vision-Flan without the tasks that serve as targets."""

    annotation: str = MISSING
    image_root: str | None = MISSING
    exclude_tasks: list[str | None] = MISSING


@dataclass(slots=True, kw_only=True)
class ParquetPoolConfig(PoolConfig):
    """A pool that `delamo convert` wrote."""

    folder: str = MISSING
    image_root: str | None = MISSING
    """null is where the pictures lay when it was written."""
    exclude_tasks: list[str | None] = MISSING


@dataclass(slots=True, kw_only=True)
class ColumnsConfig:
    """Which column holds what; null where none does.

    A dot leads into a struct; see `delamo.data.readers.hf_rows.Columns`.
    """

    id: str | None = MISSING
    """null numbers the rows."""
    instruction: str | None = MISSING
    answer: str | None = MISSING
    image: str | None = MISSING
    options: str | None = MISSING
    """A list of texts."""
    option_columns: list[str] = MISSING
    """One column an option, as in [A, B, C, D]."""
    gold: str | None = MISSING
    """An index from 0, a letter, an option's text, or a class label."""
    conversations: str | None = MISSING
    """In place of instruction and answer."""
    source: str | None = MISSING


@dataclass(slots=True, kw_only=True)
class HfDatasetPoolConfig(PoolConfig):
    """A pool that Hugging Face `datasets` opens."""

    path: str = MISSING
    """A hub id, a folder, or a file."""
    subset: str | None = MISSING
    """The data set's configuration, where it has several."""
    revision: str | None = MISSING
    split: str = MISSING
    columns: ColumnsConfig = MISSING
    question: str | None = MISSING
    """Asked of every row, where no column holds the question."""
    image_root: str | None = MISSING
    """Of pictures that a column names; null is the data set's own folder."""
    cache_dir: str | None = not_in_identity()
    """Where `datasets` keeps its Arrow files; null is its default."""


@dataclass(slots=True, kw_only=True)
class HfDatasetTaskConfig(TaskConfig):
    """A target that Hugging Face `datasets` opens."""

    path: str = MISSING
    subset: str | None = MISSING
    revision: str | None = MISSING
    validation_split: str = MISSING
    test_split: str = MISSING
    """The same as the other: two disjoint parts of it are drawn."""
    columns: ColumnsConfig = MISSING
    question: str | None = MISSING
    image_root: str | None = MISSING
    cache_dir: str | None = not_in_identity()
    num_val_samples: int | None = MISSING
    num_test_samples: int | None = MISSING
    seed: int = MISSING


DATA_SCHEMAS: dict[str, type] = {
    "task/micro": MicroTaskConfig,
    "task/nlvr": NlvrTaskConfig,
    "task/llava_json": LlavaJsonTaskConfig,
    "task/vision_flan": VisionFlanTaskConfig,
    "task/scienceqa": ScienceQaTaskConfig,
    "task/mmbench": MmBenchTaskConfig,
    "task/coco_classification": CocoTaskConfig,
    "task/caltech101_living": CaltechTaskConfig,
    "task/visual7w": Visual7wTaskConfig,
    "task/coco_caption_match": CaptionMatchTaskConfig,
    "task/hf_dataset": HfDatasetTaskConfig,
    "pool/micro": MicroPoolConfig,
    "pool/llava_json": LlavaJsonPoolConfig,
    "pool/vision_flan": VisionFlanPoolConfig,
    "pool/parquet": ParquetPoolConfig,
    "pool/hf_dataset": HfDatasetPoolConfig,
}
