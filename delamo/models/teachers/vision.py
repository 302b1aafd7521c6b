"""Local teachers from their config: a language model, or one for images and text, by the type of the checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from delamo.data.quarantine import UnusableError
from delamo.models.hf.chat import adds_special_tokens, prompt_text
from delamo.models.hf.commits import pinned
from delamo.models.hf.loading import load_base, resolve
from delamo.models.prompts import BARE
from delamo.models.students.local import Reply, Student
from delamo.models.teachers.base import CUT_OFF, Refusal
from delamo.models.teachers.config import LocalTeacherConfig
from delamo.models.teachers.local import LocalTeacher, checked, to_device
from delamo.models.usage import Usage
from delamo.records import Sample

ATTENTION = "sdpa"


@dataclass(slots=True)
class VisionTeacher(LocalTeacher):
    """Any `AutoModelForImageTextToText`. It sees images where it completes, never where it judges rationales.

    Its usage for completions counts the tokens of the text, not those that an image becomes.
    """

    processor: Any = None

    def complete(
        self, prompts: Sequence[str], *, max_new_tokens: int, images: Sequence[str | None] | None = None
    ) -> list[str | Refusal]:
        """See `Teacher.complete`; a prompt is one user turn by the processor's chat template, the image first."""
        pairs = list(zip(prompts, images or [None] * len(prompts), strict=True))
        distinct = list(dict.fromkeys(pairs))
        samples = [
            Sample(id=str(i), instruction=text, answer="", image=image) for i, (text, image) in enumerate(distinct)
        ]
        model = Student(self.model, self.processor, "teacher", BARE, max_image_pixels=None)
        replies: dict[tuple[str, str | None], str | Refusal] = {}
        options = {"max_new_tokens": max_new_tokens, "batch_size": self.config.batch_size}
        for index, reply in model.replies(samples, **options, temperature=0.0, seed=0):
            replies[distinct[index]] = self._read(distinct[index][0], reply)
        return [replies[pair] for pair in pairs]

    def _user_turn(self, text: str) -> str:
        """Render a user's turn by the processor's chat template, which reads a turn's parts, not its text."""
        return prompt_text(self.processor, text, has_image=False)

    @property
    def _holds_template(self) -> bool:
        return bool(self.processor.chat_template)

    def _lack_start(self, texts: list[str]) -> bool:
        return all(adds_special_tokens(self.processor, text) for text in texts)

    def _read(self, text: str, reply: Reply | UnusableError) -> str | Refusal:
        if isinstance(reply, Exception):
            return Refusal(reply.reason, reply.detail)
        tokens = len(self._tokenize([text])[0])
        self.usage += Usage(calls=1, prompt_tokens=tokens, completion_tokens=reply.num_tokens)
        if reply.truncated:
            return Refusal(CUT_OFF, f"no end within {reply.num_tokens} tokens", reply.text.strip())
        return reply.text.strip()


def load_local_teacher(config: LocalTeacherConfig) -> LocalTeacher:
    """Load a local teacher; `sees_images` needs a model for images and text, and such a model can be asked text alone.

    Raises:
        ValueError: the checkpoint cannot see.
    """
    if not _for_images(config):
        if config.sees_images:
            raise ValueError(f"teacher.sees_images is true, but {config.path} is a language model: set it to false")
        return LocalTeacher.load(config)
    model, processor = load_base(
        config.path,
        revision=config.revision,
        dtype=config.dtype.value,
        device="cpu" if config.device == "split" else config.device,
        attn=ATTENTION,
    )
    model = to_device(model, config.device)
    return checked(VisionTeacher(model, processor.tokenizer, config, processor=processor))


def _for_images(config: LocalTeacherConfig) -> bool:
    """Return whether the checkpoint is for images and text, not (also) a language model that is asked text alone."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    )

    checkpoint = resolve(config.path, key="teacher.path")
    revision = pinned(checkpoint, config.revision, "teacher.path")
    kind = AutoConfig.from_pretrained(checkpoint, revision=revision, trust_remote_code=False).model_type
    sees = kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    return sees and (config.sees_images or kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
