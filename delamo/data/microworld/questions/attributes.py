"""One attribute of one thing: its colour, size, fill, frame, shape or place."""

from __future__ import annotations

from random import Random

from delamo.data.microworld.questions.kinds import QuestionDraft, draw_scene, kind, with_changed
from delamo.data.microworld.scene import COLOURS, FILLS, FRAMES, PLACES, SHAPES, SIZES


def _attribute(rng: Random, attribute: str, domain: tuple[str, ...], digits: tuple[int, int] = (0, 1)) -> QuestionDraft:
    scene, things = draw_scene(rng, (1, 3), digits)
    thing = rng.choice([t for t in things if t.noun != "digit" or attribute in ("colour", "size", "frame")])
    value = getattr(thing, attribute)
    return QuestionDraft(scene, {"x": thing.noun}, (f"The {thing.noun} is {value}.",), value, domain)


@kind(
    "colour_of",
    "colour",
    ("What colour is the {x}?", "Which colour does the {x} have?"),
    ("Name the paint of the {x}.", "In which hue does the {x} appear?"),
)
def _colour_of(rng: Random) -> QuestionDraft:
    return _attribute(rng, "colour", COLOURS)


@kind(
    "size_of",
    "size",
    ("Is the {x} big or small?", "What size is the {x}?"),
    ("Judge how much room the {x} takes up.", "Estimate the extent of the {x}."),
)
def _size_of(rng: Random) -> QuestionDraft:
    return _attribute(rng, "size", SIZES)


@kind(
    "fill_of",
    "fill",
    ("Is the {x} solid or hollow?", "What fill does the {x} have?"),
    ("Was the {x} painted in or only outlined?", "Inspect the interior of the {x}."),
)
def _fill_of(rng: Random) -> QuestionDraft:
    return _attribute(rng, "fill", FILLS)


@kind(
    "frame_of",
    "frame",
    ("Is the {x} framed or bare?", "Does the {x} have a frame?"),
    ("Check whether a border runs around the {x}.", "Does the {x} stand inside a box?"),
)
def _frame_of(rng: Random) -> QuestionDraft:
    return _attribute(rng, "frame", FRAMES)


@kind(
    "shape_at",
    "shape",
    ("What is in the {place}?", "Which object is in the {place}?"),
    ("Identify the item at the {place}.", "Tell which form occupies the {place}."),
)
def _shape_at(rng: Random) -> QuestionDraft:
    scene, things = draw_scene(rng, (1, 3))
    thing = rng.choice(things)
    place = scene.place(thing)
    domain = (*SHAPES, "digit")
    return QuestionDraft(scene, {"place": place}, (f"The {place} holds a {thing.noun}.",), thing.noun, domain, 6)


@kind(
    "shape_of_colour",
    "shape colour",
    ("Which object is {colour}?", "What is the {colour} object?"),
    ("Identify the item with {colour} paint.", "Which form wears the {colour} hue?"),
)
def _shape_of_colour(rng: Random) -> QuestionDraft:
    scene, things = draw_scene(rng, (2, 3))
    thing = rng.choice(things)
    for other, colour in zip(things, rng.sample(COLOURS, len(things)), strict=True):
        scene, changed = with_changed(scene, other, colour=colour)
        thing = changed if other is thing else thing
    reasoning = (f"The {thing.colour} object is the {thing.noun}.",)
    return QuestionDraft(scene, {"colour": thing.colour}, reasoning, thing.noun, (*SHAPES, "digit"), 6)


@kind(
    "place_of",
    "place",
    ("Where is the {x}?", "In which place is the {x}?"),
    ("Locate the {x}.", "Point out the spot of the {x}."),
)
def _place_of(rng: Random) -> QuestionDraft:
    scene, things = draw_scene(rng, (1, 3))
    thing = rng.choice(things)
    place = scene.place(thing)
    return QuestionDraft(scene, {"x": thing.noun}, (f"The {thing.noun} is in the {place}.",), place, PLACES)


@kind(
    "place_of_hollow",
    "fill place",
    ("Where is the hollow object?",),
    ("Locate the item that is only outlined.", "Point out the spot of the hollow item."),
)
def _place_of_hollow(rng: Random) -> QuestionDraft:
    scene, things = draw_scene(rng, (2, 3), (0, 0))
    chosen = rng.choice(things)
    for thing in things:
        scene, changed = with_changed(scene, thing, fill="hollow" if thing is chosen else "solid")
        chosen = changed if thing is chosen else chosen
    place = scene.place(chosen)
    reasoning = (f"The hollow object is the {chosen.noun}.", f"The {chosen.noun} is in the {place}.")
    return QuestionDraft(scene, {"x": "object"}, reasoning, place, PLACES)


@kind(
    "colour_of_framed",
    "frame colour",
    ("What colour is the framed object?",),
    ("Name the paint of the item with a border.", "In which hue does the boxed item appear?"),
)
def _colour_of_framed(rng: Random) -> QuestionDraft:
    scene, things = draw_scene(rng, (2, 3), (0, 0))
    chosen = rng.choice(things)
    for thing in things:
        scene, changed = with_changed(scene, thing, frame="framed" if thing is chosen else "bare")
        chosen = changed if thing is chosen else chosen
    reasoning = (f"The framed object is the {chosen.noun}.", f"The {chosen.noun} is {chosen.colour}.")
    return QuestionDraft(scene, {"x": "object"}, reasoning, chosen.colour, COLOURS)
