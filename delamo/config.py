"""The schema of every config node, registered once in Hydra's ConfigStore below the group `schema/`.

The YAML files in `conf/` hold the values, these classes hold the types: every field is MISSING here, so that a value lives in one
place. A structured node takes no unknown key, not even with a leading `+`. Closed choices are enums, written by name.

Fields made by `label()` and `speed()` do not enter a stage's identity: a label names a choice, and a speed knob (batch
size, device, workers) says how a result is computed, not which.
"""

from __future__ import annotations

from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from delamo.choices import (
    Api,
    Attention,
    Backend,
    Dtype,
    Engine,
    IterateFrom,
    Precision,
    PromptSet,
    Query,
    Readout,
    SkillSource,
    Strategy,
    TeacherMode,
    TuningMethod,
    WandbMode,
    Window,
)
from delamo.config_fields import label, speed
from delamo.selector_config import SELECTOR_SCHEMAS, SelectorConfig


@dataclass(slots=True, kw_only=True)
class StudentConfig:
    """The model that answers and is tuned."""

    name: str = label()


@dataclass(slots=True, kw_only=True)
class HuggingFaceStudentConfig(StudentConfig):
    """Any `AutoModelForImageTextToText`: a hub id, a folder, or `package:NAME` for shipped weights."""

    path: str = MISSING
    revision: str | None = MISSING
    dtype: Dtype = MISSING
    attn: Attention = MISSING
    device: str = speed()
    prompt: PromptSet = MISSING
    max_image_pixels: int | None = MISSING
    """Larger pictures are made smaller first, for models that read pictures at their own size; null leaves them."""
    max_new_tokens: int = MISSING
    temperature: float = MISSING
    """0 is greedy."""
    engine: Engine = MISSING
    """Of answers and evaluation; tuning is always done here."""
    api_base: str | None = speed()
    """The server's, for `engine=vllm`, as in http://localhost:8000/v1."""
    api_key_env: str | None = label()
    """Name of the environment variable that holds the server's key; null where it wants none."""
    concurrency: int = speed()
    """Requests to the server at a time."""
    timeout_s: float = speed()
    """Seconds that one request may take."""
    batch_size: int = speed()
    shard_size: int = speed()
    """Answers that a kill can lose at most."""


@dataclass(slots=True, kw_only=True)
class TeacherConfig:
    """The model that judges partial rationales, names missing skills and annotates the pool."""

    name: str = label()
    prompts: PromptSet = MISSING
    sees_images: bool = MISSING
    """Whether the picture goes along to skill analysis and pool annotation; never to mistake identification."""
    skill_max_new_tokens: int = MISSING
    pool_skills_max_new_tokens: int = MISSING
    shard_size: int = speed()
    """Pool samples whose annotation a kill can lose at most."""


@dataclass(slots=True, kw_only=True)
class LocalTeacherConfig(TeacherConfig):
    """A model on this machine: a language model, or one for images and text where it has to see."""

    path: str = MISSING
    revision: str | None = MISSING
    dtype: Dtype = MISSING
    chat_template: bool = MISSING
    """Whether a prompt becomes a user's turn, its last line the start of the reply; false sends the bare text."""
    device: str = speed()
    """`auto`, a name of torch's, or `split`: layers over all GPUs, for a model that fits on none."""
    batch_size: int = speed()


@dataclass(slots=True, kw_only=True)
class LiteLLMTeacherConfig(TeacherConfig):
    """A model behind an API. Keys come from the environment variable that `api_key_env` names, never from config."""

    model: str = MISSING
    """As litellm names it: PROVIDER/MODEL."""
    revision: str | None = MISSING
    """Of served weights, where only you know it: part of the key that a reply is kept under."""
    api: Api = MISSING
    api_base: str | None = MISSING
    api_key_env: str | None = label()
    reasoning_effort: str | None = MISSING
    image_detail: str | None = MISSING
    """OpenAI's `low`, `high` or `auto`; null leaves it out."""
    max_image_pixels: int | None = MISSING
    """Larger pictures are made smaller before they are sent."""
    readout: Readout = MISSING
    top_logprobs: int = MISSING
    num_samples: int = MISSING
    """Draws for each prefix of a rationale, with `readout=samples`."""
    sample_temperature: float = MISSING
    answer_max_tokens: int = MISSING
    """Tokens of a reply among which the option letter is looked for."""
    mode: TeacherMode = speed()  # noqa: RUF009
    tokens_per_image: int = speed()
    """For the estimate and the cap; see the service's price list."""
    max_usd: float | None = speed()
    """What all runs over the same transcripts may spend together."""
    input_usd_per_million: float | None = speed()
    """null looks the price up in litellm's table."""
    output_usd_per_million: float | None = speed()
    concurrency: int = speed()
    requests_per_minute: float | None = speed()
    tokens_per_minute: float | None = speed()
    max_attempts: int = speed()
    timeout_s: float = speed()


@dataclass(slots=True, kw_only=True)
class ReplayTeacherConfig(TeacherConfig):
    """Recorded replies and no service: what was not recorded is an error."""

    transcripts: str = MISSING
    """A folder below `store/transcripts`."""


@dataclass(slots=True, kw_only=True)
class TaskConfig:
    """The target: what the student should get better at."""

    name: str = label()


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
    image_cache: str | None = speed()
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

    name: str = label()


@dataclass(slots=True, kw_only=True)
class MicroPoolConfig(PoolConfig):
    """The embedded microworld's pool."""

    num_samples: int = MISSING
    surface_overlap: float = MISSING
    """0 to 1: how often a sample that trains a target's skill is worded as the target is, and how rarely an unrelated one is."""
    seed: int = MISSING
    planted_leaks: int = MISSING
    """Copies of the target's first validation and test samples, in turn, behind the others: what the audit has to find."""
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
class BudgetConfig:
    """How many pool samples one iteration may tune on."""

    name: str = label()
    num_samples: int = MISSING


@dataclass(slots=True, kw_only=True)
class RetrieverConfig:
    """BM25 over the skills of the pool's samples."""

    name: str = label()
    backend: Backend = MISSING
    k1: float = MISSING
    b: float = MISSING
    stop_words: bool = MISSING
    stemming: bool = MISSING


@dataclass(slots=True, kw_only=True)
class MistakesConfig:
    """How the mistake step is found."""

    name: str = label()
    include_unparsed: bool = MISSING
    """Whether samples whose answer could not be read count as errors (flagged)."""


@dataclass(slots=True, kw_only=True)
class AnswerSwitchConfig(MistakesConfig):
    """The first step from which the teacher prefers the wrong answer and stays with it (paper, section 3.3)."""

    delta: float = MISSING
    persistence: int = MISSING
    """The paper's lambda."""
    window: Window = MISSING
    prior: float = MISSING
    fallback: bool = MISSING
    seed: int = MISSING
    """Decides which letter the gold answer gets in a two-option question made from an open one."""


@dataclass(slots=True, kw_only=True)
class PromptPerStepConfig(MistakesConfig):
    """The first step that the teacher calls wrong (Tyen et al. 2024; paper, Table 7)."""

    fallback: bool = MISSING


@dataclass(slots=True, kw_only=True)
class PseudoRationaleConfig(MistakesConfig):
    """The first step that departs from a reference rationale of the teacher's own (paper, Table 7)."""

    reference_max_new_tokens: int = MISSING
    fallback: bool = MISSING


@dataclass(slots=True, kw_only=True)
class RandomStepConfig(MistakesConfig):
    """A step drawn at random (paper, Table 7)."""

    seed: int = MISSING


@dataclass(slots=True, kw_only=True)
class AnnotatedConfig(MistakesConfig):
    """Steps from a file, JSON lines of {"id", "step"}: annotated by people, say (paper, Table 8)."""

    path: str = MISSING


@dataclass(slots=True, kw_only=True)
class WholeRationaleConfig(MistakesConfig):
    """No step is singled out (paper, Table 5, "w/o Mistake Identification")."""


@dataclass(slots=True, kw_only=True)
class SkillsConfig:
    """From mistakes to queries (paper, section 3.4)."""

    name: str = label()
    source: SkillSource = MISSING
    """`all_samples` asks which skills each validation sample needs, right or wrong ("w/o Error Collection")."""
    query: Query = MISSING
    """`mistake_step` asks the teacher for no skill ("w/o Skill Analysis")."""


@dataclass(slots=True, kw_only=True)
class TuningConfig:
    """Tuning of the student."""

    name: str = label()
    method: TuningMethod = MISSING
    lora_rank: int = MISSING
    lora_alpha: int = MISSING
    lora_dropout: float = MISSING
    learning_rate: float = MISSING
    projector_learning_rate: float | None = MISSING
    """null leaves the projector as it is."""
    batch_size: int = MISSING
    """Samples per optimiser step."""
    micro_batch_size: int = MISSING
    """Samples per forward pass."""
    epochs: int = MISSING
    warmup_ratio: float = MISSING
    weight_decay: float = MISSING
    gradient_clip: float = MISSING
    max_length: int | None = MISSING
    """Tokens, image tokens included; null is the model's context."""
    dtype: Dtype = MISSING
    """Of the weights that are not trained; those that are have 32 bits."""
    precision: Precision = MISSING
    gradient_checkpointing: bool = speed()
    target_modules: str = MISSING
    """`language_model` (linear maps of its attention and MLP), or a regular expression over module names."""
    resume: str = speed()
    """auto, never, must, or a checkpoint's path."""
    num_workers: int = speed()
    strategy: Strategy = speed()  # noqa: RUF009
    """With several processes, started by torchrun."""
    timeout_s: float = speed()
    """Seconds after which a process that waits for the others gives up."""


@dataclass(slots=True, kw_only=True)
class AuditConfig:
    """Which pool samples are removed because they meet a validation or test sample (`delamo.data.leakage`)."""

    name: str = label()
    enabled: bool = MISSING
    perceptual_distance: int | None = MISSING
    """Bits of 64; null compares no near pictures, which saves decoding the pool's."""
    text_min_words: int | None = MISSING
    """null compares no texts."""


@dataclass(slots=True, kw_only=True)
class LoggerConfig:
    """Where curves and metrics go besides the run directory."""

    name: str = label()


@dataclass(slots=True, kw_only=True)
class NoLoggerConfig(LoggerConfig):
    """The run directory alone."""


@dataclass(slots=True, kw_only=True)
class CsvLoggerConfig(LoggerConfig):
    """`metrics.csv` in the run directory."""


@dataclass(slots=True, kw_only=True)
class WandbLoggerConfig(LoggerConfig):
    """Weights & Biases, offline unless `mode` says otherwise."""

    project: str = MISSING
    entity: str | None = MISSING
    mode: WandbMode = MISSING
    group: str | None = MISSING


@dataclass(slots=True, kw_only=True)
class PathsConfig:
    """Folders, relative to the current directory."""

    runs: str = MISSING
    store: str = MISSING


@dataclass(slots=True, kw_only=True)
class SeedsConfig:
    """Three sources of chance apart; all follow `seed` unless set."""

    selection: int = MISSING
    training: int = MISSING
    decoding: int = MISSING


@dataclass(slots=True, kw_only=True)
class CellConfig:
    """One experiment cell: a row of the table."""

    student: StudentConfig = MISSING
    teacher: TeacherConfig = MISSING
    task: TaskConfig = MISSING
    pool: PoolConfig = MISSING
    audit: AuditConfig = MISSING
    budget: BudgetConfig = MISSING
    selector: SelectorConfig = MISSING
    retriever: RetrieverConfig = MISSING
    mistakes: MistakesConfig = MISSING
    skills: SkillsConfig = MISSING
    tuning: TuningConfig = MISSING
    logger: LoggerConfig = label()  # noqa: RUF009
    paths: PathsConfig = label()  # noqa: RUF009
    seed: int = MISSING
    seeds: SeedsConfig = MISSING
    iterations: int = MISSING
    iterate_from: IterateFrom = MISSING
    force: bool = label()
    """Run again where a finished run of the same config came from other code, weights or data."""
    answers_after: bool = speed()
    """Ask the tuned student the validation samples again, so that `delamo trace` tells what became of an error."""
    fast: bool = label()
    """With `-m` and a table's preset: its smoke grid."""
    jobs: int = speed()
    """With `-m`: processes that share the cells of the sweep, and the processor's cores between them."""


SCHEMAS: dict[str, type] = {
    "cell": CellConfig,
    "student/huggingface": HuggingFaceStudentConfig,
    "teacher/local": LocalTeacherConfig,
    "teacher/litellm": LiteLLMTeacherConfig,
    "teacher/replay": ReplayTeacherConfig,
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
    "pool/micro": MicroPoolConfig,
    "pool/llava_json": LlavaJsonPoolConfig,
    "pool/vision_flan": VisionFlanPoolConfig,
    "pool/parquet": ParquetPoolConfig,
    "audit/audit": AuditConfig,
    "budget/budget": BudgetConfig,
    **SELECTOR_SCHEMAS,
    "retriever/bm25": RetrieverConfig,
    "mistakes/answer_switch": AnswerSwitchConfig,
    "mistakes/prompt_per_step": PromptPerStepConfig,
    "mistakes/pseudo_rationale": PseudoRationaleConfig,
    "mistakes/random_step": RandomStepConfig,
    "mistakes/annotated": AnnotatedConfig,
    "mistakes/whole_rationale": WholeRationaleConfig,
    "skills/skills": SkillsConfig,
    "tuning/lora": TuningConfig,
    "logger/none": NoLoggerConfig,
    "logger/csv": CsvLoggerConfig,
    "logger/wandb": WandbLoggerConfig,
}


def register(schemas: dict[str, type]) -> None:
    """Make schemas known to Hydra, each below `schema/`."""
    for path, schema in schemas.items():
        group, _, name = f"schema/{path}".rpartition("/")
        ConfigStore.instance().store(group=group, name=name, node=schema, provider="delamo")


register(SCHEMAS)
