"""Training examples under published tokenizers and chat templates: what is learned is the reply, token by token."""

from __future__ import annotations

import json

import pytest
from support.readers import read_pool
from support.tiny_models import tiny_processor

from delamo.models.hf.chat import SampleError, example_texts
from delamo.models.hf.collator import IGNORED, Collator
from delamo.models.hf.processors import load_processor
from delamo.records import Sample

WORDS = ("USER", "ASSISTANT", "Which", "one", "The", "final", "answer", "is", "A")
LLAVA_1_5 = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] if part['type'] == 'image' %}<image>\n{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] + ' ' }}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
LLAVA_ONEVISION = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + ' ' }}"
    "{% for part in message['content'] if part['type'] == 'image' %}<image>{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ '\n' + part['text'] }}{% endfor %}"
    "</s>{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SAMPLE = Sample(id="a", instruction="Which one?", answer="The final answer is A.", image="micro:pool/0/0")


def llama_2_tokenizer():
    """Words with the blank before them, and a blank put before the first word of a text, as Llama 2's file has it."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

    alphabet = ["\u2581", *map(chr, range(33, 127))]
    vocab, merges = dict.fromkeys(["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *alphabet]), []
    for word in WORDS:
        for end in range(1, len(word) + 1):
            merges.append(("\u2581" + word[: end - 1], word[end - 1]))
            vocab["".join(merges[-1])] = None
    bpe = models.BPE(
        vocab={token: number for number, token in enumerate(vocab)},
        merges=list(dict.fromkeys(merges)),
        unk_token="<unk>",
        byte_fallback=True,
    )
    made = Tokenizer(bpe)
    made.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    made.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    specials = ("<unk>", "<s>", "</s>", "<pad>", "<image>")
    made.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in specials])
    return made


@pytest.fixture
def llava_1_5(tmp_path):
    processor = tiny_processor()
    processor.chat_template = LLAVA_1_5
    processor.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llava"}))
    llama_2_tokenizer().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "LlamaTokenizer",
                "bos_token": "<s>",
                "eos_token": "</s>",
                "unk_token": "<unk>",
                "pad_token": "<pad>",
                "extra_special_tokens": {"image_token": "<image>"},
            }
        )
    )
    return load_processor(str(tmp_path), revision=None)


def learned(processor, *samples: Sample) -> list[list[str]]:
    """The tokens with a loss, by sample."""
    batch = Collator(processor, None)(samples)
    rows = zip(batch["input_ids"], batch["labels"], strict=True)
    return [processor.tokenizer.convert_ids_to_tokens(ids[labels != IGNORED].tolist()) for ids, labels in rows]


def test_a_vocabulary_that_begins_a_text_with_a_blank_learns_the_reply(llava_1_5):
    alone = llava_1_5.tokenizer(" The final", add_special_tokens=False).input_ids
    assert llava_1_5.tokenizer.convert_ids_to_tokens(alone) != ["\u2581The", "\u2581final"]  # the trap
    words = ["\u2581The", "\u2581final", "\u2581answer", "\u2581is", "\u2581A", ".", "</s>"]
    longer = Sample(id="b", instruction="Which one is A?", answer="A")
    assert learned(llava_1_5, SAMPLE, longer) == [words, ["\u2581A", "</s>"]]


def test_where_no_token_crosses_the_border_the_reply_is_what_it_is_alone():
    processor = tiny_processor()
    for sample in read_pool("micro", size=30, surface_overlap=0.5, seed=0):
        _, reply = example_texts(processor, sample.instruction, sample.answer, has_image=True)
        tokens = processor.tokenizer(reply, add_special_tokens=False).input_ids
        assert learned(processor, sample) == [processor.tokenizer.convert_ids_to_tokens(tokens)]


def test_a_token_across_the_border_is_an_error():
    processor = tiny_processor()
    processor.chat_template = (
        "{% for m in messages %}{{ m['content'][-1]['text'] }}{% endfor %}{% if add_generation_prompt %} Th{% endif %}"
    )
    crossing = Sample(id="c", instruction="Which number is larger?", answer=" The final answer")
    with pytest.raises(SampleError, match="merges the end of the prompt with the reply"):
        Collator(processor, None)([crossing])


def test_a_template_that_only_spaces_replies_otherwise_still_tells_them_from_the_question():
    processor = tiny_processor()
    processor.chat_template = LLAVA_ONEVISION
    prompt, reply = example_texts(processor, "Is it big?", "yes", has_image=True)
    assert (prompt[-22:], reply) == ("<|im_start|>assistant\n", "yes</s>")


def test_a_template_that_does_not_continue_its_prompt_is_an_error():
    processor = tiny_processor()
    processor.chat_template = (
        "{% for m in messages %}{{ m['content'][-1]['text'] }}{% endfor %}{% if add_generation_prompt %}Go:{% endif %}"
    )
    with pytest.raises(ValueError, match="does not continue its own prompt"):
        example_texts(processor, "Is it big?", "yes", has_image=False)
