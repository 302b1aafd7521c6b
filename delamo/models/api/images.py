"""Pictures as they travel: a JPEG of at most so many pixels in a data URL, never a path or an address."""

from __future__ import annotations

import base64
import hashlib
import io
import math
from typing import TYPE_CHECKING

from delamo.data.images import open_image
from delamo.store import file_digest

if TYPE_CHECKING:
    from PIL.Image import Image

JPEG_QUALITY = 90


def picture_digest(locator: str) -> str:
    """sha256 of the picture file's bytes, wherever it lies; of its pixels, where it is drawn (`micro:...`).

    Raises:
        ImageError: no such picture.
    """
    from pathlib import Path

    path = Path(locator)
    if path.is_absolute() and path.is_file():
        return file_digest(path)
    return hashlib.sha256(open_image(locator).tobytes()).hexdigest()


def data_url(locator: str, max_pixels: int | None) -> str:
    """The picture, made smaller where it has more than `max_pixels`, its proportions kept.

    Raises:
        ImageError: missing, broken, too large to be decoded, or a URL.
    """
    buffer = io.BytesIO()
    capped(open_image(locator), max_pixels).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def capped(picture: Image, max_pixels: int | None) -> Image:
    """The picture itself, or a copy of at most `max_pixels` (width x height)."""
    width, height = picture.size
    if max_pixels is None or width * height <= max_pixels:
        return picture
    scale = math.sqrt(max_pixels / (width * height))
    return picture.resize((max(1, math.floor(width * scale)), max(1, math.floor(height * scale))))
