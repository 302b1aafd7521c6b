"""Skills in a teacher's reply, as models write them: lists, labels, JSON, Markdown, reasoning, refusals.

What names no skill gives none, so that the caller can quarantine the reply: a label, a refusal or a thought that was
cut off would otherwise become a query.
"""

# ruff: noqa: RUF001 -- typographic and full-width signs are matched as they are

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

MOST_WORDS = 40
"""Of one skill; what is longer is prose about the task."""

_THOUGHT = re.compile(
    r"<\s*(think|thinking|thought|reasoning|analysis)\s*>.*?<\s*/\s*\1\s*>", re.IGNORECASE | re.DOTALL
)
_THOUGHT_END = re.compile(r"\A.*<\s*/\s*(?:think|thinking|thought|reasoning|analysis)\s*>", re.IGNORECASE | re.DOTALL)
_THOUGHT_OPEN = re.compile(r"<\s*(?:think|thinking|thought|reasoning|analysis)\s*>.*\Z", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"</?\s*(?:answer|skill|skills|output|response|result|final)\s*>", re.IGNORECASE)
_FENCE = re.compile(r"```[a-zA-Z]*\n?|```")
_JSON_KEYS = (
    "skills",
    "missing_skills",
    "missing_skill",
    "skill",
    "required_skills",
    "needed_skills",
    "answer",
    "name",
)
_MARKS = re.compile(r"\*\*|__|(?<![\w*])\*(?=\S)|(?<=\S)\*(?![\w*])|`")
_BULLET = re.compile(
    r"\A\s*(?:>\s*)?(?:[-*+•‣◦▪–—·]\s+|[-•‣◦▪·](?=\S)|\(?\d{1,2}\s?[.)、：:]\s*(?!\d)|\(?[a-z][.)]\s+|[①-⑳]\s*"
    r"|(?:skill|step|技能|habilidad|fähigkeit|compétence)\s*\d{1,2}\s*[:.)：-]\s*)",
    re.IGNORECASE,
)
_SKILL_WORD = (
    r"(?:skills?|abilit(?:y|ies)|competenc(?:e|y|ies)|capabilit(?:y|ies)|技能|能力|habilidad(?:es)?|fähigkeit(?:en)?|"
    r"compétences?)"
)
_LABEL = re.compile(
    rf"\A\s*(?:(?:[^:：\n]{{0,80}}(?<![a-z]))?{_SKILL_WORD}(?![a-z])[^:：\n]{{0,80}}[:：]"
    rf"|(?:the|one|a|my|so|thus)?\s*(?:\w+\s+){{0,3}}{_SKILL_WORD}(?:\s+(?:that\s+)?(?:is\s+)?(?:needed|required|missing|lacking))?\s+(?:is|are)\b:?"
    rf"|(?:\w+\s+){{0,4}}{_SKILL_WORD}(?:\s+(?:needed|required|missing|list))?\s*\Z"
    r"|(?:final\s+)?(?:answer|output|response|result)\s*[:：])\s*",
    re.IGNORECASE,
)
"""`Missing skill:`, `Here are the skills that are needed:`, `The missing skill is`; or a heading of such words."""
_LACKS = re.compile(
    r"\s*(?:the\s+)?(?:student|model|learner|solver|it|they|you)\s+(?:\w+\s+)?(?:lacks?|needs?|is\s+missing|requires?|fail(?:s|ed)|must|"
    r"would\s+need|would\s+have\s+to|should|could\s+not)\s*(?:(?:be\s+able|learn|know\s+how|have)\s+)?"
    r"(?:(?:the|an?)\s+)?(?:(?:ability|skill|capacity|capability|knowledge|understanding)\s+)?(?:(?:needed|required)\s+)?(?:to|of|in|for)?\s*",
    re.IGNORECASE,
)
_ABILITY = re.compile(r"\s*(?:the\s+)?(?:ability|skill|capacity|capability)\s+(?:to|of|in)\s+", re.IGNORECASE)
_INTRODUCES = re.compile(r".*[:：]\s*\Z", re.DOTALL)
_PREAMBLE = re.compile(
    r"\s*(?:sure|certainly|of\s+course|okay|ok|great|absolutely|好的|claro|natürlich|bien\s+sûr)\b[!,.，。]?\s*",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\s*(?:i(?:['’]m|\s+am)?\s+(?:very\s+)?(?:sorry|afraid|unable|not\s+able|not\s+sure)|i\s+(?:can(?:not|['’]?t)|do\s*n['’]?o?t|don['’]t|won['’]t|could(?:\s+not|n['’]t))\b|"
    r"sorry\b|as\s+an?\s+(?:ai|language\s+model)|unfortunately|there\s+(?:is|are)\s+(?:no|not)\b|no\s+(?:skill|mistake|error)s?\b|"
    r"(?:none|n/?a|null|nothing|unknown|not\s+applicable)\s*[.!]?\s*\Z|it\s+is\s+(?:not\s+possible|impossible|unclear)|抱歉|对不起|无法|lo\s+siento|"
    r"es\s+tut\s+mir\s+leid|désolé)",
    re.IGNORECASE,
)
_TURN = re.compile(
    r"(?:\A|\n)\s*(?:\*\*)?(?:question|instruction|response|choices|options|correct\s+answer|reasoning|rationale|wrong\s+step|"
    r"mistake|user|human|assistant|explanation|note)(?:\*\*)?\s*[:：]",
    re.IGNORECASE,
)
_INLINE_NUMBERS = re.compile(r"(?:(?<=\s)|\A)\(?\d{1,2}[.)]\s+")
_SEPARATORS = re.compile(r"\s*[;；|]\s*|(?<=[\u3040-\u9fff])、")
_OUTER = " \t\"'`“”‘’「」《》.。,，;；:*-–•_"


def read_skills(reply: str) -> tuple[str, ...]:
    """Return the skills that a reply names: distinct, in order; none where it names none.

    Args:
        reply: whole, of one or more lines.
    """
    text = _said(reply)
    if text is None:
        return ()
    skills = _of_json(text)
    if skills is None:
        skills = [part for line in _skill_lines(text) for part in _parts(line)]
    cleaned = (_clean(skill) for skill in skills)
    return tuple(dict.fromkeys(skill for skill in cleaned if skill))


def read_skill(reply: str) -> str | None:
    """Return the one skill that a reply names, as one query; several are one query together."""
    return "; ".join(read_skills(reply)) or None


def without_last(reply: str) -> tuple[str, ...]:
    """Return the skills of a reply that was cut off: all but the last, which may be half of one."""
    return read_skills(reply)[:-1]


def is_echo(skill: str, demonstrated: Iterable[str]) -> bool:
    """Return whether a skill is one that the prompt demonstrates, word for word or nearly (0.8 of the words, Dice)."""
    words = _words(skill)
    return any(_dice(words, _words(other)) >= 0.8 for other in demonstrated)


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.casefold()))


def _dice(one: frozenset[str], other: frozenset[str]) -> float:
    return 2 * len(one & other) / (len(one) + len(other)) if one or other else 0.0


def _said(reply: str) -> str | None:
    """Return what a reply says after its thoughts; None where they do not end."""
    text = _THOUGHT.sub("", reply)
    text = _THOUGHT_END.sub("", text)
    if _THOUGHT_OPEN.search(text):
        return None
    return _TAG.sub("", text).strip()


def _of_json(text: str) -> list[str] | None:
    """Return the skills of a reply that is JSON, fenced or not; None where it is none."""
    bare = _FENCE.sub("", text).strip()
    start = min((at for at in (bare.find("{"), bare.find("[")) if at >= 0), default=-1)
    if start < 0 or len(bare[:start].split()) > 12:
        return None
    try:
        value, _ = json.JSONDecoder().raw_decode(bare[start:])
    except ValueError:
        return None
    found = list(_strings(value))
    return found if found or isinstance(value, (dict, list)) else None


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        folded = {re.sub(r"\W+", "_", key.casefold()): item for key, item in value.items()}
        known = [folded[key] for key in _JSON_KEYS if key in folded]
        for item in known[:1] if known else folded.values():
            yield from _strings(item)


def _skill_lines(text: str) -> Sequence[str]:
    """Return the lines that hold skills: the items of a list, else the first line that is no label and no preamble."""
    turn = _TURN.search(text)
    if turn and text[: turn.start()].strip():
        text = text[: turn.start()]
    lines = [line for line in _MARKS.sub("", _FENCE.sub("", text)).splitlines() if line.strip(" #*-_=|")]
    items = [line for line in lines if _BULLET.match(line)]
    if len(items) > 1 or (items and not _says_something(lines[0])):
        return [_BULLET.sub("", item, count=1) for item in items]
    for line in lines:
        rest = _without_lead(line)
        if _REFUSAL.match(rest):
            return ()
        if rest.strip(_OUTER) and not _INTRODUCES.match(rest):
            return [rest]
    return ()


def _says_something(line: str) -> bool:
    """Return whether a line is more than a label or the announcement of a list."""
    rest = _without_lead(line)
    return bool(rest.strip(_OUTER)) and not _INTRODUCES.match(rest)


def _without_lead(line: str) -> str:
    """Drop "Sure!", "Missing skill:" and "The student lacks the ability to" from the front of a line."""
    line = re.sub(r"\A\s*#{1,6}\s*", "", line)
    line = _PREAMBLE.sub("", line, count=1)
    label = _LABEL.match(line)
    return line[label.end() :] if label else line


def _parts(line: str) -> list[str]:
    """Split one line at semicolons or numbers; at commas, where three or more short parts are listed."""
    numbers = _INLINE_NUMBERS.split(line)
    if len(numbers) > 2 and not numbers[0].strip():
        return [part for number in numbers for part in _SEPARATORS.split(number)]
    parts = _SEPARATORS.split(line)
    if len(parts) == 1:
        commas = re.split(r"\s*[,，]\s*(?:and\s+)?", line.rstrip(_OUTER))
        if len(commas) > 2 and all(0 < len(part.split()) <= 5 for part in commas):
            return commas
    return parts


def _clean(skill: str) -> str | None:
    """Return a skill without label, quotes and full stop; None for what is no skill."""
    text = _without_lead(_BULLET.sub("", _MARKS.sub("", skill), count=1))
    if _REFUSAL.match(text):
        return None
    text = (_LACKS.sub("", text, count=1) or text) if _LACKS.match(text) else text
    text = _ABILITY.sub("", text, count=1).strip(_OUTER)
    text = re.sub(r"\Ato\s+(?=\w)", "", text, flags=re.IGNORECASE)
    if not re.search(r"[^\W\d_]|[\u3040-\u9fff]", text) or len(text.split()) > MOST_WORDS:
        return None
    return text
