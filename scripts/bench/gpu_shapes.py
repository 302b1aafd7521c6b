"""The models of `bench_gpu.py`: published shapes, processors made offline, and the arithmetic that they take.

The numbers are those of the published config.json files (llava-hf/llava-1.5-7b-hf, Qwen/Qwen2-VL-7B-Instruct);
transformers' own configs have the same defaults. Only the token ids are those of this file's tokenizer, which knows a
few hundred words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NUM_WORDS = 400
CONTEXT = 4096
LLAVA_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}USER: {% else %} ASSISTANT: {% endif %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% if message['role'] != 'user' %}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)
QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Counts:
    """Weights of one model's linear layers by part, and the sizes of its attention."""

    language: int
    lora: int
    head: int
    projector: int
    vision: int
    layers: int
    width: int
    """Heads times their dimension, in the language model."""
    vision_layers: int
    vision_width: int


@dataclass(frozen=True, slots=True)
class Lengths:
    """One training sample in tokens."""

    all: int
    """With its image and reply, without padding."""
    reply: int
    image: int
    """Tokens of the language model that stand for the image."""
    patches: int
    """Tokens of the vision tower."""


def flops(counts: Counts, sample: Lengths) -> float:
    """Count the least arithmetic of one LoRA step on a sample; multiply and add are two operations.

    A frozen layer takes 2 forward and 2 backward for each weight and token (no gradient of its weights), a trained one
    6. Logits are counted for the reply alone, attention of the language model causally (half of the square), the vision
    tower forward only. Nothing is counted twice for gradient checkpointing.
    """
    linear = (4 * counts.language + 6 * counts.lora) * sample.all + 4 * counts.head * sample.reply
    attention = 6 * counts.layers * counts.width * sample.all**2
    vision = 2 * counts.vision * sample.patches + 4 * counts.vision_layers * counts.vision_width * sample.patches**2
    return float(linear + attention + vision + 6 * counts.projector * sample.image)


def count(model: Any, lora: int) -> Counts:
    """Count the weights of a model's linear layers and convolutions by part; `lora` are the adapter's."""
    from torch import nn

    from delamo.models.hf.components import component, language_model

    language, parts = language_model(model), {}
    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.Conv3d)):
            part = component(f"{name}.weight", language)
            parts[part] = parts.get(part, 0) + module.weight.numel()
    text, vision = model.config.get_text_config(), model.config.vision_config
    head_width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return Counts(
        language=parts["language_model"],
        lora=lora,
        head=parts["lm_head"],
        projector=parts["projector"],
        vision=parts["vision_tower"],
        layers=text.num_hidden_layers,
        width=text.num_attention_heads * head_width,
        vision_layers=vision.num_hidden_layers,
        vision_width=getattr(vision, "embed_dim", None) or vision.hidden_size,
    )


def llava(folder: Path, *, tiny: bool) -> Any:
    """Make LLaVA-1.5-7B: CLIP ViT-L/14 at 336 pixels, 576 tokens for an image, Vicuna-7B."""
    from transformers import CLIPImageProcessor, CLIPVisionConfig, LlamaConfig, LlavaConfig

    tokenizer = make_tokenizer({"image_token": "<image>"}, bos="<s>", eos="</s>")
    edge, patch = (16, 8) if tiny else (336, 14)
    vision = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    text = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32}
    text |= {"num_key_value_heads": 32, "vocab_size": 32064, "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5}
    if tiny:
        small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
        vision, text = small, text | small | {"num_key_value_heads": 2, "vocab_size": len(tokenizer)}
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**vision, image_size=edge, patch_size=patch, projection_dim=32 if tiny else 768),
        text_config=LlamaConfig(**text, **ends(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=(edge // patch) ** 2,
    )
    images = CLIPImageProcessor(size={"shortest_edge": edge}, crop_size={"height": edge, "width": edge})
    settings = {"patch_size": patch, "num_additional_image_tokens": 1, "vision_feature_select_strategy": "default"}
    write_processor(
        folder, config, images, tokenizer, LLAVA_TEMPLATE, {"processor_class": "LlavaProcessor", **settings}
    )
    return config


def qwen2_vl(folder: Path, *, tiny: bool) -> Any:
    """Make Qwen2-VL-7B: a vision tower at the image's own size, four patches a token, multimodal rotary positions."""
    from transformers import Qwen2VLConfig, Qwen2VLImageProcessor

    tokens = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
    tokens |= {"vision_start_token": "<|vision_start|>", "vision_end_token": "<|vision_end|>"}
    more = {"im_start_token": "<|im_start|>", "im_end_token": "<|im_end|>"}
    tokenizer = make_tokenizer(tokens | more, bos=None, eos="<|im_end|>")
    patch = 8 if tiny else 14
    vision = {"depth": 32, "embed_dim": 1280, "hidden_size": 3584, "mlp_ratio": 4, "num_heads": 16}
    text = {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28}
    text |= {"num_key_value_heads": 4, "vocab_size": 152064, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6}
    sections = [16, 24, 24]
    if tiny:
        vision = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2, "num_heads": 2}
        text |= {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
        text |= {"num_key_value_heads": 2, "vocab_size": len(tokenizer)}
        sections = [2, 3, 3]
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": sections}
    ids = {f"{name}_id": tokenizer.convert_tokens_to_ids(token) for name, token in tokens.items()}
    config = Qwen2VLConfig(
        vision_config={**vision, "patch_size": patch, "spatial_merge_size": 2, "temporal_patch_size": 2},
        text_config={**text, **ends(tokenizer), "rope_parameters": rope},
        tie_word_embeddings=False,
        **ids,
    )
    edge = 2 * patch
    largest = 4 * edge**2 if tiny else 576 * edge**2  # as many tokens as LLaVA's image has
    images = Qwen2VLImageProcessor(
        patch_size=patch, merge_size=2, size={"shortest_edge": edge**2, "longest_edge": largest}
    )
    write_processor(folder, config, images, tokenizer, QWEN_TEMPLATE, {"processor_class": "Qwen2VLProcessor"})
    return config


def ends(tokenizer: Any) -> dict[str, Any]:
    """Return the special tokens of a text config."""
    return {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}


def make_tokenizer(extra: Mapping[str, str], *, bos: str | None, eos: str) -> Any:
    """Make a tokenizer with one token for each word of `w0` to `w399`; anything else is unknown."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<unk>", *([bos] if bos else []), eos, *extra.values()]
    words = list(dict.fromkeys([*special, *(f"w{i}" for i in range(NUM_WORDS))]))
    model = Tokenizer(models.WordLevel({word: id for id, word in enumerate(words)}, unk_token="<unk>"))
    model.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=model,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token=bos,
        eos_token=eos,
        extra_special_tokens=dict(extra),
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def write_processor(folder: Path, config: Any, images: Any, tokenizer: Any, template: str, fields: dict) -> None:
    """Write what a checkpoint's folder holds besides weights."""
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    images.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(template)
    (folder / "processor_config.json").write_text(json.dumps(fields))


SHAPES: dict[str, Callable[..., Any]] = {"llava_1_5_7b": llava, "qwen2_vl_7b": qwen2_vl}
"""Functions that write a processor's files and return the config."""
