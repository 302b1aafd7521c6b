"""Identity of a pool or a task: a digest of its content, whatever file, folder or order it came in."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

from delamo.data.images import encoded
from delamo.records import Quarantined, Sample, to_dict
from delamo.store import content_digests, digest_of

BATCH = 4096
"""Images whose bytes are looked up together."""


class ContentDigest:
    """Order-free digest of a set of samples: SHA-256 sums modulo 2**256, so a pool of any size is digested in one pass.

    An image counts by its name under the image root and by all of its bytes. A file is read once, and then known by its
    size, times and inode (`delamo.store.contents`); an absolute path would make the same data another data set on
    another machine.
    """

    def __init__(self) -> None:
        self._sum = 0
        self._waiting: list[tuple[list[Any], str | None]] = []

    def add(self, sample: Sample, image_name: str = "", *, part: str = "") -> None:
        """Count one sample in; `part` tells a validation sample from a test sample."""
        text = [sample.id, sample.instruction, sample.answer, sample.options, sample.gold, sample.source]
        self._waiting.append(([part, *text, image_name], sample.image))
        if len(self._waiting) >= BATCH:
            self._flush()

    def add_quarantined(self, row: Quarantined) -> None:
        """Count in a row that was held back; its detail names a path and is left out."""
        self._count(["quarantined", row.id, row.reason])

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for (fields, _), image in zip(waiting, image_digests([image for _, image in waiting]), strict=True):
            self._count([*fields, image])

    def _count(self, fields: list[Any]) -> None:
        digest = hashlib.sha256(json.dumps(fields).encode("ascii")).digest()
        self._sum = (self._sum + int.from_bytes(digest, "big")) % (1 << 256)

    def hexdigest(self) -> str:
        """Return the digest so far: 64 hexadecimal digits."""
        self._flush()
        return f"{self._sum:064x}"


def image_digests(locators: Sequence[str | None]) -> list[str | None]:
    """Return the identity of each image: the SHA-256 of its bytes, wherever they lie, or the address of a drawn one.

    Args:
        locators: of the images; None where there is none, and stays so. A path without a file stays as it is.
    """
    files = {locator: None for locator in locators if locator and os.path.isabs(locator) and os.path.isfile(locator)}
    digests = dict(zip(files, content_digests(list(files), "digest of images"), strict=True))
    return [digests.get(locator) or _inside(locator) for locator in locators]


def samples_digest(samples: Iterable[Sample]) -> str:
    """Return the identity of samples by their content: texts, and the bytes of image files wherever they lie."""
    samples = list(samples)
    images = image_digests([sample.image for sample in samples])
    return digest_of([to_dict(sample) | {"image": image} for sample, image in zip(samples, images, strict=True)])


def _inside(locator: str | None) -> str | None:
    """Return the digest of the bytes inside an Arrow table, or the locator of an image that is drawn or missing."""
    if locator and locator.startswith("arrow:"):
        return hashlib.sha256(encoded(locator) or b"").hexdigest()
    return locator
