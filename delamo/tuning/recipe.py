"""How to tune: numbers and choices, checked before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to tune: the fields of `delamo.experiment.config.TuningConfig`, which says what each means."""

    method: str = "lora"
    lora_rank: int
    lora_alpha: int
    lora_dropout: float
    learning_rate: float
    projector_learning_rate: float | None
    batch_size: int
    micro_batch_size: int
    epochs: int
    warmup_ratio: float
    weight_decay: float
    gradient_clip: float
    max_length: int | None
    dtype: str = "float32"
    precision: str
    gradient_checkpointing: bool
    target_modules: str
    resume: str
    num_workers: int
    strategy: str = "auto"
    timeout_s: float = 1800.0

    def accumulation(self, world_size: int = 1) -> int:
        """Micro-batches per optimiser step and process.

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
        """Raises ValueError for choices that do not go together."""
        if self.method == "full" and self.dtype != "float32":
            raise ValueError(
                f"tuning.dtype is {self.dtype}: full tuning updates the weights themselves, and small updates are lost "
                "in 16 bits; use float32 (the arithmetic is tuning.precision's)"
            )
        if self.method == "full" and self.projector_learning_rate is None:
            raise ValueError(
                "tuning.projector_learning_rate is null: full tuning trains the projector too, give its rate"
            )
        if self.strategy == "fsdp" and self.dtype != "float32":
            raise ValueError(
                f"tuning.dtype is {self.dtype}: shards hold one number format, and what is trained has 32 bits; "
                "use float32 with tuning.strategy=fsdp, each process holds its part alone"
            )
        if self.method == "qlora":
            check_quantizer()


def check_quantizer() -> None:
    """Raises ValueError where 4-bit weights cannot be had."""
    from importlib.util import find_spec

    import torch

    if find_spec("bitsandbytes") is None:
        raise ValueError("tuning.method is qlora: 4-bit weights need bitsandbytes, pip install 'delamo[qlora]'")
    if not torch.cuda.is_available():
        raise ValueError("tuning.method is qlora: 4-bit weights need a CUDA device, and this machine has none")
