"""The schema of the config group `tuning`, and the checks that need no model."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from omegaconf import MISSING

from delamo.config.fields import not_in_identity
from delamo.config.registry import register
from delamo.models.hf.config import Dtype


class TuningMethod(Enum):
    """Trained weights: an adapter, an adapter over 4-bit weights, or language model and projector themselves."""

    lora = "lora"
    qlora = "qlora"
    full = "full"


class Strategy(Enum):
    """Distribution of the weights under torchrun: whole on each process (ddp, which auto means), or sharded (fsdp)."""

    auto = "auto"
    ddp = "ddp"
    fsdp = "fsdp"


class LossAverage(Enum):
    """What the loss of an optimizer step averages: all reply tokens of the batch alike, or its samples alike.

    `tokens` is what transformers' Trainer computes, and most of the field with it; `samples` gives a one-word reply the
    weight of a paragraph.
    """

    tokens = "tokens"
    samples = "samples"


class Precision(Enum):
    """Number format of the arithmetic."""

    fp32 = "32"
    bf16 = "bf16"


@dataclass(slots=True, kw_only=True)
class TuningConfig:
    """How the student is tuned."""

    name: str = not_in_identity()
    method: TuningMethod = MISSING
    lora_rank: int = MISSING
    lora_alpha: int = MISSING
    lora_dropout: float = MISSING
    learning_rate: float = MISSING
    projector_learning_rate: float | None = MISSING
    """null leaves the projector as it is."""
    batch_size: int = MISSING
    """Samples per optimizer step."""
    micro_batch_size: int = MISSING
    """Samples per forward pass, at most; memory hangs on it, the objective does not (`loss_average`)."""
    loss_average: LossAverage = MISSING
    epochs: int = MISSING
    warmup_ratio: float = MISSING
    weight_decay: float = MISSING
    gradient_clip: float = MISSING
    max_length: int | None = MISSING
    """Tokens of a sample, those of its image included; null is the model's context."""
    dtype: Dtype = MISSING
    """Of the frozen weights; the trained ones have 32 bits."""
    precision: Precision = MISSING
    gradient_checkpointing: bool = not_in_identity()
    target_modules: str = MISSING
    """`language_model` (the linear layers of its attention and MLP), or a regular expression over module names."""
    resume: str = not_in_identity()
    """auto (from a checkpoint if there is one), never, must, or a checkpoint's path."""
    num_workers: int = not_in_identity()
    strategy: Strategy = not_in_identity()  # noqa: RUF009 -- makes a dataclasses.field
    """Has an effect under torchrun, with several processes."""
    timeout_s: float = not_in_identity()
    """Seconds after which a process that waits for the others gives up."""

    def accumulation(self, world_size: int) -> int:
        """Count the micro-batches per optimizer step and process.

        Raises:
            ValueError: the batch does not divide into them.
        """
        together = self.micro_batch_size * world_size
        if self.batch_size % together:
            processes = f" times {world_size} processes" if world_size > 1 else ""
            raise ValueError(
                f"tuning.batch_size is {self.batch_size}: choose a multiple of tuning.micro_batch_size, "
                f"{self.micro_batch_size}{processes}"
            )
        return self.batch_size // together

    def check(self) -> None:
        """Raise ValueError for choices that do not go together."""
        if self.method is TuningMethod.full and self.dtype is not Dtype.float32:
            raise ValueError(
                f"tuning.dtype is {self.dtype.value}: full tuning updates the weights themselves, and small updates "
                "are lost in 16 bits; use float32 (the arithmetic is tuning.precision's)"
            )
        if self.method is TuningMethod.full and self.projector_learning_rate is None:
            raise ValueError(
                "tuning.projector_learning_rate is null: full tuning trains the projector too, give its rate"
            )
        if self.strategy is Strategy.fsdp and self.dtype is not Dtype.float32:
            raise ValueError(
                f"tuning.dtype is {self.dtype.value}: shards hold one number format, and what is trained has 32 bits; "
                "use float32 with tuning.strategy=fsdp, each process holds its part alone"
            )
        if self.method is TuningMethod.qlora:
            check_quantizer()


def check_quantizer() -> None:
    """Raise ValueError where 4-bit weights cannot be had."""
    from importlib.util import find_spec

    import torch

    if find_spec("bitsandbytes") is None:
        raise ValueError("tuning.method is qlora: 4-bit weights need bitsandbytes, pip install 'delamo[qlora]'")
    if not torch.cuda.is_available():
        raise ValueError("tuning.method is qlora: 4-bit weights need a CUDA device, and this machine has none")


register({"tuning/lora": TuningConfig})
