"""Pretrain the embedded student: a LLaVA of about 3 M parameters with planted gaps.

    python scripts/train_student.py --out delamo/models/weights/micro_student --minutes 45

Two stages from one seed. (1) The CLIP tower learns what stands in each cell from cell labels: it sees all that the world
holds. (2) Tower, projector and language model learn captions and worked answers of the kinds of question that need
none of the MISSING skills. The captions name sizes, fills, frames, parity and heights too, so that a gap is a kind of
question that was never asked, not a word that was never seen.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import (
    AutoTokenizer,
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from delamo.data.microworld.catalogue import FAMILIES, TARGETS
from delamo.data.microworld.examples import Example, ask, draw_options, options_line, verdict, worked_answer
from delamo.data.microworld.questions import KINDS
from delamo.data.microworld.render import IMAGE_SIZE, render
from delamo.data.microworld.scene import COLOURS, FILLS, FRAMES, SHAPES, SIZES, Thing

MISSING = ("size", "fill", "frame", "parity", "vertical", "compare_sizes")
PATCH = 8
NUM_PATCHES = (IMAGE_SIZE // PATCH) ** 2
MEAN, STD = [0.5] * 3, [0.25] * 3
NOUNS = ("empty", *SHAPES, *(f"digit {d}" for d in range(10)))
CELL_LABELS = (NOUNS, COLOURS, SIZES, FRAMES, FILLS)
SETTINGS = [spec.setting for spec in (*TARGETS.values(), *FAMILIES.values())]
KNOWN = [k for k in KINDS.values() if not set(k.skills) & set(MISSING)]
HARD = {
    "place_of": 3.0,
    "horizontal": 4.0,
    "same_colour": 2.5,
    "odd_one_out": 4.0,
    "shape_of_colour": 1.5,
    "shape_at": 1.5,
}
WEIGHTS = [HARD.get(k.name, 1.0) for k in KNOWN]
"""Kinds that are learned late come more often."""


def draw_example(index: int, seed: int) -> tuple[Example, str, str]:
    """One pretraining example: (example, user turn, reply)."""
    rng = Random(f"pretrain/{seed}/{index}")
    kind = rng.choices(KNOWN, WEIGHTS)[0]
    draft = kind.draw(rng)
    options = draw_options(rng, draft) if draft.domain and rng.random() < 0.9 else ()
    example = Example(kind, draft, "", options)
    question = f"{rng.choice(SETTINGS)} {ask(rng, example, plain=rng.random() < 0.5)}"
    return example, question + options_line(options), worked_answer(example)


def draw_lookup(words: list[str], index: int, seed: int) -> tuple[None, str, str]:
    """A text-only exercise in the walk over the options, with any words: only copying solves it.

    The small option sets of the microworld can half be guessed, and a model that guesses never learns to look up.
    """
    rng = Random(f"lookup/{seed}/{index}")
    options = rng.sample(words, rng.randint(2, 6))
    answer = rng.choice(options)
    question = f"{rng.choice(SETTINGS)} {rng.choice(('Which one is', 'What is called', 'Find'))} {answer}?"
    verdicts = [verdict(i, text, text == answer) for i, text in enumerate(options)]
    final = f"The final answer is ({'ABCDEF'[options.index(answer)]})."
    return None, question + options_line(tuple(options)), " ".join([f"So the answer is {answer}.", *verdicts, final])


def cell_labels(example: Example) -> list[list[int]]:
    """(4 cells, 5 attributes); -100 where an attribute does not apply."""
    rows = []
    for thing in example.scene.cells:
        rows.append([0, -100, -100, -100, -100] if thing is None else _labels(thing))
    return rows


def _labels(thing: Thing) -> list[int]:
    noun = f"digit {thing.digit}" if thing.digit else thing.noun
    values = (noun, thing.colour, thing.size, thing.frame, thing.fill)
    return [names.index(v) if v else -100 for names, v in zip(CELL_LABELS, values, strict=True)]


def pixels(examples: list[Example]) -> torch.Tensor:
    """(batch, 3, 48, 48), as the processor makes them."""
    array = np.stack([np.asarray(render(example.scene, "pool")) for example in examples])
    tensor = torch.from_numpy(array).permute(0, 3, 1, 2).float() / 255
    return (tensor - MEAN[0]) / STD[0]


def build_model(tokenizer, seed: int) -> LlavaForConditionalGeneration:
    torch.manual_seed(seed)
    vision = CLIPVisionConfig(
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=IMAGE_SIZE,
        patch_size=PATCH,
    )
    text = LlamaConfig(
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
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_select_strategy="default",
        vision_feature_layer=-1,
        image_seq_length=NUM_PATCHES,
        tie_word_embeddings=False,
    )
    return LlavaForConditionalGeneration(config)


def build_processor(tokenizer) -> LlavaProcessor:
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    image_processor = CLIPImageProcessor(
        do_resize=True, size=size, do_center_crop=False, crop_size=size, image_mean=MEAN, image_std=STD
    )
    return LlavaProcessor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>",
        chat_template=tokenizer.chat_template,
    )


def train_tower(model: LlavaForConditionalGeneration, *, steps: int, batch_size: int, seed: int) -> None:
    """Stage 1: label each cell from the mean of its nine patches."""
    tower = model.model.vision_tower
    heads = nn.ModuleList(nn.Linear(128, len(names)) for names in CELL_LABELS)
    optimizer = torch.optim.AdamW([*tower.parameters(), *heads.parameters()], lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps, pct_start=0.1)
    start = time.time()
    for step in range(steps):
        examples = [draw_example(step * batch_size + i, seed + 1)[0] for i in range(batch_size)]
        labels = torch.tensor([cell_labels(example) for example in examples])
        with torch.autocast("cpu", torch.bfloat16):
            hidden = tower(pixels(examples), output_hidden_states=True).hidden_states[-1][:, 1:]
            side = IMAGE_SIZE // PATCH
            grid = hidden.view(batch_size, 2, side // 2, 2, side // 2, -1).mean((2, 4)).flatten(1, 2)
            losses = [
                cross_entropy(h(grid).flatten(0, 1).float(), labels[..., i].flatten()) for i, h in enumerate(heads)
            ]
        optimizer.zero_grad()
        sum(losses).backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            right = [
                (h(grid).argmax(-1) == labels[..., i])[labels[..., i] >= 0].float().mean() for i, h in enumerate(heads)
            ]
            print(f"tower {step + 1} {time.time() - start:.0f}s", *(f"{float(x):.2f}" for x in right), flush=True)


def encode(tokenizer, rows: list[tuple[Example, str, str]]) -> dict[str, torch.Tensor]:
    """Pad a batch on the right; loss on the reply and its end-of-sequence token."""
    ids, labels = [], []
    for example, question, reply in rows:
        picture = "<image>" * NUM_PATCHES + "\n" if example else ""
        head = tokenizer(f"<s>USER: {picture}{question} ASSISTANT:").input_ids
        tail = tokenizer(f" {reply}</s>").input_ids
        ids.append(torch.tensor(head + tail))
        labels.append(torch.tensor([-100] * len(head) + tail))
    padded = nn.utils.rnn.pad_sequence(ids, True, tokenizer.pad_token_id)
    batch = {
        "input_ids": padded,
        "attention_mask": (padded != tokenizer.pad_token_id).long(),
        "labels": nn.utils.rnn.pad_sequence(labels, True, -100),
    }
    pictured = [row[0] for row in rows if row[0]]
    return batch | {"pixel_values": pixels(pictured)} if pictured else batch


def length_grouped(tokenizer, batch_size: int, seed: int, num_batches: int = 16) -> Iterator[dict[str, torch.Tensor]]:
    """Batches of like length, to spend little on padding; the order within each group of batches is shuffled."""
    rng, index = Random(seed), 0
    words = [token[1:] for token in sorted(tokenizer.get_vocab()) if re.fullmatch("\u0120[a-z]{3,}", token)]
    while True:
        rows = [draw_example(index + i, seed) for i in range(batch_size * num_batches)]
        index += len(rows)
        rows.sort(key=lambda row: len(row[1]) + len(row[2]))
        starts = list(range(0, len(rows), batch_size))
        rng.shuffle(starts)
        for number, start in enumerate(starts):
            yield encode(tokenizer, rows[start : start + batch_size])
            if number % 3 == 2:
                yield encode(tokenizer, [draw_lookup(words, index + start + i, seed) for i in range(batch_size)])


def train_language(model, tokenizer, *, minutes: float, batch_size: int, seed: int, rate: float, save) -> int:
    """Stage 2: captions and worked answers; the rate follows a cosine over the time given."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01, betas=(0.9, 0.98))
    batches = length_grouped(tokenizer, batch_size, seed)
    start, step, window, saved = time.time(), 0, [], 0.0
    while (spent := (time.time() - start) / (60 * minutes)) < 1:
        scale = min(1.0, (step + 1) / 200) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * spent)))
        for group in optimizer.param_groups:
            group["lr"] = rate * scale
        batch = next(batches)
        labels = batch.pop("labels")
        with torch.autocast("cpu", torch.bfloat16):
            hidden = model.model(**batch).last_hidden_state[:, :-1]
            keep = labels[:, 1:] != -100
            logits = model.lm_head(hidden[keep])
        loss = cross_entropy(logits.float(), labels[:, 1:][keep])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        window.append((loss.item(), (logits.argmax(-1) == labels[:, 1:][keep]).float().mean().item()))
        step += 1
        if step % 50 == 0:
            mean = np.mean(window[-50:], axis=0)
            print(f"step {step} {spent:.3f} loss {mean[0]:.4f} token accuracy {mean[1]:.4f}", flush=True)
        if spent - saved > 0.1:
            saved = spent
            save()
    return step * batch_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("delamo/models/weights/micro_student"))
    parser.add_argument("--tokenizer", type=Path, default=Path("delamo/models/weights/tokenizer"))
    parser.add_argument("--minutes", type=float, default=45, help="length of stage 2")
    parser.add_argument("--tower-steps", type=int, default=1500)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rate", type=float, default=6e-4)
    parser.add_argument("--continue-from", type=Path, help="weights to go on from: stage 2 only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    tokenizer = AutoTokenizer.from_pretrained(args.tokenizer)
    model = build_model(tokenizer, args.seed)
    if args.continue_from:
        model = LlavaForConditionalGeneration.from_pretrained(args.continue_from, dtype=torch.float32)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters")

    def save() -> None:
        half = {name: p.detach().to(torch.float16) for name, p in model.state_dict().items()}
        model.save_pretrained(args.out, state_dict=half)
        build_processor(tokenizer).save_pretrained(args.out)

    if not args.continue_from:
        train_tower(model, steps=args.tower_steps, batch_size=128, seed=args.seed)
    samples = train_language(
        model, tokenizer, minutes=args.minutes, batch_size=args.batch_size, seed=args.seed, rate=args.rate, save=save
    )
    save()
    recipe = {**{k: str(v) for k, v in vars(args).items()}, "missing": MISSING, "language_samples": samples}
    (args.out / "recipe.json").write_text(json.dumps(recipe, indent=1) + "\n")


if __name__ == "__main__":
    main()
