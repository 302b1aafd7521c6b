"""The parts of a model for images and text, found in the model itself: language model, projector, vision tower, head.

Names differ between families (`language_model`, `text_model`; `multi_modal_projector`, `visual.merger`, `connector`),
roles do not.
"""

from __future__ import annotations

import re
from typing import Any

PROJECTORS = re.compile(
    r"(?:^|\.)(?:multi_modal_projector|connector|visual\.merger|visual\.deepstack_merger_list\.\d+)(?=\.|$)"
)
"""Modules between the vision tower and the language model, as transformers names them; one match is one module."""
PEFT_PREFIX = "base_model.model."


def base_of(model: Any) -> Any:
    """Return the model below an adapter, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def language_model(model: Any) -> str:
    """Return the name of the language model inside the model.

    Raises:
        ValueError: it is not a module of its own.
    """
    base = base_of(model)
    decoder = base.get_decoder()
    name = next((name for name, module in base.named_modules() if module is decoder), "")
    if not name or decoder is base:
        raise ValueError(f"{type(base).__name__} keeps no language model apart: set tuning.target_modules yourself")
    return name


def language_linears(model: Any) -> str:
    """Return a regular expression for the linear layers of the language model's attention and MLP, nothing else.

    Raises:
        ValueError: there is no language model, or it has no linear layers.
    """
    from torch import nn

    base, name = base_of(model), language_model(model)
    paths = [
        path.removeprefix(f"{name}.")
        for path, module in base.named_modules()
        if isinstance(module, nn.Linear) and path.startswith(f"{name}.") and re.search(r"\.\d+\.", path)
    ]
    last = sorted({path.rpartition(".")[2] for path in paths})
    if not last:
        raise ValueError(f"{type(base).__name__}.{name} has no linear layers: set tuning.target_modules yourself")
    return rf"(?:.*\.)?{re.escape(name)}\..*\.(?:{'|'.join(last)})"


def projectors(model: Any) -> list[str]:
    """Return the names of the projector's modules.

    Raises:
        ValueError: none is known in this model.
    """
    base = base_of(model)
    names = [
        name for name, _ in base.named_modules() if (match := PROJECTORS.search(name)) and match.end() == len(name)
    ]
    if not names:
        raise ValueError(
            f"{type(base).__name__} has no projector that is known: set tuning.projector_learning_rate=null"
        )
    return names


def is_projector(name: str) -> bool:
    """Return whether a parameter belongs to the projector."""
    return PROJECTORS.search(name) is not None


def component(name: str, language: str) -> str:
    """Return which part of a model a parameter belongs to.

    Args:
        name: of the parameter.
        language: name of the language model.
    """
    bare = name.removeprefix(PEFT_PREFIX)
    if is_projector(bare):
        return "projector"
    if "lm_head" in bare:
        return "lm_head"
    if bare.startswith(f"{language}."):
        return "embed_tokens" if "embed_tokens" in bare else "language_model"
    return "vision_tower"


def count_trainable(model: Any) -> dict[str, int]:
    """Count the trainable parameters by component.

    Raises:
        ValueError: there are none.
    """
    counts: dict[str, int] = {}
    language = language_model(model)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part = component(name, language)
            counts[part] = counts.get(part, 0) + parameter.numel()
    if not counts:
        raise ValueError("no parameter is trainable: check tuning.target_modules")
    return dict(sorted(counts.items()))


def count_all(model: Any) -> int:
    """Count the parameters, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())
