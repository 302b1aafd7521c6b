"""What a pool or a task *is*: a digest of its content, whatever file, folder or order it came in."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from delamo.records import Quarantined, Sample


class ContentDigest:
    """Order-free digest of a set of samples: SHA-256 sums modulo 2**256, so a pool of any size is digested in one pass.

    A picture counts by its name under the image root and its size in bytes: hashing 1.6 million files would take hours,
    and an absolute path would make the same data another data set on another machine.
    """

    def __init__(self) -> None:
        self._sum = 0

    def add(self, sample: Sample, image_name: str = "", image_size: int = 0, *, part: str = "") -> None:
        """Count one sample in; `part` tells a validation sample from a test sample."""
        text = [sample.id, sample.instruction, sample.answer, sample.options, sample.gold, sample.source]
        self._count([part, *text, image_name, image_size])

    def add_quarantined(self, row: Quarantined) -> None:
        """Count in a row that was held back; its detail names a path and is left out."""
        self._count(["quarantined", row.id, row.reason])

    def _count(self, fields: list[Any]) -> None:
        digest = hashlib.sha256(json.dumps(fields).encode("ascii")).digest()
        self._sum = (self._sum + int.from_bytes(digest, "big")) % (1 << 256)

    def hexdigest(self) -> str:
        """64 hexadecimal digits."""
        return f"{self._sum:064x}"
