"""One tiny random checkpoint of every architecture that has a preset, of real config, model and processor classes.

`save(name, folder)` writes what the hub's repositories hold: config, safetensors, tokenizer, image processor, chat
template.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.tiny_models import CHAT_TEMPLATE, tiny_llava, tiny_processor, tiny_tokenizer

WIDTH, HEADS, LAYERS, LENGTH = 32, 2, 2, 512
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}PICTURE{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN_TOKENS = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "vision_start_token": "<|vision_start|>",
    "vision_end_token": "<|vision_end|>",
}
SMOL_TEMPLATE = (  # as SmolVLM's own: a colon, the turns ended by a token that is also the end of sequence
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}:{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %} {{ part['text'] }}{% endif %}{% endfor %}<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


def text_fields(tokenizer: Any, **more: Any) -> dict[str, Any]:
    """What every language model's config here has."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "max_position_embeddings": LENGTH,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "initializer_range": 0.2,
        **more,
    }


def vision_fields(**more: Any) -> dict[str, Any]:
    return {
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "image_size": 16,
        "patch_size": 8,
        **more,
    }


def llava() -> tuple[Any, Any]:
    processor = tiny_processor()
    return tiny_llava(processor), processor


def llava_next() -> tuple[Any, Any]:
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextImageProcessor,
        LlavaNextProcessor,
    )

    tokenizer, grids = tiny_tokenizer(max_length=LENGTH), [[16, 32], [32, 16], [32, 32]]
    images = LlavaNextImageProcessor(
        size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}, image_grid_pinpoints=grids
    )
    processor = LlavaNextProcessor(
        images,
        tokenizer,
        patch_size=8,
        num_additional_image_tokens=1,
        vision_feature_select_strategy="default",
        chat_template=CHAT_TEMPLATE,
    )
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(**vision_fields(projection_dim=WIDTH)),
        text_config=LlamaConfig(**text_fields(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=grids,
        image_seq_length=4,
    )
    return LlavaNextForConditionalGeneration(config), processor


def llava_onevision() -> tuple[Any, Any]:
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        LlavaOnevisionImageProcessor,
        LlavaOnevisionProcessor,
        Qwen2Config,
        SiglipVisionConfig,
    )

    tokens = {"image_token": "<image>", "video_token": "<video>"}
    tokenizer, grids = chatml_tokenizer(tokens), [[16, 16], [16, 32], [32, 16], [32, 32]]
    images = LlavaOnevisionImageProcessor(size={"height": 16, "width": 16}, image_grid_pinpoints=grids)
    processor = without_video(LlavaOnevisionProcessor)(
        images,
        tokenizer,
        None,
        num_image_tokens=4,
        vision_feature_select_strategy="full",
        chat_template=CHATML.replace("PICTURE", "<image>\n"),
    )
    config = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(**vision_fields(vision_use_head=False)),
        text_config=Qwen2Config(**text_fields(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=grids,
    )
    return LlavaOnevisionForConditionalGeneration(config), processor


def qwen(name: str, vision: dict[str, Any], patch_size: int, sections: list[int], **text: Any) -> tuple[Any, Any]:
    """Qwen2-VL, 2.5-VL or 3-VL: native resolution, multimodal rotary positions."""
    import transformers
    from transformers import Qwen2VLImageProcessor

    tokenizer = chatml_tokenizer(QWEN_TOKENS)
    token = tokenizer.convert_tokens_to_ids
    edge = 2 * patch_size  # one token is two by two patches
    images = Qwen2VLImageProcessor(
        patch_size=patch_size, merge_size=2, size={"shortest_edge": edge**2, "longest_edge": 4 * edge**2}
    )
    template = CHATML.replace("PICTURE", "<|vision_start|><|image_pad|><|vision_end|>")
    processor = without_video(getattr(transformers, f"{name}Processor"))(
        images, tokenizer, None, chat_template=template
    )
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": sections}
    config = getattr(transformers, f"{name}Config")(
        vision_config={"depth": LAYERS, "num_heads": HEADS, "patch_size": patch_size, **vision},
        text_config=text_fields(tokenizer, rope_parameters=rope, **text),
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
    )
    return getattr(transformers, f"{name}ForConditionalGeneration")(config), processor


def qwen2_vl() -> tuple[Any, Any]:
    return qwen("Qwen2VL", {"embed_dim": WIDTH, "hidden_size": WIDTH, "mlp_ratio": 2}, 8, [2, 3, 3])


def qwen2_5_vl() -> tuple[Any, Any]:
    vision = {"hidden_size": WIDTH, "out_hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "window_size": 16}
    return qwen("Qwen2_5_VL", vision | {"fullatt_block_indexes": [1]}, 8, [2, 3, 3])


def qwen3_vl() -> tuple[Any, Any]:
    vision = {"hidden_size": WIDTH, "out_hidden_size": WIDTH, "intermediate_size": 2 * WIDTH}
    vision |= {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]}
    return qwen("Qwen3VL", vision, 8, [4, 2, 2], head_dim=16)


def smolvlm() -> tuple[Any, Any]:
    from transformers import (
        LlamaConfig,
        SmolVLMConfig,
        SmolVLMForConditionalGeneration,
        SmolVLMImageProcessor,
        SmolVLMProcessor,
        SmolVLMVisionConfig,
    )

    rows = {f"row_{r}_col_{c}_token": f"<row_{r}_col_{c}>" for r in (1, 2) for c in (1, 2)}
    tokens = {
        "image_token": "<image>",
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
        "end_of_utterance_token": "<end_of_utterance>",
        **rows,
    }
    tokenizer = chatml_tokenizer(tokens, end="<end_of_utterance>")
    images = SmolVLMImageProcessor(size={"longest_edge": 32}, max_image_size={"longest_edge": 16})
    processor = without_video(SmolVLMProcessor)(images, tokenizer, None, image_seq_len=1, chat_template=SMOL_TEMPLATE)
    config = SmolVLMConfig(
        vision_config=SmolVLMVisionConfig(**vision_fields()),
        text_config=LlamaConfig(**text_fields(tokenizer, tie_word_embeddings=False)),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        tie_word_embeddings=False,
    )
    return SmolVLMForConditionalGeneration(config), processor


def mllama() -> tuple[Any, Any]:
    """Llama 3.2 Vision: the picture comes in by cross-attention, and no token of the text stands for it."""
    from transformers import (
        MllamaConfig,
        MllamaForConditionalGeneration,
        MllamaImageProcessor,
        MllamaProcessor,
        MllamaTextConfig,
        MllamaVisionConfig,
    )

    tokenizer = tiny_tokenizer(max_length=LENGTH, extra={"image_token": "<|image|>", "python_token": "<|python_tag|>"})
    images = MllamaImageProcessor(size={"height": 16, "width": 16}, max_image_tiles=1)
    processor = MllamaProcessor(images, tokenizer, chat_template=CHAT_TEMPLATE.replace("<image>\n", "<|image|>"))
    rope = {"rope_type": "default", "rope_theta": 10000.0}
    config = MllamaConfig(
        vision_config=MllamaVisionConfig(
            hidden_size=WIDTH,
            attention_heads=HEADS,
            num_hidden_layers=1,
            num_global_layers=1,
            intermediate_size=WIDTH,
            vision_output_dim=2 * WIDTH,
            intermediate_layers_indices=[0],
            image_size=16,
            patch_size=8,
            max_num_tiles=1,
            supported_aspect_ratios=[[1, 1]],
        ),
        text_config=MllamaTextConfig(**text_fields(tokenizer, cross_attention_layers=[1], rope_parameters=rope)),
        image_token_index=tokenizer.convert_tokens_to_ids("<|image|>"),
    )
    model = MllamaForConditionalGeneration(config)
    for layer in model.model.language_model.layers:
        if hasattr(layer, "cross_attn_attn_gate"):  # zero in a new model, which then sees nothing
            layer.cross_attn_attn_gate.data.fill_(1)
            layer.cross_attn_mlp_gate.data.fill_(1)
    return model, processor


def chatml_tokenizer(tokens: dict[str, str], end: str = "<|im_end|>") -> Any:
    """The tiny tokenizer with the control tokens of a family; it has no start token, as Qwen's has none."""
    family = {"im_start_token": "<|im_start|>", "im_end_token": "<|im_end|>"}
    return tiny_tokenizer(448, LENGTH, bos=None, eos=end, extra=family | tokens)


def without_video(kind: type) -> type:
    """A processor's class that can be made without torchvision."""

    def check(self, name, value):
        return None if name == "video_processor" else kind.check_argument_for_proper_class(self, name, value)

    return type(kind.__name__, (kind,), {"check_argument_for_proper_class": check})


ARCHITECTURES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "llava": llava,
    "llava_next": llava_next,
    "llava_onevision": llava_onevision,
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "smolvlm": smolvlm,
}

TEACHERS: dict[str, Callable[[], tuple[Any, Any]]] = {"mllama": mllama}
"""Architectures of which only a teacher has a preset."""


def save(name: str, folder: Path, seed: int = 0) -> Path:
    """Write the checkpoint; returns the folder."""
    import torch

    torch.manual_seed(seed)
    model, processor = (ARCHITECTURES | TEACHERS)[name]()
    model.save_pretrained(folder)
    processor.image_processor.save_pretrained(folder)
    processor.tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(processor.chat_template)
    settings = ("patch_size", "num_additional_image_tokens", "num_image_tokens", "vision_feature_select_strategy")
    fields = {key: getattr(processor, key) for key in (*settings, "image_seq_len") if hasattr(processor, key)}
    fields["processor_class"] = type(processor).__name__
    (folder / "processor_config.json").write_text(json.dumps(fields))
    return folder
