"""How many tokens a sample takes in a student, its picture's among them. The processor is loaded, the weights are not."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from delamo.models.hf.chat import SampleError, adds_special_tokens, prompt_text
from delamo.models.hf.collator import Collator, by_row, open_picture
from delamo.models.hf.identity import template
from delamo.models.hf.loading import context_length, quiet, resolve
from delamo.models.hf.processors import load_processor, whole
from delamo.records import LETTERS, Sample


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """Counts as answers, evaluation and tuning do."""

    processor: Any
    prompt: str
    max_image_pixels: int | None
    limit: int
    """Tokens of the student's context."""

    @classmethod
    def load(cls, path: str, *, revision: str | None, prompt: str, max_image_pixels: int | None) -> TokenCounter:
        """Raises FileNotFoundError or OSError where there is no such checkpoint."""
        from transformers import AutoConfig

        place = resolve(path)
        with quiet():
            processor = load_processor(place, revision=revision)
            config = AutoConfig.from_pretrained(place, revision=revision, trust_remote_code=False)
        if processor.tokenizer.pad_token_id is None:
            processor.tokenizer.pad_token = processor.tokenizer.eos_token
        return cls(processor, prompt, max_image_pixels, context_length(SimpleNamespace(config=config), processor))

    def of_example(self, sample: Sample) -> int:
        """A pool sample's user turn, picture and reply. Raises SampleError or ImageError as tuning would."""
        return int(Collator(self.processor, self.max_image_pixels)([sample])["input_ids"].shape[1])

    def of_prompt(self, sample: Sample) -> int:
        """A task's question and picture as the student is asked. Raises SampleError or ImageError."""
        question = template(self.prompt).render(question=sample.instruction, options=sample.options, letters=LETTERS)
        text = prompt_text(self.processor, question, has_image=sample.image is not None)
        picture = open_picture(sample.image, self.max_image_pixels)
        try:
            encoded = self.processor(
                text=[text],
                images=by_row([picture]),
                add_special_tokens=adds_special_tokens(self.processor, text),
                return_tensors="pt",
            )
        except ValueError as error:  # say, a picture of odd proportions
            raise SampleError("not encodable", str(error)) from error
        return int(whole(self.processor, encoded)["input_ids"].shape[1])
