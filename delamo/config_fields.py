"""Kinds of config fields: which of them decide a stage's result, and which of them a selector is given."""

from __future__ import annotations

import dataclasses
from typing import Any

from omegaconf import MISSING


def label() -> Any:
    """A field that names a choice for people: in slugs and tables, not in an identity."""
    return dataclasses.field(default=MISSING, metadata={"identity": False})


def speed() -> Any:
    """A field that changes how fast a result comes, not which result: not in an identity."""
    return dataclasses.field(default=MISSING, metadata={"identity": False})


def of_input(*, identity: bool = True) -> Any:
    """A selector's field that decides what the selector is given, say by which encoder; the selector itself is not handed it."""
    return dataclasses.field(default=MISSING, metadata={"identity": identity, "of_input": True})
