"""Kinds of config fields: which of them decide a stage's result, and which of them a selector is given."""

from __future__ import annotations

import dataclasses
from typing import Any

from omegaconf import MISSING


def not_in_identity() -> Any:
    """Declare a field that changes no result: a name for people, or a speed knob such as a batch size or a device."""
    return dataclasses.field(default=MISSING, metadata={"identity": False})


def input_field(*, identity: bool = True) -> Any:
    """Declare a selector's field that decides what the selector is given, say by which encoder; its own identity omits it."""
    return dataclasses.field(default=MISSING, metadata={"identity": identity, "of_input": True})
