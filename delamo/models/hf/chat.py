"""A sample as chat text, by the model's own chat template: the same words for generating and for tuning."""

from __future__ import annotations

from typing import Any

from delamo.data.quarantine import UnusableError


class SampleError(UnusableError):
    """A sample that this model cannot take: `reason` is short and countable, `detail` says what to change."""


def prompt_text(processor: Any, user: str, *, has_image: bool) -> str:
    """Render one user turn, ready for the reply.

    Args:
        processor: whose chat template is used.
        user: what the user says.
        has_image: whether the turn begins with the image's placeholder, which is not yet expanded.

    Raises:
        SampleError: no text, or the text holds one of the model's special tokens, which would be read as one.
        ValueError: the processor has no chat template.
    """
    return processor.apply_chat_template(
        _user_turn(processor, user, has_image), add_generation_prompt=True, tokenize=False
    )


def example_texts(processor: Any, user: str, reply: str, *, has_image: bool) -> tuple[str, str]:
    """Render a user turn and its reply as (prompt, completion); tuning learns exactly the completion.

    The completion ends with the end-of-sequence token, which some published templates leave out (LLaVA-1.5's writes a
    blank instead): a model tuned without it never stops.

    Args:
        processor: whose chat template is used.
        user: what the user says.
        reply: what the assistant says.
        has_image: whether the user turn begins with the image's placeholder.

    Raises:
        SampleError: no text, or the text holds one of the model's special tokens, which would be read as one.
        ValueError: the template does not write a conversation as its prompt and then the reply.
    """
    _check_text(processor, reply, "reply")
    turns = _user_turn(processor, user, has_image)
    prompt = processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    answer = {"role": "assistant", "content": [{"type": "text", "text": reply}]}
    conversation = processor.apply_chat_template([*turns, answer], tokenize=False)
    completion, stop = _after(prompt, conversation, reply), processor.tokenizer.eos_token
    text = completion.partition(stop)[0] if stop in completion else completion.rstrip()
    return prompt, text + stop


def _after(prompt: str, conversation: str, reply: str) -> str:
    """Return how a conversation goes on after its prompt; the prompt stays as generation starts from it.

    LLaVA-OneVision's template writes a blank before a reply's line break that it leaves out where it asks for one.
    """
    if conversation.startswith(prompt):
        return conversation[len(prompt) :]
    head = prompt.rstrip()
    between, separator, rest = conversation[len(head) :].partition(reply)
    if not conversation.startswith(head) or not separator or between.strip():
        raise ValueError(
            f"the chat template does not continue its own prompt: {prompt[-60:]!r} is not how {conversation[:200]!r} "
            "begins; the reply cannot be told from the question"
        )
    return reply + rest


def adds_special_tokens(processor: Any, text: str) -> bool:
    """Return whether the tokenizer is to add its own start token: not where the template has written one."""
    start = processor.tokenizer.bos_token
    return not (start and text.startswith(start))


def special_tokens(processor: Any) -> list[str]:
    """List the tokens of the tokenizer and the processor that must not occur in a sample's text."""
    tokens = set(processor.tokenizer.all_special_tokens)
    tokens |= {
        token for name in ("image_token", "video_token") if isinstance(token := getattr(processor, name, None), str)
    }
    return sorted(tokens)


def _user_turn(processor: Any, user: str, has_image: bool) -> list[dict[str, Any]]:
    _check_text(processor, user, "instruction")
    if not processor.chat_template:
        raise ValueError(
            f"{type(processor).__name__} has no chat template: save one with the checkpoint (chat_template.jinja)"
        )
    image = [{"type": "image"}] if has_image else []
    return [{"role": "user", "content": [*image, {"type": "text", "text": user}]}]


def _check_text(processor: Any, text: str, field: str) -> None:
    if not text.strip():
        raise SampleError("no text", f"the {field} is empty")
    for token in special_tokens(processor):
        if token in text:
            raise SampleError(
                "special token in text", f"the {field} holds {token!r}, which the model reads as a control token"
            )
