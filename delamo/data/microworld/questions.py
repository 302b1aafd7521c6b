"""The kinds of question: how each is worded, which skills it needs, and the worked answer.

A kind draws a scene that fits, then a `Draft`: the words to fill into its wordings, the reasoning sentences, the
answer and the wrong options. Every worked answer has the same shape, so that a rationale can be cut and checked:

    The top left has a big red hollow framed circle. [one sentence a cell]
    The circle is big.                               [the reasoning of the kind]
    So the answer is big.
    (A) big fits. (B) small does not fit.
    The final answer is (A).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from delamo.data.microworld.scene import (
    COLOURS,
    DIGITS,
    FILLS,
    FRAMES,
    PLACES,
    SHAPES,
    SIZES,
    Scene,
    Thing,
    arrange,
    draw_things,
)

SKILLS = {
    "colour": "name the colour of the {x}",
    "shape": "recognise the shape of the {x}",
    "digit": "read the handwritten digit",
    "place": "locate the {x} in the grid",
    "count": "count how many objects there are",
    "compare_numbers": "compare two numbers to find the larger one",
    "horizontal": "tell whether the {x} is left or right of another object",
    "same_different": "check whether two objects have the same property",
    "odd_one_out": "find the odd one out among the objects",
    "size": "judge whether the {x} is big or small",
    "fill": "tell whether the {x} is solid or hollow",
    "frame": "tell whether the {x} is framed or bare",
    "parity": "decide whether a number is odd or even",
    "vertical": "tell whether the {x} is above or below another object",
    "compare_sizes": "compare the sizes of two objects to find the bigger one",
}
"""Planted skills: name -> the phrase that describes it, with the thing it is about."""


@dataclass(frozen=True, slots=True)
class Draft:
    """One concrete question of a kind."""

    scene: Scene
    words: dict[str, str]
    """What fills the blanks of the wording: `{x}`, `{y}`, `{place}`, ..."""
    reasoning: tuple[str, ...]
    answer: str
    domain: tuple[str, ...] = ()
    """All possible answers, in their natural order; the order must not tell the right one."""
    max_options: int = 4


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of question."""

    name: str
    skills: tuple[str, ...]
    """The planted skills it needs, the most specific first."""
    plain: tuple[str, ...]
    """Wordings as the targets use them."""
    other: tuple[str, ...]
    """Wordings as the pool's own families use them."""
    draw: Callable[[Random], Draft] = field(repr=False)


KINDS: dict[str, Kind] = {}


def kind(name: str, skills: str, plain: tuple[str, ...], other: tuple[str, ...]):
    """Register the function below as the drawer of a kind."""

    def register(draw: Callable[[Random], Draft]) -> Callable[[Random], Draft]:
        KINDS[name] = Kind(name, tuple(skills.split()), plain, other, draw)
        return draw

    return register


def _scene(rng: Random, shapes: tuple[int, int], digits: tuple[int, int] = (0, 1)) -> tuple[Scene, list[Thing]]:
    """A scene with a number of shapes and of digits from the given ranges; at most four things."""
    num_shapes = rng.randint(*shapes)
    num_digits = min(rng.randint(*digits), len(PLACES) - num_shapes)
    things = draw_things(rng, num_shapes, num_digits)
    return arrange(rng, things), things


def _with(scene: Scene, thing: Thing, **changes: str) -> tuple[Scene, Thing]:
    """The scene with one thing changed."""
    changed = replace(thing, **changes)
    return replace(scene, cells=tuple(changed if cell is thing else cell for cell in scene.cells)), changed


def _column(scene: Scene, thing: Thing) -> str:
    return scene.place(thing).split()[1]


def _row(scene: Scene, thing: Thing) -> str:
    return scene.place(thing).split()[0]


def _listed(things: list[Thing]) -> str:
    return ", ".join(thing.noun for thing in things) or "none"


# One attribute of one thing.


def _attribute(rng: Random, attribute: str, domain: tuple[str, ...], digits: tuple[int, int] = (0, 1)) -> Draft:
    scene, things = _scene(rng, (1, 3), digits)
    thing = rng.choice([t for t in things if t.noun != "digit" or attribute in ("colour", "size", "frame")])
    value = getattr(thing, attribute)
    return Draft(scene, {"x": thing.noun}, (f"The {thing.noun} is {value}.",), value, domain)


@kind(
    "colour_of",
    "colour",
    ("What colour is the {x}?", "Which colour does the {x} have?"),
    ("Name the paint of the {x}.", "In which hue does the {x} appear?"),
)
def _colour_of(rng: Random) -> Draft:
    return _attribute(rng, "colour", COLOURS)


@kind(
    "size_of",
    "size",
    ("Is the {x} big or small?", "What size is the {x}?"),
    ("Judge how much room the {x} takes up.", "Estimate the extent of the {x}."),
)
def _size_of(rng: Random) -> Draft:
    return _attribute(rng, "size", SIZES)


@kind(
    "fill_of",
    "fill",
    ("Is the {x} solid or hollow?", "What fill does the {x} have?"),
    ("Was the {x} painted in or only outlined?", "Inspect the interior of the {x}."),
)
def _fill_of(rng: Random) -> Draft:
    return _attribute(rng, "fill", FILLS)


@kind(
    "frame_of",
    "frame",
    ("Is the {x} framed or bare?", "Does the {x} have a frame?"),
    ("Check whether a border runs around the {x}.", "Does the {x} stand inside a box?"),
)
def _frame_of(rng: Random) -> Draft:
    return _attribute(rng, "frame", FRAMES)


@kind(
    "shape_at",
    "shape",
    ("What is in the {place}?", "Which object is in the {place}?"),
    ("Identify the item at the {place}.", "Tell which form occupies the {place}."),
)
def _shape_at(rng: Random) -> Draft:
    scene, things = _scene(rng, (1, 3))
    thing = rng.choice(things)
    place = scene.place(thing)
    domain = (*SHAPES, "digit")
    return Draft(scene, {"place": place}, (f"The {place} holds a {thing.noun}.",), thing.noun, domain, 6)


@kind(
    "shape_of_colour",
    "shape colour",
    ("Which object is {colour}?", "What is the {colour} object?"),
    ("Identify the item with {colour} paint.", "Which form wears the {colour} hue?"),
)
def _shape_of_colour(rng: Random) -> Draft:
    scene, things = _scene(rng, (2, 3))
    thing = rng.choice(things)
    for other, colour in zip(things, rng.sample(COLOURS, len(things)), strict=True):
        scene, changed = _with(scene, other, colour=colour)
        thing = changed if other is thing else thing
    reasoning = (f"The {thing.colour} object is the {thing.noun}.",)
    return Draft(scene, {"colour": thing.colour}, reasoning, thing.noun, (*SHAPES, "digit"), 6)


@kind(
    "place_of",
    "place",
    ("Where is the {x}?", "In which place is the {x}?"),
    ("Locate the {x}.", "Point out the spot of the {x}."),
)
def _place_of(rng: Random) -> Draft:
    scene, things = _scene(rng, (1, 3))
    thing = rng.choice(things)
    place = scene.place(thing)
    return Draft(scene, {"x": thing.noun}, (f"The {thing.noun} is in the {place}.",), place, PLACES)


@kind(
    "place_of_hollow",
    "fill place",
    ("Where is the hollow object?",),
    ("Locate the item that is only outlined.", "Point out the spot of the hollow item."),
)
def _place_of_hollow(rng: Random) -> Draft:
    scene, things = _scene(rng, (2, 3), (0, 0))
    chosen = rng.choice(things)
    for thing in things:
        scene, changed = _with(scene, thing, fill="hollow" if thing is chosen else "solid")
        chosen = changed if thing is chosen else chosen
    place = scene.place(chosen)
    reasoning = (f"The hollow object is the {chosen.noun}.", f"The {chosen.noun} is in the {place}.")
    return Draft(scene, {"x": "object"}, reasoning, place, PLACES)


@kind(
    "colour_of_framed",
    "frame colour",
    ("What colour is the framed object?",),
    ("Name the paint of the item with a border.", "In which hue does the boxed item appear?"),
)
def _colour_of_framed(rng: Random) -> Draft:
    scene, things = _scene(rng, (2, 3), (0, 0))
    chosen = rng.choice(things)
    for thing in things:
        scene, changed = _with(scene, thing, frame="framed" if thing is chosen else "bare")
        chosen = changed if thing is chosen else chosen
    reasoning = (f"The framed object is the {chosen.noun}.", f"The {chosen.noun} is {chosen.colour}.")
    return Draft(scene, {"x": "object"}, reasoning, chosen.colour, COLOURS)


# Numbers.


@kind(
    "digit_value",
    "digit",
    ("Which digit is shown?", "What number is shown?"),
    ("Transcribe the handwritten numeral.", "Write down the figure that appears."),
)
def _digit_value(rng: Random) -> Draft:
    scene, things = _scene(rng, (0, 2), (1, 1))
    value = things[-1].digit or ""
    return Draft(scene, {"x": "digit"}, (f"The digit is {value}.",), value, DIGITS, 5)


def _parity(value: str | None) -> str:
    return ("even", "odd")[int(value or 0) % 2]


@kind(
    "parity_of",
    "parity digit",
    ("Is the digit odd or even?", "Is the number odd or even?"),
    ("State the parity of the numeral.", "Can the figure be split into two equal halves?"),
)
def _parity_of(rng: Random) -> Draft:
    scene, things = _scene(rng, (0, 2), (1, 1))
    value = things[-1].digit
    parity = _parity(value)
    reasoning = (f"The digit is {value}.", f"{value} is {parity}.")
    return Draft(scene, {"x": "digit"}, reasoning, parity, ("odd", "even"))


def _two_digits(rng: Random) -> tuple[Scene, list[Thing], str, str]:
    scene, _ = _scene(rng, (0, 2), (2, 2))
    digits = [thing for thing in scene.cells if thing is not None and thing.digit]
    small, large = sorted(thing.digit or "" for thing in digits)
    return scene, digits, small, large


@kind(
    "compare_numbers",
    "compare_numbers digit",
    ("Which digit is larger?", "What is the larger number?"),
    ("Pick the numeral of greater value.", "Of both figures, state the higher one."),
)
def _compare_numbers(rng: Random) -> Draft:
    scene, digits, small, large = _two_digits(rng)
    reasoning = (f"The digits are {digits[0].digit} and {digits[1].digit}.", f"{large} is larger than {small}.")
    others = rng.sample([d for d in DIGITS if d not in (small, large)], 1)
    return Draft(scene, {"x": "digit"}, reasoning, large, tuple(sorted((large, small, *others))), 3)


@kind(
    "parity_of_larger",
    "parity compare_numbers digit",
    ("Is the larger digit odd or even?",),
    ("State the parity of the higher numeral.", "Can the greater figure be split into two equal halves?"),
)
def _parity_of_larger(rng: Random) -> Draft:
    scene, digits, small, large = _two_digits(rng)
    parity = _parity(large)
    reasoning = (
        f"The digits are {digits[0].digit} and {digits[1].digit}.",
        f"{large} is larger than {small}.",
        f"{large} is {parity}.",
    )
    return Draft(scene, {"x": "digit"}, reasoning, parity, ("odd", "even"))


# Counting.


def _count(rng: Random, attribute: str, value: str) -> Draft:
    scene, things = _scene(rng, (1, 4), (0, 1))
    for thing in things:
        if getattr(thing, attribute) is not None and rng.random() < 0.4:
            scene, _ = _with(scene, thing, **{attribute: value})
    found = [thing for thing in scene.things() if getattr(thing, attribute) == value]
    reasoning = (f"The {value} objects are {_listed(found)}.", f"There are {len(found)} {value} objects.")
    return Draft(scene, {"value": value}, reasoning, str(len(found)), DIGITS[:5])


@kind(
    "count_all",
    "count",
    ("How many objects are there?", "What is the number of objects?"),
    ("Give the total of items on display.", "Tally everything in the picture."),
)
def _count_all(rng: Random) -> Draft:
    scene, things = _scene(rng, (1, 4), (0, 1))
    found = scene.things()
    reasoning = (f"The objects are {_listed(found)}.", f"There are {len(found)} objects.")
    return Draft(scene, {}, reasoning, str(len(things)), DIGITS[1:6])


@kind(
    "count_colour",
    "count colour",
    ("How many {value} objects are there?", "What is the number of {value} objects?"),
    ("Give the total of items with {value} paint.", "Tally everything in {value} hue."),
)
def _count_colour(rng: Random) -> Draft:
    return _count(rng, "colour", rng.choice(COLOURS))


@kind(
    "count_size",
    "size count",
    ("How many {value} objects are there?",),
    ("Give the total of items of {value} extent.", "Tally everything that is {value}."),
)
def _count_size(rng: Random) -> Draft:
    return _count(rng, "size", rng.choice(SIZES))


@kind(
    "count_fill",
    "fill count",
    ("How many {value} objects are there?",),
    ("Give the total of items with a {value} interior.", "Tally everything that is {value}."),
)
def _count_fill(rng: Random) -> Draft:
    return _count(rng, "fill", rng.choice(FILLS))


@kind(
    "count_frame",
    "frame count",
    ("How many {value} objects are there?",),
    ("Give the total of items that are {value}.", "Tally every {value} item."),
)
def _count_frame(rng: Random) -> Draft:
    return _count(rng, "frame", rng.choice(FRAMES))


# Relations between two things.


def _pair(rng: Random, axis: int) -> tuple[Scene, Thing, Thing]:
    """A scene and two of its things that differ in column (axis 0) or row (axis 1)."""
    while True:
        scene, things = _scene(rng, (2, 3))
        first, second = rng.sample(things, 2)
        if scene.cells.index(first) // (1, 2)[axis] % 2 != scene.cells.index(second) // (1, 2)[axis] % 2:
            return scene, first, second


@kind(
    "horizontal",
    "horizontal place",
    ("Is the {x} left or right of the {y}?", "On which side of the {y} is the {x}?"),
    ("Seen from the {y}, towards which side does the {x} lie?", "Give the sideways position of the {x} from the {y}."),
)
def _horizontal(rng: Random) -> Draft:
    scene, first, second = _pair(rng, axis=0)
    reasoning = tuple(f"The {t.noun} is in the {_column(scene, t)} column." for t in (first, second))
    return Draft(scene, {"x": first.noun, "y": second.noun}, reasoning, _column(scene, first), ("left", "right"))


@kind(
    "vertical",
    "vertical place",
    ("Is the {x} above or below the {y}?", "Is the {x} higher up than the {y} or below it?"),
    ("Judge the height of the {x} against the {y}.", "Give the vertical position of the {x} from the {y}."),
)
def _vertical(rng: Random) -> Draft:
    scene, first, second = _pair(rng, axis=1)
    reasoning = tuple(f"The {t.noun} is in the {_row(scene, t)} row." for t in (first, second))
    answer = "above" if _row(scene, first) == "top" else "below"
    return Draft(scene, {"x": first.noun, "y": second.noun}, reasoning, answer, ("above", "below"))


@kind(
    "shape_below",
    "vertical shape",
    ("What is right below the {x}?",),
    ("Identify the item under the {x}.", "Which form stands beneath the {x}?"),
)
def _shape_below(rng: Random) -> Draft:
    things = draw_things(rng, rng.randint(2, 4), 0)
    upper = rng.randrange(2)
    rest = rng.sample([p for p in range(4) if p not in (upper, upper + 2)], len(things) - 2)
    scene = arrange(rng, things, [upper, upper + 2, *rest])
    above, below = things[:2]
    reasoning = (
        f"The {above.noun} is in the {scene.place(above)}.",
        f"Below it is the {scene.place(below)}.",
        f"The {scene.place(below)} holds a {below.noun}.",
    )
    return Draft(scene, {"x": above.noun}, reasoning, below.noun, SHAPES, 5)


def _comparison(rng: Random, attribute: str, domain: tuple[str, ...]) -> Draft:
    scene, things = _scene(rng, (2, 3))
    first, second = rng.sample(things, 2)
    if rng.random() < 0.5:
        scene, second = _with(scene, second, **{attribute: getattr(first, attribute)})
    values = [getattr(thing, attribute) for thing in (first, second)]
    reasoning = tuple(f"The {t.noun} is {v}." for t, v in zip((first, second), values, strict=True))
    answer = "same" if values[0] == values[1] else "different"
    return Draft(scene, {"x": first.noun, "y": second.noun}, reasoning, answer, ("same", "different"))


@kind(
    "same_colour",
    "same_different colour",
    ("Is the colour of the {x} and the {y} the same or different?", "Are the {x} and the {y} the same colour?"),
    ("Check whether the {x} matches the {y} in hue.", "Do the {x} and the {y} share one paint?"),
)
def _same_colour(rng: Random) -> Draft:
    return _comparison(rng, "colour", COLOURS)


@kind(
    "same_size",
    "size same_different",
    ("Is the size of the {x} and the {y} the same or different?",),
    ("Check whether the {x} matches the {y} in extent.", "Do the {x} and the {y} take up as much room?"),
)
def _same_size(rng: Random) -> Draft:
    return _comparison(rng, "size", SIZES)


@kind(
    "odd_one_out",
    "odd_one_out colour",
    ("Which object has another colour than the rest?", "Which object is the odd one out by colour?"),
    ("Find the item whose hue breaks the pattern.", "Spot the form that does not share the paint."),
)
def _odd_one_out(rng: Random) -> Draft:
    scene, things = _scene(rng, (3, 4), (0, 0))
    odd = rng.choice(things)
    common, other = rng.sample(COLOURS, 2)
    for thing in things:
        scene, changed = _with(scene, thing, colour=other if thing is odd else common)
        odd = changed if thing is odd else odd
    reasoning = tuple(f"The {thing.noun} is {thing.colour}." for thing in scene.things())
    return Draft(scene, {"x": "object"}, reasoning, odd.noun, tuple(t.noun for t in scene.things()))


def _bigger(rng: Random) -> tuple[Scene, Thing, Thing, tuple[str, ...], Thing]:
    scene, things = _scene(rng, (2, 3), (0, 0))
    first, second = rng.sample(things, 2)
    sizes = rng.sample(SIZES, 2)
    scene, first = _with(scene, first, size=sizes[0])
    scene, second = _with(scene, second, size=sizes[1])
    reasoning = tuple(f"The {thing.noun} is {thing.size}." for thing in (first, second))
    return scene, first, second, reasoning, first if first.size == "big" else second


@kind(
    "compare_sizes",
    "compare_sizes size",
    ("Which is bigger, the {x} or the {y}?", "What is bigger, the {x} or the {y}?"),
    ("Pick the item of greater extent: the {x} or the {y}.", "Who takes up more room, the {x} or the {y}?"),
)
def _compare_sizes(rng: Random) -> Draft:
    scene, first, second, reasoning, bigger = _bigger(rng)
    words = {"x": first.noun, "y": second.noun}
    return Draft(scene, words, reasoning, bigger.noun, (first.noun, second.noun))


@kind(
    "colour_of_bigger",
    "compare_sizes size colour",
    ("What colour is the bigger one of the {x} and the {y}?",),
    ("Name the paint of whichever has the greater extent, the {x} or the {y}.",),
)
def _colour_of_bigger(rng: Random) -> Draft:
    scene, first, second, reasoning, bigger = _bigger(rng)
    reasoning = (*reasoning, f"The {bigger.noun} is bigger.", f"The {bigger.noun} is {bigger.colour}.")
    return Draft(scene, {"x": first.noun, "y": second.noun}, reasoning, bigger.colour, COLOURS)


# Captions: every fact that a question may ask for is said here, also those that no known kind asks about.


@kind(
    "describe",
    "shape colour",
    ("Describe the picture.", "What does the picture show?"),
    ("Write a caption.", "Put the picture into words."),
)
def _describe(rng: Random) -> Draft:
    scene, _ = _scene(rng, (1, 3), (0, 2))
    return Draft(scene, {"x": "object"}, tuple(_facts(rng, scene)), "")


def _facts(rng: Random, scene: Scene, num_facts: int = 4) -> list[str]:
    """Some of the true sentences about a scene."""
    facts = []
    for thing in scene.things():
        facts += [f"The {thing.noun} looks {value}." for value in (thing.size, thing.fill, thing.frame) if value]
        facts += [f"The number {thing.digit} is {_parity(thing.digit)}."] * 3 if thing.digit else []
        for other in scene.things():
            if _row(scene, thing) != _row(scene, other):
                relation = "above" if _row(scene, thing) == "top" else "below"
                facts.append(f"The {thing.noun} stands {relation} the {other.noun}.")
            if (thing.size, other.size) == ("big", "small"):
                facts.append(f"The {thing.noun} looks bigger than the {other.noun}.")
    return rng.sample(facts, min(num_facts, len(facts)))
