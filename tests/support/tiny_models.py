"""Random-weight LLaVA models of real config and processor classes, small enough for unit tests.

`save_tiny_llava(folder)` writes what any published LLaVA checkpoint has (config, safetensors, tokenizer, image
processor,
chat template), so everything downstream loads it by its one code path.
"""

from __future__ import annotations

from pathlib import Path

SENTENCES = (
    "USER: Is the red circle big or small?\nOptions: (A) big (B) small ASSISTANT: The top left has a big red circle.",
    "The top right is empty. So it is big. Option A is big, which fits. Option B is small, which does not fit.",
    "The final answer is (A). The final answer is (B). The final answer is seven.",
    "How many blue squares are there? What digit is in the middle? Which number is larger?",
)
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}USER: "
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif "
    "%}"
    "{% endfor %}{% else %} ASSISTANT: {% for part in message['content'] %}{{ part['text'] }}{% endfor %}</s>{% endif "
    "%}"
    "{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)


def tiny_tokenizer(
    vocab_size: int = 384,
    max_length: int = 512,
    bos: str | None = "<s>",
    eos: str = "</s>",
    extra: dict[str, str] = {"image_token": "<image>"},  # noqa: B006 - only read
):
    """A byte-level BPE tokenizer that reads any text, trained on four sentences."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(dict.fromkeys(["<pad>", *([bos] if bos else []), eos, *extra.values()])),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<pad>",
        bos_token=bos,
        eos_token=eos,
        extra_special_tokens=dict(extra),
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )


def tiny_processor(image_size: int = 16, patch_size: int = 8, max_length: int = 512):
    """LlavaProcessor over a Pillow CLIP image processor and the tiny tokenizer."""
    from transformers import CLIPImageProcessor, LlavaProcessor

    images = CLIPImageProcessor(
        size={"shortest_edge": image_size}, crop_size={"height": image_size, "width": image_size}
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tiny_tokenizer(max_length=max_length),
        patch_size=patch_size,
        num_additional_image_tokens=1,
        vision_feature_select_strategy="default",
        chat_template=CHAT_TEMPLATE,
    )


def tiny_llava(processor, *, layers: int = 2, width: int = 32, heads: int = 2, tied: bool = False, seed: int = 0):
    """An untrained LlavaForConditionalGeneration that fits the processor."""
    import torch
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    torch.manual_seed(seed)
    size = processor.image_processor.crop_size["height"]
    vision = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        image_size=size,
        patch_size=processor.patch_size,
        projection_dim=width,
    )
    text = LlamaConfig(
        vocab_size=len(processor.tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=processor.tokenizer.model_max_length,
        pad_token_id=processor.tokenizer.pad_token_id,
        bos_token_id=processor.tokenizer.bos_token_id,
        eos_token_id=processor.tokenizer.eos_token_id,
        tie_word_embeddings=tied,
        initializer_range=0.2,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=processor.tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        tie_word_embeddings=tied,
    )
    return LlavaForConditionalGeneration(config).eval()


def save_tiny_llava(
    folder: Path,
    *,
    image_size: int = 16,
    max_length: int = 512,
    layers: int = 2,
    width: int = 32,
    heads: int = 2,
    tied: bool = False,
    seed: int = 0,
) -> Path:
    """Write a complete tiny checkpoint into `folder`; returns the folder."""
    processor = tiny_processor(image_size=image_size, max_length=max_length)
    model = tiny_llava(processor, layers=layers, width=width, heads=heads, tied=tied, seed=seed)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return Path(folder)
