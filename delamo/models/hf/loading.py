"""Checkpoints as models in memory: from a hub id, a folder or the package, safetensors only, no remote code."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from delamo.models.hf.commits import pinned
from delamo.models.hf.processors import load_processor

WEIGHTS = Path(__file__).parents[1] / "weights"


def load_base(
    path: str,
    *,
    revision: str | None,
    dtype: str,
    device: str,
    attn: str,
    four_bit: bool = False,
) -> tuple[Any, Any]:
    """Load an image-text-to-text model.

    Args:
        path: hub id, folder, or `package:NAME` for the weights in delamo/models/weights/NAME.
        revision: of a hub id.
        dtype: number format of the weights, a name of torch's.
        device: `auto`, or a name of torch's.
        attn: attention implementation, as transformers names them.
        four_bit: hold the weights in NF4 (Dettmers et al. 2023), arithmetic in bfloat16; needs bitsandbytes and a GPU.

    Returns:
        (model in evaluation mode, processor).

    Raises:
        FileNotFoundError: no such folder or packaged weights.
        ValueError: the checkpoint lacks weights.
    """
    import torch
    from transformers import AutoModelForImageTextToText, GenerationConfig

    checkpoint = resolve(path)
    revision = pinned(checkpoint, revision, "the checkpoint")
    options = {"revision": revision, "trust_remote_code": False}
    with quiet():
        processor = load_processor(checkpoint, revision=revision)
        model, info = AutoModelForImageTextToText.from_pretrained(
            checkpoint,
            dtype=getattr(torch, dtype),
            attn_implementation=attn,
            use_safetensors=True,
            output_loading_info=True,
            **(_four_bit(choose_device(device)) if four_bit else {}),
            **options,
        )
    check_weights(info, "student.path", path)
    if processor.tokenizer.pad_token_id is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    # A checkpoint's own sampling settings (temperature, repetition penalty) would make "greedy" differ between models.
    stop = model.generation_config.eos_token_id
    model.generation_config = GenerationConfig(
        do_sample=False,
        eos_token_id=stop if stop is not None else processor.tokenizer.eos_token_id,
        pad_token_id=processor.tokenizer.pad_token_id,
    )
    return (model if four_bit else model.to(choose_device(device))).eval(), processor


def check_weights(info: dict[str, Any], key: str, path: str) -> None:
    """Refuse a checkpoint with holes, which transformers would fill with random numbers.

    Args:
        info: what transformers reports of loading.
        key: the config key that names the checkpoint.
        path: its value.

    Raises:
        ValueError: weights are missing.
    """
    if info["missing_keys"] or info["mismatched_keys"]:
        lacking = sorted(info["missing_keys"])[:3] or info["mismatched_keys"][:3]
        raise ValueError(f"{key} is {path}: its weights lack {lacking}; transformers would fill them with noise")


def _four_bit(device: str) -> dict[str, Any]:
    import torch
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": config, "device_map": {"": device}}


def resolve(path: str, key: str = "student.path") -> str:
    """Return the folder that `package:NAME` stands for; anything else as it is.

    Args:
        path: a hub id, a folder, or `package:NAME`.
        key: the config key that errors name.

    Raises:
        FileNotFoundError: no such packaged weights, or a folder without a checkpoint.
    """
    if path.startswith("package:"):
        folder = WEIGHTS / path.removeprefix("package:")
        if not (folder / "config.json").is_file():
            shipped = sorted(entry.parent.name for entry in WEIGHTS.glob("*/config.json"))
            raise FileNotFoundError(f"{key} is {path}: no such packaged weights; there are {shipped or 'none'}")
        return str(folder)
    if path.startswith(("/", "./", "../", "~")):
        folder = Path(path).expanduser()
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(f"{key} is {path}: no config.json there; give a checkpoint folder or a hub id")
        return str(folder)
    return path


def choose_device(device: str) -> str:
    """Return the device, `auto` being the best one of this machine."""
    import torch

    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def free_memory() -> None:
    """Give back the memory of dropped models.

    A trainer and its module hold each other until they are collected, and CUDA's allocator keeps what it had.
    """
    gc.collect()
    torch = sys.modules.get("torch")  # where nobody imported it, there is nothing to give back
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def context_length(model: Any, processor: Any) -> int:
    """Return the model's number of positions, or fewer where its tokenizer says so."""
    limit = model.config.get_text_config().max_position_embeddings
    return min(limit, processor.tokenizer.model_max_length)


@contextmanager
def quiet() -> Iterator[None]:
    """Hide the bars and the advice of transformers while it loads; what matters is checked and raised."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
