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
from delamo.tuning.batches import MicroBatch, ResumableLoader
from delamo.tuning.config import Strategy, TuningConfig
from delamo.tuning.sharding import shard_model


class TunedStudent(pl.LightningModule):
    """Next-token loss on the reply, AdamW, cosine after a linear warm-up.

    A step means the same whatever the size of micro-batches and the number of processes: the loss is a mean over its
    whole batch, and the dropout of a micro-batch is that of the whole plan, of which each process takes its share.
    """

    def __init__(self, model: Any, config: TuningConfig, plan: Sequence[MicroBatch], *, seed: int) -> None:
        """Wrap a model whose trainable weights are chosen.

        Args:
            model: as `make_trainable` returns it.
            config: learning rates, schedule and strategy.
            plan: the micro-batches of all epochs and processes.
            seed: of dropout.
        """
        super().__init__()
        self.model, self.config, self.plan, self.seed = model, config, plan, seed
        self.num_steps = len(plan) // config.accumulation(1)
        self.strict_loading = False  # a checkpoint holds the trainable weights alone
        self.is_sharded = False
        self.losses: list[float] = []
        """Of each optimizer step so far, in nats."""
        self._step_loss: torch.Tensor | float = 0.0

    def configure_model(self) -> None:
        """Shard the model, once, where the strategy says so."""
        if self.config.strategy is Strategy.fsdp and not self.is_sharded:
            shard_model(self.model, self.device_mesh["data_parallel"])
            self.is_sharded = True

    def on_train_start(self) -> None:
        """Show a bar for what takes longer than a few seconds; with several processes, restore the system's SIGTERM.

        Lightning's handler waits for the end of the batch, which never comes where another process is gone.
        """
        hidden = self.trainer.global_rank > 0
        self.bar = tqdm(
            total=self.num_steps, initial=len(self.losses), desc="tune", delay=5, unit="step", disable=hidden
        )
        if self.trainer.world_size > 1:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Return the share that one micro-batch has in the loss of its optimizer step.

        Lightning divides it by the number of micro-batches and averages gradients over processes. Both are undone here:
        the gradient of a step is the sum over its micro-batches.

        Raises:
            ValueError: the loss of the step is not finite.
        """
        world_size, accumulation = self.trainer.world_size, self.config.accumulation(self.trainer.world_size)
        index = batch_idx * world_size + self.trainer.global_rank  # in the whole plan
        torch.manual_seed(dropout_seed(self.seed, index))
        labels = batch.pop("labels")
        logits, tokens, rows = scored_logits(self.model, batch, labels)
        weights = torch.tensor(self.plan[index].weights, device=logits.device)
        share = (torch.nn.functional.cross_entropy(logits, tokens, reduction="none") * weights[rows]).sum()
        self._step_loss = self._step_loss + share.detach()
        if (batch_idx + 1) % accumulation == 0:
            self._end_step()
        if "pixel_values" not in batch:
            share = share + self._zero_of_projector()
        return share * accumulation * world_size

    def _end_step(self) -> None:
        """Log the loss of the optimizer step that ends, of all processes together.

        Raises:
            ValueError: the loss is not finite.
        """
        loss = self.trainer.strategy.reduce(self._step_loss, reduce_op="sum")
        self._step_loss = 0.0
        if not loss.isfinite():
            raise ValueError(f"the loss is {loss.item()} at step {len(self.losses)}: lower tuning.learning_rate")
        self.log("train/loss", loss)
        self.losses.append(loss.item())
        self.bar.update()

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
        """Return the mean loss of the last tenth of the steps, in nats."""
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
    """The selected samples in their planned micro-batches, or this process's share of them."""

    def __init__(
        self, samples: Sequence[Sample], plan: Sequence[MicroBatch], collator: Collator, num_workers: int
    ) -> None:
        super().__init__()
        self.samples, self.plan, self.collator, self.num_workers = samples, plan, collator, num_workers

    def train_dataloader(self) -> ResumableLoader:
        """Make the loader of this process's micro-batches: of W processes, each takes every W-th."""
        rank, world_size = self.trainer.global_rank, self.trainer.world_size
        batches = [list(micro_batch.samples) for micro_batch in self.plan]
        ids = [[self.samples[i].id for i in batch] for batch in batches]
        digest = hashlib.sha256(json.dumps([world_size, ids] if world_size > 1 else ids).encode()).hexdigest()
        options = {"collate_fn": self.collator, "num_workers": self.num_workers}
        return ResumableLoader(self.samples, batches[rank::world_size], digest, **options)
