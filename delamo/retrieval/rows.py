"""Vectors of samples on disk: embeddings, hidden states, gradients, perplexities.

Rows are written block by block into one memory-mapped file, so that memory does not grow with the pool and a kill loses
one block at most. A row that could not be made is NaN throughout.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from delamo.records import Quarantined, Sample
from delamo.retrieval.corpus import DocIds, pack_ids
from delamo.store import read_rows, write_json, write_rows

VALUES, PROGRESS = "values.npy", "progress.json"


@dataclass(frozen=True, slots=True)
class SampleVectors:
    """Numbers by sample, in ascending order of id."""

    ids: DocIds
    values: np.ndarray
    """(num_samples, width), memory-mapped."""

    @classmethod
    def load(cls, folder: Path) -> SampleVectors:
        """Open what `fill_rows` wrote."""
        return cls(DocIds.load(folder, mmap=True), np.load(folder / VALUES, mmap_mode="r"))

    def __len__(self) -> int:
        return len(self.values)

    def blocks(self, size: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (first row, (at most `size`, width) float32), from the first row to the last."""
        for start in range(0, len(self), size):
            yield start, self.values[start : start + size].astype(np.float32)


def fill_rows(
    folder: Path,
    work: Path,
    samples: Iterable[Sample],
    ids: Sequence[str],
    *,
    width: int,
    dtype: str,
    compute: Callable[[list[Sample]], tuple[np.ndarray, list[Quarantined]]],
    block_size: int,
    what: str,
) -> list[Quarantined]:
    """Compute the rows of all samples and write them into `folder`; returns the samples without a row.

    Args:
        folder: where `SampleVectors.load` finds them.
        work: keeps count, so that a killed run goes on after its last block.
        samples: in the order of `ids`.
        ids: ascending.
        width: numbers in a row.
        dtype: numpy's name of the stored format.
        compute: (len(block), width) of a block of samples, NaN for those that it returns as quarantined.
        block_size: samples at a time.
        what: names the rows in the bar.
    """
    from tqdm import tqdm

    work.mkdir(parents=True, exist_ok=True)
    progress = work / PROGRESS
    done = json.loads(progress.read_text())["rows"] if progress.is_file() else 0
    values = np.lib.format.open_memmap(
        folder / VALUES, mode="r+" if done else "w+", dtype=None if done else dtype, shape=(len(ids), width)
    )
    stream = islice(iter(samples), done, None)
    with tqdm(desc=what, total=len(ids), initial=done, unit="sample", unit_scale=True, delay=5) as bar:
        while block := list(islice(stream, block_size)):
            rows, bad = compute(block)
            values[done : done + len(block)] = rows
            values.flush()
            if bad:
                write_rows(work / f"bad-{done:012d}.jsonl", bad)
            done += len(block)
            write_json(progress, {"rows": done})
            bar.update(len(block))
    pack_ids(ids).save(folder)
    return [row for path in sorted(work.glob("bad-*.jsonl")) for row in read_rows(Quarantined, path)]


def unit(rows: np.ndarray) -> np.ndarray:
    """Scale rows to length 1: (n, width) -> (n, width) float64; a row of zeros becomes NaN."""
    rows = np.asarray(rows, np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, np.nan)
