"""Processors for images and text: loaded without video, on Pillow, and described for the manifest.

Qwen's processors, LLaVA-OneVision's and SmolVLM's carry a video processor, which needs torchvision. No sample here is
a video, so it is left out. Where torchvision is installed, transformers would resize images with it, by up to one
8-bit step otherwise than Pillow does: here it is Pillow always, so that an answer does not depend on what else is
installed.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

VIDEO = "video_processor"


def load_processor(checkpoint: str, *, revision: str | None, key: str = "student.path") -> Any:
    """Load the processor of a checkpoint without its video half.

    Args:
        checkpoint: a hub id or folder.
        revision: of a hub id.
        key: the config key that errors name.

    Raises:
        ValueError: it cannot be made here; the message names the package that is missing.
    """
    options = {"revision": revision, "trust_remote_code": False}
    try:
        return _load(checkpoint, options)
    except ImportError as error:
        raise ValueError(
            f"{key} is {checkpoint}: its processor needs a package that is not installed: {error}"
        ) from error
    except AttributeError as error:
        if "PROCESSOR_MAPPING" not in str(error):
            raise
        raise ValueError(
            f"{key} is {checkpoint}: one half of its processor needs torchvision, which is not installed ({error})"
        ) from error


def _load(checkpoint: str, options: dict[str, Any]) -> Any:
    from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer

    processor_class = _class_of(checkpoint, options)
    halves = {
        "image_processor": lambda: AutoImageProcessor.from_pretrained(checkpoint, backend="pil", **options),
        "tokenizer": lambda: AutoTokenizer.from_pretrained(checkpoint, **options),
        VIDEO: lambda: None,
    }
    names = processor_class.get_attributes() if processor_class else []
    if not names or set(names) - set(halves):
        return AutoProcessor.from_pretrained(checkpoint, **options)
    fields, rest = processor_class.get_processor_dict(checkpoint, **options)
    processor_class = _without_video(processor_class) if VIDEO in names else processor_class
    return processor_class.from_args_and_dict([halves[name]() for name in names], fields, **rest)


def _class_of(checkpoint: str, options: dict[str, Any]) -> Any:
    """Find the processor's class by its name in the checkpoint or its model's type; None where none is known."""
    import transformers
    from transformers.image_processing_base import ImageProcessingMixin
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

    name = transformers.ProcessorMixin.get_processor_dict(checkpoint, **options)[0].get("processor_class")
    if name is None:
        try:
            name = ImageProcessingMixin.get_image_processor_dict(checkpoint, **options)[0].get("processor_class")
        except OSError:  # no preprocessor_config.json
            name = None
    if name is not None:
        return getattr(transformers, name, None)
    config = transformers.AutoConfig.from_pretrained(checkpoint, **options)
    return PROCESSOR_MAPPING.get(type(config), None)


def _without_video(processor_class: type) -> type:
    """Derive a class that needs no video processor; it goes by its own name when it is saved.

    Some classes look up frame rates before they render any conversation: the base class's rendering does not.
    """
    from transformers import ProcessorMixin

    def check(self: Any, name: str, value: Any) -> Any:
        if name == VIDEO and value is None:
            return None
        return processor_class.check_argument_for_proper_class(self, name, value)

    own = {"check_argument_for_proper_class": check, "apply_chat_template": ProcessorMixin.apply_chat_template}
    return type(processor_class.__name__, (processor_class,), {**own, "__module__": processor_class.__module__})


def check_batch(processor: Any, batch: Any) -> Any:
    """Return the batch if it holds all that its model needs to place the image's tokens.

    Qwen's models read a batch without `mm_token_type_ids` as plain text, with other positions and without an error.

    Raises:
        ValueError: those are missing.
    """
    if getattr(processor, "return_mm_token_type_ids", False) and "mm_token_type_ids" not in batch:
        raise ValueError(f"{type(processor).__name__} gave no mm_token_type_ids: the model would misplace every image")
    return batch


def processor_facts(processor: Any) -> dict[str, str]:
    """Describe for the manifest what decides how a sample becomes tensors.

    Classes and backend of the halves, and the SHA-256 of the image processor's settings and of the chat template:
    Pillow and torchvision resize differently, and templates change between revisions.
    """
    images = processor.image_processor
    template = processor.chat_template
    template = template if isinstance(template, str) else json.dumps(template, sort_keys=True)
    return {
        "processor": type(processor).__name__,
        "image_processor": type(images).__name__,
        "image_backend": "pil" if type(images).__name__.endswith("Pil") else "torchvision",
        "image_processor_sha256": _sha256(json.dumps(images.to_dict(), sort_keys=True, default=str)),
        "tokenizer": type(processor.tokenizer).__name__,
        "chat_template_sha256": _sha256(template),
    }


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
