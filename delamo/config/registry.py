"""Schemas known to Hydra: each module registers its own, below the group `schema/`."""

from __future__ import annotations

from collections.abc import Mapping

from hydra.core.config_store import ConfigStore

SCHEMAS: dict[str, type] = {}
"""Every schema that has been registered, by `GROUP/NAME`."""


def register(schemas: Mapping[str, type]) -> None:
    """Make schemas known to Hydra.

    Args:
        schemas: `GROUP/NAME` -> dataclass, as a YAML file's `defaults` names it: `/schema/GROUP/NAME@_here_`.
    """
    SCHEMAS.update(schemas)
    for path, schema in schemas.items():
        group, _, name = f"schema/{path}".rpartition("/")
        ConfigStore.instance().store(group=group, name=name, node=schema, provider="delamo")
