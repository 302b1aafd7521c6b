"""The files that tuning writes: LoRA adapters in PEFT's own format, or trained weights; checked when they are loaded.

PEFT loads an adapter whose keys do not fit with a warning and leaves the base model as it was, which then passes for
the tuned one. Here that is an error.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from delamo.models.hf.components import component, language_model

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
FULL_CONFIG, FULL_WEIGHTS = "trained.json", "trained.safetensors"
NUM_PROBE_TOKENS = 8


def merged(model: Any, folder: Path) -> Any:
    """Merge what tuning wrote into the base model, which is changed in place.

    Args:
        model: the base.
        folder: with an adapter, or with trained weights.

    Returns:
        The tuned model, without a trace of the adapter in its structure.

    Raises:
        ValueError: the files do not fit the model, or change nothing.
    """
    if holds_full_weights(folder):
        return load_full(model, folder)
    return load_adapter(model, folder).merge_and_unload()


def load_adapter(model: Any, folder: Path) -> Any:
    """Put the adapter of a folder on a model, every key accounted for.

    Raises:
        ValueError: the folder holds no adapter, its keys do not fit the model, or its weights change nothing.
    """
    from peft import PeftModel

    check_adapter(folder)
    with warnings.catch_warnings():  # what PEFT warns of here is checked below, and is then an error
        warnings.simplefilter("ignore")
        tuned = PeftModel.from_pretrained(model, folder, is_trainable=False)
    check_keys(tuned, folder)
    with tuned.disable_adapter():
        before = _probe(tuned)
    _check_change(before, _probe(tuned), folder)
    return tuned


def check_adapter(folder: Path) -> None:
    """Check an adapter's files without a model.

    Raises:
        ValueError: a file is missing, a weight is not finite, or every product B A is zero.
    """
    from safetensors.torch import load_file

    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ValueError(f"{folder} holds no adapter: {name} is missing")
    tensors = load_file(folder / WEIGHTS)
    _check_finite(tensors, folder / WEIGHTS)
    pairs = [(tensors[key], tensors[key.replace("lora_B", "lora_A")]) for key in tensors if "lora_B" in key]
    if not any(float((b.float() @ a.float()).abs().max()) > 0 for b, a in pairs):
        raise ValueError(f"{folder / WEIGHTS}: every product B A is zero, the adapter changes nothing")


def check_keys(tuned: Any, folder: Path) -> None:
    """Raise ValueError unless the keys of the file are exactly the adapter's keys of the model."""
    from peft import get_peft_model_state_dict

    _check_names(set(get_peft_model_state_dict(tuned, save_embedding_layers=False)), folder / WEIGHTS)


def name_base(folder: Path, base: str) -> None:
    """Write the base's name as the user gave it into the adapter's config, in place of a path of this machine."""
    file = folder / CONFIG
    config = json.loads(file.read_text())
    config["base_model_name_or_path"] = base
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def holds_full_weights(folder: Path) -> bool:
    """Return whether the folder holds trained weights, not an adapter."""
    return (folder / FULL_CONFIG).is_file()


def full_parameters(model: Any) -> set[str]:
    """Return the names of the weights that full tuning trains: all but the vision tower's, shared ones once."""
    language = language_model(model)
    return {name for name, _ in model.named_parameters() if component(name, language) != "vision_tower"}


def save_full(model: Any, folder: Path, base: str, weights: dict[str, Any] | None = None) -> None:
    """Write the weights that full tuning trains, and which model they belong to.

    Args:
        model: the tuned one.
        folder: made if it is missing.
        base: name of the base, as the user gave it.
        weights: by name, where the model does not hold them itself (sharded ones, gathered).

    Raises:
        ValueError: a weight is not finite.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    weights = dict(model.named_parameters()) if weights is None else weights
    tensors = {name: weights[name].detach().cpu().contiguous() for name in sorted(full_parameters(model))}
    _check_finite(tensors, folder / FULL_WEIGHTS)
    save_file(tensors, folder / FULL_WEIGHTS, metadata={"format": "pt"})
    config = {"base_model_name_or_path": base, "method": "full", "num_tensors": len(tensors)}
    (folder / FULL_CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def load_full(model: Any, folder: Path) -> Any:
    """Load a folder's trained weights in place of a model's own.

    Raises:
        ValueError: the names do not fit the model, a number is not finite, or nothing changes.
    """
    from safetensors.torch import load_file

    if not (folder / FULL_WEIGHTS).is_file():
        raise ValueError(f"{folder} holds no trained weights: {FULL_WEIGHTS} is missing")
    _check_names(full_parameters(model), folder / FULL_WEIGHTS)
    tensors = load_file(folder / FULL_WEIGHTS)
    _check_finite(tensors, folder / FULL_WEIGHTS)
    before = _probe(model)
    model.load_state_dict(tensors, strict=False)
    _check_change(before, _probe(model), folder)
    return model


def _check_names(expected: set[str], file: Path) -> None:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as tensors:
        stored = set(tensors.keys())
    if stored != expected:
        lacking, foreign = sorted(expected - stored)[:3], sorted(stored - expected)[:3]
        raise ValueError(f"{file} does not fit the model: it lacks {lacking}, and has unknown {foreign}")


def _check_finite(tensors: dict[str, Any], file: Path) -> None:
    broken = [key for key, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise ValueError(f"{file}: {broken[0]} is not finite ({len(broken)} tensors)")


def _probe(model: Any) -> Any:
    """Return the logits (tokens, vocabulary) of a few arbitrary tokens."""
    import torch

    tokens = torch.arange(1, 1 + NUM_PROBE_TOKENS, device=model.device)[None]
    training = model.training
    with torch.no_grad():
        logits = model.eval()(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits[0]
    model.train(training)
    return logits.float()


def _check_change(before: Any, after: Any, folder: Path) -> None:
    if not after.isfinite().all():
        raise ValueError(f"{folder}: with it the model's logits are not finite")
    if float((after - before).abs().max()) == 0:
        raise ValueError(f"{folder}: the model's logits are those of its base, it changes nothing")
