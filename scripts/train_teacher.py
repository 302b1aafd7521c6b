"""Train the embedded teacher: a text-only Llama of about 2.4 M parameters, from scratch.

    python scripts/train_teacher.py --out delamo/models/weights/micro_teacher --minutes 30

It learns to reply in the words of the prompt templates it will be asked with (delamo/models/templates/micro):

  * the option that a partial rationale speaks for, under a prior of 60 % on the gold option, as probabilities;
  * whether the last step is right, and whether it agrees with a reference;
  * the missing skill behind a mistake step;
  * the skills that a pool sample needs;
  * a reference rationale for a question and its answer.

It is trained on flawed rationales that are made by rule (flawed_rationales.py). What it later says about the student's rationales is its own
reading of the text: it may be wrong, and the reports measure how often.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
from pathlib import Path
from random import Random

import numpy as np
import torch
from flawed_rationales import (
    CONVINCED,
    SETTINGS,
    Trace,
    distribution,
    draw_trace,
    question_of,
    two_options,
)
from torch import nn
from torch.nn.functional import cross_entropy, log_softmax
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from delamo.data.microworld.catalogue import FAMILIES
from delamo.data.microworld.examples import (
    LETTERS,
    Example,
    draw_options,
    options_line,
    pool_instruction,
    worked_answer,
)
from delamo.data.microworld.questions import KINDS, SKILLS

STEP_TAIL = "\nThe answer is option"
CHECK_TAIL = "\nIs the last step right? Options: (A) yes (B) no\nThe answer is option"
COMPARE_TAIL = "\nDoes the last step agree with the reference? Options: (A) yes (B) no\nThe answer is option"

# The tasks as token rows.


def step_row(tokenizer, rng: Random) -> dict:
    """Head and steps once, then one tail for every prefix; each tail sees its prefix only."""
    trace = draw_trace(rng)
    example = trace.example
    options = example.options or two_options(rng, example)
    if not example.options:
        known = {trace.wrong, example.draft.answer}
        options = tuple(rng.sample(sorted(known), 2)) if len(known) == 2 else options
    gold = options.index(example.draft.answer)
    named = trace.example.options or ()
    head = (
        f"Question: {question_of(rng, example)}{options_line(options)}\n"
        f"Prior: option {LETTERS[gold]} ({options[gold]}) is right with probability 60%.\nRationale:"
    )
    ids = list(tokenizer(head).input_ids)
    ends = [len(ids)]
    for sentence in trace.sentences:
        ids += tokenizer(f" {sentence}").input_ids
        ends.append(len(ids))
    targets = [distribution(None, gold, len(options))]
    for belief in trace.beliefs:
        if belief is not None and not named:  # an open question: beliefs were about other option lists
            belief = (belief_of_open(trace, belief, options, gold), belief[1])
        targets.append(distribution(belief, gold, len(options)))
    return {"ids": ids, "ends": ends, "targets": targets, "tail": STEP_TAIL}


def check_row(tokenizer, rng: Random) -> dict:
    """Is the last step right, after each step (Tyen et al. 2024)? Two rows in five come with a reference to compare with."""
    trace = draw_trace(rng)
    example = trace.example
    head, tail = f"Question: {question_of(rng, example)}{options_line(example.options)}\n", CHECK_TAIL
    if rng.random() < 0.4:
        head, tail = f"{head}Reference: {reference_of(example)}\n", COMPARE_TAIL
    ids = list(tokenizer(f"{head}Rationale:").input_ids)
    ends, targets = [], []
    for index, sentence in enumerate(trace.sentences):
        ids += tokenizer(f" {sentence}").input_ids
        ends.append(len(ids))
        wrong = trace.flaw is not None and index >= trace.flaw
        targets.append([1 - 0.9, 0.9] if wrong else [0.9, 1 - 0.9])
    return {"ids": ids, "ends": ends, "targets": targets, "tail": tail}


def reference_of(example: Example) -> str:
    """Reasoning that leads to the right answer, without the look at the picture that only the student takes."""
    return " ".join([*example.draft.reasoning, f"So the answer is {example.draft.answer}."])


def lookup_row(tokenizer, rng: Random, words: list[str], *, plain: bool = False) -> dict:
    """An exercise in reading conclusions: eight in a row, any words, each naming an option or none.

    In the microworld's small option sets the letter can half be guessed before the rationale names it; a model that guesses
    never learns to look the conclusion up. `plain` is the beginner's form: four options, every conclusion one of them.
    """
    options = tuple(rng.sample(words, 4 if plain else rng.choice((2, 3, 4, 5, 6))))
    gold = rng.randrange(len(options))
    head = (
        f"Question: {rng.choice(SETTINGS)} Which one is it?{options_line(options)}\n"
        f"Prior: option {LETTERS[gold]} ({options[gold]}) is right with probability 60%.\nRationale:"
    )
    ids = list(tokenizer(head).input_ids)
    ends, targets, belief = [len(ids)], [distribution(None, gold, len(options))], None
    for _ in range(8):
        named = rng.choice(options) if plain or rng.random() < 0.85 else rng.choice(words)
        belief = (options.index(named), CONVINCED) if named in options else belief
        form = "So the answer is {}." if plain or rng.random() < 0.8 else "The final answer is {}."
        ids += tokenizer(" " + form.format(named)).input_ids
        ends.append(len(ids))
        targets.append(distribution(belief, gold, len(options)))
    return {"ids": ids, "ends": ends, "targets": targets, "tail": STEP_TAIL}


def lookup_words(tokenizer) -> list[str]:
    """Every plain word of the vocabulary, and every answer of the microworld."""
    plain = {token[1:] for token in tokenizer.get_vocab() if re.fullmatch("\u0120[a-z]{3,}", token)}
    drafts = [kind.draw(Random(f"words/{i}")) for i, kind in enumerate(list(KINDS.values()) * 20)]
    return sorted(plain.union(*(draft.domain for draft in drafts)))


def belief_of_open(trace: Trace, belief: tuple[int, float], options: tuple[str, ...], gold: int) -> int:
    """For two options only two beliefs exist: what the rationale ends with, or the gold answer."""
    return gold if trace.wrong == options[gold] else 1 - gold


def branch_batch(
    tokenizer, rows: list[dict]
) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor, torch.Tensor]:
    """(inputs, read-out positions (M, 2), target probabilities (M, 8), number of options (M,))."""
    tails = [tokenizer(row["tail"]).input_ids for row in rows]
    length = max(len(r["ids"]) + len(r["ends"]) * len(tail) for r, tail in zip(rows, tails, strict=True))
    ids = torch.full((len(rows), length), tokenizer.pad_token_id)
    positions = torch.zeros(len(rows), length, dtype=torch.long)
    allowed = torch.eye(length, dtype=torch.bool).repeat(len(rows), 1, 1)
    reads, targets, sizes = [], [], []
    for r, row in enumerate(rows):
        n, tail = len(row["ids"]), tails[r]
        ids[r, :n] = torch.tensor(row["ids"])
        positions[r, :n] = torch.arange(n)
        allowed[r, :n, :n] = torch.ones(n, n, dtype=torch.bool).tril()
        for end, target in zip(row["ends"], row["targets"], strict=True):
            m = n + len(tail)
            ids[r, n:m] = torch.tensor(tail)
            positions[r, n:m] = torch.arange(end, end + len(tail))
            allowed[r, n:m, :end] = True
            allowed[r, n:m, n:m] |= torch.ones(len(tail), len(tail), dtype=torch.bool).tril()
            reads.append((r, m - 1))
            targets.append(target + [0.0] * (8 - len(target)))
            sizes.append(len(target))
            n = m
    mask = torch.zeros(len(rows), 1, length, length).masked_fill(~allowed[:, None], torch.finfo(torch.float32).min)
    inputs = {"input_ids": ids, "position_ids": positions, "attention_mask": mask}
    return inputs, torch.tensor(reads), torch.tensor(targets), torch.tensor(sizes)


def skill_row(rng: Random) -> tuple[str, str]:
    trace = draw_trace(rng)
    while trace.flaw is None:
        trace = draw_trace(rng)
    example, words = trace.example, trace.example.draft.words
    step = trace.flaw if rng.random() < 0.6 else rng.randrange(trace.flaw, len(trace.sentences))
    mistake = f"\nMistake: {trace.sentences[step]}" if rng.random() < 0.85 else ""  # no step: the whole rationale
    head = (
        f"Question: {question_of(rng, example)}{options_line(example.options)}\nAnswer: {example.draft.answer}\n"
        f"Rationale: {' '.join(trace.sentences)}{mistake}\nMissing skill:"
    )
    return head, f" {SKILLS[trace.skill].format(x=words.get('x', 'object'))}\n"


def reference_row(rng: Random) -> tuple[str, str]:
    """Question and answer, and reasoning between them; what the picture holds must be made up."""
    example = draw_trace(rng).example
    head = f"Question: {question_of(rng, example)}{options_line(example.options)}\nAnswer: {example.draft.answer}\n"
    return f"{head}Reference rationale:", f" {reference_of(example)}\n"


def annotation_row(rng: Random) -> tuple[str, str]:
    kind = KINDS[rng.choice(list(KINDS))]
    draft = kind.draw(rng)
    options = draw_options(rng, draft) if draft.domain and rng.random() < 0.8 else ()
    family = rng.choice([name for name, f in FAMILIES.items() if f.kind == kind.name])
    example = Example(kind, draft, family, options)
    instruction = pool_instruction(example, f"teacher/{rng.random()}", 0.5)
    skills = "; ".join(SKILLS[name].format(x=draft.words.get("x", "object")) for name in kind.skills)
    return f"Instruction: {instruction}\nResponse: {worked_answer(example)}\nSkills:", f" {skills}\n"


def text_batch(tokenizer, pairs: list[tuple[str, str]]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    ids, labels = [], []
    for head, tail in pairs:
        a, b = tokenizer(head).input_ids, tokenizer(tail).input_ids
        ids.append(torch.tensor(a + b))
        labels.append(torch.tensor([-100] * len(a) + b))
    padded = nn.utils.rnn.pad_sequence(ids, True, tokenizer.pad_token_id)
    inputs = {"input_ids": padded, "attention_mask": (padded != tokenizer.pad_token_id).long()}
    return inputs, nn.utils.rnn.pad_sequence(labels, True, -100)


def step_loss(model, tokenizer, rows: list[dict], letters: torch.Tensor) -> tuple[torch.Tensor, float]:
    inputs, reads, targets, _ = branch_batch(tokenizer, rows)
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(**inputs).last_hidden_state
        logits = model.lm_head(hidden[reads[:, 0], reads[:, 1]])
    logp = log_softmax(logits.float(), -1)[:, letters]
    loss = -(targets * logp).sum(-1).mean()
    return loss, (logp.argmax(-1) == targets.argmax(-1)).float().mean().item()


def text_loss(model, tokenizer, rng: Random, batch_size: int, make) -> tuple[torch.Tensor, float]:
    inputs, labels = text_batch(tokenizer, [make(rng) for _ in range(batch_size)])
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(**inputs).last_hidden_state[:, :-1]
        keep = labels[:, 1:] != -100
        logits = model.lm_head(hidden[keep])
    gold = labels[:, 1:][keep]
    return cross_entropy(logits.float(), gold), (logits.argmax(-1) == gold).float().mean().item()


def build_model(tokenizer, seed: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
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
    return LlamaForCausalLM(config)


TEXTS = {"skill": skill_row, "pool": annotation_row, "reference": reference_row}
CYCLES = (
    (*["plain look-up"] * 9, "step"),
    ("step", "pool", "check", "step", "look-up", "step", "skill", "check", "step", "reference"),
)
"""What the batches hold: while look-up is learned, and after."""


def train(
    model, tokenizer, *, minutes: float, lookups_first: float, batch_size: int, rate: float, seed: int, save
) -> int:
    letters = torch.tensor([tokenizer.convert_tokens_to_ids(f"Ġ{letter}") for letter in LETTERS[:8]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01, betas=(0.9, 0.98))
    rng, start, step, saved = Random(f"teacher/{seed}"), time.time(), 0, 0.0
    words = lookup_words(tokenizer)
    branched = {
        "step": lambda: step_row(tokenizer, rng),
        "check": lambda: check_row(tokenizer, rng),
        "look-up": lambda: lookup_row(tokenizer, rng, words),
        "plain look-up": lambda: lookup_row(tokenizer, rng, words, plain=True),
    }
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in (*branched, *TEXTS)}
    while (spent := (time.time() - start) / (60 * minutes)) < 1:
        scale = min(1.0, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * spent)))
        for group in optimizer.param_groups:
            group["lr"] = rate * scale
        cycle = CYCLES[spent >= lookups_first]
        task = cycle[step % len(cycle)]
        if task in branched:
            rows = [branched[task]() for _ in range(batch_size)]
            loss, accuracy = step_loss(model, tokenizer, rows, letters)
        else:
            loss, accuracy = text_loss(model, tokenizer, rng, batch_size, TEXTS[task])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seen[task].append((loss.item(), accuracy))
        step += 1
        if step % 100 == 0:
            means = {name: np.mean(values[-25:], axis=0) for name, values in seen.items() if values}
            print(f"step {step} {spent:.3f}", *(f"{n} {m[0]:.3f} {m[1]:.3f}" for n, m in means.items()), flush=True)
        if spent - saved > 0.1:
            saved = spent
            save()
    return step * batch_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("delamo/models/weights/micro_teacher"))
    parser.add_argument("--tokenizer", type=Path, default=Path("delamo/models/weights/tokenizer"))
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--lookups-first", type=float, default=0.35, help="share of the time that is mostly look-ups")
    parser.add_argument("--batch-size", type=int, default=48)
    parser.add_argument("--rate", type=float, default=6e-4)
    parser.add_argument("--continue-from", type=Path, help="weights to go on from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    tokenizer = AutoTokenizer.from_pretrained(args.tokenizer)
    model = build_model(tokenizer, args.seed)
    if args.continue_from:
        model = LlamaForCausalLM.from_pretrained(args.continue_from, dtype=torch.float32)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters")

    def save() -> None:
        half = {name: p.detach().to(torch.float16) for name, p in model.state_dict().items()}
        model.save_pretrained(args.out, state_dict=half)
        tokenizer.save_pretrained(args.out)

    options = {name: getattr(args, name) for name in ("minutes", "lookups_first", "batch_size", "rate", "seed")}
    samples = train(model, tokenizer, **options, save=save)
    save()
    recipe = {**{k: str(v) for k, v in vars(args).items()}, "samples": samples}
    (args.out / "recipe.json").write_text(json.dumps(recipe, indent=1) + "\n")


if __name__ == "__main__":
    main()
