"""Checkpoints with Adam's state, one for each epoch: what LESS measures gradients by (Xia et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from delamo.models.scorers.gradients import Moments
from delamo.tuning.config import TuningConfig
from delamo.tuning.trainable import save_trained


class SaveOptimizerState(Callback):
    """Write `FOLDER/checkpoint-K` after each epoch: an adapter in PEFT's format, and its moments."""

    def __init__(self, folder: Path, base: str, config: TuningConfig) -> None:
        """Write to a folder.

        Args:
            folder: where the checkpoints go.
            base: the student's name as its user gave it.
            config: of the tuning.
        """
        self.folder, self.base, self.config = folder, base, config
        self.learning_rates: list[float] = []
        """Of the steps since the last checkpoint."""
        self.num_kept = 0

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs; Lightning keeps it with the weights."""
        return {"rates": self.learning_rates, "num_kept": self.num_kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Invert `state_dict`."""
        self.learning_rates, self.num_kept = list(state["rates"]), state["num_kept"]

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        """Note the learning rate of the step."""
        self.learning_rates.append(optimizer.param_groups[0]["lr"])

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        """Write a checkpoint where an epoch has just ended."""
        ends = epoch_ends(pl_module.num_steps, self.config.epochs)
        if self.num_kept == len(ends) or trainer.global_step < ends[self.num_kept]:
            return
        self.num_kept += 1
        if trainer.is_global_zero:
            folder = self.folder / f"checkpoint-{self.num_kept}"
            save_trained(pl_module.model, folder, self.base, self.config)
            moments_of(pl_module.model, trainer.optimizers[0], self.learning_rates).save(folder)
        self.learning_rates = []


def epoch_ends(num_steps: int, epochs: int) -> list[int]:
    """Return the steps after which an epoch is over, ascending; fewer than epochs where there are fewer steps."""
    return sorted({max(1, round(epoch * num_steps / epochs)) for epoch in range(1, epochs + 1)})


def checkpoint_folders(folder: Path) -> list[Path]:
    """Return the folders that `SaveOptimizerState` wrote, in order."""
    return sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))


def moments_of(model: Any, optimizer: Any, learning_rates: Sequence[float]) -> Moments:
    """Return the state of an optimizer of one group, each weight by the name of its linear layer.

    Args:
        model: with the trainable weights.
        optimizer: adam or AdamW over them.
        learning_rates: of the steps that the moments stand for; their mean is kept.
    """
    group = optimizer.param_groups[0]
    weights = {name.removesuffix(".weight"): p for name, p in model.named_parameters() if p.requires_grad}
    states = {name: optimizer.state[weight] for name, weight in weights.items()}
    return Moments(
        weights=weights,
        first={name: state["exp_avg"] for name, state in states.items()},
        second={name: state["exp_avg_sq"] for name, state in states.items()},
        step=int(next(iter(states.values()))["step"]),
        betas=tuple(group["betas"]),
        eps=group["eps"],
        learning_rate=sum(learning_rates) / len(learning_rates),
    )
