"""Pools and tasks read as an experiment reads them, by the name of their format and some fields of its config."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import delamo.data.readers  # noqa: F401 -- declares the formats
from delamo import data
from delamo.config import conf
from delamo.config.registry import SCHEMAS
from delamo.data import Pool, Task


def read_pool(format: str, **fields: Any) -> Pool:
    """Read a pool; fields that are not given have the values of the format's YAML file, and null where that has none."""
    return data.read_pool(data_config("pool", format, **fields))


def read_task(format: str, **fields: Any) -> Task:
    """Read a task; fields that are not given have the values of the format's YAML file, and null where that has none."""
    return data.read_task(data_config("task", format, **fields))


def data_config(group: str, format: str, **fields: Any) -> Any:
    """Return a config of the group `task` or `pool`, without composing; paths are given as text or as paths."""
    schema = SCHEMAS[f"{group}/{format}"]
    values = conf.group_values(group, format) if conf.exists(group, format) else {}
    given = {name: str(value) if isinstance(value, Path) else value for name, value in fields.items()}
    filled = {field.name: _settled(values.get(field.name)) for field in dataclasses.fields(schema)}
    return schema(**filled | {"name": format} | given)


def _settled(value: Any) -> Any:
    """Return a value of a YAML file, without what is missing or composed."""
    if isinstance(value, list):
        return [item for item in value if "${" not in repr(item)]
    return None if value == "???" or "${" in repr(value) else value
