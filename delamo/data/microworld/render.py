"""Render scenes as 48 x 48 RGB images by Pillow; the digits are real handwriting (scikit-learn's `load_digits`)."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from delamo.data.microworld.scene import Scene, Thing

if TYPE_CHECKING:
    import numpy as np

IMAGE_SIZE = 48
CELL = IMAGE_SIZE // 2
OVERSAMPLING = 2  # drawn at twice the size and reduced, so that edges are smooth

RGB = {
    "red": (214, 39, 40),
    "green": (44, 160, 44),
    "blue": (31, 90, 200),
    "yellow": (235, 200, 20),
    "purple": (140, 60, 180),
    "orange": (255, 127, 14),
}
RADIUS = {"big": 9, "small": 5}  # pixels
FRAME_RGB = (90, 90, 90)


def render(scene: Scene, split: str) -> Image.Image:
    """Draw a scene.

    Args:
        scene: what stands where.
        split: `pool`, `val` or `test`; decides which handwritten digits may appear, so that no image of a digit is
            shared between the pool, the validation and the test samples.
    """
    canvas = Image.new("RGB", (IMAGE_SIZE * OVERSAMPLING,) * 2, (scene.shade,) * 3)
    draw = ImageDraw.Draw(canvas)
    for index, thing in enumerate(scene.cells):
        if thing is not None:
            _draw_thing(canvas, draw, thing, index, split)
    return canvas.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BOX)


def render_locator(locator: str) -> Image.Image:
    """Render the image that a `micro:...` locator names."""
    from delamo.data.microworld.examples import example_at, split_of

    return render(example_at(locator).scene, split_of(locator))


def _draw_thing(canvas: Image.Image, draw: ImageDraw.ImageDraw, thing: Thing, index: int, split: str) -> None:
    scale = OVERSAMPLING
    left, top = (index % 2) * CELL, (index // 2) * CELL
    if thing.frame == "framed":
        box = [(left + 1) * scale, (top + 1) * scale, (left + CELL - 1) * scale - 1, (top + CELL - 1) * scale - 1]
        draw.rectangle(box, outline=FRAME_RGB, width=scale)
    center = ((left + CELL / 2 + thing.shift[0]) * scale, (top + CELL / 2 + thing.shift[1]) * scale)
    radius = RADIUS[thing.size] * scale
    if thing.noun == "digit":
        _paste_digit(canvas, thing, center, radius, split)
    else:
        _draw_shape(draw, thing, center, radius)


def _draw_shape(draw: ImageDraw.ImageDraw, thing: Thing, center: tuple[float, float], radius: float) -> None:
    corners = _outline(thing.noun, center, radius)
    color = RGB[thing.colour]
    if thing.fill == "solid":
        draw.polygon(corners, fill=color)
    else:
        draw.line([*corners, corners[0], corners[1]], fill=color, width=2 * OVERSAMPLING, joint="curve")


def _outline(noun: str, center: tuple[float, float], radius: float) -> list[tuple[float, float]]:
    """Return the corners of a shape, clockwise from the top."""
    x, y = center
    if noun == "square":
        half = 0.85 * radius
        return [(x - half, y - half), (x + half, y - half), (x + half, y + half), (x - half, y + half)]
    if noun == "cross":
        arm, thick = radius, radius * 0.36
        quarter = [(-thick, -arm), (thick, -arm), (thick, -thick)]
        turns = [(1, 0, 0, 1), (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0)]
        return [(x + a * u + b * v, y + c * u + d * v) for a, b, c, d in turns for u, v in quarter]
    num_corners, inner = {"circle": (24, 1.0), "triangle": (3, 1.0), "star": (10, 0.42)}[noun]
    radii = [radius * (inner if k % 2 and noun == "star" else 1.0) for k in range(num_corners)]
    angles = [2 * math.pi * k / num_corners - math.pi / 2 for k in range(num_corners)]
    return [(x + r * math.cos(a), y + r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]


def _paste_digit(canvas: Image.Image, thing: Thing, center: tuple[float, float], radius: float, split: str) -> None:
    glyphs = digit_glyphs(split)[int(thing.digit or 0)]
    ink = Image.fromarray(glyphs[thing.glyph % len(glyphs)], mode=None)
    side = round(2 * radius)
    ink = ink.resize((side, side), Image.Resampling.BICUBIC)
    corner = (round(center[0] - radius), round(center[1] - radius))
    canvas.paste(Image.new("RGB", (side, side), RGB[thing.colour]), corner, ink)


@cache
def digit_glyphs(split: str) -> dict[int, list[np.ndarray]]:
    """Return the handwritten digits of one split: value -> list of (8, 8) uint8 ink masks.

    Of scikit-learn's 1,797 images every fifth of each value goes to `val`, the one after it to `test`, the others
    to `pool`.
    """
    import numpy as np
    from sklearn.datasets import load_digits

    data = load_digits()
    remainder = {"val": (0,), "test": (1,), "pool": (2, 3, 4)}[split]
    masks = np.clip(data.images * 17, 0, 255).astype(np.uint8)
    return {
        value: [masks[i] for k, i in enumerate(np.flatnonzero(data.target == value)) if k % 5 in remainder]
        for value in range(10)
    }
