"""Which pool samples meet a target's validation or test samples: the leakage audit.

Vision-Flan's tasks share COCO, Caltech101 and Visual Genome pictures with the targets that are taken from it, so that holding a
target's name out of the pool is not enough. Four ways of meeting:

    picture       the same bytes, or the same address of a rendered picture
    picture name  files of the same name: the same photograph, resized or recompressed. Where the name holds a long number, that number
                  (COCO's 000000010449, whatever a data set writes around it); names as plain as `image.png` say nothing, nor
                  does one that several pictures of the target or many of the pool have (`frame_0001.png` in each folder)
    near picture  a difference hash (dHash, 64 bits) at most `perceptual_distance` bits away
    text          the same words in question, options and answer; where both have pictures, only from `text_min_words` words on,
                  since short questions of a template repeat

A small world repeats itself: two addresses of the microworld may render to the same pixels though nothing was copied. Such an
`equal scene` is listed and counted, and stays in the pool.

The pool is walked through once (`Fingerprints`, 24 to 32 bytes a sample) and then only compared, target by target.
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
"""Pool pictures compared at a time: bounds the memory of near pictures."""
_LONG_NUMBER = re.compile(r"\d{10,}")
"""Ten digits: COCO's and Flickr's numbers are as long, a running number within a data set is not."""
MIN_NAME = 6
"""Characters that a name must have, one digit among them, to be one picture's own."""
FEW = 3
"""Different pictures of a pool that one name without a long number may have: a photograph and its resized or recompressed copies."""
_WORD = re.compile(r"\w+")
_OPTION_LETTER = re.compile(r"\([a-z]\)|\boptions:|^\s*[a-z][.):]\s", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """One row a sample, in ascending order of id; 0 stands for nothing to compare."""

    pictures: np.ndarray
    """(n,) uint64: size of a file, half a hash of a rendered picture. Equal content has equal keys, not the other way round."""
    names: np.ndarray
    """(n,) uint64: hash of the picture file's name, or of the long number in it."""
    texts: np.ndarray
    """(n,) uint64: hash of the words of question, options and answer."""
    near: np.ndarray
    """(n,) uint64: dHash; empty where near pictures are not asked for."""

    def save(self, folder: Path) -> None:
        """One file for each."""
        for name in self.__slots__:
            np.save(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> Fingerprints:
        """Mapped into memory, not read."""
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in cls.__slots__))


def fingerprints(samples: Iterable[Sample], total: int, *, near: bool) -> Fingerprints:
    """Walk through samples once. With `near`, every picture is decoded; one that cannot be has no dHash."""
    table = np.zeros((4, total), np.uint64)
    for row, sample in enumerate(tqdm(samples, total=total, desc="fingerprint the pool", unit="sample", delay=5)):
        table[0, row] = picture_key(sample.image) if sample.image else 0
        table[1, row] = name_key(sample.image) if sample.image else 0
        table[2, row] = text_key(sample)
        table[3, row] = dhash(sample.image) if near and sample.image else 0
    return Fingerprints(table[0], table[1], table[2], table[3] if near else table[3, :0])


def find_leaks(
    pool: Pool,
    known: Fingerprints,
    splits: dict[str, Sequence[Sample]],
    *,
    perceptual_distance: int | None = None,
    text_min_words: int | None = 20,
) -> list[Leak]:
    """Every pool sample that meets a target sample, once for each way; in order of pool id.

    Args:
        known: of the pool, in its order.
        splits: `validation` and `test` samples.
        perceptual_distance: bits; None leaves near pictures out.
        text_min_words: see the module; None leaves texts out.
    """
    targets = [(split, sample) for split, samples in splits.items() for sample in samples]
    ids = pool.ids()
    found: dict[tuple[str, str], Leak] = {}

    def meet(row: int, split: str, sample: Sample, kind: str, distance: int = 0) -> None:
        leak = Leak(pool_id=ids[row], sample_id=sample.id, split=split, kind=kind, distance=distance)
        found.setdefault((leak.pool_id, kind), leak)

    pictured = [(split, sample) for split, sample in targets if sample.image]
    for row, (split, sample) in _equal(known.pictures, [(picture_key(s.image), (p, s)) for p, s in pictured]):
        ours = pool.get(ids[row]).image
        if ours == sample.image:
            meet(row, split, sample, "picture")
        elif picture_digest(ours) == picture_digest(sample.image):
            meet(row, split, sample, CHANCE if (sample.image or "").startswith("micro:") else "picture")
    for row, (split, sample) in _equal(known.names, _own_names(pictured, pool, known)):
        meet(row, split, sample, "picture name")
    if perceptual_distance is not None:
        for row, (split, sample), distance in _near(known.near, pictured, perceptual_distance):
            meet(row, split, sample, "near picture", distance)
    if text_min_words is not None:
        for row, (split, sample) in _equal(known.texts, [(text_key(s), (p, s)) for p, s in targets]):
            both_pictured = sample.image and pool.get(ids[row]).image
            if not both_pictured or len(words_of(sample)) >= text_min_words:
                meet(row, split, sample, "text")
    return [found[key] for key in sorted(found)]


def removed_ids(leaks: Iterable[Leak]) -> frozenset[str]:
    """The pool samples that must not be selected."""
    return frozenset(leak.pool_id for leak in leaks if leak.kind != CHANCE)


def _own_names(
    targets: list[tuple[str, Sample]], pool: Pool, known: Fingerprints
) -> list[tuple[int, tuple[str, Sample]]]:
    """(key, target) for the names that stand for one picture: `0001.png` in each of ten folders stands for none.

    In the target, a name may have one file; in the pool a name without a long number may have a `FEW` pictures.
    """
    pictures: dict[int, set[str | None]] = defaultdict(set)
    for _, sample in targets:
        pictures[name_key(sample.image)].add(sample.image)
    keyed = [(name_key(sample.image), (split, sample)) for split, sample in targets]
    running = {key for key, (_, sample) in keyed if key and not _LONG_NUMBER.search(Path(sample.image or "").stem)}
    common = _common_names(running, pool, known)
    return [(key, target) for key, target in keyed if len(pictures[key]) == 1 and key not in common]


def _common_names(keys: set[int], pool: Pool, known: Fingerprints) -> set[int]:
    """Those of the keys that more than a `FEW` different pictures of the pool have."""
    rows: dict[int, list[int]] = defaultdict(list)
    for row in np.flatnonzero(np.isin(known.names, np.fromiter(keys, np.uint64, len(keys)))).tolist():
        rows[int(known.names[row])].append(row)
    return {key for key, found in rows.items() if len(found) > FEW and _many_pictures(found, pool, known)}


def _many_pictures(rows: list[int], pool: Pool, known: Fingerprints) -> bool:
    """Whether rows of the pool have more than a `FEW` pictures; files are read only where their sizes do not tell."""
    if len(set(known.pictures[rows].tolist())) > FEW:
        return True
    ids = pool.ids()
    seen: set[str | None] = set()
    contents: set[bytes] = set()
    for row in rows:
        locator = pool.get(ids[row]).image
        if locator not in seen:
            seen.add(locator)
            contents.add(picture_digest(locator))
        if len(contents) > FEW:
            return True
    return False


def _equal(keys: np.ndarray, wanted: list[tuple[int, tuple[str, Sample]]]) -> Iterator[tuple[int, tuple[str, Sample]]]:
    """(row of the pool, target sample) for equal keys; 0 equals nothing."""
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
    """(row, the nearest target, bits apart) for every pool picture within the limit."""
    wanted = np.array([dhash(sample.image) for _, sample in targets], np.uint64)
    usable = np.flatnonzero(wanted)
    for start in range(0, len(keys) if len(usable) else 0, BLOCK):
        block = np.asarray(keys[start : start + BLOCK])
        apart = np.bitwise_count(block[:, None] ^ wanted[None, usable])
        nearest = apart.argmin(axis=1)
        bits = apart[np.arange(len(block)), nearest]
        for row in np.flatnonzero((bits <= limit) & (block != 0)).tolist():
            yield start + row, targets[int(usable[nearest[row]])], int(bits[row])


def picture_key(locator: str | None) -> int:
    """See `Fingerprints.pictures`; 0 where there is no such file, which no content can equal."""
    path = Path(locator or "")
    if path.is_absolute():
        return path.stat().st_size if path.is_file() else 0
    if (locator or "").startswith("arrow:"):
        return len(_encoded(locator))
    return int.from_bytes(picture_digest(locator)[:8])


def picture_digest(locator: str | None) -> bytes:
    """sha256 of the bytes in a file or an Arrow table, or of a rendered picture's pixels; empty where there is none."""
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
    """Hash of the last long number in a file's name, else of the name without its suffix; 0 where that says nothing, and for a
    rendered picture, whose locator is no name."""
    path = Path(locator or "")
    name = path.stem.casefold() if path.is_absolute() else ""
    if numbers := _LONG_NUMBER.findall(name):
        return _hash(numbers[-1])
    return _hash(name) if len(name) >= MIN_NAME and any(c.isdigit() for c in name) else 0


def text_key(sample: Sample) -> int:
    """Hash of the words."""
    return _hash(" ".join(words_of(sample)))


def words_of(sample: Sample) -> list[str]:
    """Question, options and answer as lower-case words, without option letters, so that a task's sample equals a pool's."""
    text = "\n".join((sample.instruction, " ".join(sample.options), sample.answer))
    return _WORD.findall(_OPTION_LETTER.sub(" ", text).casefold())


def dhash(locator: str | None) -> int:
    """64 bits: whether each of 8 x 8 grey values is darker than its right neighbour; 0 where the picture cannot be read."""
    try:
        grey = np.asarray(open_image(locator or "").convert("L").resize((9, 8)), dtype=np.int16)
    except ImageError:
        return 0
    bits = np.packbits((grey[:, 1:] > grey[:, :-1]).ravel())
    return int.from_bytes(bits.tobytes())


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8]) if text else 0
