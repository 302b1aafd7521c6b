"""Compose the experiments of a grid without asking Hydra for each of them.

Hydra takes a fifth of a second to compose a cell, and most cells of a grid differ in which file of a group they take:
each file is
composed once, and the cells are put together from them. A cell composed by Hydra itself says whether that holds for a
grid;
where a preset changes what is inside a group's files, every cell is composed by Hydra.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, get_type_hints

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from delamo.config import conf

Overrides = tuple[str, ...]


@dataclass(slots=True)
class GridComposer:
    """Composes cells that are given as lists of overrides, each as Hydra would."""

    load: Callable[[list[str]], DictConfig]
    """Hydra's composition of a list of overrides; the node `hydra` is left out of what it gives."""
    parse: Callable[[list[str]], list[Override]]
    """Hydra's parser of override strings."""
    schema: type
    """Of an experiment: a field that is a config node is a group of the same name, any other one is a plain value."""
    _bases: dict[Overrides, DictConfig] = field(default_factory=dict)
    _nodes: dict[tuple[str, str], Any] = field(default_factory=dict)
    _holds: dict[Overrides, bool] = field(default_factory=dict)

    def compose(self, cells: Sequence[Sequence[str]]) -> Iterator[DictConfig | Exception]:
        """The config of each cell, in order; what Hydra raises for one that does not compose stands in its place."""
        split = [self._split(cell) for cell in cells]
        last = {parts.base: cell for cell, parts in zip(cells, split, strict=True) if parts}
        for cell, parts in zip(cells, split, strict=True):
            try:
                yield self._assembled(cell, parts, last[parts.base]) if parts else self.load(list(cell))
            except (HydraException, OmegaConfBaseException) as error:
                yield error

    def _assembled(self, cell: Sequence[str], parts: _Parts, other: Sequence[str]) -> DictConfig:
        if parts.base not in self._holds:
            self._holds[parts.base] = self._is_as_hydra_has_it(other)
        try:
            config = self._put_together(parts) if self._holds[parts.base] else None
        except OmegaConfBaseException:
            config = None  # Hydra says better what is wrong
        return self.load(list(cell)) if config is None else config

    def _is_as_hydra_has_it(self, cell: Sequence[str]) -> bool:
        try:
            parts = self._split(cell)
            return parts is not None and self._put_together(parts) == self.load(list(cell))
        except (HydraException, OmegaConfBaseException):
            return False  # a cell that does not compose says nothing about the others

    def _put_together(self, parts: _Parts) -> DictConfig:
        if parts.base not in self._bases:
            self._bases[parts.base] = self.load(list(parts.base))
        config = copy.deepcopy(self._bases[parts.base])
        for group, choice in parts.choices.items():
            if (group, choice) not in self._nodes:
                self._nodes[group, choice] = self.load([f"{group}={choice}"])[group]
            config[group] = self._nodes[group, choice]
        for key, value in parts.values:
            OmegaConf.update(config, key, value, merge=True)
        return config

    def _split(self, cell: Sequence[str]) -> _Parts | None:
        """What a cell is made of; None where it has an override that only Hydra understands."""
        parts = _Parts((), {}, [])
        groups, plain_keys = keys_of(self.schema)
        for line, override in zip(cell, self.parse(list(cell)), strict=True):
            key, plain = override.key_or_group, override.package is None and not override.is_delete()
            if not plain or override.is_add() or override.is_force_add() or override.is_sweep_override():
                return None
            if key in groups:
                parts.choices[key] = str(override.get_value_element_as_str())
            elif "." in key or key in plain_keys:
                parts.values.append((key, override.value()))
            else:
                parts.base += (line,)
        return parts


@cache
def keys_of(schema: type) -> tuple[frozenset[str], frozenset[str]]:
    """Tell the root keys of an experiment apart: (those filled by a group of the same name, plain values)."""
    hints = get_type_hints(schema)
    nodes = {name for name, kind in hints.items() if dataclasses.is_dataclass(kind)}
    groups = frozenset(nodes & set(conf.groups()))
    return groups, frozenset(hints) - nodes


@dataclass(slots=True)
class _Parts:
    base: Overrides
    choices: dict[str, str]
    values: list[tuple[str, Any]]
