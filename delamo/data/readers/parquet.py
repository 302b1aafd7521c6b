"""A pool as Parquet: texts and image names in one file, images as files where they are; it opens in seconds.

    FOLDER/pool.json          the original's digest, digest and number of samples by source, the folder of the images
    FOLDER/samples.parquet    one row a sample in ascending order of id, in small groups: one sample is read cheaply
    FOLDER/quarantine.jsonl   the rows that the reader of the original held back

`delamo convert` writes it from any pool, and it is that pool: same digest. When it is opened, the bytes of the images
are held against those of then (`delamo.store.contents` reads a file once); a missing one is an error where it is read.
"""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import MISSING
from tqdm import tqdm

from delamo.data import Pool, PoolConfig, add_pool
from delamo.data.identity import ContentDigest, image_digests
from delamo.data.image_paths import ImageRoot
from delamo.data.images import SCHEME
from delamo.data.quarantine import RowError
from delamo.data.readers.sorted_pool import SortedPool
from delamo.records import Quarantined, Sample
from delamo.store import QUARANTINE, content_digests, read_rows, write_json, write_rows


@dataclass(slots=True, kw_only=True)
class ParquetPoolConfig(PoolConfig):
    """A pool that `delamo convert` wrote."""

    folder: str = MISSING
    image_root: str | None = MISSING
    """null is where the images lay when it was written."""
    exclude_tasks: list[str | None] = MISSING
    """Names of sources; null among them is skipped."""


FORMAT_VERSION = 2  # digests of the images
POOL, SAMPLES = "pool.json", "samples.parquet"
GROUP_SIZE = 512
"""Rows read at a time: about 200 kB of text."""
NUM_GROUPS_KEPT = 64
COLUMNS = ("id", "instruction", "answer", "image", "image_size", "source")
IMAGE_DIGEST = "image_digest"
"""One more column, which is read when the pool is opened: SHA-256 of an image file's bytes, as it was written."""


class ParquetPool(SortedPool):
    """In memory: the ids, and where each stands."""

    def __init__(self, folder: Path, image_root: Path | None, exclude_tasks: frozenset[str]) -> None:
        """Raises FileNotFoundError for a folder without a pool, ValueError for one of another format or cut off."""
        description = _read_description(folder)
        self.name, self._path = folder.name, folder / SAMPLES
        self._source = self._path
        self._file = _open(self._path)
        if self._file.metadata.num_rows != sum(source["samples"] for source in description["sources"].values()):
            raise ValueError(
                f"{self._path} has {self._file.metadata.num_rows} rows, {POOL} says otherwise: convert again"
            )
        self._images = ImageRoot(image_root or Path(description["image_root"]), "pool.image_root")
        self.digest = _digest_of(description, exclude_tasks)
        excluded = {name: source for name, source in description["sources"].items() if name in exclude_tasks}
        self.held_out = Counter({name: source["samples"] for name, source in sorted(excluded.items())})
        self._ids, self._rows = self._read_ids(exclude_tasks)
        if not self._ids:
            raise ValueError(f"{folder}: pool.exclude_tasks leaves no sample")
        self._check_images()
        self._quarantined: list[Quarantined] | None = None
        self._group = lru_cache(maxsize=NUM_GROUPS_KEPT)(self._read_group)

    def _read_ids(self, exclude_tasks: frozenset[str]) -> tuple[list[str], np.ndarray]:
        """Return the ids of the samples that are kept, and their rows in the file."""
        import pyarrow as pa
        import pyarrow.compute as pc

        table = self._file.read(columns=["id", "source"] if exclude_tasks else ["id"])
        rows = np.arange(len(table))
        if exclude_tasks:
            kept = pc.invert(pc.is_in(table["source"], value_set=pa.array(sorted(exclude_tasks))))
            rows, table = rows[kept.to_numpy()], table.filter(kept)
        return table["id"].to_pylist(), rows.astype(np.int32)

    def _check_images(self) -> None:
        """Hold the images against what the pool was written with: its digest stands for those, whatever came since.

        Raises:
            RuntimeError: an image has other bytes, or the file is damaged. A missing image is an error where it is
                asked for.
        """
        try:
            table = self._file.read(columns=["image", IMAGE_DIGEST]).take(self._rows)
        except (OSError, ValueError) as problem:
            raise RuntimeError(f"{self._path} is damaged ({problem}): convert again") from problem
        expected: dict[str, str] = {}
        for batch in table.to_batches(max_chunksize=GROUP_SIZE):
            for name, digest in zip(batch[0].to_pylist(), batch[1].to_pylist(), strict=True):
                if name is None or SCHEME.match(name):
                    continue
                with contextlib.suppress(RowError):
                    expected[self._images.locate(name).path] = digest
        paths = list(expected)
        for path, digest in zip(paths, content_digests(paths, "digest of images"), strict=True):
            if digest != expected[path]:
                raise RuntimeError(f"{path} has other bytes than when {self._path} was written: convert again")

    @property
    def quarantined(self) -> Sequence[Quarantined]:
        """The rows that the original's reader held back."""
        if self._quarantined is None:
            self._quarantined = read_rows(Quarantined, self._path.with_name(QUARANTINE))
        return self._quarantined

    def __iter__(self) -> Iterator[Sample]:
        return (self._sample(int(row)) for row in self._rows)

    def _sample_at(self, index: int) -> Sample:
        return self._sample(int(self._rows[index]))

    def _sample(self, row: int) -> Sample:
        group = self._group(row // GROUP_SIZE)
        fields = {name: group[name][row % GROUP_SIZE] for name in COLUMNS}
        size = fields.pop("image_size")
        return Sample(**fields | {"image": self._locate(fields["image"], size, fields["id"])})

    def _read_group(self, number: int) -> dict[str, list[Any]]:
        try:
            return self._file.read_row_group(number, columns=list(COLUMNS)).to_pydict()
        except (OSError, ValueError) as problem:  # ArrowInvalid is a ValueError
            raise RuntimeError(f"{self._path} is damaged ({problem}): convert again") from problem

    def _locate(self, name: str | None, size: int | None, id: str) -> str | None:
        if name is None or SCHEME.match(name):
            return name
        try:
            file = self._images.locate(name)
        except RowError as problem:
            raise RuntimeError(
                f"{self._path}: the picture of {id!r} has gone since it was written: {problem}"
            ) from problem
        if file.size != size:
            raise RuntimeError(
                f"{file.path} has {file.size} bytes, {self._path} was written when it had {size}: convert again"
            )
        return file.path


def read_pool(config: ParquetPoolConfig) -> ParquetPool:
    """Open the pool that `delamo convert` wrote, without the tasks that serve as targets.

    Raises:
        FileNotFoundError, NotADirectoryError: a path that does not exist.
        ValueError: another format, a file that is cut off, or every task excluded.
    """
    image_root = Path(config.image_root) if config.image_root else None
    return ParquetPool(Path(config.folder), image_root, frozenset(name for name in config.exclude_tasks if name))


def write_pool(pool: Pool, folder: Path) -> int:
    """Write a pool to a new folder and return the number of samples; one group of rows is in memory at a time.

    Warns where the digests of several sources do not add up to the pool's, which matters only to `exclude_tasks`.

    Raises:
        ValueError: the folder is not empty, or the pool's ids do not ascend.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"out is {folder}, which is there and not empty: choose a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    root = str(getattr(pool, "image_root", None) or _common_folder(pool))
    sources = _write_samples(pool, folder / SAMPLES, root)
    _warn_of_other_names(pool, sources)
    write_rows(folder / QUARANTINE, pool.quarantined)
    description = {"format_version": FORMAT_VERSION, "name": pool.name, "original_digest": pool.digest}
    description |= {"image_root": root, "sources": sources}
    write_json(folder / POOL, description)  # last: without it the folder holds no pool
    return sum(source["samples"] for source in sources.values())


def _write_samples(pool: Pool, path: Path, root: str) -> dict[str, dict[str, Any]]:
    """Write the rows; returns source -> {samples, digest}."""
    import pyarrow as pa

    digests: dict[str, ContentDigest] = {}
    counts: Counter[str] = Counter()
    types = {name: pa.int64() if name == "image_size" else pa.string() for name in (*COLUMNS, IMAGE_DIGEST)}
    options = {"compression": "zstd", "write_page_checksum": True, "use_dictionary": ["source"]}
    with _parquet().ParquetWriter(path, pa.schema(types.items()), **options) as file:
        group: dict[str, list[Any]] = {name: [] for name in types}
        last = ""
        for sample in tqdm(pool, total=len(pool), desc=f"writing {path.name}", unit=" samples", delay=5, leave=False):
            if counts and sample.id <= last:
                raise ValueError(f"the pool's ids do not ascend: {sample.id!r} comes after {last!r}")
            if sample.options or sample.gold is not None:
                raise ValueError(f"{sample.id!r} has options beside its text: a pool's sample has them inline")
            last = sample.id
            name, size = _name_and_size(sample.image, root)
            values = (sample.id, sample.instruction, sample.answer, name, size, sample.source)
            for column, value in zip(COLUMNS, values, strict=True):
                group[column].append(value)
            group[IMAGE_DIGEST].append(sample.image)
            counts[sample.source] += 1
            digests.setdefault(sample.source, ContentDigest()).add(sample, image_name=name or "")
            if len(group["id"]) == GROUP_SIZE:
                _flush(file, group, types)
        _flush(file, group, types)
    return {name: {"samples": counts[name], "digest": digests[name].hexdigest()} for name in sorted(counts)}


def _flush(file: Any, group: dict[str, list[Any]], types: dict[str, Any]) -> None:
    import pyarrow as pa

    if group["id"]:
        group[IMAGE_DIGEST] = list(image_digests(group[IMAGE_DIGEST]))
        file.write_table(pa.table(group, schema=pa.schema(types.items())), row_group_size=GROUP_SIZE)
    for values in group.values():
        values.clear()


def _name_and_size(locator: str | None, root: str) -> tuple[str | None, int | None]:
    if locator is None or SCHEME.match(locator):
        return locator, None
    return os.path.relpath(locator, root), os.stat(locator).st_size


def _common_folder(pool: Pool) -> str:
    """Return the deepest folder that holds every image of a pool."""
    folders = {os.path.dirname(s.image) for s in pool if s.image is not None and not SCHEME.match(s.image)}
    return os.path.commonpath(folders) if folders else "."


def _digest_of(description: dict[str, Any], exclude: frozenset[str]) -> str:
    """Return the digest of the pool: the original's, or that of the sources that are kept.

    Content digests are sums, so that those of the kept sources add up to what the original's reader would give.
    """
    sources = description["sources"]
    if exclude.isdisjoint(sources):
        return description["original_digest"]
    return _sum_of(source["digest"] for name, source in sources.items() if name not in exclude)


def _sum_of(digests: Iterable[str]) -> str:
    return f"{sum(int(digest, 16) for digest in digests) % (1 << 256):064x}"


def _warn_of_other_names(pool: Pool, sources: dict[str, Any]) -> None:
    """Warn where images have other names here than in the original's records: an identity counts an image by its name.

    A name is lost where it leads through a link or into a table.
    """
    if len(sources) > 1 and _sum_of(source["digest"] for source in sources.values()) != pool.digest:
        warnings.warn(
            f"the pictures of {pool.name} have other names than in its records (links, pictures inside a table, "
            "rendered ones): the pool is the same as a whole, but with pool.exclude_tasks it is not what the original "
            "is with the same tasks left out, and would be annotated again: annotate through pool=parquet from the "
            "start if you leave tasks out",
            stacklevel=3,
        )


def _read_description(folder: Path) -> dict[str, Any]:
    """Read pool.json. Raises FileNotFoundError or ValueError for a folder that holds no pool of this format."""
    if not (folder / POOL).is_file():
        raise FileNotFoundError(
            f"pool.folder is {folder}: no {POOL} there; `delamo convert pool=... out={folder}` makes one"
        )
    description = json.loads((folder / POOL).read_text(encoding="utf-8"))
    if description.get("format_version") != FORMAT_VERSION:
        raise ValueError(f"{folder / POOL} has format_version {description.get('format_version')!r}: convert again")
    return description


def _open(path: Path) -> Any:
    library = _parquet()
    try:
        return library.ParquetFile(path, page_checksum_verification=True)
    except (OSError, ValueError) as problem:
        raise ValueError(f"{path} is damaged or cut off ({problem}): convert again") from problem


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError("pool=parquet and `delamo convert` need pyarrow: pip install 'delamo[parquet]'") from error
    return pyarrow.parquet


add_pool("parquet", ParquetPoolConfig, read_pool)
