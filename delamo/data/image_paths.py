"""Where a record's picture lies: always a regular file inside the image root, whatever the record says."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from delamo.data.quarantine import BadRow


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One picture found under an image root."""

    path: str
    """Absolute, symbolic links resolved."""
    name: str
    """As the record gives it, normalised: identity does not depend on where the root lies."""
    size: int
    """Bytes."""


class ImageRoot:
    """A folder of pictures. A name is followed only as far as it stays inside (no `..`, absolute path, link out, URL)."""

    def __init__(self, root: Path, key: str = "image_root") -> None:
        """Raises NotADirectoryError, naming the config key, where `root` is not a folder."""
        if not root.is_dir():
            raise NotADirectoryError(f"{key} is {root}: no such folder")
        self.root = os.path.realpath(root)
        self._parents: dict[str, str] = {}

    def locate(self, name: str) -> ImageFile:
        """Find a picture; the file is not opened, so a broken one is found where it is decoded.

        A name with non-ASCII characters is also looked for as unzip writes it on a machine without that alphabet: `é`
        as `#U00e9`.

        Raises:
            BadRow: `image is a URL`, `image outside root`, `image missing`, `image not a file`.
        """
        if "://" in name or name.startswith("data:"):
            raise BadRow("image is a URL", "image", name, "pictures are read from image_root only")
        if os.path.isabs(name) or "\0" in name:
            raise BadRow("image outside root", "image", name, f"expected a path relative to {self.root}")
        name = os.path.normpath(name)
        for candidate in dict.fromkeys((name, _unzipped(name))):
            found = self._regular_file(candidate)
            if found:
                return found
        raise BadRow("image missing", "image", name, f"no such file under {self.root}")

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
            raise BadRow("image missing", "image", name, str(problem.strerror)) from None
        if not stat.S_ISREG(status.st_mode):
            raise BadRow("image not a file", "image", name)
        return ImageFile(path, name, status.st_size)

    def _resolved(self, folder: str) -> str:
        """One `realpath` a folder, not one a picture: a pool has 1.6 million pictures in a few folders."""
        if folder not in self._parents:
            self._parents[folder] = os.path.realpath(os.path.join(self.root, folder))
        return self._parents[folder]

    def _check_inside(self, path: str, name: str) -> None:
        if os.path.commonpath((self.root, os.path.abspath(path))) != self.root:
            raise BadRow("image outside root", "image", name, f"it leads out of {self.root}")


def _unzipped(name: str) -> str:
    return "".join(c if c.isascii() else f"#U{ord(c):04x}" for c in name)
