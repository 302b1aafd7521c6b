"""Kinds of config fields: which of them are part of the identity of a result."""

from __future__ import annotations

import dataclasses
from typing import Any

from omegaconf import MISSING

_NEVER = object()


def identity_field(part: str, *, omit: Any = _NEVER) -> Any:
    """Declare a field that decides the results of the stages that depend on one part of the config.

    Args:
        part: name of the part, as in `identity_of(student, "numerics")`.
        omit: value at which a stage's identity leaves the field out, so that results from before the field existed are
            found.
    """
    metadata: dict[str, Any] = {"part": part}
    if omit is not _NEVER:
        metadata["omit"] = omit
    return dataclasses.field(default=MISSING, metadata=metadata)


def renamed_field(old: str) -> Any:
    """Declare a field that once had another name, which identities keep, so that results from then are found."""
    return dataclasses.field(default=MISSING, metadata={"identity_name": old})


def not_in_identity() -> Any:
    """Declare a field that changes no result, such as a display name, a batch size or a device."""
    return dataclasses.field(default=MISSING, metadata={"identity": False})


def input_field(*, identity: bool = True) -> Any:
    """Declare a field of a selector that configures one of its inputs, say the encoder.

    The identity of the input has the field; the selector's own identity leaves it out.
    """
    return dataclasses.field(default=MISSING, metadata={"identity": identity, "of_input": True})
