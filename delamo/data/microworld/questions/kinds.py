"""Kinds of question, the planted skills, and functions that the kinds draw their scenes with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from delamo.data.microworld.scene import PLACES, Scene, Thing, arrange, draw_things

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
class QuestionDraft:
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
    draw: Callable[[Random], QuestionDraft] = field(repr=False)


KINDS: dict[str, Kind] = {}


def kind(name: str, skills: str, plain: tuple[str, ...], other: tuple[str, ...]):
    """Register the function below as the drawer of a kind."""

    def register(draw: Callable[[Random], QuestionDraft]) -> Callable[[Random], QuestionDraft]:
        KINDS[name] = Kind(name, tuple(skills.split()), plain, other, draw)
        return draw

    return register


def draw_scene(rng: Random, shapes: tuple[int, int], digits: tuple[int, int] = (0, 1)) -> tuple[Scene, list[Thing]]:
    """Draw a scene with a number of shapes and of digits from the given ranges; at most four things."""
    num_shapes = rng.randint(*shapes)
    num_digits = min(rng.randint(*digits), len(PLACES) - num_shapes)
    things = draw_things(rng, num_shapes, num_digits)
    return arrange(rng, things), things


def with_changed(scene: Scene, thing: Thing, **changes: str) -> tuple[Scene, Thing]:
    """Return the scene with one thing changed, and that thing."""
    changed = replace(thing, **changes)
    return replace(scene, cells=tuple(changed if cell is thing else cell for cell in scene.cells)), changed


def column_of(scene: Scene, thing: Thing) -> str:
    """Return `left` or `right`."""
    return scene.place(thing).split()[1]


def row_of(scene: Scene, thing: Thing) -> str:
    """Return `top` or `bottom`."""
    return scene.place(thing).split()[0]


def listed(things: list[Thing]) -> str:
    """Return the nouns of things, or `none`."""
    return ", ".join(thing.noun for thing in things) or "none"
