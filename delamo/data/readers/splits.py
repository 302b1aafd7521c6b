"""Two disjoint or given splits of questions as a task: what readers of task formats do alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from delamo.data import Task
from delamo.data.identity import ContentDigest
from delamo.data.quarantine import held_back
from delamo.records import Quarantined, Sample

Pictured = tuple[Sample, str, int]
"""A question, its picture's name inside the data set (empty without one) and its size in bytes: what identity looks at."""


def draw_both(
    found: Mapping[str, Pictured],
    num_val_samples: int,
    num_test_samples: int,
    seed: int,
    key: str,
    bad: Sequence[Quarantined] = (),
) -> dict[str, list[Pictured]]:
    """Disjoint validation and test parts of one set, drawn from `seed`; each in ascending id order.

    The size of one part does not move the other, and a smaller part is a subset of a larger one's: what is learned from 100 and from
    1,000 validation samples (paper, Table 2) is tested on the same samples.

    Args:
        bad: the rows that cannot be used, which a message about too few tells of.

    Raises:
        ValueError: a size below 1, or fewer rows than both together; `key` names the settings and the file.
    """
    ids, wanted = sorted(found), num_val_samples + num_test_samples
    if not ids:
        raise ValueError(f"{key}: {wanted} asked for, nothing usable{held_back(bad)}")
    if min(num_val_samples, num_test_samples) < 1 or wanted > len(ids):
        how = f"choose 1 or more of each, {len(ids)} together"
        raise ValueError(f"{key}: {wanted} asked for, {len(ids)} usable: {how}{held_back(bad)}")
    import numpy as np

    order = np.random.default_rng(seed).permutation(len(ids)).tolist()
    parts = {"validation": order[len(order) - num_val_samples :], "test": order[:num_test_samples]}  # from both ends
    return {name: [found[ids[index]] for index in sorted(chosen)] for name, chosen in parts.items()}


def as_task(name: str, parts: Mapping[str, Sequence[Pictured]], rows: Sequence[Quarantined]) -> Task:
    """The task of two parts, with the identity of their content and of the rows held back."""
    digest = ContentDigest()
    for part, chosen in parts.items():
        for sample, image_name, image_size in chosen:
            digest.add(sample, part=part, image_name=image_name, image_size=image_size)
    for row in rows:
        digest.add_quarantined(row)
    samples = {part: [sample for sample, *_ in chosen] for part, chosen in parts.items()}
    return Task(name=name, digest=digest.hexdigest(), quarantined=rows, **samples)
