"""Files of images: always regular files inside the image root, whatever a record says."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from delamo.data.quarantine import RowError


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image under an image root."""

    path: str
    """Absolute, symbolic links resolved."""
    name: str
    """As the record gives it, normalized: identity does not depend on where the root lies."""
    size: int
    """Bytes."""


class ImageRoot:
    """A folder of images; no name leads out of it by `..`, an absolute path, a link or a URL."""

    def __init__(self, root: Path, key: str = "image_root") -> None:
        """Raises NotADirectoryError, naming the config key, where `root` is not a folder."""
        if not root.is_dir():
            raise NotADirectoryError(f"{key} is {root}: no such folder")
        self.root = os.path.realpath(root)
        self._parents: dict[str, str] = {}

    def locate(self, name: str) -> ImageFile:
        """Find an image; the file is not opened, so a broken one is found where it is decoded.

        A name with non-ASCII characters is also looked for as unzip writes it on a machine without that alphabet: `é`
        as `#U00e9`.

        Raises:
            RowError: `image is a URL`, `image outside root`, `image missing`, `image not a file`.
        """
        if "://" in name or name.startswith("data:"):
            raise RowError("image is a URL", "image", name, "pictures are read from image_root only")
        if os.path.isabs(name) or "\0" in name:
            raise RowError("image outside root", "image", name, f"expected a path relative to {self.root}")
        name = os.path.normpath(name)
        for candidate in dict.fromkeys((name, _unzipped(name))):
            if file := self._regular_file(candidate):
                return file
        raise RowError("image missing", "image", name, f"no such file under {self.root}")

    def _regular_file(self, name: str) -> ImageFile | None:
        folder, base = os.path.split(name)
        path = os.path.join(self._resolved(folder), base)
        try:
            if os.path.islink(path):
                path = os.path.realpath(path)
            self._check_inside(path, name)
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as problem:
            raise RowError("image missing", "image", name, str(problem.strerror)) from None
        if not stat.S_ISREG(status.st_mode):
            raise RowError("image not a file", "image", name)
        return ImageFile(path, name, status.st_size)

    def _resolved(self, folder: str) -> str:
        """Resolve a folder once, not once for each image: a pool has 1.6 million images in a few folders."""
        if folder not in self._parents:
            self._parents[folder] = os.path.realpath(os.path.join(self.root, folder))
        return self._parents[folder]

    def _check_inside(self, path: str, name: str) -> None:
        if os.path.commonpath((self.root, os.path.abspath(path))) != self.root:
            raise RowError("image outside root", "image", name, f"it leads out of {self.root}")


def _unzipped(name: str) -> str:
    return "".join(c if c.isascii() else f"#U{ord(c):04x}" for c in name)
