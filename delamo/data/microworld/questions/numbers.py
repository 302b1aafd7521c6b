"""Handwritten digits: read, odd or even, compared."""

from __future__ import annotations

from random import Random

from delamo.data.microworld.questions.kinds import QuestionDraft, draw_scene, kind
from delamo.data.microworld.scene import DIGITS, Scene, Thing


@kind(
    "digit_value",
    "digit",
    ("Which digit is shown?", "What number is shown?"),
    ("Transcribe the handwritten numeral.", "Write down the figure that appears."),
)
def _digit_value(rng: Random) -> QuestionDraft:
    scene, things = draw_scene(rng, (0, 2), (1, 1))
    value = things[-1].digit or ""
    return QuestionDraft(scene, {"x": "digit"}, (f"The digit is {value}.",), value, DIGITS, 5)


def parity_word(value: str | None) -> str:
    """Return `even` or `odd`."""
    return ("even", "odd")[int(value or 0) % 2]


@kind(
    "parity_of",
    "parity digit",
    ("Is the digit odd or even?", "Is the number odd or even?"),
    ("State the parity of the numeral.", "Can the figure be split into two equal halves?"),
)
def _parity_of(rng: Random) -> QuestionDraft:
    scene, things = draw_scene(rng, (0, 2), (1, 1))
    value = things[-1].digit
    parity = parity_word(value)
    reasoning = (f"The digit is {value}.", f"{value} is {parity}.")
    return QuestionDraft(scene, {"x": "digit"}, reasoning, parity, ("odd", "even"))


def _two_digits(rng: Random) -> tuple[Scene, list[Thing], str, str]:
    scene, _ = draw_scene(rng, (0, 2), (2, 2))
    digits = [thing for thing in scene.cells if thing is not None and thing.digit]
    small, large = sorted(thing.digit or "" for thing in digits)
    return scene, digits, small, large


@kind(
    "compare_numbers",
    "compare_numbers digit",
    ("Which digit is larger?", "What is the larger number?"),
    ("Pick the numeral of greater value.", "Of both figures, state the higher one."),
)
def _compare_numbers(rng: Random) -> QuestionDraft:
    scene, digits, small, large = _two_digits(rng)
    reasoning = (f"The digits are {digits[0].digit} and {digits[1].digit}.", f"{large} is larger than {small}.")
    others = rng.sample([d for d in DIGITS if d not in (small, large)], 1)
    return QuestionDraft(scene, {"x": "digit"}, reasoning, large, tuple(sorted((large, small, *others))), 3)


@kind(
    "parity_of_larger",
    "parity compare_numbers digit",
    ("Is the larger digit odd or even?",),
    ("State the parity of the higher numeral.", "Can the greater figure be split into two equal halves?"),
)
def _parity_of_larger(rng: Random) -> QuestionDraft:
    scene, digits, small, large = _two_digits(rng)
    parity = parity_word(large)
    reasoning = (
        f"The digits are {digits[0].digit} and {digits[1].digit}.",
        f"{large} is larger than {small}.",
        f"{large} is {parity}.",
    )
    return QuestionDraft(scene, {"x": "digit"}, reasoning, parity, ("odd", "even"))
