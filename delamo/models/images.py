"""Images on their way to a model: opened, made smaller, encoded for a service, identified by content."""

from __future__ import annotations

import base64
import hashlib
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from delamo.data.images import open_image
from delamo.store import file_digest

if TYPE_CHECKING:
    from PIL.Image import Image


def load_image(locator: str | None, max_pixels: int | None) -> Image | None:
    """Open the image of a sample.

    Args:
        locator: a path, `micro:...` or `arrow:...`; None for a sample without an image, which gives None.
        max_pixels: width x height above which it is made smaller; None leaves it as it is.

    Raises:
        ImageError: missing, broken, too large to be decoded, or a URL.
    """
    return None if locator is None else downscale(open_image(locator), max_pixels)


def downscale(image: Image, max_pixels: int | None) -> Image:
    """Return the image, or a smaller copy of its proportions where it has more than `max_pixels` (width x height)."""
    width, height = image.size
    if max_pixels is None or width * height <= max_pixels:
        return image
    scale = math.sqrt(max_pixels / (width * height))
    size = max(1, math.floor(width * scale)), max(1, math.floor(height * scale))
    return image.resize(size, resample=3)  # bicubic


def data_url(image: Image, format: str, **options: Any) -> str:
    """Encode an image as a data URL.

    Args:
        image: to encode.
        format: as Pillow names it, `JPEG` or `PNG`.
        options: of Pillow's encoder.
    """
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return f"data:image/{format.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def image_digest(locator: str) -> str:
    """Return the SHA-256 of an image file's bytes, wherever it lies; of its pixels, where it is drawn (`micro:...`).

    Raises:
        ImageError: no such image.
    """
    path = Path(locator)
    if path.is_absolute() and path.is_file():
        return file_digest(path)
    return hashlib.sha256(open_image(locator).tobytes()).hexdigest()
