"""The student under tuning, as Lightning runs it."""

from __future__ import annotations

import hashlib
import json
import math
import signal
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from tqdm import tqdm

from delamo.models.hf.collator import Collator
from delamo.models.hf.components import is_projector
from delamo.models.scorers.losses import scored_logits
from delamo.records import Sample
from delamo.tuning.batches import ResumableLoader, share
from delamo.tuning.config import Strategy, TuningConfig
from delamo.tuning.sharding import shard


class TunedStudent(pl.LightningModule):
    """Next-token loss on the reply, AdamW, cosine after a linear warm-up.

    A step means the same whatever the number of processes: its micro-batches, their dropout and their weights are those of the
    whole plan, of which each process takes its share.
    """

    def __init__(self, model: Any, config: TuningConfig, *, num_steps: int, num_batches: int, seed: int) -> None:
        super().__init__()
        self.model = model
        self.strict_loading = False  # a checkpoint holds the trainable weights alone
        self.rates = {"language": config.learning_rate, "projector": config.projector_learning_rate}
        self.weight_decay, self.num_steps = config.weight_decay, num_steps
        self.num_warmup = math.ceil(config.warmup_ratio * num_steps)
        self.num_batches, self.seed = num_batches, seed
        self.to_shard = config.strategy is Strategy.fsdp
        self.losses: list[float] = []

    def configure_model(self) -> None:
        """Lightning's place for sharding, once."""
        if self.to_shard:
            shard(self.model, self.device_mesh["data_parallel"])
            self.to_shard = False

    def on_train_start(self) -> None:
        """A bar for what takes longer than a few seconds; under several processes the system's own SIGTERM.

        Lightning's handler waits for the end of the batch, which never comes where another process is gone.
        """
        total = math.ceil(self.num_batches / self.trainer.world_size)
        hidden = self.trainer.global_rank > 0
        self.bar = tqdm(total=total, initial=len(self.losses), desc="tune", delay=5, unit="batch", disable=hidden)
        if self.trainer.world_size > 1:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Mean loss over the reply tokens of one micro-batch, in nats."""
        place = batch_idx * self.trainer.world_size + self.trainer.global_rank
        torch.manual_seed(self._chance(place))  # dropout
        labels = batch.pop("labels")
        logits, tokens, _ = scored_logits(self.model, batch, labels)
        loss = torch.nn.functional.cross_entropy(logits, tokens)
        if not loss.isfinite():
            raise ValueError(f"the loss is {loss.item()} at batch {batch_idx}: lower tuning.learning_rate")
        self.log("train/loss", loss)
        self.bar.update()
        if place >= self.num_batches:  # makes up the number for processes without a batch of their own
            return loss * 0 + self._unused()
        self.losses.append(loss.item())
        return loss if "pixel_values" in batch else loss + self._unused()

    def _unused(self) -> torch.Tensor | float:
        """Nothing, as a function of the projector: without pictures it has no gradient, and other processes would wait for one."""
        weights = [p for name, p in self.model.named_parameters() if p.requires_grad and is_projector(name)]
        return sum((weight.sum() * 0 for weight in weights), 0.0)

    def _chance(self, place: int) -> int:
        entropy = hashlib.sha256(f"{self.seed}\0{place}".encode()).digest()
        return int.from_bytes(entropy[:8]) >> 1

    def on_train_end(self) -> None:
        self.bar.close()

    def final_loss(self) -> float:
        tail = self.losses[-max(1, len(self.losses) // 10) :]
        return sum(tail) / len(tail)

    def configure_optimizers(self) -> dict[str, Any]:
        groups: dict[str, list[torch.nn.Parameter]] = {"language": [], "projector": []}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                groups["projector" if is_projector(name) else "language"].append(parameter)
        options = [{"params": rows, "lr": self.rates[name]} for name, rows in groups.items() if rows]
        optimizer = torch.optim.AdamW(options, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._scale)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _scale(self, step: int) -> float:
        if step < self.num_warmup:
            return (step + 1) / self.num_warmup
        done = (step - self.num_warmup) / max(1, self.num_steps - self.num_warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what is trained; the base model is where it was loaded from."""
        trainable = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k in trainable}
        checkpoint["losses"] = self.losses

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.losses = list(checkpoint["losses"])


class SelectionData(pl.LightningDataModule):
    """The selected samples in their planned batches, or this process's share of them."""

    def __init__(
        self, samples: Sequence[Sample], batches: list[list[int]], collator: Collator, num_workers: int
    ) -> None:
        super().__init__()
        self.samples, self.batches, self.collator, self.num_workers = samples, batches, collator, num_workers

    def train_dataloader(self) -> ResumableLoader:
        rank, size = self.trainer.global_rank, self.trainer.world_size
        ids = [[self.samples[i].id for i in batch] for batch in self.batches]
        plan = hashlib.sha256(json.dumps([size, ids] if size > 1 else ids).encode()).hexdigest()
        mine = share(self.batches, rank, size)
        return ResumableLoader(self.samples, mine, plan, collate_fn=self.collator, num_workers=self.num_workers)
