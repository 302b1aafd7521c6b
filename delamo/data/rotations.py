"""Circular evaluation (MMBench, Liu et al. 2023): a question is asked once for each rotation of its options."""

from __future__ import annotations

from dataclasses import replace

from delamo.records import Sample

MARK = "@rotation-"


def rotations(sample: Sample) -> list[Sample]:
    """Return the sample and, with n options, n - 1 copies: in the k-th, option k comes first, then the others in turn.

    Raises:
        ValueError: it has no options.
    """
    if sample.gold is None:
        raise ValueError(f"{sample.id!r} has no options to rotate")
    n = len(sample.options)
    turned = [
        replace(
            sample,
            id=f"{sample.id}{MARK}{k}",
            options=sample.options[k:] + sample.options[:k],
            gold=(sample.gold - k) % n,
        )
        for k in range(1, n)
    ]
    return [sample, *turned]


def original(id: str) -> str:
    """Return the id of the sample that a rotation is of; a sample's own id where it is no rotation."""
    return id.partition(MARK)[0]
