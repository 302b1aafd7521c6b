"""How many things there are."""

from __future__ import annotations

from random import Random

from delamo.data.microworld.questions.kinds import QuestionDraft, draw_scene, kind, listed, with_changed
from delamo.data.microworld.scene import COLOURS, DIGITS, FILLS, FRAMES, SIZES


def _count(rng: Random, attribute: str, value: str) -> QuestionDraft:
    scene, things = draw_scene(rng, (1, 4), (0, 1))
    for thing in things:
        if getattr(thing, attribute) is not None and rng.random() < 0.4:
            scene, _ = with_changed(scene, thing, **{attribute: value})
    counted = [thing for thing in scene.things() if getattr(thing, attribute) == value]
    reasoning = (f"The {value} objects are {listed(counted)}.", f"There are {len(counted)} {value} objects.")
    return QuestionDraft(scene, {"value": value}, reasoning, str(len(counted)), DIGITS[:5])


@kind(
    "count_all",
    "count",
    ("How many objects are there?", "What is the number of objects?"),
    ("Give the total of items on display.", "Tally everything in the picture."),
)
def _count_all(rng: Random) -> QuestionDraft:
    scene, things = draw_scene(rng, (1, 4), (0, 1))
    counted = scene.things()
    reasoning = (f"The objects are {listed(counted)}.", f"There are {len(counted)} objects.")
    return QuestionDraft(scene, {}, reasoning, str(len(things)), DIGITS[1:6])


@kind(
    "count_colour",
    "count colour",
    ("How many {value} objects are there?", "What is the number of {value} objects?"),
    ("Give the total of items with {value} paint.", "Tally everything in {value} hue."),
)
def _count_colour(rng: Random) -> QuestionDraft:
    return _count(rng, "colour", rng.choice(COLOURS))


@kind(
    "count_size",
    "size count",
    ("How many {value} objects are there?",),
    ("Give the total of items of {value} extent.", "Tally everything that is {value}."),
)
def _count_size(rng: Random) -> QuestionDraft:
    return _count(rng, "size", rng.choice(SIZES))


@kind(
    "count_fill",
    "fill count",
    ("How many {value} objects are there?",),
    ("Give the total of items with a {value} interior.", "Tally everything that is {value}."),
)
def _count_fill(rng: Random) -> QuestionDraft:
    return _count(rng, "fill", rng.choice(FILLS))


@kind(
    "count_frame",
    "frame count",
    ("How many {value} objects are there?",),
    ("Give the total of items that are {value}.", "Tally every {value} item."),
)
def _count_frame(rng: Random) -> QuestionDraft:
    return _count(rng, "frame", rng.choice(FRAMES))
