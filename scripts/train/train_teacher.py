"""Train the embedded teacher: a text-only Llama of about 2.4 M parameters, from scratch.

    python scripts/train/train_teacher.py --out delamo/models/weights/micro_teacher --minutes 30

It learns to reply in the words of the prompt templates it will be asked with (delamo/models/templates/micro):

  * the option that a partial rationale speaks for, under a prior of 60 % on the gold option, as probabilities;
  * whether the last step is right, and whether it agrees with a reference;
  * the missing skill behind a mistake step;
  * the skills that a pool sample needs;
  * a reference rationale for a question and its answer.

It is trained on flawed rationales that are made by rule (flawed_rationales.py). What it later says about the student's
rationales is its own reading of the text: it may be wrong, and the reports measure how often.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import Any

import torch
from flawed_rationales import CONVINCED, SETTINGS, Trace, distribution, draw_trace, question_of, two_options
from torch.nn.functional import log_softmax
from training import Loss, llama_config, make_parser, reply_loss, save_half, text_batch, train_for, write_recipe
from transformers import AutoTokenizer, LlamaForCausalLM

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

Row = dict[str, Any]
"""A rationale whose prefixes are all asked about: `ids` of prompt and steps, the prefixes' `ends`, the `targets` after
each (probabilities of the options), and the `tail` that asks."""


def step_row(tokenizer: Any, rng: Random) -> Row:
    """Draw a rationale: which option does each prefix speak for?"""
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


def check_row(tokenizer: Any, rng: Random) -> Row:
    """Draw a rationale: is the last step of each prefix right (Tyen et al. 2024)?

    Two rows in five come with a reference to compare with.
    """
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
    """Return reasoning that leads to the right answer, without the look at the image that only the student takes."""
    return " ".join([*example.draft.reasoning, f"So the answer is {example.draft.answer}."])


def lookup_row(tokenizer: Any, rng: Random, words: list[str], *, plain: bool = False) -> Row:
    """Draw an exercise in reading conclusions: eight in a row, any words, each naming an option or none.

    In the microworld's small option sets the letter can half be guessed before the rationale names it; a model that
    guesses never learns to look the conclusion up. `plain` is the beginner's form: four options, every conclusion one
    of them.
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


def lookup_words(tokenizer: Any) -> list[str]:
    """Return every plain word of the vocabulary, and every answer of the microworld."""
    plain = {token[1:] for token in tokenizer.get_vocab() if re.fullmatch("\u0120[a-z]{3,}", token)}
    drafts = [kind.draw(Random(f"words/{i}")) for i, kind in enumerate(list(KINDS.values()) * 20)]
    return sorted(plain.union(*(draft.domain for draft in drafts)))


def belief_of_open(trace: Trace, belief: tuple[int, float], options: tuple[str, ...], gold: int) -> int:
    """Return the option that a belief is about where there are two: the rationale's end, or the gold answer."""
    return gold if trace.wrong == options[gold] else 1 - gold


def branch_batch(tokenizer: Any, rows: list[Row]) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """Make a batch in which prompt and steps stand once, and then a tail for every prefix, which sees that prefix only.

    Returns:
        (inputs of the model, where a tail ends (M, 2) as (row, position), target probabilities (M, 8)).
    """
    tails = [tokenizer(row["tail"]).input_ids for row in rows]
    length = max(len(r["ids"]) + len(r["ends"]) * len(tail) for r, tail in zip(rows, tails, strict=True))
    ids = torch.full((len(rows), length), tokenizer.pad_token_id)
    positions = torch.zeros(len(rows), length, dtype=torch.long)
    allowed = torch.eye(length, dtype=torch.bool).repeat(len(rows), 1, 1)
    reads, targets = [], []
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
            n = m
    mask = torch.zeros(len(rows), 1, length, length).masked_fill(~allowed[:, None], torch.finfo(torch.float32).min)
    inputs = {"input_ids": ids, "position_ids": positions, "attention_mask": mask}
    return inputs, torch.tensor(reads), torch.tensor(targets)


def skill_pair(rng: Random) -> tuple[str, str]:
    """Draw the question after the missing skill, and its reply."""
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


def reference_pair(rng: Random) -> tuple[str, str]:
    """Draw a question with its answer, and reasoning between them; what the image holds must be made up."""
    example = draw_trace(rng).example
    head = f"Question: {question_of(rng, example)}{options_line(example.options)}\nAnswer: {example.draft.answer}\n"
    return f"{head}Reference rationale:", f" {reference_of(example)}\n"


def annotation_pair(rng: Random) -> tuple[str, str]:
    """Draw a pool sample, and the skills that it needs."""
    kind = KINDS[rng.choice(list(KINDS))]
    draft = kind.draw(rng)
    options = draw_options(rng, draft) if draft.domain and rng.random() < 0.8 else ()
    family = rng.choice([name for name, f in FAMILIES.items() if f.kind == kind.name])
    example = Example(kind, draft, family, options)
    instruction = pool_instruction(example, f"teacher/{rng.random()}", 0.5)
    skills = "; ".join(SKILLS[name].format(x=draft.words.get("x", "object")) for name in kind.skills)
    return f"Instruction: {instruction}\nResponse: {worked_answer(example)}\nSkills:", f" {skills}\n"


def step_loss(model: Any, tokenizer: Any, rows: list[Row], letters: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Return the cross-entropy of the options' letters with the targets, and how often the same option leads."""
    inputs, reads, targets = branch_batch(tokenizer, rows)
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(**inputs).last_hidden_state
        logits = model.lm_head(hidden[reads[:, 0], reads[:, 1]])
    logp = log_softmax(logits.float(), -1)[:, letters]
    loss = -(targets * logp).sum(-1).mean()
    return loss, (logp.argmax(-1) == targets.argmax(-1)).float().mean().item()


TEXTS = {"skill": skill_pair, "pool": annotation_pair, "reference": reference_pair}
CYCLES = (
    (*["plain look-up"] * 9, "step"),
    ("step", "pool", "check", "step", "look-up", "step", "skill", "check", "step", "reference"),
)
"""What the batches hold: while look-up is learned, and after."""


def make_lessons(
    model: Any, tokenizer: Any, *, lookups_first: float, batch_size: int, seed: int
) -> Callable[[int, float], Loss]:
    """Make the losses of the lessons, one batch a step; see `training.train_for`."""
    letters = torch.tensor([tokenizer.convert_tokens_to_ids(f"Ġ{letter}") for letter in LETTERS[:8]])
    rng, words = Random(f"teacher/{seed}"), lookup_words(tokenizer)
    branched = {
        "step": lambda: step_row(tokenizer, rng),
        "check": lambda: check_row(tokenizer, rng),
        "look-up": lambda: lookup_row(tokenizer, rng, words),
        "plain look-up": lambda: lookup_row(tokenizer, rng, words, plain=True),
    }

    def next_loss(step: int, spent: float) -> Loss:
        cycle = CYCLES[spent >= lookups_first]
        lesson = cycle[step % len(cycle)]
        if lesson in branched:
            rows = [branched[lesson]() for _ in range(batch_size)]
            return lesson, *step_loss(model, tokenizer, rows, letters)
        pairs = [TEXTS[lesson](rng) for _ in range(batch_size)]
        return lesson, *reply_loss(model, text_batch(tokenizer, pairs))

    return next_loss


def main() -> None:
    parser = make_parser(__doc__, "micro_teacher", minutes=30, batch_size=48, rate=6e-4)
    parser.add_argument("--lookups-first", type=float, default=0.35, help="share of the time that is mostly look-ups")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    tokenizer = AutoTokenizer.from_pretrained(args.tokenizer)
    torch.manual_seed(args.seed)
    model = LlamaForCausalLM(llama_config(tokenizer))
    if args.continue_from:
        model = LlamaForCausalLM.from_pretrained(args.continue_from, dtype=torch.float32)
    print(f"{model.num_parameters() / 1e6:.2f} M parameters")

    def save() -> None:
        save_half(model, args.out, tokenizer)

    options = {"lookups_first": args.lookups_first, "batch_size": args.batch_size, "seed": args.seed}
    lessons = make_lessons(model, tokenizer, **options)
    history = train_for(args.minutes, model, lessons, rate=args.rate, warmup_steps=100, log_every=100, save=save)
    save()
    write_recipe(args, samples=sum(map(len, history.values())) * args.batch_size)


if __name__ == "__main__":
    main()
