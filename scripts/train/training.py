"""Shared by the trainings of the embedded models: a small Llama, the loss on a reply, and training for so many minutes.

The learning rate follows the clock, not a number of steps, so that a training ends when it was meant to on any machine.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig

WEIGHTS = Path("delamo/models/weights")
IGNORED = -100
SAVE_EVERY = 0.1  # of the time given

Loss = tuple[str, torch.Tensor, float]
"""What the batch held, its mean loss, and the accuracy of the predicted tokens."""


def make_parser(doc: str, name: str, *, minutes: float, batch_size: int, rate: float) -> argparse.ArgumentParser:
    """Make the parser of the options that all trainings have, with the defaults of one."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=WEIGHTS / name)
    parser.add_argument("--tokenizer", type=Path, default=WEIGHTS / "tokenizer")
    parser.add_argument("--minutes", type=float, default=minutes)
    parser.add_argument("--batch-size", type=int, default=batch_size)
    parser.add_argument("--rate", type=float, default=rate)
    parser.add_argument("--continue-from", type=Path, help="weights to go on from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    return parser


def llama_config(tokenizer: Any) -> LlamaConfig:
    """Return the config of a Llama of about 2.4 M parameters."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=1024,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=False,
    )


def text_batch(tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> dict[str, torch.Tensor]:
    """Pad (prompt, reply) pairs on the right; the labels are those of the replies."""
    ids, labels = [], []
    for prompt, reply in pairs:
        head, tail = tokenizer(prompt).input_ids, tokenizer(reply).input_ids
        ids.append(torch.tensor(head + tail))
        labels.append(torch.tensor([IGNORED] * len(head) + tail))
    padded = nn.utils.rnn.pad_sequence(ids, True, tokenizer.pad_token_id)
    return {
        "input_ids": padded,
        "attention_mask": (padded != tokenizer.pad_token_id).long(),
        "labels": nn.utils.rnn.pad_sequence(labels, True, IGNORED),
    }


def reply_loss(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, float]:
    """Return the mean loss in nats over the labels, and the share of right predictions."""
    labels = batch.pop("labels")[:, 1:]
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(**batch).last_hidden_state[:, :-1]
        kept = labels != IGNORED
        logits = model.lm_head(hidden[kept])
    gold = labels[kept]
    return cross_entropy(logits.float(), gold), (logits.argmax(-1) == gold).float().mean().item()


def train_for(
    minutes: float,
    model: nn.Module,
    loss_of_step: Callable[[int, float], Loss],
    *,
    rate: float,
    warmup_steps: int,
    floor: float = 0.02,
    betas: tuple[float, float] = (0.9, 0.98),
    log_every: int = 50,
    save: Callable[[], None] | None = None,
) -> dict[str, list[tuple[float, float]]]:
    """Train all weights with AdamW until the time is over.

    Args:
        minutes: wall time.
        model: to be trained.
        loss_of_step: (step, share of the time that is spent) -> the loss of a batch.
        rate: the highest learning rate, reached after the warm-up; then it falls as half a cosine over the time.
        warmup_steps: of the linear warm-up.
        floor: share of the rate that is left at the end.
        betas: Adam's.
        log_every: steps between two lines of the log.
        save: called ten times on the way.

    Returns:
        (loss, accuracy) of each step, by what its batch held.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01, betas=betas)
    history: dict[str, list[tuple[float, float]]] = {}
    start, step, saved = time.time(), 0, 0.0
    while (spent := (time.time() - start) / (60 * minutes)) < 1:
        factor = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * spent))
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / warmup_steps) * factor
        name, loss, accuracy = loss_of_step(step, spent)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        history.setdefault(name, []).append((loss.item(), accuracy))
        step += 1
        if step % log_every == 0:
            means = {name: np.mean(rows[-50:], axis=0) for name, rows in history.items()}
            line = ", ".join(f"{name} loss {mean[0]:.4f} accuracy {mean[1]:.4f}" for name, mean in means.items())
            print(f"step {step}, {spent:.3f} of the time: {line}", flush=True)
        if save and spent - saved > SAVE_EVERY:
            saved = spent
            save()
    return history


def save_half(model: Any, folder: Path, processor: Any) -> None:
    """Write the weights in 16 bits, and the files of a tokenizer or processor."""
    half = {name: weight.detach().to(torch.float16) for name, weight in model.state_dict().items()}
    model.save_pretrained(folder, state_dict=half)
    processor.save_pretrained(folder)


def write_recipe(args: argparse.Namespace, **facts: Any) -> None:
    """Write what the training was given, and facts about it, beside the weights."""
    given = {name: value if isinstance(value, int | float) else str(value) for name, value in vars(args).items()}
    (args.out / "recipe.json").write_text(json.dumps(given | facts, indent=1) + "\n")
