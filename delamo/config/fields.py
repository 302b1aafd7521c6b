"""Kinds of config fields: which of them decide a stage's result, and of what part they are."""

from __future__ import annotations

import dataclasses
from typing import Any

from omegaconf import MISSING

_NEVER = object()


def identity_field(part: str, *, omit: Any = _NEVER) -> Any:
    """Declare a field that decides the results of some stages: of those that depend on this part of the config.

    Args:
        part: names the part, as in `identity_of(student, "numerics")`.
        omit: a value at which a stage's identity leaves the field out, so that results from before the field existed
            are found.
    """
    metadata: dict[str, Any] = {"part": part}
    if omit is not _NEVER:
        metadata["omit"] = omit
    return dataclasses.field(default=MISSING, metadata=metadata)


def renamed_field(old: str) -> Any:
    """Declare a field that once had another name, which identities keep, so that results from then are found."""
    return dataclasses.field(default=MISSING, metadata={"identity_name": old})


def not_in_identity() -> Any:
    """Declare a field that changes no result: a name for people, or a speed knob such as a batch size or a device."""
    return dataclasses.field(default=MISSING, metadata={"identity": False})


def input_field(*, identity: bool = True) -> Any:
    """Declare a selector's field that decides what the selector is given, say by which encoder.

    Its own identity omits it.
    """
    return dataclasses.field(default=MISSING, metadata={"identity": identity, "of_input": True})
