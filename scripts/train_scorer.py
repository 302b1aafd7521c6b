"""Train the embedded scorer of Superfiltering: a GPT-2 of under a million parameters, from scratch.

    python scripts/train_scorer.py --out delamo/models/weights/micro_scorer --minutes 8

It reads the microworld's pool text as GPT-2 has read the web: questions with their replies, and replies alone. Its pool has another seed
than the one that is selected from, so that it has seen none of the samples that it scores, only their like.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from random import Random

import torch
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from delamo.data.readers.micro import MicroPoolConfig, read_pool

POOL_SEED = 1000
MAX_TOKENS = 512
IGNORED = -100


def documents(num_samples: int, tokenizer) -> list[list[int]]:
    """Token ids of each document, its end marked: by turns a question with its reply, and a reply alone."""
    pool = read_pool(
        MicroPoolConfig(
            name="micro",
            size=num_samples,
            surface_overlap=0.5,
            seed=POOL_SEED,
            planted_leaks=0,
            planted_target=None,
            planted_seed=None,
        )
    )
    texts = [f"{s.instruction}\n{s.answer}" if i % 3 else s.answer for i, s in enumerate(pool)]
    rows = tokenizer(texts, add_special_tokens=False).input_ids
    return [[*row, tokenizer.eos_token_id] for row in rows if len(row) < MAX_TOKENS]


def batches(rows: list[list[int]], batch_size: int, rng: Random):
    """Padded (tokens, labels), rows of like length together, without end."""
    while True:
        order = sorted(range(len(rows)), key=lambda i: (len(rows[i]) // 16, rng.random()))
        chunks = [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
        rng.shuffle(chunks)
        for chunk in chunks:
            width = max(len(rows[i]) for i in chunk)
            tokens = torch.tensor([rows[i] + [0] * (width - len(rows[i])) for i in chunk])
            lengths = torch.tensor([len(rows[i]) for i in chunk])
            yield tokens, tokens.masked_fill(torch.arange(width) >= lengths[:, None], IGNORED)


def mean_loss(model, tokens: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Next-token loss in nats; what is behind the padding is not looked at by what is before it."""
    logits = model(input_ids=tokens, attention_mask=(tokens > 0).long()).logits[:, :-1]
    return cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED)


def train(
    model, rows: list[list[int]], *, minutes: float, rate: float, batch_size: int, seed: int
) -> tuple[int, float]:
    """(optimiser steps, mean loss of the last 50), cosine over the time that is given."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    started, losses = time.time(), []
    for tokens, labels in batches(rows, batch_size, Random(seed)):
        done = (time.time() - started) / (60 * minutes)
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (len(losses) + 1) / 50) * (0.5 + 0.5 * math.cos(math.pi * done))
        loss = mean_loss(model, tokens, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if len(losses) % 50 == 0:
            print(
                f"{len(losses):5d} steps, {60 * minutes * done:5.0f} s, loss {sum(losses[-50:]) / 50:.3f}", flush=True
            )
    return len(losses), sum(losses[-50:]) / len(losses[-50:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("delamo/models/weights/micro_scorer"))
    parser.add_argument("--tokenizer", type=Path, default=Path("delamo/models/weights/tokenizer"))
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--samples", type=int, default=30_000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.tokenizer)
    rows = documents(args.samples, tokenizer)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=MAX_TOKENS,
        n_embd=128,
        n_layer=3,
        n_head=4,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    model = GPT2LMHeadModel(config)
    steps, loss = train(model, rows, minutes=args.minutes, rate=args.rate, batch_size=args.batch_size, seed=args.seed)
    tokenizer.model_max_length = MAX_TOKENS
    model.half().save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    (args.out / "chat_template.jinja").unlink(missing_ok=True)  # the scorer reads text, not turns
    recipe = {key: value for key, value in vars(args).items() if key not in ("out", "tokenizer")}
    recipe |= {"script": "scripts/train_scorer.py", "steps": steps, "loss": round(loss, 4), "pool_seed": POOL_SEED}
    recipe["parameters"] = model.num_parameters()
    (args.out / "recipe.json").write_text(json.dumps(recipe, indent=1) + "\n")
    print(f"{steps} steps, loss {loss:.3f}, {recipe['parameters']:,} parameters in {args.out}")


if __name__ == "__main__":
    main()
