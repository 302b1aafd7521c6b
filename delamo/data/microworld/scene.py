"""Scenes of the microworld: at most one thing in each cell of a 2 x 2 grid."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

PLACES = ("top left", "top right", "bottom left", "bottom right")
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")
SHAPES = ("circle", "square", "triangle", "star", "cross")
SIZES = ("big", "small")
FILLS = ("solid", "hollow")
FRAMES = ("framed", "bare")
DIGITS = tuple(str(value) for value in range(10))


@dataclass(frozen=True, slots=True)
class Thing:
    """A shape or a handwritten digit."""

    noun: str
    """One of SHAPES, or `digit`."""
    colour: str
    size: str
    frame: str
    fill: str | None = None
    """None for a digit, which is always drawn in full."""
    digit: str | None = None
    """The value of a digit, `"0"` to `"9"`."""
    glyph: int = 0
    """Which of the handwritten images of that value, modulo their number in the split."""
    shift: tuple[int, int] = (0, 0)
    """Pixels off the center of the cell."""

    @property
    def phrase(self) -> str:
        """`big red hollow framed circle`, `small blue bare digit 7`."""
        words = [self.size, self.colour, self.fill, self.frame, self.noun, self.digit]
        return " ".join(word for word in words if word)


@dataclass(frozen=True, slots=True)
class Scene:
    """Four cells in the order of PLACES; None is an empty cell."""

    cells: tuple[Thing | None, ...]
    shade: int = 255
    """Gray level of the background."""

    def things(self) -> list[Thing]:
        """Return the things of the scene, in the order of PLACES."""
        return [cell for cell in self.cells if cell is not None]

    def place(self, thing: Thing) -> str:
        """Return the name of the cell that holds a thing."""
        return PLACES[self.cells.index(thing)]

    def scan(self) -> list[str]:
        """Return one sentence a cell: the dense caption with which every worked answer starts."""
        return [scan_sentence(place, cell) for place, cell in zip(PLACES, self.cells, strict=True)]


def scan_sentence(place: str, cell: Thing | None) -> str:
    """Say what a cell holds."""
    return f"The {place} is empty." if cell is None else f"The {place} has a {cell.phrase}."


def draw_thing(rng: Random, noun: str, digit: str | None = None) -> Thing:
    """Draw the attributes of a shape or of a digit, whose value is drawn too unless given."""
    is_digit = noun == "digit"
    return Thing(
        noun=noun,
        colour=rng.choice(COLOURS),
        size=rng.choice(SIZES),
        frame=rng.choice(FRAMES),
        fill=None if is_digit else rng.choice(FILLS),
        digit=(digit or rng.choice(DIGITS)) if is_digit else None,
        glyph=rng.randrange(1 << 16),
        shift=(rng.randint(-1, 1), rng.randint(-1, 1)),
    )


def draw_things(rng: Random, num_shapes: int, num_digits: int) -> list[Thing]:
    """Draw shapes with distinct nouns, then digits with distinct values."""
    shapes = [draw_thing(rng, noun) for noun in rng.sample(SHAPES, num_shapes)]
    return shapes + [draw_thing(rng, "digit", value) for value in rng.sample(DIGITS, num_digits)]


def arrange(rng: Random, things: list[Thing], places: list[int] | None = None) -> Scene:
    """Put the things in the given cells (indices into PLACES), or in distinct cells drawn at random."""
    cells: list[Thing | None] = [None] * len(PLACES)
    for place, thing in zip(places or rng.sample(range(len(PLACES)), len(things)), things, strict=True):
        cells[place] = thing
    return Scene(tuple(cells), shade=rng.choice((255, 250, 240, 230)))
