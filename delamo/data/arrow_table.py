"""Memory-mapped rows of Arrow files as `datasets` writes them: any row at little cost, nothing read that is not needed.

An image inside such a file has the locator `arrow:FILE#ROW/COLUMN`, which names everything that is needed to open it:
worker processes and later runs open it as they open a file. The column is quoted as in a URL.
"""

from __future__ import annotations

import bisect
import os
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from delamo.data.quarantine import BadRow

SCHEME = "arrow:"
NUM_FILES_KEPT = 512
"""Files that stay mapped; a map costs addresses, not memory."""


class ArrowTable:
    """The rows of several files with the same columns, one after another."""

    def __init__(self, paths: list[str]) -> None:
        """Raises ValueError for a file that is no Arrow stream."""
        self.paths = [os.path.abspath(path) for path in paths]
        self._starts = [0, *accumulate(_rows_of(path) for path in self.paths)]

    def __len__(self) -> int:
        return self._starts[-1]

    def scalar(self, row: int, column: str) -> Any:
        """Return pyarrow's scalar at a row of a top-level column."""
        file, row_in_file = self._file_and_row(row)
        return _columns(self.paths[file])[column][row_in_file]

    def locator(self, row: int, column: str) -> str:
        """Return the address of the image at a row and column."""
        file, row_in_file = self._file_and_row(row)
        return f"{SCHEME}{self.paths[file]}#{row_in_file}/{quote(column, safe='')}"

    def _file_and_row(self, row: int) -> tuple[int, int]:
        file = bisect.bisect_right(self._starts, row) - 1
        return file, row - self._starts[file]


def image_in(scalar: Any) -> Any:
    """Return what an image's field holds: a buffer of encoded bytes, the name of a file, or None.

    `datasets.Image` is a struct of bytes and path; a list of at most one image, and a plain column of names or of bytes,
    will do too.

    Raises:
        BadRow: `several images`, or `not a picture` for another type.
    """
    import pyarrow as pa

    if not scalar.is_valid:
        return None
    if isinstance(scalar, (pa.ListScalar, pa.LargeListScalar)):
        if len(scalar) > 1:
            raise BadRow("several images", "image", len(scalar), "one picture a sample")
        return image_in(scalar[0]) if len(scalar) else None
    if isinstance(scalar, pa.StructScalar) and {"bytes", "path"} <= set(scalar):
        return image_in(scalar["bytes"]) or image_in(scalar["path"])
    if isinstance(scalar, (pa.BinaryScalar, pa.LargeBinaryScalar)) and not isinstance(
        scalar, (pa.StringScalar, pa.LargeStringScalar)
    ):
        return scalar.as_buffer()
    if isinstance(scalar, (pa.StringScalar, pa.LargeStringScalar)):
        return scalar.as_py() or None
    raise BadRow("not a picture", "image", str(scalar.type), "expected datasets.Image, a file name or bytes")


def read_bytes(locator: str) -> bytes:
    """Return the encoded image at an `arrow:` locator.

    Raises:
        OSError, ValueError, KeyError, IndexError: no such file, row or column, or no image there.
    """
    path, _, address = locator.removeprefix(SCHEME).rpartition("#")
    row, _, column = address.partition("/")
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is gone: it held the picture in row {row}")
    image = image_in(_columns(path)[unquote(column)][int(row)])
    if image is None or isinstance(image, str):
        raise ValueError(f"{path} has no picture in row {row}, column {unquote(column)}")
    return image.to_pybytes()


def _rows_of(path: str) -> int:
    return len(next(iter(_columns(path).values()), ()))


@lru_cache(maxsize=NUM_FILES_KEPT)
def _columns(path: str) -> dict[str, Any]:
    import pyarrow as pa

    try:
        table = pa.ipc.open_stream(pa.memory_map(path)).read_all()
    except pa.ArrowInvalid as problem:
        raise ValueError(f"{path} is damaged or no Arrow stream: {problem}") from problem
    return {name: table.column(name) for name in table.column_names}
