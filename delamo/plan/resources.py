"""GPU-hours by the paper's own timings, and disk."""

from __future__ import annotations

from collections.abc import Mapping

from delamo.paper.facts import tuning_seconds
from delamo.plan.assumptions import Assumptions, LanguageModel
from delamo.plan.counting import StageWork, num_items, num_selected
from delamo.tuning.config import TuningConfig, TuningMethod

BYTES_PER_WEIGHT = 4  # of an adapter: what is trained has 32 bits


def tuning_gpu_hours(work: StageWork, assume: Assumptions) -> float | None:
    """Of one tuning, by the paper's Table 6.

    None for embedded weights, which its GPUs would not notice, and an unknown pool.
    """
    num_samples = num_items(work)
    if work.experiment.config.student.path.startswith("package:") or num_samples is None:
        return None
    seconds = tuning_seconds(num_samples * work.experiment.config.tuning.epochs, assume.tuning_seconds)
    return seconds * assume.tuning_gpus / 3600


def is_measured(num_samples: float, measured: Mapping[int, float]) -> bool:
    """Whether the paper timed a tuning on so many samples."""
    return num_samples in measured


def disk_bytes(work: StageWork, assume: Assumptions) -> float | None:
    """Of one result, where no manifest says it; None where nothing is known."""
    if work.name == "tuning":
        model = assume.language_models.get(work.experiment.config.student.name)
        known = model is not None and work.experiment.config.tuning.method is not TuningMethod.full
        return BYTES_PER_WEIGHT * trained_weights(model, work.experiment.config.tuning) if known else None
    items = num_selected(work.stage) if work.name == "selection" else num_items(work)
    each = assume.bytes_per_item.get(work.name.removeprefix("validation_"))
    if work.name in ("gradients", "validation_gradients"):
        selector = work.experiment.config.selector
        each = selector.projection_dim * selector.warmup_epochs * 2  # 16 bits
    return None if items is None or each is None else items * each


def trained_weights(model: LanguageModel, tuning: TuningConfig) -> int:
    """Of LoRA on all linear maps of a language model's attention and MLP: rank x (inputs + outputs) for each map.

    Source: LoRA (Hu et al. 2021), section 4.1; the projector is trained whole where it has a learning rate.
    """
    hidden, key_value, inner = model.hidden, model.key_value, model.intermediate
    attention = 2 * (hidden + hidden) + 2 * (hidden + key_value)
    mlp = 3 * (hidden + inner)
    projector = model.projector if tuning.projector_learning_rate is not None else 0
    return model.num_layers * tuning.lora_rank * (attention + mlp) + projector
