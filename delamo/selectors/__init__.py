"""How training samples are chosen: one file for each method, found by the type of its config.

A file holds the method's config, the inputs that it brings along, its function `select` and one `Selector` that
declares all of it (`delamo.selectors.base`). A new one: its file, a YAML file in `conf/selector`, and one line below.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path

from delamo.config.plugins import plugin_digest
from delamo.config.registry import register
from delamo.records import Selected
from delamo.selectors import (
    bm25_text,
    error_driven,
    full_data,
    insta,
    less,
    none,
    random,
    rds,
    superfiltering,
    validation_data,
)
from delamo.selectors.base import (
    MISSING_SKILLS,
    SKILL_INDEX,
    TEXT_INDEX,
    VALIDATION,
    Input,
    Selector,
    SelectorConfig,
)

BUILT_IN = (
    none.SELECTOR,
    full_data.SELECTOR,
    validation_data.SELECTOR,
    random.SELECTOR,
    insta.SELECTOR,
    superfiltering.SELECTOR,
    bm25_text.SELECTOR,
    less.SELECTOR,
    rds.SELECTOR,
    error_driven.SELECTOR,
)
"""The selectors of the package, in the order of tables: baselines first, the paper's method last."""
SELECTORS: dict[type[SelectorConfig], Selector] = {selector.config: selector for selector in BUILT_IN}
"""Every selector, by the type of its config."""
INPUTS: dict[str, Input] = {need.name: need for selector in BUILT_IN for need in selector.needs}
"""Every input that a selector of the package needs, by name."""

register({f"selector/{selector.name}": selector.config for selector in BUILT_IN})


def selector_named(name: str) -> Selector:
    """Return the selector of that name.

    Raises:
        KeyError: there is none.
    """
    return {selector.name: selector for selector in SELECTORS.values()}[name]


def add_selector(
    name: str,
    schema: type[SelectorConfig],
    select: Callable[..., list[Selected]],
    *,
    needs: tuple[str | Input, ...] = (),
) -> None:
    """Add a method of one's own (docs/own_selector.md), as the schema `schema/selector/NAME`.

    Args:
        name: as a YAML file's `defaults` names the schema.
        schema: of the fields that `select` finds in its config, `MISSING` all of them, as their values stand in the
            YAML file.
        select: see `delamo.selectors.base`.
        needs: the inputs that it calls: names of those that the package has (`INPUTS`), or inputs of one's own.

    Raises:
        ValueError: a schema or an input that does not fit.
    """
    if not (dataclasses.is_dataclass(schema) and issubclass(schema, SelectorConfig)):
        raise ValueError(f"add_selector({name!r}): {schema} is no dataclass derived from SelectorConfig")
    unknown = {need for need in needs if isinstance(need, str)} - set(INPUTS)
    if unknown:
        raise ValueError(f"add_selector({name!r}): there is no input {min(unknown)}, there are {', '.join(INPUTS)}")
    inputs = tuple(INPUTS[need] if isinstance(need, str) else need for need in needs)
    for need in inputs:
        if not issubclass(schema, need.config):
            raise ValueError(
                f"add_selector({name!r}): {need.name} follow from fields of {need.config.__name__}, "
                f"derive {schema.__name__} from it"
            )
    if name in {selector.name for selector in BUILT_IN}:
        raise ValueError(f"add_selector({name!r}): the package has a selector of this name, choose another")
    code = plugin_digest(Path(inspect.getfile(select)))
    SELECTORS[schema] = Selector(name=name, config=schema, select=select, needs=inputs, code=code)
    register({f"selector/{name}": schema})


__all__ = [
    "BUILT_IN",
    "INPUTS",
    "MISSING_SKILLS",
    "SELECTORS",
    "SKILL_INDEX",
    "TEXT_INDEX",
    "VALIDATION",
    "Input",
    "Selector",
    "SelectorConfig",
    "add_selector",
    "selector_named",
]
