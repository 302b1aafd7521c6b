"""The address that only the environment names: litellm reads PROVIDER_API_BASE and its like where a config has none."""

from __future__ import annotations

import os
import re

SUFFIX = re.compile(r"_(API_BASE|BASE_URL|API_URL|RUNTIME_ENDPOINT|ENDPOINT)$")
ALIASES = {
    "bedrock": ("AWS_BEDROCK",),
    "huggingface": ("HF",),
    "volcengine": ("ARK",),
    "dashscope": ("QWENCLOUD", "QWEN_AI_PLATFORM"),
}
"""Names that litellm's code has for a provider besides the provider's own."""
MIN_NAME = 3
"""Letters of a variable's name that must stand in the provider's: `fireworks_ai` reads FIREWORKS_API_BASE."""


def base_of_environment(model: str) -> str | None:
    """Return the address that litellm would find in the environment for a model; None where there is none.

    Of several variables of one provider, that whose name is most like the provider's counts, and BASE_URL before
    API_BASE, as litellm has it for OpenAI. The address is then sent along, so that what is asked is what counts.

    Args:
        model: as litellm names it, PROVIDER/MODEL, or a model whose provider litellm knows.
    """
    names = [(name, SUFFIX.sub("", name)) for name, value in os.environ.items() if value and SUFFIX.search(name)]
    if not names:
        return None
    provider = _letters(provider_of(model))
    own = [_letters(alias) for alias in ALIASES.get(provider, ())]
    found = [
        (_letters(stem) != provider, -len(stem), not name.endswith("_BASE_URL"), name)
        for name, stem in names
        if _letters(stem) in own or (len(_letters(stem)) >= MIN_NAME and _letters(stem) in provider)
    ]
    return os.environ[min(found)[-1]] if found else None


def provider_of(model: str) -> str:
    """Return the provider of a model: what stands before the slash, or what litellm takes a bare name for."""
    head, slash, _ = model.partition("/")
    if slash:
        return head
    from litellm.exceptions import BadRequestError

    from delamo.models.api.transport import import_litellm

    try:
        return str(import_litellm().get_llm_provider(model)[1])
    except BadRequestError:
        return ""  # the first request says so, with the model's name


def _letters(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()
