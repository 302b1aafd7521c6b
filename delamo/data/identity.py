"""What a pool or a task *is*: a digest of its content, whatever file, folder or order it came in."""

from __future__ import annotations

import hashlib
import json

from delamo.records import Sample


class ContentDigest:
    """Order-free digest of a set of samples: SHA-256 sums modulo 2**256, so a pool of any size is digested in one pass.

    A picture counts by its name under the image root and its size in bytes: hashing 1.6 million files would take hours,
    and an absolute path would make the same data another data set on another machine.
    """

    def __init__(self) -> None:
        self._sum = 0

    def add(self, sample: Sample, *, part: str = "", image_name: str = "", image_size: int = 0) -> None:
        """Count one sample in; `part` tells a validation sample from a test sample."""
        fields = [part, sample.id, sample.instruction, sample.answer, sample.options, sample.gold, sample.source]
        line = json.dumps([*fields, image_name, image_size])
        self._sum = (self._sum + int.from_bytes(hashlib.sha256(line.encode("ascii")).digest(), "big")) % (1 << 256)

    def hexdigest(self) -> str:
        """64 hexadecimal digits."""
        return f"{self._sum:064x}"
