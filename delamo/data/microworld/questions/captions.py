"""Captions: every fact that a question may ask for is said here, also those that no known kind asks about."""

from __future__ import annotations

from random import Random

from delamo.data.microworld.questions.kinds import QuestionDraft, draw_scene, kind, row_of
from delamo.data.microworld.questions.numbers import parity_word
from delamo.data.microworld.scene import Scene


@kind(
    "describe",
    "shape colour",
    ("Describe the picture.", "What does the picture show?"),
    ("Write a caption.", "Put the picture into words."),
)
def _describe(rng: Random) -> QuestionDraft:
    scene, _ = draw_scene(rng, (1, 3), (0, 2))
    return QuestionDraft(scene, {"x": "object"}, tuple(_facts(rng, scene)), "")


def _facts(rng: Random, scene: Scene, num_facts: int = 4) -> list[str]:
    """Some of the true sentences about a scene."""
    facts = []
    for thing in scene.things():
        facts += [f"The {thing.noun} looks {value}." for value in (thing.size, thing.fill, thing.frame) if value]
        facts += [f"The number {thing.digit} is {parity_word(thing.digit)}."] * 3 if thing.digit else []
        for other in scene.things():
            if row_of(scene, thing) != row_of(scene, other):
                relation = "above" if row_of(scene, thing) == "top" else "below"
                facts.append(f"The {thing.noun} stands {relation} the {other.noun}.")
            if (thing.size, other.size) == ("big", "small"):
                facts.append(f"The {thing.noun} looks bigger than the {other.noun}.")
    return rng.sample(facts, min(num_facts, len(facts)))
