"""Train the byte-level BPE tokenizer that the embedded student and teacher share.

    python scripts/train/train_tokenizer.py --out delamo/models/weights/tokenizer

The corpus is half microworld text and half the docstrings of Python's standard library (plain English that every
machine has), so that any text stays short enough to be read.
"""

from __future__ import annotations

import argparse
import ast
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from delamo.data.microworld.examples import example_at, pool_instruction, worked_answer
from delamo.data.microworld.questions import SKILLS

VOCAB_SIZE = 1536
SPECIAL = ["<pad>", "<s>", "</s>", "<image>"]
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '<s>USER: ' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image>\\n' }}{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{{ ' ASSISTANT:' }}"
    "{% else %}{% generation %}"
    "{% if message['content'] is string %}{{ ' ' + message['content'] }}{% else %}"
    "{% for part in message['content'] %}{{ ' ' + part['text'] }}{% endfor %}{% endif %}"
    "{{ '</s>' }}{% endgeneration %}{% endif %}{% endfor %}"
)


def microworld_lines(num_samples: int) -> Iterator[str]:
    for index in range(num_samples):
        locator = f"micro:pool/1000/{index}"
        example = example_at(locator)
        yield pool_instruction(example, locator, 0.5)
        yield worked_answer(example)
    for phrase in SKILLS.values():
        yield f"Skills: {phrase.format(x='circle')}; Missing skill: {phrase.format(x='digit')}"
    for letter in "ABCDEFGH":
        yield from [f"Prior: option {letter} (red) is right with probability 60%. The answer is option {letter}"] * 20
        yield from [f"USER: Question: Answer: Rationale: Mistake: Instruction: Response: ASSISTANT: ({letter})"] * 20


def english_lines(num_characters: int) -> Iterator[str]:
    seen = 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8", errors="replace"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                seen += len(text)
                yield text
        if seen > num_characters:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("delamo/models/weights/tokenizer"))
    args = parser.parse_args()

    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*microworld_lines(3000), *english_lines(1_000_000)], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens={"image_token": "<image>"},
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(args.out)
    print(f"{len(fast)} tokens in {args.out}")


if __name__ == "__main__":
    main()
