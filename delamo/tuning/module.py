"""The student under tuning as a Lightning module, and its data."""

from __future__ import annotations

import hashlib
import json
import math
import signal
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from tqdm import tqdm

from delamo.models.hf.collator import Collator
from delamo.models.hf.components import is_projector
from delamo.models.scorers.losses import scored_logits
from delamo.records import Sample
from delamo.tuning.batches import ResumableLoader, batches_of_rank
from delamo.tuning.config import Strategy, TuningConfig
from delamo.tuning.sharding import shard_model


class TunedStudent(pl.LightningModule):
    """Next-token loss on the reply, AdamW, cosine after a linear warm-up.

    A step means the same whatever the number of processes: its micro-batches, their dropout and their weights are those
    of the whole plan, of which each process takes its share.
    """

    def __init__(self, model: Any, config: TuningConfig, *, num_steps: int, num_batches: int, seed: int) -> None:
        """Wrap a model whose trainable weights are chosen.

        Args:
            model: as `make_trainable` returns it.
            config: learning rates, schedule and strategy.
            num_steps: optimizer steps in all.
            num_batches: Micro-batches in all, over all processes.
            seed: of dropout.
        """
        super().__init__()
        self.model, self.config = model, config
        self.num_steps, self.num_batches, self.seed = num_steps, num_batches, seed
        self.strict_loading = False  # a checkpoint holds the trainable weights alone
        self.is_sharded = False
        self.losses: list[float] = []

    def configure_model(self) -> None:
        """Shard the model, once, where the strategy says so."""
        if self.config.strategy is Strategy.fsdp and not self.is_sharded:
            shard_model(self.model, self.device_mesh["data_parallel"])
            self.is_sharded = True

    def on_train_start(self) -> None:
        """Show a bar for what takes longer than a few seconds; with several processes, restore the system's SIGTERM.

        Lightning's handler waits for the end of the batch, which never comes where another process is gone.
        """
        total = math.ceil(self.num_batches / self.trainer.world_size)
        hidden = self.trainer.global_rank > 0
        self.bar = tqdm(total=total, initial=len(self.losses), desc="tune", delay=5, unit="batch", disable=hidden)
        if self.trainer.world_size > 1:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Return the mean loss over the reply tokens of one micro-batch, in nats.

        Raises:
            ValueError: the loss is not finite.
        """
        index = batch_idx * self.trainer.world_size + self.trainer.global_rank  # in the whole plan
        torch.manual_seed(dropout_seed(self.seed, index))
        labels = batch.pop("labels")
        logits, tokens, _ = scored_logits(self.model, batch, labels)
        loss = torch.nn.functional.cross_entropy(logits, tokens)
        if not loss.isfinite():
            raise ValueError(f"the loss is {loss.item()} at batch {batch_idx}: lower tuning.learning_rate")
        self.log("train/loss", loss)
        self.bar.update()
        if index >= self.num_batches:  # the repeated last batch, see `batches_of_rank`
            return loss * 0 + self._zero_of_projector()
        self.losses.append(loss.item())
        return loss if "pixel_values" in batch else loss + self._zero_of_projector()

    def _zero_of_projector(self) -> torch.Tensor | float:
        """Return 0 as a function of the projector's weights.

        Without images the projector has no gradient, and other processes would wait for one.
        """
        weights = [p for name, p in self.model.named_parameters() if p.requires_grad and is_projector(name)]
        return sum((weight.sum() * 0 for weight in weights), 0.0)

    def on_train_end(self) -> None:
        """Close the bar."""
        self.bar.close()

    def final_loss(self) -> float:
        """Return the mean loss of the last tenth of the micro-batches."""
        tail = self.losses[-max(1, len(self.losses) // 10) :]
        return sum(tail) / len(tail)

    def configure_optimizers(self) -> dict[str, Any]:
        """Make AdamW, language model and projector each with a learning rate of its own, and their schedule."""
        config = self.config
        language: dict[str, Any] = {"params": [], "lr": config.learning_rate}
        projector: dict[str, Any] = {"params": [], "lr": config.projector_learning_rate}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                (projector if is_projector(name) else language)["params"].append(parameter)
        groups = [group for group in (language, projector) if group["params"]]
        optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
        num_warmup = math.ceil(config.warmup_ratio * self.num_steps)
        factor = partial(cosine_with_warmup, num_warmup=num_warmup, num_steps=self.num_steps)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what is trained; the base model is where it was loaded from."""
        trainable = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k in trainable}
        checkpoint["losses"] = self.losses

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the losses so far."""
        self.losses = list(checkpoint["losses"])


def dropout_seed(seed: int, index: int) -> int:
    """Return the seed of the dropout of micro-batch `index`, the same on whatever process it is."""
    digest = hashlib.sha256(f"{seed}\0{index}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 1


def cosine_with_warmup(step: int, *, num_warmup: int, num_steps: int) -> float:
    """Return the factor of the learning rate at an optimizer step, from 0.

    It rises linearly, then falls as half a cosine. transformers' `get_cosine_schedule_with_warmup` has the same values
    but for the warm-up, whose first step it wastes on a rate of 0.
    """
    if step < num_warmup:
        return (step + 1) / num_warmup
    progress = (step - num_warmup) / max(1, num_steps - num_warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


class SelectionData(pl.LightningDataModule):
    """The selected samples in their planned batches, or this process's share of them."""

    def __init__(
        self, samples: Sequence[Sample], batches: list[list[int]], collator: Collator, num_workers: int
    ) -> None:
        super().__init__()
        self.samples, self.batches, self.collator, self.num_workers = samples, batches, collator, num_workers

    def train_dataloader(self) -> ResumableLoader:
        """Make the loader of this process's batches."""
        rank, world_size = self.trainer.global_rank, self.trainer.world_size
        ids = [[self.samples[i].id for i in batch] for batch in self.batches]
        plan = hashlib.sha256(json.dumps([world_size, ids] if world_size > 1 else ids).encode()).hexdigest()
        batches = batches_of_rank(self.batches, rank, world_size)
        return ResumableLoader(self.samples, batches, plan, collate_fn=self.collator, num_workers=self.num_workers)
