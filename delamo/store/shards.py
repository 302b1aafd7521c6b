"""Long work in shards, each an atomic file, so that a kill loses one shard at most."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from delamo.records import Quarantined, Sample, from_dict, to_dict
from delamo.store.files import write_json, write_rows
from delamo.store.results import ResultWriter, RowCounts

S = TypeVar("S")
T = TypeVar("T")


def compute_in_shards(
    writer: ResultWriter,
    name: str,
    samples: Sequence[Sample],
    cls: type[T],
    *,
    work: Callable[[list[Sample]], tuple[list[T], list[Quarantined]]],
    shard_size: int,
    notes: Callable[[], dict[str, Any]] = dict,
) -> None:
    """Work through samples shard by shard, and write the rows as `NAME.jsonl`.

    Args:
        writer: of a resumable result.
        name: of the file of rows.
        samples: in an order that the next attempt repeats.
        cls: of the rows.
        work: a shard of samples -> (rows, quarantined samples).
        shard_size: samples that a kill can lose at most.
        notes: gives more for the manifest when all is done.
    """
    rows: list[T] = []
    quarantined: list[Quarantined] = []
    shards = append_shards(
        writer.work / name, samples, cls, key=lambda sample: sample.id, work=work, shard_size=shard_size
    )
    with tqdm(total=len(samples), desc=f"{name}: all shards", unit="sample", disable=len(samples) <= shard_size) as bar:
        for shard_rows, shard_quarantined in shards:
            rows += shard_rows
            quarantined += shard_quarantined
            bar.update(len(shard_rows) + len(shard_quarantined))
    write_rows(writer.path / f"{name}.jsonl", rows)
    writer.finish(RowCounts(num_in=len(samples), num_ok=len(rows), quarantined=quarantined), **notes())


def append_shards(
    folder: Path,
    items: Iterable[S],
    cls: type[T],
    *,
    key: Callable[[S], str],
    work: Callable[[list[S]], tuple[list[T], list[Quarantined]]],
    shard_size: int,
) -> Iterator[tuple[list[T], list[Quarantined]]]:
    """Work through `items` in shards, each an atomic file below `folder`; a shard that is there is not worked again.

    Args:
        folder: of a resumable draft.
        items: in an order that the next attempt repeats.
        cls: what `work` makes of them, beside quarantined rows.
        key: an item's id; the shards' first and last ids guard against another order.
        work: the results of one shard of items.
        shard_size: items for each new shard: what a kill can lose at most. Shards of another size that are there are
            kept.

    Yields:
        The results of each shard, old or new.

    Raises:
        ValueError: a shard that is there was made from other items.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stream = iter(items)
    for number in count():
        path = folder / f"{number:06d}.json"
        shard = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        batch = list(islice(stream, shard["items"]["count"] if shard else shard_size))
        if not batch:
            return
        items_of_shard = {"count": len(batch), "first": key(batch[0]), "last": key(batch[-1])}
        if shard is None:
            rows, bad = work(batch)
            write_json(
                path, {"items": items_of_shard, "rows": [*map(to_dict, rows)], "quarantined": [*map(to_dict, bad)]}
            )
        elif shard["items"] != items_of_shard:
            raise ValueError(
                f"{path} was made from {shard['items']}, not {items_of_shard}: delete {folder} and run again"
            )
        else:
            rows = [from_dict(cls, row) for row in shard["rows"]]
            bad = [from_dict(Quarantined, row) for row in shard["quarantined"]]
        yield rows, bad
