"""Checkpoints of a tuning run with Adam's state in them, one for each epoch: what gradients are measured by (LESS, Xia et al. 2024)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from delamo.models.scorers.gradients import Moments
from delamo.tuning.config import TuningConfig
from delamo.tuning.trainable import save_trained


class SaveOptimizerState(Callback):
    """Writes `FOLDER/checkpoint-K` after each epoch: an adapter in PEFT's format, and its moments."""

    def __init__(self, folder: Path, base: str, config: TuningConfig) -> None:
        """`base` is the student's name as its user gave it."""
        self.folder, self.base, self.recipe = folder, base, config
        self.rates: list[float] = []
        """Of the steps since the last checkpoint."""
        self.num_kept = 0

    def state_dict(self) -> dict[str, Any]:
        """For a run that is killed and goes on: Lightning keeps it with the weights."""
        return {"rates": self.rates, "num_kept": self.num_kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rates, self.num_kept = list(state["rates"]), state["num_kept"]

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: Any) -> None:
        self.rates.append(optimizer.param_groups[0]["lr"])

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        ends = epoch_ends(pl_module.num_steps, self.recipe.epochs)
        if self.num_kept == len(ends) or trainer.global_step < ends[self.num_kept]:
            return
        self.num_kept += 1
        if trainer.is_global_zero:
            folder = self.folder / f"checkpoint-{self.num_kept}"
            save_trained(pl_module.model, folder, self.base, self.recipe)
            moments_of(pl_module.model, trainer.optimizers[0], self.rates).save(folder)
        self.rates = []


def epoch_ends(num_steps: int, epochs: int) -> list[int]:
    """Steps after which an epoch is over, ascending; fewer than epochs where there are fewer steps."""
    return sorted({max(1, round(epoch * num_steps / epochs)) for epoch in range(1, epochs + 1)})


def checkpoints(folder: Path) -> list[Path]:
    """What `SaveOptimizerState` wrote, in order."""
    return sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))


def moments_of(model: Any, optimizer: Any, rates: list[float]) -> Moments:
    """The state of an optimiser of one group, each weight by the name of its map."""
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
        learning_rate=sum(rates) / len(rates),
    )
