"""Registration of schemas in Hydra's config store, below the group `schema/`."""

from __future__ import annotations

from collections.abc import Mapping

from hydra.core.config_store import ConfigStore

SCHEMAS: dict[str, type] = {}
"""All registered schemas, by `GROUP/NAME`."""


def register(schemas: Mapping[str, type]) -> None:
    """Register schemas.

    Args:
        schemas: `GROUP/NAME` -> dataclass, as a YAML file's `defaults` names it: `/schema/GROUP/NAME@_here_`.
    """
    SCHEMAS.update(schemas)
    for path, schema in schemas.items():
        group, _, name = f"schema/{path}".rpartition("/")
        ConfigStore.instance().store(group=group, name=name, node=schema, provider="delamo")
