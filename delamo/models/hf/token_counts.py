"""Count the tokens of a sample in a student, its image's included; only the processor is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from delamo.models import prompts
from delamo.models.hf.chat import SampleError, adds_special_tokens, prompt_text
from delamo.models.hf.collator import Collator, images_by_row
from delamo.models.hf.loading import context_length, quiet, resolve
from delamo.models.hf.processors import check_batch, load_processor
from delamo.models.images import load_image
from delamo.models.students.config import HuggingFaceStudentConfig
from delamo.records import Sample


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """Count tokens as answers, evaluation and tuning do. Make one with `load`."""

    processor: Any
    prompt: str
    """Names the set of the prompt template."""
    max_image_pixels: int | None
    limit: int
    """Tokens of the student's context."""

    @classmethod
    def load(cls, config: HuggingFaceStudentConfig) -> TokenCounter:
        """Load the processor of a student. Raises FileNotFoundError or OSError where there is no such checkpoint."""
        from transformers import AutoConfig

        checkpoint = resolve(config.path)
        with quiet():
            processor = load_processor(checkpoint, revision=config.revision)
            model = AutoConfig.from_pretrained(checkpoint, revision=config.revision, trust_remote_code=False)
        if processor.tokenizer.pad_token_id is None:
            processor.tokenizer.pad_token = processor.tokenizer.eos_token
        limit = context_length(SimpleNamespace(config=model), processor)
        return cls(processor, config.prompt.value, config.max_image_pixels, limit)

    def of_example(self, sample: Sample) -> int:
        """Count a pool sample's user turn, image and reply. Raises SampleError or ImageError as tuning would."""
        return int(Collator(self.processor, self.max_image_pixels)([sample])["input_ids"].shape[1])

    def of_prompt(self, sample: Sample) -> int:
        """Count a task's question and image as the student is asked. Raises SampleError or ImageError."""
        text = prompt_text(self.processor, prompts.question(self.prompt, sample), has_image=sample.image is not None)
        image = load_image(sample.image, self.max_image_pixels)
        try:
            encoded = self.processor(
                text=[text],
                images=images_by_row([image]),
                add_special_tokens=adds_special_tokens(self.processor, text),
                return_tensors="pt",
            )
        except ValueError as error:  # say, an image of odd proportions
            raise SampleError("not encodable", str(error)) from error
        return int(check_batch(self.processor, encoded)["input_ids"].shape[1])
