"""Open images from locators, defensively: whatever is wrong ends as an `ImageError` with a countable reason."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from delamo.data.quarantine import UnusableError

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 50_000_000  # Pillow itself warns from 89 MP and raises from 179 MP; a 17 kB file can hold 144 MP
METADATA = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")
"""Where Pillow looks for an orientation."""
SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):")


class ImageError(UnusableError):
    """An image that cannot be used.

    `reason` is short and countable (`image missing`, `image broken`, `image too large`, `image outside root`,
    `image locator`); `detail` names the file and what happened.
    """


def open_image(locator: str, *, image_root: Path | None = None, max_pixels: int = MAX_PIXELS) -> Image:
    """Open an image as RGB, decoded, upright, first frame only.

    Args:
        locator: a path; `micro:...`, which the microworld renders; `arrow:...`, inside an Arrow file. A relative path
            needs `image_root`.
        image_root: folder that the file must lie in, symbolic links resolved.
        max_pixels: width x height above which the image is refused before it is decoded.

    Raises:
        ImageError: missing, broken, truncated, too large, outside `image_root`, or a URL.
    """
    scheme = SCHEME.match(locator)
    if scheme and scheme[1] == "micro":
        from delamo.data.microworld.render import render_locator

        return render_locator(locator)
    if scheme and scheme[1] == "arrow":
        return _decode(io.BytesIO(_inside_arrow(locator)), locator, max_pixels)
    if scheme:
        raise ImageError("image locator", f"{locator[:200]!r}: only files, `arrow:` and `micro:` are read, never a URL")
    path = _checked_path(locator, image_root)
    return _decode(path, str(path), max_pixels)


def encoded(locator: str) -> bytes | None:
    """Return an image's bytes as they are in a file or in an Arrow table; None for one that is rendered or missing."""
    if locator.startswith("arrow:"):
        return _inside_arrow(locator)
    path = Path(locator)
    return path.read_bytes() if path.is_absolute() and path.is_file() else None


def _inside_arrow(locator: str) -> bytes:
    from delamo.data.arrow_table import read_bytes

    try:
        return read_bytes(locator)
    except (OSError, ValueError, LookupError) as error:
        raise ImageError("image missing", f"{locator[:200]}: {error}") from error


def _checked_path(locator: str, root: Path | None) -> Path:
    if not locator or "\0" in locator:
        raise ImageError("image locator", f"{locator[:200]!r} is not a path")
    if root is None and not Path(locator).is_absolute():
        raise ImageError(
            "image locator", f"{locator!r} is relative and no image_root is set: set one or store absolute paths"
        )
    try:
        path = Path(root or "/", locator).resolve()
        is_file = path.is_file()
    except (OSError, RuntimeError) as error:  # a name too long for the file system, a loop of links
        raise ImageError("image missing", f"{locator[:200]}: {error}") from error
    if root is not None and not path.is_relative_to(Path(root).resolve()):
        raise ImageError("image outside root", f"{locator} resolves to {path}, which is not inside {root}")
    if not is_file:
        raise ImageError("image missing", f"{path} does not exist or is not a regular file")
    return path


def _decode(file: Path | io.BytesIO, path: str, max_pixels: int) -> Image:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as image:
                width, height = image.size
                if width * height > max_pixels:
                    raise ImageError("image too large", f"{path} is {width} x {height} pixels, the cap is {max_pixels}")
                image.load()  # a truncated file opens well and fails only here
                return _rgb(_upright(image))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ImageError("image too large", f"{path}: {error}") from error
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise anything on bad bytes: OSError, SyntaxError, struct.error, ...
        raise ImageError("image broken", f"{path}: {error}") from error


def _upright(image: Image) -> Image:
    """Turn an image as its orientation tag says, whatever else its EXIF block holds.

    Pillow writes the whole block anew when it turns an image, which fails on a tag of another type than the standard's;
    then the orientation alone is kept.
    """
    from PIL import ExifTags, Image, ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # struct.error, AttributeError, ..., by the tag
        alone = Image.Exif()
        with contextlib.suppress(Exception):  # a block that cannot be read tells of no orientation
            alone[ExifTags.Base.Orientation] = image.getexif()[ExifTags.Base.Orientation]
        bare = image.copy()
        bare.info = {key: value for key, value in image.info.items() if key not in METADATA}
        bare.info["exif"] = alone.tobytes()
        return ImageOps.exif_transpose(bare)


def _rgb(image: Image) -> Image:
    """Convert any mode to RGB: transparency over white, more than 8 bits scaled down rather than clipped."""
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bit(image).convert("RGB")
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(ground, layer).convert("RGB")
    return image.convert("RGB")


def _eight_bit(image: Image) -> Image:
    """Convert modes I;16, I and F to L; integers are 16-bit samples, floats lie in 0..1 or 0..255 by their maximum."""
    import numpy as np
    from PIL import Image

    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    top = values.max(initial=0.0)
    scale = 1.0 if top <= 255 else 65535 / 255
    if image.mode == "F" and top <= 1:
        scale = 1 / 255
    elif image.mode.startswith("I;16"):
        scale = 65535 / 255
    return Image.fromarray(np.clip(values / scale, 0, 255).astype(np.uint8))
