"""Train the embedded scorer of Superfiltering: a GPT-2 of under a million parameters, from scratch.

    python scripts/train/train_scorer.py --out delamo/models/weights/micro_scorer --minutes 8

It reads the microworld's pool text as GPT-2 has read the web: questions with their replies, and replies alone. Its pool
has another seed than the one that is selected from, so that it has seen samples like those that it scores, but none of
them.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from training import IGNORED, Loss, make_parser, train_for, write_recipe
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from delamo.data.readers.micro import MicroPoolConfig, read_pool

POOL_SEED = 1000
MAX_TOKENS = 512


def documents(num_samples: int, tokenizer: Any) -> list[list[int]]:
    """Return the tokens of each document, its end marked: two questions with their replies, then a reply alone."""
    config = MicroPoolConfig(
        name="micro",
        size=num_samples,
        surface_overlap=0.5,
        seed=POOL_SEED,
        planted_leaks=0,
        planted_target=None,
        planted_seed=None,
    )
    pool = read_pool(config)
    texts = [f"{s.instruction}\n{s.answer}" if i % 3 else s.answer for i, s in enumerate(pool)]
    rows = tokenizer(texts, add_special_tokens=False).input_ids
    return [[*row, tokenizer.eos_token_id] for row in rows if len(row) < MAX_TOKENS]


def batches(rows: list[list[int]], batch_size: int, rng: Random) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield padded (tokens, labels), rows of similar length together, without end."""
    while True:
        order = sorted(range(len(rows)), key=lambda i: (len(rows[i]) // 16, rng.random()))
        chunks = [order[at : at + batch_size] for at in range(0, len(order), batch_size)]
        rng.shuffle(chunks)
        for chunk in chunks:
            width = max(len(rows[i]) for i in chunk)
            tokens = torch.tensor([rows[i] + [0] * (width - len(rows[i])) for i in chunk])
            lengths = torch.tensor([len(rows[i]) for i in chunk])
            yield tokens, tokens.masked_fill(torch.arange(width) >= lengths[:, None], IGNORED)


def mean_loss(model: Any, tokens: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Return the next-token loss in nats, and the share of right tokens; no token sees the padding after it."""
    logits = model(input_ids=tokens, attention_mask=(tokens > 0).long()).logits[:, :-1]
    gold, kept = labels[:, 1:], labels[:, 1:] != IGNORED
    accuracy = (logits.argmax(-1) == gold)[kept].float().mean().item()
    return cross_entropy(logits.flatten(0, 1), gold.flatten(), ignore_index=IGNORED), accuracy


def build_model(tokenizer: Any) -> GPT2LMHeadModel:
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
    return GPT2LMHeadModel(config)


def main() -> None:
    parser = make_parser(__doc__, "micro_scorer", minutes=8, batch_size=32, rate=2e-3)
    parser.add_argument("--samples", type=int, default=30_000)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.tokenizer)
    model = build_model(tokenizer)
    if args.continue_from:
        model = GPT2LMHeadModel.from_pretrained(args.continue_from, dtype=torch.float32)

    def next_loss(step: int, spent: float) -> Loss:
        return "text", *mean_loss(model, *next(stream))

    stream = batches(documents(args.samples, tokenizer), args.batch_size, Random(args.seed))
    options = {"warmup_steps": 50, "floor": 0.0, "betas": (0.9, 0.999)}
    losses = [loss for loss, _ in train_for(args.minutes, model, next_loss, rate=args.rate, **options)["text"]]
    loss, num_parameters = sum(losses[-50:]) / len(losses[-50:]), model.num_parameters()
    tokenizer.model_max_length = MAX_TOKENS
    model.half().save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    (args.out / "chat_template.jinja").unlink(missing_ok=True)  # the scorer reads text, not turns
    facts = {"steps": len(losses), "loss": round(loss, 4), "pool_seed": POOL_SEED, "parameters": num_parameters}
    write_recipe(args, script="scripts/train/train_scorer.py", **facts)
    print(f"{len(losses)} steps, loss {loss:.3f}, {num_parameters:,} parameters in {args.out}")


if __name__ == "__main__":
    main()
