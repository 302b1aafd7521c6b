"""Processors for pictures and text: loaded without video, on Pillow, and described for the manifest.

Qwen's processors, LLaVA-OneVision's and SmolVLM's carry a video processor, which needs torchvision. No sample here is a video, so it is
left out. Where torchvision is installed, transformers would resize pictures with it, by up to one 8-bit step otherwise than Pillow does:
here it is Pillow always, so that an answer does not depend on what else is installed.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

VIDEO = "video_processor"


def load_processor(place: str, *, revision: str | None = None, key: str = "student.path") -> Any:
    """The processor of a hub id or folder, without its video half.

    Raises:
        ValueError: it cannot be made here; the message names the package that is missing.
    """
    options = {"revision": revision, "trust_remote_code": False}
    try:
        return _load(place, options)
    except ImportError as error:
        raise ValueError(f"{key} is {place}: its processor needs a package that is not installed: {error}") from error
    except AttributeError as error:
        if "PROCESSOR_MAPPING" not in str(error):
            raise
        raise ValueError(
            f"{key} is {place}: one half of its processor needs torchvision, which is not installed ({error})"
        ) from error


def _load(place: str, options: dict[str, Any]) -> Any:
    from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer

    kind = _class_of(place, options)
    halves = {
        "image_processor": lambda: AutoImageProcessor.from_pretrained(place, backend="pil", **options),
        "tokenizer": lambda: AutoTokenizer.from_pretrained(place, **options),
        VIDEO: lambda: None,
    }
    names = kind.get_attributes() if kind else []
    if not names or set(names) - set(halves):
        return AutoProcessor.from_pretrained(place, **options)
    fields, rest = kind.get_processor_dict(place, **options)
    kind = _without_video(kind) if VIDEO in names else kind
    return kind.from_args_and_dict([halves[name]() for name in names], fields, **rest)


def _class_of(place: str, options: dict[str, Any]) -> Any:
    """The processor's class as the checkpoint names it, or else by its model's type; None where transformers knows none."""
    import transformers
    from transformers.image_processing_base import ImageProcessingMixin
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

    name = transformers.ProcessorMixin.get_processor_dict(place, **options)[0].get("processor_class")
    if name is None:
        try:
            name = ImageProcessingMixin.get_image_processor_dict(place, **options)[0].get("processor_class")
        except OSError:  # no preprocessor_config.json
            name = None
    if name is not None:
        return getattr(transformers, name, None)
    config = transformers.AutoConfig.from_pretrained(place, **options)
    return PROCESSOR_MAPPING.get(type(config), None)


def _without_video(kind: type) -> type:
    """The class, content with no video processor; it goes by its own name when it is saved.

    Some classes look up frame rates before they render any conversation: the base class's rendering does not.
    """
    from transformers import ProcessorMixin

    def check(self: Any, name: str, value: Any) -> Any:
        return None if name == VIDEO and value is None else kind.check_argument_for_proper_class(self, name, value)

    own = {"check_argument_for_proper_class": check, "apply_chat_template": ProcessorMixin.apply_chat_template}
    return type(kind.__name__, (kind,), {**own, "__module__": kind.__module__})


def whole(processor: Any, batch: Any) -> Any:
    """The batch, with all that its model needs to place the picture's tokens.

    Qwen's models read a batch without `mm_token_type_ids` as plain text, with other positions and no word of it.

    Raises:
        ValueError: those are missing.
    """
    if getattr(processor, "return_mm_token_type_ids", False) and "mm_token_type_ids" not in batch:
        raise ValueError(
            f"{type(processor).__name__} gave no mm_token_type_ids: the model would misplace every picture"
        )
    return batch


def processor_facts(processor: Any) -> dict[str, str]:
    """What decides how a sample becomes tensors, for the manifest.

    Classes and backend of the halves, and the sha256 of the image processor's settings and of the chat template: Pillow and
    torchvision resize differently, and templates change between revisions.
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
