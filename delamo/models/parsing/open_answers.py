"""Answers to questions without options: what a reply announces, or else all that it says."""

# ruff: noqa: RUF001 -- quotation marks and full-width punctuation are matched as they are

from __future__ import annotations

import re
from collections.abc import Sequence

ANSWER_END = re.compile(r"(?<![A-Z])(?<![A-Z][a-z])[.!?](?:\s+(?=[A-Z])|(?=[\u4e00-\u9fff]))|[。！？]")
OUTER = " *\"'`“”‘’「」"


def read_announced(
    text: str, announced: Sequence[tuple[int, int]], enclosed: Sequence[tuple[int, str]]
) -> tuple[str | None, str] | None:
    """Return the answer that a reply announces or marks last, and what comes before it; None where it does neither.

    Args:
        text: the reply.
        announced: start and end of "the answer is" and the like.
        enclosed: start and content of what stands in an answer's tag or box.
    """
    found = [(start, _sentence(text[end:])) for start, end in announced] + list(enclosed)
    if not found:
        return None
    start, answer = max(found)
    return answer or None, text[:start].rstrip()


def read_whole(text: str) -> tuple[str | None, str]:
    """Return a reply that announces nothing as its own answer; more than a sentence of it is the rationale as well."""
    answer = text.strip().strip(OUTER)
    said = answer.rstrip(".").strip()
    several = "\n" in said or ANSWER_END.search(said) is not None
    return said or None, text.rstrip() if several or not said else ""


def _sentence(text: str) -> str:
    """Return the first sentence of the first line that says something."""
    line = text.lstrip().lstrip("*").lstrip().partition("\n")[0]
    return ANSWER_END.split(line, maxsplit=1)[0].strip().rstrip(".").strip(OUTER)
