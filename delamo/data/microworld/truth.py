"""The planted truth: which skills a sample needs, and which sentences of a rationale are false in its scene.

For metrics only. `delamo.metrics.planted` is the one module that imports this one, and a test holds it so: a teacher, a
selector or a student that could read it would be cheating.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from delamo.data.microworld.examples import LETTERS, Example, example_at
from delamo.data.microworld.scene import PLACES, Scene, Thing

_ANY_PLACE = "|".join(PLACES)

# Words that give a planted skill away in a free-text skill, the most specific first; all words of one entry must occur.
_SIGNS: tuple[tuple[str, str], ...] = (
    ("compare_sizes", "compare sizes"),
    ("compare_numbers", "compare numbers"),
    ("odd_one_out", "odd one out"),
    ("same_different", "same property"),
    ("parity", "odd even"),
    ("size", "big small"),
    ("fill", "solid hollow"),
    ("frame", "framed bare"),
    ("vertical", "above below"),
    ("horizontal", "left right"),
    ("count", "count"),
    ("digit", "digit read"),
    ("place", "locate"),
    ("colour", "colour"),
    ("shape", "shape"),
)


def skills_of(locator: str) -> tuple[str, ...]:
    """Return the planted skills that the sample at an address needs."""
    return example_at(locator).kind.skills


def planted_skill(text: str) -> str | None:
    """Return the planted skill that a free-text skill speaks of; None where it speaks of none."""
    words = set(re.findall(r"[a-z]+", text.lower()))
    return next((skill for skill, signs in _SIGNS if set(signs.split()) <= words), None)


def first_false_step(locator: str, steps: Sequence[str]) -> int | None:
    """Return the 0-based index of the first step that is false in the scene; None where none is."""
    example = example_at(locator)
    return next((i for i, step in enumerate(steps) if is_true(step.strip(), example) is False), None)


def is_true(sentence: str, example: Example) -> bool | None:
    """Return whether a sentence holds; None where it is not one of the microworld's forms."""
    for pattern, check in _checks():
        if match := pattern.fullmatch(sentence):
            return check(example, *match.groups())
    return None


def _things(scene: Scene, noun: str) -> list[Thing]:
    return [thing for thing in scene.things() if thing.noun == noun]


def _some(things: Iterable[Thing], holds: Callable[[Thing], bool]) -> bool:
    return any(holds(thing) for thing in things)


def _values(thing: Thing) -> set[str | None]:
    return {thing.colour, thing.size, thing.frame, thing.fill}


def _cell(example: Example, place: str) -> Thing | None:
    return example.scene.cells[PLACES.index(place)]


def _numbers(scene: Scene) -> list[str]:
    return [thing.digit for thing in scene.things() if thing.digit]


def _holds_phrase(e: Example, place: str, phrase: str) -> bool:
    cell = _cell(e, place)
    return cell is not None and cell.phrase == phrase


def _holds_noun(e: Example, place: str, noun: str) -> bool:
    cell = _cell(e, place)
    return cell is not None and cell.noun == noun


def _listed(e: Example, value: str | None, names: str) -> bool:
    nouns = [thing.noun for thing in e.scene.things() if value is None or value in _values(thing)]
    return sorted(nouns) == sorted([] if names == "none" else names.split(", "))


def _total(e: Example, number: str, value: str | None) -> bool:
    return int(number) == sum(value is None or value in _values(thing) for thing in e.scene.things())


def _is_attribute(e: Example, noun: str, value: str) -> bool | None:
    if noun == "digit" and value.isdigit():
        return value in _numbers(e.scene)
    return _some(_things(e.scene, noun), lambda thing: value in _values(thing))


def _fits(e: Example, letter: str, text: str, verdict: str) -> bool:
    index = LETTERS.index(letter)
    is_option = index < len(e.options) and e.options[index] == text
    return is_option and (text == e.draft.answer) == (verdict == "fits")


def _final(e: Example, answer: str) -> bool:
    if e.gold is None:
        return answer == e.draft.answer
    return answer.strip("()") == LETTERS[e.gold]


@lru_cache(maxsize=1)
def _checks() -> list[tuple[re.Pattern[str], Callable[..., bool | None]]]:
    """Sentence forms and what makes each true."""
    table: list[tuple[str, Callable[..., bool | None]]] = [
        (rf"The ({_ANY_PLACE}) is empty\.", lambda e, place: _cell(e, place) is None),
        (rf"The ({_ANY_PLACE}) has an? (.+)\.", _holds_phrase),
        (rf"The ({_ANY_PLACE}) holds an? (\w+)\.", _holds_noun),
        (
            rf"The (\w+) is in the ({_ANY_PLACE})\.",
            lambda e, noun, place: _some(_things(e.scene, noun), lambda t: e.scene.place(t) == place),
        ),
        (
            r"The (\w+) is in the (left|right|top|bottom) (?:column|row)\.",
            lambda e, noun, side: _some(_things(e.scene, noun), lambda t: side in e.scene.place(t).split()),
        ),
        (r"The digits are (\d) and (\d)\.", lambda e, a, b: sorted((a, b)) == sorted(_numbers(e.scene))),
        (r"(?:The number )?(\d) is (odd|even)\.", lambda e, n, parity: int(n) % 2 == (parity == "odd")),
        (r"(\d) is larger than (\d)\.", lambda e, a, b: {a, b} <= set(_numbers(e.scene)) and int(a) > int(b)),
        (r"The objects are (.+)\.", lambda e, names: _listed(e, None, names)),
        (r"The (\w+) objects are (.+)\.", _listed),
        (r"There are (\d) objects\.", lambda e, number: _total(e, number, None)),
        (r"There are (\d) (\w+) objects\.", _total),
        (
            r"The (\w+) object is the (\w+)\.",
            lambda e, value, noun: _some(_things(e.scene, noun), lambda t: value in _values(t)),
        ),
        (r"The (\w+) (?:is|looks) (\w+)\.", lambda e, noun, v: None if v == "bigger" else _is_attribute(e, noun, v)),
        (r"So the answer is (.+)\.", lambda e, answer: answer == e.draft.answer),
        (r"\(([A-J])\) (.+?) (fits|does not fit)\.", _fits),
        (r"The final answer is (.+)\.", _final),
    ]
    return [(re.compile(pattern), check) for pattern, check in table]
