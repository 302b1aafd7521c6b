"""Pretrain the embedded student: a LLaVA of about 3 M parameters with planted gaps.

    python scripts/train/train_student.py --out delamo/models/weights/micro_student --minutes 45

Two stages from one seed. (1) The CLIP tower learns what stands in each cell from cell labels: it sees all that the
world holds. (2) Tower, projector and language model learn captions and worked answers of the kinds of question that
need none of the MISSING skills. The captions name sizes, fills, frames, parity and heights too, so that a gap is a kind
of question that was never asked, not a word that was never seen.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from random import Random
from typing import Any

import numpy as np
import torch
from flawed_rationales import SETTINGS
from torch import nn
from torch.nn.functional import cross_entropy
from training import (
    IGNORED,
    Loss,
    llama_config,
    make_parser,
    reply_loss,
    save_half,
    text_batch,
    train_for,
    write_recipe,
)
from transformers import (
    AutoTokenizer,
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

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
    """Return one pretraining example: (example, user turn, reply)."""
    rng = Random(f"pretrain/{seed}/{index}")
    kind = rng.choices(KNOWN, WEIGHTS)[0]
    draft = kind.draw(rng)
    options = draw_options(rng, draft) if draft.domain and rng.random() < 0.9 else ()
    example = Example(kind, draft, "", options)
    question = f"{rng.choice(SETTINGS)} {ask(rng, example, plain=rng.random() < 0.5)}"
    return example, question + options_line(options), worked_answer(example)


def draw_lookup(words: list[str], index: int, seed: int) -> tuple[None, str, str]:
    """Return an exercise without an image in the walk over the options, with any words: only copying solves it.

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
    """Return the labels of the tower's training: 4 cells of 5 attributes, IGNORED where an attribute does not apply."""
    empty = [NOUNS.index("empty"), *[IGNORED] * (len(CELL_LABELS) - 1)]
    return [empty if thing is None else _thing_labels(thing) for thing in example.scene.cells]


def _thing_labels(thing: Thing) -> list[int]:
    noun = f"digit {thing.digit}" if thing.digit else thing.noun
    values = (noun, thing.colour, thing.size, thing.frame, thing.fill)
    return [names.index(v) if v else IGNORED for names, v in zip(CELL_LABELS, values, strict=True)]


def pixels(examples: list[Example]) -> torch.Tensor:
    """Render images of shape (batch, 3, 48, 48), as the processor makes them."""
    array = np.stack([np.asarray(render(example.scene, "pool")) for example in examples])
    tensor = torch.from_numpy(array).permute(0, 3, 1, 2).float() / 255
    return (tensor - MEAN[0]) / STD[0]


def build_model(tokenizer: Any, seed: int) -> LlavaForConditionalGeneration:
    torch.manual_seed(seed)
    vision = CLIPVisionConfig(
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=IMAGE_SIZE,
        patch_size=PATCH,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=llama_config(tokenizer),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_select_strategy="default",
        vision_feature_layer=-1,
        image_seq_length=NUM_PATCHES,
        tie_word_embeddings=False,
    )
    return LlavaForConditionalGeneration(config)


def build_processor(tokenizer: Any) -> LlavaProcessor:
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
    """Train the tower to label each cell from the mean of its nine patches (stage 1)."""
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


def encode(tokenizer: Any, rows: list[tuple[Example | None, str, str]]) -> dict[str, torch.Tensor]:
    """Make a batch of (example, user turn, reply); the loss is on the reply and its end-of-sequence token."""
    image = "<image>" * NUM_PATCHES + "\n"
    pairs = [
        (f"<s>USER: {image if example else ''}{question} ASSISTANT:", f" {reply}</s>")
        for example, question, reply in rows
    ]
    batch, examples = text_batch(tokenizer, pairs), [example for example, _, _ in rows if example]
    return batch | {"pixel_values": pixels(examples)} if examples else batch


def batches(tokenizer: Any, batch_size: int, seed: int, group_size: int = 16) -> Iterator[dict[str, torch.Tensor]]:
    """Yield batches of samples of similar length, with little padding; after every third one comes a batch of look-ups.

    The order within each group of batches is shuffled.
    """
    rng, index = Random(seed), 0
    words = [token[1:] for token in sorted(tokenizer.get_vocab()) if re.fullmatch("\u0120[a-z]{3,}", token)]
    while True:
        rows = [draw_example(index + i, seed) for i in range(batch_size * group_size)]
        index += len(rows)
        rows.sort(key=lambda row: len(row[1]) + len(row[2]))
        starts = list(range(0, len(rows), batch_size))
        rng.shuffle(starts)
        for number, start in enumerate(starts):
            yield encode(tokenizer, rows[start : start + batch_size])
            if number % 3 == 2:
                yield encode(tokenizer, [draw_lookup(words, index + start + i, seed) for i in range(batch_size)])


def main() -> None:
    parser = make_parser(__doc__, "micro_student", minutes=45, batch_size=64, rate=6e-4)
    parser.add_argument("--tower-steps", type=int, default=1500, help="of stage 1; left out with --continue-from")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    tokenizer = AutoTokenizer.from_pretrained(args.tokenizer)
    model = build_model(tokenizer, args.seed)
    if args.continue_from:
        model = LlavaForConditionalGeneration.from_pretrained(args.continue_from, dtype=torch.float32)
    print(f"{model.num_parameters() / 1e6:.2f} M parameters")
    if not args.continue_from:
        train_tower(model, steps=args.tower_steps, batch_size=128, seed=args.seed)

    def save() -> None:
        save_half(model, args.out, build_processor(tokenizer))

    def next_loss(step: int, spent: float) -> Loss:
        return "answers", *reply_loss(model, next(stream))

    stream = batches(tokenizer, args.batch_size, args.seed)
    history = train_for(args.minutes, model, next_loss, rate=args.rate, warmup_steps=200, save=save)
    save()
    write_recipe(args, missing=MISSING, language_samples=len(history["answers"]) * args.batch_size)


if __name__ == "__main__":
    main()
