"""Two disjoint or given splits of questions as a task: what readers of task formats do alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from delamo.data import Task
from delamo.data.identity import ContentDigest
from delamo.data.subsets import take
from delamo.records import Quarantined, Sample

Pictured = tuple[Sample, str, int]
"""A question, its picture's name inside the data set (empty without one) and its size in bytes: what identity looks at."""


def draw_both(
    found: Mapping[str, Pictured], num_val_samples: int, num_test_samples: int, seed: int, key: str
) -> dict[str, list[Pictured]]:
    """Disjoint validation and test parts of one set, drawn from `seed`; each in ascending id order.

    Raises:
        ValueError: fewer rows than both together; `key` names the settings and the file.
    """
    drawn = {row[0].id: row for row in take(found, num_val_samples + num_test_samples, seed, key)}
    test = {row[0].id for row in take(drawn, num_test_samples, seed + 1, key)}
    return {
        "validation": [row for id, row in drawn.items() if id not in test],
        "test": [row for id, row in drawn.items() if id in test],
    }


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
