"""Splits of a data set as a task: seeded subsets, disjoint draws, and the identity of both parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np

from delamo.data import Task
from delamo.data.identity import ContentDigest
from delamo.data.image_paths import ImageFile
from delamo.data.quarantine import held_back
from delamo.records import Quarantined, Sample


class Item(NamedTuple):
    """A sample with what its identity needs to know of its image."""

    sample: Sample
    image_name: str = ""
    """Inside the data set; empty without an image."""

    @classmethod
    def of(cls, sample: Sample, image: ImageFile | None) -> Self:
        """Join a sample and the file of its image."""
        return cls(sample, image.name) if image else cls(sample)


def take(
    items: Mapping[str, Item], count: int | None, seed: int, key: str, quarantined: Sequence[Quarantined] = ()
) -> list[Item]:
    """Draw `count` of the items without replacement, in ascending order of id, whatever order they came in.

    A smaller count with the same seed takes a subset of a larger one's, so that a short run's samples are in the long
    run too.

    Args:
        items: by id.
        count: None takes them all.
        seed: of the draw.
        key: the setting and the file, for messages.
        quarantined: the split's rows that cannot be used, for the message about too few.

    Raises:
        ValueError: no item at all, or `count` is below 1 or above their number.
    """
    ids = sorted(items)
    if not ids:
        raise ValueError(f"{key}: nothing usable{held_back(quarantined)}")
    if count is None:
        return [items[id] for id in ids]
    if not 1 <= count <= len(ids):
        raise ValueError(
            f"{key}: {count} asked for, {len(ids)} usable: choose 1 to {len(ids)}, or null for all"
            f"{held_back(quarantined)}"
        )
    drawn = np.random.default_rng(seed).permutation(len(ids))[:count]
    return [items[ids[index]] for index in sorted(drawn.tolist())]


def draw_both(
    items: Mapping[str, Item],
    num_val_samples: int,
    num_test_samples: int,
    seed: int,
    key: str,
    quarantined: Sequence[Quarantined] = (),
) -> dict[str, list[Item]]:
    """Draw disjoint validation and test parts of one set, each in ascending order of id.

    The size of one part does not move the other, and a smaller part is a subset of a larger one's: what is learned from
    100 and from 1,000 validation samples (paper, Table 2) is tested on the same samples.

    Args:
        items: by id.
        num_val_samples: size of the validation part.
        num_test_samples: size of the test part.
        seed: of the draw.
        key: the settings and the file, for messages.
        quarantined: the rows that cannot be used, for the message about too few.

    Raises:
        ValueError: a size below 1, or fewer items than both together.
    """
    ids, num_wanted = sorted(items), num_val_samples + num_test_samples
    if not ids:
        raise ValueError(f"{key}: {num_wanted} asked for, nothing usable{held_back(quarantined)}")
    if min(num_val_samples, num_test_samples) < 1 or num_wanted > len(ids):
        raise ValueError(
            f"{key}: {num_wanted} asked for, {len(ids)} usable: choose 1 or more of each, {len(ids)} together"
            f"{held_back(quarantined)}"
        )
    order = np.random.default_rng(seed).permutation(len(ids)).tolist()
    parts = {"validation": order[len(order) - num_val_samples :], "test": order[:num_test_samples]}  # from both ends
    return {name: [items[ids[index]] for index in sorted(drawn)] for name, drawn in parts.items()}


def as_task(name: str, parts: Mapping[str, Sequence[Item]], quarantined: Sequence[Quarantined]) -> Task:
    """Make a task of a `validation` and a `test` part; its identity is their content and the rows held back."""
    digest = ContentDigest()
    for part, items in parts.items():
        for item in items:
            digest.add(item.sample, part=part, image_name=item.image_name)
    for row in quarantined:
        digest.add_quarantined(row)
    samples = {part: [item.sample for item in items] for part, items in parts.items()}
    return Task(name=name, digest=digest.hexdigest(), quarantined=quarantined, **samples)
