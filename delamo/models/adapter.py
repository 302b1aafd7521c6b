"""LoRA adapters in PEFT's own format, checked before they are believed.

PEFT loads an adapter whose keys do not fit with a warning and leaves the base model as it was, which then passes for the tuned
one. Here that is an error.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def load_adapter(model: Any, folder: Path) -> Any:
    """The model with the adapter of a folder on it, every key accounted for.

    Raises:
        ValueError: the folder holds no adapter, its keys do not fit the model, or its weights change nothing.
    """
    from peft import PeftModel

    check_adapter(folder)
    with warnings.catch_warnings():  # what PEFT warns of here is checked below, and is then an error
        warnings.simplefilter("ignore")
        tuned = PeftModel.from_pretrained(model, folder, is_trainable=False)
    check_keys(tuned, folder)
    return tuned


def check_adapter(folder: Path) -> None:
    """All weights finite, and at least one pair with B A != 0."""
    from safetensors.torch import load_file

    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ValueError(f"{folder} holds no adapter: {name} is missing")
    tensors = load_file(folder / WEIGHTS)
    broken = [key for key, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise ValueError(f"{folder / WEIGHTS}: {broken[0]} is not finite ({len(broken)} tensors)")
    pairs = [(tensors[key], tensors[key.replace("lora_B", "lora_A")]) for key in tensors if "lora_B" in key]
    if not any(float((b.float() @ a.float()).abs().max()) > 0 for b, a in pairs):
        raise ValueError(f"{folder / WEIGHTS}: every product B A is zero, the adapter changes nothing")


def check_keys(tuned: Any, folder: Path) -> None:
    """The file's keys are exactly the adapter's keys of the model."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    with safe_open(folder / WEIGHTS, framework="pt") as file:
        stored = set(file.keys())
    expected = set(get_peft_model_state_dict(tuned, save_embedding_layers=False))
    if stored != expected:
        lacking, foreign = sorted(expected - stored)[:3], sorted(stored - expected)[:3]
        raise ValueError(f"{folder / WEIGHTS} does not fit the model: it lacks {lacking}, and has unknown {foreign}")


def name_base(folder: Path, base: str) -> None:
    """Write the base's name as the user gave it into the adapter's config, not a path of this machine."""
    file = folder / CONFIG
    config = json.loads(file.read_text())
    config["base_model_name_or_path"] = base
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
