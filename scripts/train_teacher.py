"""Train the embedded teacher: a text-only Llama of about 2.4 M parameters, from scratch.

    python scripts/train_teacher.py --out delamo/models/weights/micro_teacher --minutes 30

It learns three replies, in the words of the prompt templates it will be asked with (delamo/models/templates/micro):

  * the option that a partial rationale speaks for, under a prior of 60 % on the gold option, as probabilities;
  * the missing skill behind a mistake step;
  * the skills that a pool sample needs.

It is trained on flawed rationales that are made here by rule. What it later says about the student's rationales is its own
reading of the text: it may be wrong, and the reports measure how often.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, log_softmax
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from delamo.data.microworld.catalogue import FAMILIES, TARGETS
from delamo.data.microworld.examples import (
    LETTERS,
    Example,
    ask,
    draw_options,
    options_line,
    pool_instruction,
    verdict,
    worked_answer,
)
from delamo.data.microworld.questions import KINDS, SKILLS

PRIOR, CONVINCED = 0.6, 0.95
SETTINGS = [spec.setting for spec in (*TARGETS.values(), *FAMILIES.values())]
NAMES = [name for name, kind in KINDS.items() if name != "describe"]


def draw_example(rng: Random, multiple_choice: float = 0.85) -> Example:
    kind = KINDS[rng.choice(NAMES)]
    draft = kind.draw(rng)
    options = draw_options(rng, draft)
    if rng.random() > multiple_choice:
        options = ()
    return Example(kind, draft, rng.choice(list(FAMILIES)), options)


@dataclass
class Trace:
    """A rationale, sentence by sentence, and what it speaks for after each."""

    example: Example
    sentences: list[str]
    beliefs: list[tuple[int, float] | None]
    """After each sentence: (option, probability), or None where only the prior speaks."""
    flaw: int | None
    """Index of the first flawed sentence."""
    skill: str
    wrong: str
    """The answer that the rationale ends with: a letter, or a text when the question is open."""


def draw_trace(rng: Random) -> Trace:
    """A rationale with a flaw of one of five sorts, or none."""
    example = draw_example(rng)
    options = example.options or two_options(rng, example)
    gold = options.index(example.draft.answer)
    wrong = rng.choice([i for i in range(len(options)) if i != gold])
    sort = rng.choices(("none", "scan", "reasoning", "foreign", "conclusion", "verdict"), (15, 20, 20, 25, 10, 10))[0]
    scan, reasoning, skill = example.draft.scene.scan(), list(example.draft.reasoning), example.kind.skills[0]
    flaw: int | None = None
    conclusion = options[wrong]
    if sort == "scan":
        flaw = corrupt(rng, scan, example, options[wrong])
        if flaw is None:
            sort = "reasoning"
        else:
            reasoning = [swap(s, example.draft.answer, options[wrong]) for s in reasoning]
            skill = SCAN_SKILLS.get(example.kind.name, skill)
    if sort == "reasoning":
        changed = [i for i, s in enumerate(reasoning) if swap(s, example.draft.answer, options[wrong]) != s]
        if changed:
            flaw = len(scan) + changed[0]
            reasoning = [swap(s, example.draft.answer, options[wrong]) for s in reasoning]
        else:
            sort = "conclusion"
    if sort == "foreign":
        reasoning, conclusion = foreign_reasoning(rng, example)
        flaw = len(scan) + len(reasoning)
    if sort in ("none", "verdict"):
        conclusion = example.draft.answer
    if sort == "conclusion":
        flaw = len(scan) + len(reasoning)
    return assemble(rng, example, options, scan, reasoning, conclusion, sort, flaw, skill, gold, wrong)


SCAN_SKILLS = {
    "colour_of": "colour",
    "size_of": "size",
    "fill_of": "fill",
    "frame_of": "frame",
    "digit_value": "digit",
    "parity_of": "digit",
    "shape_at": "shape",
}


def two_options(rng: Random, example: Example) -> tuple[str, ...]:
    """An open question as the teacher sees it: the gold answer and a wrong one, in random order."""
    wrong = rng.choice([text for text in example.draft.domain if text != example.draft.answer])
    return tuple(rng.sample([example.draft.answer, wrong], 2))


def swap(sentence: str, old: str, new: str) -> str:
    return re.sub(rf"\b{re.escape(old)}\b", new, sentence)


def corrupt(rng: Random, scan: list[str], example: Example, wrong: str) -> int | None:
    """Write the wrong answer into the scan sentence that holds the right one; None where the scan does not say it."""
    noun, answer = example.draft.words.get("x"), example.draft.answer
    for i, sentence in enumerate(scan):
        about = (
            noun is not None
            and re.search(rf"\b{noun}\b", sentence)
            or example.draft.words.get("place", "-") in sentence
        )
        if about and swap(sentence, answer, wrong) != sentence:
            scan[i] = swap(sentence, answer, wrong)
            return i
    return None


def foreign_reasoning(rng: Random, example: Example) -> tuple[list[str], str]:
    """What a student says that mistakes the question for one of another kind about the same scene."""
    scene = example.draft.scene
    thing = rng.choice(scene.things())
    place = scene.place(thing)
    return rng.choice(
        [
            ([f"The {thing.noun} is {thing.colour}."], thing.colour),
            ([f"The {place} holds a {thing.noun}."], thing.noun),
            ([f"The {thing.noun} is in the {place}."], place),
            (
                [
                    f"The objects are {', '.join(t.noun for t in scene.things())}.",
                    f"There are {len(scene.things())} objects.",
                ],
                str(len(scene.things())),
            ),
            ([f"The {thing.noun} is {thing.size}."], thing.size),
            ([f"The {thing.colour} object is the {thing.noun}."], thing.noun),
        ]
    )


def assemble(rng, example, options, scan, reasoning, conclusion, sort, flaw, skill, gold, wrong) -> Trace:
    sentences, beliefs = [], []
    state: tuple[int, float] | None = None
    end = gold if sort == "none" else wrong

    def say(sentence: str, belief: tuple[int, float] | None) -> None:
        nonlocal state
        state = belief if belief is not None else state
        sentences.append(sentence)
        beliefs.append(state)

    for i, sentence in enumerate(scan):
        say(sentence, (wrong, 0.8) if sort == "scan" and i == flaw else None)
    for i, sentence in enumerate(reasoning):
        if sort in ("none", "verdict", "conclusion"):
            say(sentence, (gold, 0.85) if i == len(reasoning) - 1 else None)
        else:
            say(
                sentence,
                (wrong, 0.85)
                if sort in ("scan", "reasoning") and re.search(rf"\b{re.escape(options[wrong])}\b", sentence)
                else None,
            )
    believed = options.index(conclusion) if conclusion in options else None
    say(f"So the answer is {conclusion}.", None if believed is None else (believed, CONVINCED))
    if believed is not None and sort in ("foreign",):
        end = believed if believed != gold else wrong
    if sort == "verdict":
        flaw = len(sentences) + min(gold, wrong)
    if example.options:
        nothing_fits = sort == "foreign" and believed is None and rng.random() < 0.6
        for i, text in enumerate(options):
            fits = i == end and not nothing_fits
            doubt = i == gold and end != gold and (state is None or state[0] == gold)
            say(verdict(i, text, fits), (i, CONVINCED) if fits else ((end, 0.7) if doubt else None))
    final = f"({LETTERS[end]})" if example.options else options[end]
    say(f"The final answer is {final}.", (end, CONVINCED))
    return Trace(example, sentences, beliefs, flaw, skill, LETTERS[end] if example.options else options[end])


def distribution(belief: tuple[int, float] | None, gold: int, num_options: int) -> list[float]:
    option, mass = belief or (gold, PRIOR)
    rest = (1 - mass) / (num_options - 1)
    return [mass if i == option else rest for i in range(num_options)]


def question_of(rng: Random, example: Example) -> str:
    return f"{rng.choice(SETTINGS)} {ask(rng, example, plain=rng.random() < 0.6)}"


# The three tasks as token rows.


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
    return {"ids": ids, "ends": ends, "targets": targets}


def belief_of_open(trace: Trace, belief: tuple[int, float], options: tuple[str, ...], gold: int) -> int:
    """For two options only two beliefs exist: what the rationale ends with, or the gold answer."""
    return gold if trace.wrong == options[gold] else 1 - gold


def branch_batch(
    tokenizer, rows: list[dict]
) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor, torch.Tensor]:
    """(inputs, read-out positions (M, 2), target probabilities (M, 8), number of options (M,))."""
    tail = tokenizer("\nThe answer is option").input_ids
    length = max(len(r["ids"]) + len(r["ends"]) * len(tail) for r in rows)
    ids = torch.full((len(rows), length), tokenizer.pad_token_id)
    positions = torch.zeros(len(rows), length, dtype=torch.long)
    allowed = torch.eye(length, dtype=torch.bool).repeat(len(rows), 1, 1)
    reads, targets, sizes = [], [], []
    for r, row in enumerate(rows):
        n = len(row["ids"])
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
    head = (
        f"Question: {question_of(rng, example)}{options_line(example.options)}\nAnswer: {example.draft.answer}\n"
        f"Rationale: {' '.join(trace.sentences)}\nMistake: {trace.sentences[step]}\nMissing skill:"
    )
    return head, f" {SKILLS[trace.skill].format(x=words.get('x', 'object'))}\n"


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


def step_loss(model, tokenizer, rng: Random, batch_size: int, letters: torch.Tensor) -> tuple[torch.Tensor, float]:
    rows = [step_row(tokenizer, rng) for _ in range(batch_size)]
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


def train(model, tokenizer, *, minutes: float, batch_size: int, rate: float, seed: int, save) -> int:
    letters = torch.tensor([tokenizer.convert_tokens_to_ids(f"Ġ{letter}") for letter in LETTERS[:8]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01, betas=(0.9, 0.98))
    rng, start, step, saved = Random(f"teacher/{seed}"), time.time(), 0, 0.0
    seen: dict[str, list[tuple[float, float]]] = {"step": [], "skill": [], "pool": []}
    while (spent := (time.time() - start) / (60 * minutes)) < 1:
        scale = min(1.0, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * spent)))
        for group in optimizer.param_groups:
            group["lr"] = rate * scale
        task = ("step", "pool", "step", "skill")[step % 4]
        if task == "step":
            loss, accuracy = step_loss(model, tokenizer, rng, batch_size, letters)
        else:
            loss, accuracy = text_loss(
                model, tokenizer, rng, batch_size, skill_row if task == "skill" else annotation_row
            )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seen[task].append((loss.item(), accuracy))
        step += 1
        if step % 100 == 0:
            means = {name: np.mean(values[-25:], axis=0) for name, values in seen.items()}
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

    samples = train(
        model, tokenizer, minutes=args.minutes, batch_size=args.batch_size, rate=args.rate, seed=args.seed, save=save
    )
    save()
    recipe = {**{k: str(v) for k, v in vars(args).items()}, "samples": samples}
    (args.out / "recipe.json").write_text(json.dumps(recipe, indent=1) + "\n")


if __name__ == "__main__":
    main()
