"""Refusal of API keys in config files and on the command line; keys come from environment variables, by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

PATTERNS = {
    "an OpenAI, Anthropic or OpenRouter key": r"\bsk-[A-Za-z0-9_-]{12,}",
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{16,}",
    "an AWS access key": r"\bAKIA[0-9A-Z]{16}\b",
    "a Google API key": r"\bAIza[0-9A-Za-z_-]{30,}",
    "a GitHub token": r"\b(gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})",
    "a Groq or xAI key": r"\b(gsk_|xai-)[A-Za-z0-9]{20,}",
    "a Slack token": r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
    "a W&B key": r"^[0-9a-f]{40}$|\bwandb_v1_[A-Za-z0-9_]{20,}",
    "a password in a URL": r"://[^/\s:@]+:[^/\s:@]+@",
}
# `teacher.api_key=...` is a key whatever it looks like; `api_key_env` names a variable.
SECRET_NAME = re.compile(
    r"(^|[._])(api_key|apikey|secret|password|passwd|access_token|auth_token|bearer)$", re.IGNORECASE
)
SHORTEST_KEY = 6
"""Characters; shorter secrets are not redacted, because ordinary words would contain them."""
NOT_SECRET = re.compile(r"(^|[._])(revision|commit|digest)$")  # may be 40 hex digits, as a W&B key


class SecretInConfigError(ValueError):
    """Raised for a value that looks like a key; the message never contains the value."""


def refuse_keys(pairs: Iterable[tuple[str, Any]]) -> None:
    """Refuse pairs (config key, value) that hold an API key.

    Raises:
        SecretInConfigError: a value looks like an API key, or a key's name says that it is one.
    """
    for key, value in pairs:
        kind = _kind(key, value)
        if kind:
            raise SecretInConfigError(
                f"{key} holds what looks like {kind}: nothing was written. Put it into an environment variable "
                "and name that, e.g. teacher.api_key_env=OPENAI_API_KEY"
            )


def refuse_keys_in_arguments(arguments: Iterable[str]) -> None:
    """Refuse API keys in a command line, in `key=value` overrides and elsewhere. Raises SecretInConfigError."""
    refuse_keys(
        ((key.lstrip("+~"), value) if is_set else ("the command line", key))
        for key, is_set, value in (argument.partition("=") for argument in arguments)
    )


def refuse_keys_in_files(folders: Iterable[Path]) -> None:
    """Refuse API keys in the YAML files below some folders, before Hydra writes a composed config.

    Files that are not valid YAML are skipped: Hydra reports them.

    Raises:
        SecretInConfigError: naming the file.
    """
    import yaml

    for file in sorted(file for folder in folders for file in folder.rglob("*.yaml")):
        try:
            values = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError):
            continue
        try:
            refuse_keys(flatten(values))
        except SecretInConfigError as error:
            raise SecretInConfigError(f"{file}: {error}") from None


def redact(text: str, *secrets: str | None) -> str:
    """Replace these secrets, and whatever looks like a key, in a service's message, which may repeat a key."""
    for secret in secrets:
        if secret and len(secret) >= SHORTEST_KEY:
            text = text.replace(secret, "[key]")
    for pattern in PATTERNS.values():
        text = re.sub(pattern, "[key]", text)
    return text


def flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested dicts and lists as (dotted key, value)."""
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from flatten(child, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


def _kind(key: str, value: Any) -> str | None:
    if not isinstance(value, str) or not value or NOT_SECRET.search(key):
        return None
    if SECRET_NAME.search(key):
        return "a key"
    return next((name for name, pattern in PATTERNS.items() if re.search(pattern, value)), None)
