"""Pictures of exported samples: files as they are, rendered ones as PNG, each content once."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from delamo.data.images import encoded, open_image


class PictureFolder:
    """Fills `folder` with pictures named by their content, so that samples with one picture share a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, str] = {}

    def add(self, locator: str | None) -> str | None:
        """The picture's name below the folder's parent, as in `images/3f9a1c.png`; None for a sample without one.

        Raises:
            ImageError: it is missing or cannot be decoded.
        """
        if locator is None:
            return None
        if locator not in self._names:
            self._names[locator] = self._write(locator)
        return self._names[locator]

    def _write(self, locator: str) -> str:
        picture = open_image(locator)  # broken ones are found here, not by whoever trains on them
        content, suffix = encoded(locator), Path(locator).suffix.lower()
        if content is None or locator.startswith("arrow:"):
            content, suffix = (content, _suffix(content)) if content else (_png(picture), ".png")
        name = f"{hashlib.sha256(content).hexdigest()[:20]}{suffix}"
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / name).write_bytes(content)
        return f"{self._folder.name}/{name}"


def _suffix(content: bytes) -> str:
    """As the format is called that the bytes are in."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as picture:
        return f".{(picture.format or 'png').lower()}".replace(".jpeg", ".jpg")


def _png(picture) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
