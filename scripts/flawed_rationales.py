"""Rationales with planted flaws, and what a careful reader believes after each of their sentences: the teacher's lessons.

All by rule, from the microworld's own question kinds. `train_teacher.py` turns them into prompts; nothing else reads them.
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
        misread = sort == "foreign" and believed is None
        nothing_fits = misread and rng.random() < 0.3
        named = invented(rng, conclusion, len(options), end) if misread and rng.random() < 0.5 else options
        for i, text in enumerate(named):
            fits = i == end and not nothing_fits
            doubt = i == gold and end != gold and (state is None or state[0] == gold)
            say(verdict(i, text, fits), (i, CONVINCED) if fits else ((end, 0.7) if doubt else None))
    final = f"({LETTERS[end]})" if example.options else options[end]
    say(f"The final answer is {final}.", (end, CONVINCED))
    return Trace(example, sentences, beliefs, flaw, skill, LETTERS[end] if example.options else options[end])


def invented(rng: Random, conclusion: str, number: int, place: int) -> list[str]:
    """Options that were never asked, with the conclusion among them: what a student walks over when it misread the question."""
    words = rng.sample([word for word in OTHER_WORDS if word != conclusion], number)
    words[place] = conclusion
    return words


def distribution(belief: tuple[int, float] | None, gold: int, num_options: int) -> list[float]:
    option, mass = belief or (gold, PRIOR)
    rest = (1 - mass) / (num_options - 1)
    return [mass if i == option else rest for i in range(num_options)]


def question_of(rng: Random, example: Example) -> str:
    return f"{rng.choice(SETTINGS)} {ask(rng, example, plain=rng.random() < 0.6)}"
