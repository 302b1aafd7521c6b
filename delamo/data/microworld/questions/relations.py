"""Relations between things: left and above, the same and the odd one, bigger."""

from __future__ import annotations

from random import Random

from delamo.data.microworld.questions.kinds import QuestionDraft, column_of, draw_scene, kind, row_of, with_changed
from delamo.data.microworld.scene import COLOURS, SHAPES, SIZES, Scene, Thing, arrange, draw_things


def _pair(rng: Random, axis: int) -> tuple[Scene, Thing, Thing]:
    """A scene and two of its things that differ in column (axis 0) or row (axis 1)."""
    while True:
        scene, things = draw_scene(rng, (2, 3))
        first, second = rng.sample(things, 2)
        if scene.cells.index(first) // (1, 2)[axis] % 2 != scene.cells.index(second) // (1, 2)[axis] % 2:
            return scene, first, second


@kind(
    "horizontal",
    "horizontal place",
    ("Is the {x} left or right of the {y}?", "On which side of the {y} is the {x}?"),
    ("Seen from the {y}, towards which side does the {x} lie?", "Give the sideways position of the {x} from the {y}."),
)
def _horizontal(rng: Random) -> QuestionDraft:
    scene, first, second = _pair(rng, axis=0)
    reasoning = tuple(f"The {t.noun} is in the {column_of(scene, t)} column." for t in (first, second))
    return QuestionDraft(
        scene, {"x": first.noun, "y": second.noun}, reasoning, column_of(scene, first), ("left", "right")
    )


@kind(
    "vertical",
    "vertical place",
    ("Is the {x} above or below the {y}?", "Is the {x} higher up than the {y} or below it?"),
    ("Judge the height of the {x} against the {y}.", "Give the vertical position of the {x} from the {y}."),
)
def _vertical(rng: Random) -> QuestionDraft:
    scene, first, second = _pair(rng, axis=1)
    reasoning = tuple(f"The {t.noun} is in the {row_of(scene, t)} row." for t in (first, second))
    answer = "above" if row_of(scene, first) == "top" else "below"
    return QuestionDraft(scene, {"x": first.noun, "y": second.noun}, reasoning, answer, ("above", "below"))


@kind(
    "shape_below",
    "vertical shape",
    ("What is right below the {x}?",),
    ("Identify the item under the {x}.", "Which form stands beneath the {x}?"),
)
def _shape_below(rng: Random) -> QuestionDraft:
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
    return QuestionDraft(scene, {"x": above.noun}, reasoning, below.noun, SHAPES, 5)


def _comparison(rng: Random, attribute: str, domain: tuple[str, ...]) -> QuestionDraft:
    scene, things = draw_scene(rng, (2, 3))
    first, second = rng.sample(things, 2)
    if rng.random() < 0.5:
        scene, second = with_changed(scene, second, **{attribute: getattr(first, attribute)})
    values = [getattr(thing, attribute) for thing in (first, second)]
    reasoning = tuple(f"The {t.noun} is {v}." for t, v in zip((first, second), values, strict=True))
    answer = "same" if values[0] == values[1] else "different"
    return QuestionDraft(scene, {"x": first.noun, "y": second.noun}, reasoning, answer, ("same", "different"))


@kind(
    "same_colour",
    "same_different colour",
    ("Is the colour of the {x} and the {y} the same or different?", "Are the {x} and the {y} the same colour?"),
    ("Check whether the {x} matches the {y} in hue.", "Do the {x} and the {y} share one paint?"),
)
def _same_colour(rng: Random) -> QuestionDraft:
    return _comparison(rng, "colour", COLOURS)


@kind(
    "same_size",
    "size same_different",
    ("Is the size of the {x} and the {y} the same or different?",),
    ("Check whether the {x} matches the {y} in extent.", "Do the {x} and the {y} take up as much room?"),
)
def _same_size(rng: Random) -> QuestionDraft:
    return _comparison(rng, "size", SIZES)


@kind(
    "odd_one_out",
    "odd_one_out colour",
    ("Which object has another colour than the rest?", "Which object is the odd one out by colour?"),
    ("Find the item whose hue breaks the pattern.", "Spot the form that does not share the paint."),
)
def _odd_one_out(rng: Random) -> QuestionDraft:
    scene, things = draw_scene(rng, (3, 4), (0, 0))
    odd = rng.choice(things)
    common, other = rng.sample(COLOURS, 2)
    for thing in things:
        scene, changed = with_changed(scene, thing, colour=other if thing is odd else common)
        odd = changed if thing is odd else odd
    reasoning = tuple(f"The {thing.noun} is {thing.colour}." for thing in scene.things())
    return QuestionDraft(scene, {"x": "object"}, reasoning, odd.noun, tuple(t.noun for t in scene.things()))


def _bigger(rng: Random) -> tuple[Scene, Thing, Thing, tuple[str, ...], Thing]:
    scene, things = draw_scene(rng, (2, 3), (0, 0))
    first, second = rng.sample(things, 2)
    sizes = rng.sample(SIZES, 2)
    scene, first = with_changed(scene, first, size=sizes[0])
    scene, second = with_changed(scene, second, size=sizes[1])
    reasoning = tuple(f"The {thing.noun} is {thing.size}." for thing in (first, second))
    return scene, first, second, reasoning, first if first.size == "big" else second


@kind(
    "compare_sizes",
    "compare_sizes size",
    ("Which is bigger, the {x} or the {y}?", "What is bigger, the {x} or the {y}?"),
    ("Pick the item of greater extent: the {x} or the {y}.", "Who takes up more room, the {x} or the {y}?"),
)
def _compare_sizes(rng: Random) -> QuestionDraft:
    scene, first, second, reasoning, bigger = _bigger(rng)
    words = {"x": first.noun, "y": second.noun}
    return QuestionDraft(scene, words, reasoning, bigger.noun, (first.noun, second.noun))


@kind(
    "colour_of_bigger",
    "compare_sizes size colour",
    ("What colour is the bigger one of the {x} and the {y}?",),
    ("Name the paint of whichever has the greater extent, the {x} or the {y}.",),
)
def _colour_of_bigger(rng: Random) -> QuestionDraft:
    scene, first, second, reasoning, bigger = _bigger(rng)
    reasoning = (*reasoning, f"The {bigger.noun} is bigger.", f"The {bigger.noun} is {bigger.colour}.")
    return QuestionDraft(scene, {"x": first.noun, "y": second.noun}, reasoning, bigger.colour, COLOURS)
