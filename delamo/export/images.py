"""Images of exported samples: files as they are, rendered ones as PNG, each content once."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING

from delamo.data.images import encoded, open_image

if TYPE_CHECKING:
    pass


class ImageFolder:
    """A folder of images that are named by their content, so that samples with the same image share a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, str] = {}

    def add(self, locator: str | None) -> str | None:
        """Write an image; returns its name below the folder's parent, as in `images/3f9a1c.png`, None for none.

        Raises:
            ImageError: it is missing or cannot be decoded.
        """
        if locator is None:
            return None
        if locator not in self._names:
            self._names[locator] = self._write(locator)
        return self._names[locator]

    def _write(self, locator: str) -> str:
        image = open_image(locator)  # broken ones are found here, not by whoever trains on them
        content, suffix = encoded(locator), Path(locator).suffix.lower()
        if content is None or locator.startswith("arrow:"):
            content, suffix = (content, _suffix(content)) if content else (_png(image), ".png")
        name = f"{hashlib.sha256(content).hexdigest()[:20]}{suffix}"
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / name).write_bytes(content)
        return f"{self._folder.name}/{name}"


def _suffix(content: bytes) -> str:
    """Return the suffix of the format that the bytes are in."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        return f".{(image.format or 'png').lower()}".replace(".jpeg", ".jpg")


def _png(image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
