"""Rationales with planted flaws, and what a careful reader believes after each of their sentences.

All by rule, from the microworld's own kinds of question. `train_teacher.py` makes its lessons of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

from delamo.data.microworld.catalogue import FAMILIES, TARGETS
from delamo.data.microworld.examples import LETTERS, Example, ask, draw_options, verdict
from delamo.data.microworld.questions import KINDS
from delamo.data.microworld.scene import COLOURS, PLACES, SHAPES

PRIOR, CONVINCED = 0.6, 0.95
OTHER_WORDS = (*COLOURS, *SHAPES, *PLACES, *map(str, range(10)), "left", "right", "same", "different", "square")
SETTINGS = [spec.setting for spec in (*TARGETS.values(), *FAMILIES.values())]
NAMES = [name for name, kind in KINDS.items() if name != "describe"]


SCAN_SKILLS = {
    "colour_of": "colour",
    "size_of": "size",
    "fill_of": "fill",
    "frame_of": "frame",
    "digit_value": "digit",
    "parity_of": "digit",
    "shape_at": "shape",
}
"""The skill that is missing where the description of the image is wrong, by kind of question."""
FLAWS = {"none": 15, "scan": 20, "reasoning": 20, "foreign": 25, "conclusion": 10, "verdict": 10}
"""Places of the first flaw, with their weights: the description of the image, the reasoning, reasoning that answers
another question, the conclusion, and the verdict on an option."""

Belief = tuple[int, float]
"""An option and its probability."""


def draw_example(rng: Random, multiple_choice: float = 0.85) -> Example:
    kind = KINDS[rng.choice(NAMES)]
    draft = kind.draw(rng)
    options = draw_options(rng, draft)
    if rng.random() > multiple_choice:
        options = ()
    return Example(kind, draft, rng.choice(list(FAMILIES)), options)


@dataclass
class Trace:
    """A rationale, sentence by sentence, and the option that it speaks for after each."""

    example: Example
    sentences: list[str]
    beliefs: list[Belief | None]
    """After each sentence; None where only the prior speaks."""
    flaw: int | None
    """Index of the first flawed sentence; None where none is."""
    skill: str
    wrong: str
    """The answer that the rationale ends with: a letter, or a text when the question is open."""


@dataclass
class Plan:
    """The parts of a rationale, and where they are flawed."""

    example: Example
    options: tuple[str, ...]
    gold: int
    wrong: int
    """The option that the flaw leads to."""
    kind: str
    """A key of FLAWS."""
    scan: list[str]
    """Sentences that describe the image."""
    reasoning: list[str]
    conclusion: str
    flaw: int | None
    skill: str


def draw_trace(rng: Random) -> Trace:
    """Draw a rationale with a flaw of one of five kinds, or none."""
    return write_rationale(rng, draw_plan(rng))


def draw_plan(rng: Random) -> Plan:
    """Draw a question and plant a flaw; a kind of flaw that the question has no place for becomes the next one."""
    example = draw_example(rng)
    options = example.options or two_options(rng, example)
    answer, gold = example.draft.answer, options.index(example.draft.answer)
    wrong = rng.choice([i for i in range(len(options)) if i != gold])
    kind = rng.choices(list(FLAWS), list(FLAWS.values()))[0]
    scan, reasoning, skill = example.draft.scene.scan(), list(example.draft.reasoning), example.kind.skills[0]
    conclusion, flaw = options[wrong], None
    misled = [swap(sentence, answer, options[wrong]) for sentence in reasoning]
    if kind == "scan":
        flaw = corrupt(rng, scan, example, options[wrong])
        if flaw is None:
            kind = "reasoning"
        else:
            reasoning, skill = misled, SCAN_SKILLS.get(example.kind.name, skill)
    if kind == "reasoning":
        changed = [i for i, sentence in enumerate(reasoning) if misled[i] != sentence]
        if changed:
            flaw, reasoning = len(scan) + changed[0], misled
        else:
            kind = "conclusion"
    if kind == "foreign":
        reasoning, conclusion = foreign_reasoning(rng, example)
    if kind in ("none", "verdict"):
        conclusion = answer
    if kind in ("foreign", "conclusion"):
        flaw = len(scan) + len(reasoning)
    return Plan(example, options, gold, wrong, kind, scan, reasoning, conclusion, flaw, skill)


def two_options(rng: Random, example: Example) -> tuple[str, ...]:
    """Return an open question's options as the teacher sees it: the gold answer and a wrong one, in random order."""
    wrong = rng.choice([text for text in example.draft.domain if text != example.draft.answer])
    return tuple(rng.sample([example.draft.answer, wrong], 2))


def swap(sentence: str, old: str, new: str) -> str:
    return re.sub(rf"\b{re.escape(old)}\b", new, sentence)


def corrupt(rng: Random, scan: list[str], example: Example, wrong: str) -> int | None:
    """Write the wrong answer into the scan sentence that holds the right one; None where the scan does not say it."""
    noun, answer = example.draft.words.get("x"), example.draft.answer
    for i, sentence in enumerate(scan):
        names_thing = noun is not None and re.search(rf"\b{noun}\b", sentence)
        names_place = example.draft.words.get("place", "-") in sentence
        if (names_thing or names_place) and swap(sentence, answer, wrong) != sentence:
            scan[i] = swap(sentence, answer, wrong)
            return i
    return None


def foreign_reasoning(rng: Random, example: Example) -> tuple[list[str], str]:
    """Return the reasoning and conclusion of a student that mistakes the question for another about the same scene."""
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


def write_rationale(rng: Random, plan: Plan) -> Trace:
    """Write the sentences, and what a careful reader believes after each."""
    example, options, gold, wrong, kind = plan.example, plan.options, plan.gold, plan.wrong, plan.kind
    trace = Trace(example, [], [], plan.flaw, plan.skill, "")
    for i, sentence in enumerate(plan.scan):
        say(trace, sentence, (wrong, 0.8) if kind == "scan" and i == plan.flaw else None)
    for i, sentence in enumerate(plan.reasoning):
        belief = None
        if kind in ("none", "verdict", "conclusion"):
            belief = (gold, 0.85) if i == len(plan.reasoning) - 1 else None
        elif kind in ("scan", "reasoning") and re.search(rf"\b{re.escape(options[wrong])}\b", sentence):
            belief = (wrong, 0.85)
        say(trace, sentence, belief)
    concluded = options.index(plan.conclusion) if plan.conclusion in options else None
    say(trace, f"So the answer is {plan.conclusion}.", None if concluded is None else (concluded, CONVINCED))
    end = gold if kind == "none" else wrong
    if kind == "foreign" and concluded is not None and concluded != gold:
        end = concluded
    if kind == "verdict":
        trace.flaw = len(trace.sentences) + min(gold, wrong)
    if example.options:
        say_verdicts(rng, trace, plan, end, misread=kind == "foreign" and concluded is None)
    trace.wrong = LETTERS[end] if example.options else options[end]
    say(trace, f"The final answer is {f'({trace.wrong})' if example.options else trace.wrong}.", (end, CONVINCED))
    return trace


def say(trace: Trace, sentence: str, belief: Belief | None) -> None:
    """Add a sentence; None leaves the belief as it was."""
    trace.sentences.append(sentence)
    trace.beliefs.append(belief or (trace.beliefs[-1] if trace.beliefs else None))


def say_verdicts(rng: Random, trace: Trace, plan: Plan, end: int, *, misread: bool) -> None:
    """Add a verdict on each option; `end` is the one that is said to fit."""
    nothing_fits = misread and rng.random() < 0.3
    number, gold = len(plan.options), plan.gold
    named = invented(rng, plan.conclusion, number, end) if misread and rng.random() < 0.5 else plan.options
    for i, text in enumerate(named):
        belief = None
        if i == end and not nothing_fits:
            belief = (i, CONVINCED)
        elif i == gold != end and (trace.beliefs[-1] is None or trace.beliefs[-1][0] == gold):
            belief = (end, 0.7)
        say(trace, verdict(i, text, i == end and not nothing_fits), belief)


def invented(rng: Random, conclusion: str, number: int, index: int) -> list[str]:
    """Return options that the question does not have, as a student names that misread it.

    The conclusion is at `index`.
    """
    words = rng.sample([word for word in OTHER_WORDS if word != conclusion], number)
    words[index] = conclusion
    return words


def distribution(belief: Belief | None, gold: int, num_options: int) -> list[float]:
    """Return the options' probabilities: a belief, or the prior, and the rest shared by the others."""
    option, mass = belief or (gold, PRIOR)
    rest = (1 - mass) / (num_options - 1)
    return [mass if i == option else rest for i in range(num_options)]


def question_of(rng: Random, example: Example) -> str:
    return f"{rng.choice(SETTINGS)} {ask(rng, example, plain=rng.random() < 0.6)}"
