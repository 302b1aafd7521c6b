"""Local teachers from their config: a language model, or one for images and text, by what the checkpoint is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from delamo.models.hf.chat import adds_special_tokens, prompt_text
from delamo.models.teachers.base import Refusal
from delamo.models.teachers.config import LocalTeacherConfig
from delamo.models.teachers.local import LocalTeacher, checked, placed
from delamo.models.usage import Spent
from delamo.records import Sample


@dataclass(slots=True)
class VisionTeacher(LocalTeacher):
    """Any `AutoModelForImageTextToText`. It sees pictures where it completes, never where it judges rationales.

    What it spends on completions counts the tokens of the text, not those that a picture becomes.
    """

    processor: Any = None
    sees_images: bool = True

    def complete(
        self, prompts: Sequence[str], *, max_new_tokens: int, images: Sequence[str | None] | None = None
    ) -> list[str | Refusal]:
        """See `Teacher.complete`. A prompt is one user turn by the processor's chat template, the picture before the text."""
        from delamo.models.students.local import Student

        pairs = list(zip(prompts, images or [None] * len(prompts), strict=True))
        distinct = list(dict.fromkeys(pairs))
        samples = [
            Sample(id=str(i), instruction=text, answer="", image=image) for i, (text, image) in enumerate(distinct)
        ]
        model = Student(self.model, self.processor, "teacher", "micro")  # that template is the bare question
        replies: dict[tuple[str, str | None], str | Refusal] = {}
        options = {"max_new_tokens": max_new_tokens, "batch_size": self.batch_size}
        for index, reply in model.replies(samples, **options):
            replies[distinct[index]] = self._read(distinct[index][0], reply)
        return [replies[pair] for pair in pairs]

    def _user_turn(self, text: str) -> str:
        """By the processor's chat template, as that of a multimodal model reads a turn's parts, not its text."""
        return prompt_text(self.processor, text, has_image=False)

    def _lack_start(self, texts: list[str]) -> bool:
        return all(adds_special_tokens(self.processor, text) for text in texts)

    def _read(self, text: str, reply: Any) -> str | Refusal:
        if isinstance(reply, Exception):
            return Refusal(reply.reason, reply.detail)
        tokens = len(self._tokenize([text])[0])
        self.spent += Spent(calls=1, prompt_tokens=tokens, completion_tokens=reply.num_tokens)
        if reply.truncated:
            return Refusal("reply cut off", f"no end within {reply.num_tokens} tokens")
        return reply.text.strip()


def load_local_teacher(config: LocalTeacherConfig) -> LocalTeacher:
    """Load it; `sees_images` needs a model for images and text, and such a model can be asked text alone.

    Raises:
        ValueError: the checkpoint cannot see.
    """
    if not _for_images(config):
        if config.sees_images:
            raise ValueError(f"teacher.sees_images is true, but {config.path} is a language model: set it to false")
        return LocalTeacher.load(
            config.path,
            revision=config.revision,
            dtype=config.dtype.value,
            device=config.device,
            prompts=config.prompts.value,
            batch_size=config.batch_size,
            chat_template=config.chat_template,
        )
    from delamo.models.students.local import load_base

    first = "cpu" if config.device == "split" else config.device
    model, processor = load_base(config.path, revision=config.revision, dtype=config.dtype.value, device=first)
    teacher = VisionTeacher(
        placed(model, config.device),
        processor.tokenizer,
        config.prompts.value,
        config.batch_size,
        chat_template=config.chat_template,
        processor=processor,
        sees_images=config.sees_images,
    )
    return checked(teacher, config.path)


def _for_images(config: LocalTeacherConfig) -> bool:
    """Whether the checkpoint is for images and text, and not (also) a language model that is asked text alone."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    )

    from delamo.models.students.local import resolve

    place = resolve(config.path, key="teacher.path")
    kind = AutoConfig.from_pretrained(place, revision=config.revision, trust_remote_code=False).model_type
    sees = kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    return sees and (config.sees_images or kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
