"""The leakage audit: pool samples that overlap the validation or test samples of a task.

Vision-Flan's tasks share COCO, Caltech101 and Visual Genome images with the targets that are taken from it, so that
holding a target's name out of the pool is not enough. Four kinds of overlap, by their names in `leaks.jsonl`:

    picture       the same bytes, or the same address of a rendered image
    picture name  files of the same name: the same photograph, resized or recompressed. Where the name holds a long
                  number, that number (COCO's 000000010449, whatever a data set writes around it); names as plain as
                  `image.png` say nothing, nor does a name that several images of the target or many of the pool have
                  (`frame_0001.png` in each folder)
    near picture  a difference hash (dHash, 64 bits) at most `perceptual_distance` bits away
    text          the same words in question, options and answer; where both have images, only from `text_min_words`
                  words on, since short questions of a template repeat

A small world repeats itself: two addresses of the microworld may render to the same pixels though nothing was copied.
Such an `equal scene` is listed and counted, and stays in the pool.

The pool is read once (`Fingerprints`, 24 to 32 bytes a sample) and then only compared, target by target.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from delamo.data import Pool
from delamo.data.images import ImageError, encoded, open_image
from delamo.records import Leak, Sample

CHANCE = "equal scene"
BLOCK = 4096
"""Pool images compared at a time: bounds the memory of the near images."""
_LONG_NUMBER = re.compile(r"\d{10,}")
"""Ten digits: COCO's and Flickr's numbers are as long, a running number within a data set is not."""
MIN_NAME = 6
"""Characters that a name must have, one digit among them, to stand for one image."""
FEW = 3
"""Different images of a pool that may share a name without a long number: a photograph and its resized copies, say."""
_WORD = re.compile(r"\w+")
_OPTION_LETTER = re.compile(r"\([a-z]\)|\boptions:|^\s*[a-z][.):]\s", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """One row a sample, in ascending order of id; 0 stands for nothing to compare.

    Each field is a file of its own name on disk.
    """

    pictures: np.ndarray
    """(n,) uint64: size of an image's file, or half a hash of a rendered image. Equal content has equal keys, not the
    other way round."""
    names: np.ndarray
    """(n,) uint64: hash of the image file's name, or of the long number in it."""
    texts: np.ndarray
    """(n,) uint64: hash of the words of question, options and answer."""
    near: np.ndarray
    """(n,) uint64: dHash; empty where near images are not compared."""

    def save(self, folder: Path) -> None:
        """Write one file for each field."""
        for name in self.__slots__:
            np.save(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> Fingerprints:
        """Map saved fingerprints into memory."""
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in cls.__slots__))


def fingerprints(samples: Iterable[Sample], total: int, *, near: bool) -> Fingerprints:
    """Compute the fingerprints of samples in one pass.

    Args:
        samples: in ascending order of id.
        total: their number.
        near: decode every image for its dHash; one that cannot be decoded has none.
    """
    table = np.zeros((4, total), np.uint64)
    for row, sample in enumerate(tqdm(samples, total=total, desc="fingerprint the pool", unit="sample", delay=5)):
        table[0, row] = image_key(sample.image) if sample.image else 0
        table[1, row] = name_key(sample.image) if sample.image else 0
        table[2, row] = text_key(sample)
        table[3, row] = dhash(sample.image) if near and sample.image else 0
    return Fingerprints(table[0], table[1], table[2], table[3] if near else table[3, :0])


def find_leaks(
    pool: Pool,
    known: Fingerprints,
    splits: dict[str, Sequence[Sample]],
    *,
    perceptual_distance: int | None,
    text_min_words: int | None,
) -> list[Leak]:
    """Find every pool sample that overlaps a target sample, once for each kind of overlap, in order of pool id.

    Args:
        pool: the pool.
        known: its fingerprints, in its order.
        splits: `validation` and `test` samples.
        perceptual_distance: bits; None does not compare near images.
        text_min_words: where both samples have images; None does not compare texts.
    """
    targets = [(split, sample) for split, samples in splits.items() for sample in samples]
    ids = pool.ids()
    leaks: dict[tuple[str, str], Leak] = {}

    def add(row: int, split: str, sample: Sample, kind: str, distance: int = 0) -> None:
        leak = Leak(pool_id=ids[row], sample_id=sample.id, split=split, kind=kind, distance=distance)
        leaks.setdefault((leak.pool_id, kind), leak)

    with_image = [(split, sample) for split, sample in targets if sample.image]
    for row, (split, sample) in _equal(known.pictures, [(image_key(s.image), (p, s)) for p, s in with_image]):
        ours = pool.get(ids[row]).image
        if ours == sample.image:
            add(row, split, sample, "picture")
        elif image_digest(ours) == image_digest(sample.image):
            add(row, split, sample, CHANCE if (sample.image or "").startswith("micro:") else "picture")
    for row, (split, sample) in _equal(known.names, _own_names(with_image, pool, known)):
        add(row, split, sample, "picture name")
    if perceptual_distance is not None:
        for row, (split, sample), distance in _near(known.near, with_image, perceptual_distance):
            add(row, split, sample, "near picture", distance)
    if text_min_words is not None:
        for row, (split, sample) in _equal(known.texts, [(text_key(s), (p, s)) for p, s in targets]):
            both_have_images = sample.image and pool.get(ids[row]).image
            if not both_have_images or len(words_of(sample)) >= text_min_words:
                add(row, split, sample, "text")
    return [leaks[key] for key in sorted(leaks)]


def removed_ids(leaks: Iterable[Leak]) -> frozenset[str]:
    """Return the ids of the pool samples that must not be selected."""
    return frozenset(leak.pool_id for leak in leaks if leak.kind != CHANCE)


def _own_names(
    targets: list[tuple[str, Sample]], pool: Pool, known: Fingerprints
) -> list[tuple[int, tuple[str, Sample]]]:
    """Return (key, target) for the names that stand for one image: `0001.png` in each of ten folders stands for none.

    In the target, a name may have one file; in the pool, a name without a long number may have a `FEW` images.
    """
    images: dict[int, set[str | None]] = defaultdict(set)
    for _, sample in targets:
        images[name_key(sample.image)].add(sample.image)
    keyed = [(name_key(sample.image), (split, sample)) for split, sample in targets]
    running = {key for key, (_, sample) in keyed if key and not _LONG_NUMBER.search(Path(sample.image or "").stem)}
    common = _common_names(running, pool, known)
    return [(key, target) for key, target in keyed if len(images[key]) == 1 and key not in common]


def _common_names(keys: set[int], pool: Pool, known: Fingerprints) -> set[int]:
    """Return those of the keys that more than a `FEW` different images of the pool have."""
    rows: dict[int, list[int]] = defaultdict(list)
    for row in np.flatnonzero(np.isin(known.names, np.fromiter(keys, np.uint64, len(keys)))).tolist():
        rows[int(known.names[row])].append(row)
    return {key for key, same in rows.items() if len(same) > FEW and _many_images(same, pool, known)}


def _many_images(rows: list[int], pool: Pool, known: Fingerprints) -> bool:
    """Return whether rows of the pool have more than a `FEW` images; files are read only where sizes do not tell."""
    if len(set(known.pictures[rows].tolist())) > FEW:
        return True
    ids = pool.ids()
    seen: set[str | None] = set()
    contents: set[bytes] = set()
    for row in rows:
        locator = pool.get(ids[row]).image
        if locator not in seen:
            seen.add(locator)
            contents.add(image_digest(locator))
        if len(contents) > FEW:
            return True
    return False


def _equal(keys: np.ndarray, wanted: list[tuple[int, tuple[str, Sample]]]) -> Iterator[tuple[int, tuple[str, Sample]]]:
    """Yield (row of the pool, target sample) for equal keys; 0 equals nothing."""
    by_key: dict[int, list[tuple[str, Sample]]] = defaultdict(list)
    for key, target in wanted:
        if key:
            by_key[key].append(target)
    sought = np.fromiter(by_key, np.uint64, len(by_key))
    for row in np.flatnonzero(np.isin(keys, sought)).tolist():
        for target in by_key[int(keys[row])]:
            yield row, target


def _near(
    keys: np.ndarray, targets: list[tuple[str, Sample]], limit: int
) -> Iterator[tuple[int, tuple[str, Sample], int]]:
    """Yield (row, the nearest target, bits apart) for every pool image within the limit."""
    wanted = np.array([dhash(sample.image) for _, sample in targets], np.uint64)
    usable = np.flatnonzero(wanted)
    for start in range(0, len(keys) if len(usable) else 0, BLOCK):
        block = np.asarray(keys[start : start + BLOCK])
        distances = np.bitwise_count(block[:, None] ^ wanted[None, usable])
        nearest = distances.argmin(axis=1)
        bits = distances[np.arange(len(block)), nearest]
        for row in np.flatnonzero((bits <= limit) & (block != 0)).tolist():
            yield start + row, targets[int(usable[nearest[row]])], int(bits[row])


def image_key(locator: str | None) -> int:
    """Return what `Fingerprints.pictures` holds; 0 where there is no such file, which no content can equal."""
    path = Path(locator or "")
    if path.is_absolute():
        return path.stat().st_size if path.is_file() else 0
    if (locator or "").startswith("arrow:"):
        return len(_encoded(locator))
    return int.from_bytes(image_digest(locator)[:8])


def image_digest(locator: str | None) -> bytes:
    """Return the sha256 of the bytes in a file or an Arrow table, or of a rendered image's pixels; empty for none."""
    if Path(locator or "").is_absolute() or (locator or "").startswith("arrow:"):
        content = _encoded(locator)
        return hashlib.sha256(content).digest() if content else b""
    return hashlib.sha256(open_image(locator).tobytes()).digest() if locator else b""


def _encoded(locator: str | None) -> bytes:
    try:
        return encoded(locator or "") or b""
    except ImageError:
        return b""


def name_key(locator: str | None) -> int:
    """Hash the last long number in a file's name, else the name without its suffix.

    0 where that says nothing, and for a rendered image, whose locator is no name.
    """
    path = Path(locator or "")
    name = path.stem.casefold() if path.is_absolute() else ""
    if numbers := _LONG_NUMBER.findall(name):
        return _hash(numbers[-1])
    return _hash(name) if len(name) >= MIN_NAME and any(c.isdigit() for c in name) else 0


def text_key(sample: Sample) -> int:
    """Hash the words of a sample."""
    return _hash(" ".join(words_of(sample)))


def words_of(sample: Sample) -> list[str]:
    """Return question, options and answer as lower-case words, without option letters.

    A task's sample then equals a pool's, which has its options in the text.
    """
    text = "\n".join((sample.instruction, " ".join(sample.options), sample.answer))
    return _WORD.findall(_OPTION_LETTER.sub(" ", text).casefold())


def dhash(locator: str | None) -> int:
    """Hash an image by whether each of 8 x 8 gray values is darker than its right neighbor; 0 if it is unreadable."""
    try:
        gray = np.asarray(open_image(locator or "").convert("L").resize((9, 8)), dtype=np.int16)
    except ImageError:
        return 0
    bits = np.packbits((gray[:, 1:] > gray[:, :-1]).ravel())
    return int.from_bytes(bits.tobytes())


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8]) if text else 0
