"""The final answer of a reply, and the rationale that comes with it.

What is read, in this order: what a reasoning model says after its thoughts; up to the next question, where a reply
runs on into one; the last sentence that announces an answer and means it ("The answer is B."); else one that names it
in other words ("Option B is correct"); else a reply, or a first or last line of it, that is an option and nothing else.
A reply that names two options is unparsed, and so is one that names none: unparsed is not wrong.
"""

# ruff: noqa: RUF001 -- full-width punctuation is matched as it is

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from delamo.models.parsing import open_answers
from delamo.models.parsing.choices import (
    CLOSERS,
    LETTER,
    NOUN,
    OPENERS,
    Choice,
    allowed,
    choice_at,
    labeled,
    option_of,
    whole,
)
from delamo.models.parsing.statements import (
    ANNOUNCED,
    HEDGED,
    NAMED,
    REFUTED,
    RETRACTED,
    UNSURE,
    WEAKLY_ANNOUNCED,
    WEAKLY_NAMED,
    is_asserted,
    led_in,
    sentence_end,
)

FULL_WIDTH = {0xFF01 + i: 0x21 + i for i in range(94)}
"""Full-width forms as ASCII, one for one, so that positions stay."""
THOUGHT = re.compile(
    r"<\s*(/?)\s*(?:think|thinking|thought|thoughts|reasoning|reflection|scratchpad)\s*>", re.IGNORECASE
)
TURN = re.compile(
    r"(?:\A|(?<=\n))[ \t]*(?:\*\*|#{1,4}\s*)?"
    r"(?:(?:next\s+|new\s+)?question|q|user|human|instruction|prompt|问题|pregunta|frage)"
    r"(?:(?:\s*\d+)?(?:\*\*)?\s*:|\s*\d+\s*[.)])|<\|(?:im_start|im_end|user|end|eot_id|endoftext)\|>|</s>|\[INST\]",
    re.IGNORECASE,
)
ENCLOSED = re.compile(
    r"<(?P<tag>answer|ans|final_answer|finalanswer)>(?P<tagged>.{0,400}?)(?:</(?P=tag)>|\Z)"
    r"|\[ANSWER\](?P<bracketed>.{0,400}?)(?:\[/ANSWER\]|\Z)"
    r"|<\|begin_of_box\|>(?P<boxed>.{0,400}?)(?:<\|end_of_box\|>|\Z)"
    r"|\$*(?:the\s+)?(?:final\s+answer\s*(?:is)?\s*:?\s*\$*)?\\boxed\s*\{\s*(?P<latex>(?:[^{}\n]|\{[^{}\n]*\}){0,200})\}?\$*",
    re.IGNORECASE | re.DOTALL,
)
LATEX = re.compile(r"\\(?:text\w*|mathrm|mathbf|mathsf|boldsymbol)\s*\{([^{}]*)\}|\\[,;! ]|\$")
JSON_ANSWER = re.compile(
    r"[\"'](?:final_?answer|answer|choice|option|prediction|correct_(?:answer|option|choice)|answer_choice)[\"']\s*:\s*"
    r"(?P<value>\"(?:[^\"\\\n]|\\.){0,300}\"|'[^'\n]{0,300}'|\[[^\]\n]{0,300}\]|[^\s,}\n]{1,40})",
    re.IGNORECASE,
)

_ANNOUNCED = re.compile("|".join(f"(?:{pattern})" for pattern in ANNOUNCED), re.IGNORECASE)
_WEAKLY_ANNOUNCED = re.compile("|".join(f"(?:{pattern})" for pattern in WEAKLY_ANNOUNCED), re.IGNORECASE)
_NAMED = re.compile("|".join(f"(?:{pattern})" for pattern in NAMED), re.IGNORECASE)
_WEAKLY_NAMED = re.compile("|".join(f"(?:{pattern})" for pattern in WEAKLY_NAMED), re.IGNORECASE)
_SUBJECT = re.compile(rf"{OPENERS}(?:{NOUN}{OPENERS})?{LETTER}{CLOSERS}\Z", re.IGNORECASE)
LONGEST_SUBJECT = 40
_REASONS = re.compile(r"\b(?:because|since|as|which|so|with)\b|[,(（，;]", re.IGNORECASE)
_IS = re.compile(
    r"\W*(?:it|this|that|there|these|those|the\s+\w+(?:\s+\w+)?)\s*(?:['’]s|is|are|(?:looks?|appears?|seems?)(?:\s+like|\s+to\s+be)?|shows?|depicts?)\s+(?P<rest>\S.*)",
    re.IGNORECASE | re.DOTALL,
)
_NOT = re.compile(r"\b(?:not|no|never|neither|nor|isn|aren|doesn|without)\b|n['’]t\b", re.IGNORECASE)
_NOT_ITSELF = re.compile(
    r"\W*\s(?:if|unless|were|had)\b|[)*\]\"']*\s+(?:is|are|was|does|do|has|have|can|cannot|looks?|seems?|shows?)\b",
    re.I,
)
"""After a letter: a condition, or a verb whose subject it is."""
_ONE_OF_SEVERAL = re.compile(r"\b(?:and|or|nor|neither|only)\s*\Z", re.IGNORECASE)
_LINE = re.compile(r"[^\n]+")
_SPACE = re.compile(r"[ *\n]*")
_ONE_BRACKETED = re.compile(r"[(（]([A-Z])[)）]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reading:
    """The final answer and the rationale of a reply."""

    prediction: str | None
    """The option's letter, or the answer's text where there are no options; None when unparsed."""
    rationale: str
    """A part of the reply: what stands before the answer or, where nothing does, after it; all of an unparsed reply."""
    announced: bool = True
    """Whether the reply says which part of it is the answer; else all of it is, to a question without options."""


@dataclass(frozen=True, slots=True)
class _Statement:
    """An answer as a reply states it."""

    start: int
    """Of the words that announce it."""
    end: int
    letter: str | None
    """None: a hedge, or a letter beyond the options."""


def read_answer(text: str, options: Sequence[str] = ()) -> Reading:
    """Find the final answer in a reply.

    Args:
        text: the reply.
        options: texts. With options the prediction is a capital letter, and a letter beyond the last option is
            unparsed. Without, it is the text that is announced as the answer, or else all that the reply says.
    """
    folded = text.translate(FULL_WIDTH)
    said_from, thought_from, thought_to = _without_thoughts(folded)
    if said_from is None:  # cut off while it was thinking
        return Reading(None, text[thought_from:].strip())
    reading = _read_said(text[said_from:], folded[said_from:], options)
    if not reading.rationale.strip() and thought_to > thought_from:
        return replace(reading, rationale=text[thought_from:thought_to].strip())
    return reading


def _without_thoughts(text: str) -> tuple[int | None, int, int]:
    """Return where the reply begins after the thoughts (None: they do not end), and where the last of these lie."""
    tags = list(THOUGHT.finditer(text))
    if not tags:
        return 0, 0, 0
    if not tags[-1][1]:
        return None, tags[-1].end(), len(text)
    opened = tags[-2].end() if len(tags) > 1 and not tags[-2][1] else 0
    return tags[-1].end(), opened, tags[-1].start()


def _read_said(text: str, folded: str, options: Sequence[str]) -> Reading:
    """Read up to the next question, where an answer stands before it."""
    starts = [0, *(match.start() for match in TURN.finditer(folded) if match.start() > 0), len(folded)]
    for start, end in itertools.pairwise(starts):
        piece = folded[start:end]
        reading = (
            _read_letter(text[start:end], piece, options)
            if options
            else _read_text(text[start:end], piece, end == len(folded))
        )
        if reading is not None:
            return reading
    return Reading(None, text.rstrip())


def _read_text(text: str, folded: str, is_last: bool) -> Reading | None:
    matches = [(led_in(folded, match.start()), match.end()) for match in _ANNOUNCED.finditer(folded)]
    announced = next(([span] for span in reversed(matches) if is_asserted(folded, *span)), [])
    enclosed = [(match.start(), _content(match)) for match in ENCLOSED.finditer(folded)]
    found = open_answers.read_announced(text, announced, enclosed)
    if found is None and not is_last:
        return None
    prediction, rationale = found or open_answers.read_whole(text)
    return Reading(prediction, rationale, announced=found is not None)


def _read_letter(text: str, folded: str, options: Sequence[str]) -> Reading | None:
    statement = _strong(folded, options) or _weak(folded, options)
    if statement is not None:
        statement = _corrected(folded, statement, options)
        return Reading(statement.letter, _rationale(text, folded, statement))
    return _by_lines(text, folded, options)


def _rationale(text: str, folded: str, statement: _Statement) -> str:
    before = text[: statement.start].rstrip()
    if before.strip():
        return before
    return text[sentence_end(folded, statement.end) :].strip()


def _strong(text: str, options: Sequence[str]) -> _Statement | None:
    """Return the last thing that is announced as the answer, or marked as it, and meant."""
    statements = [*_announced(text, _ANNOUNCED, options), *_named(text, _NAMED, options), *_marked(text, options)]
    statements.sort(key=lambda statement: (statement.end, -statement.start))
    return next((s for s in reversed(statements) if is_asserted(text, s.start, s.end)), None)


def _weak(text: str, options: Sequence[str]) -> _Statement | None:
    """Return what is named as the answer in other words; two options are a hedge, unless the first is taken back."""
    statements = [*_announced(text, _WEAKLY_ANNOUNCED, options, by_text=False), *_named(text, _WEAKLY_NAMED, options)]
    statements = [s for s in statements if is_asserted(text, s.start, s.end)]
    statements.sort(key=lambda statement: (statement.end, -statement.start))
    if len({statement.letter for statement in statements}) > 1:
        retractions = [match.start() for match in RETRACTED.finditer(text)]
        statements = [s for s in statements if retractions and s.start >= retractions[-1]]
        if len({statement.letter for statement in statements}) != 1:
            return _Statement(len(text), len(text), None)
    return statements[-1] if statements else None


def _announced(
    text: str, pattern: re.Pattern[str], options: Sequence[str], *, by_text: bool = True
) -> Iterator[_Statement]:
    """Find what stands after words that announce an answer: a letter or, `by_text`, an option's text."""
    for match in pattern.finditer(text):
        choice = _line_at(text, match.end(), options) if by_text else None
        choice = choice or choice_at(text, match.end(), options)
        if choice is None and by_text:
            choice = _text_at(text, match.end(), options)
        if choice is None and by_text and HEDGED.match(text, match.end()):
            choice = Choice(None, match.end())
        if choice and (by_text or not _NOT_ITSELF.match(text, choice.end)):
            yield _Statement(led_in(text, match.start()), choice.end, choice.letter)


def _named(text: str, pattern: re.Pattern[str], options: Sequence[str]) -> Iterator[_Statement]:
    """Find the letters that stand before words that call something the answer."""
    for match in pattern.finditer(text):
        earliest = max(0, match.start() - LONGEST_SUBJECT)
        subject = _SUBJECT.search(text, earliest, match.start())
        if subject and not _ONE_OF_SEVERAL.search(text[earliest : subject.start()]):
            start = subject.end() - len(subject[0].lstrip())
            yield _Statement(led_in(text, start), match.end(), allowed(subject["letter"], options))


def _marked(text: str, options: Sequence[str]) -> Iterator[_Statement]:
    """Find answers in tags, boxes and JSON."""
    for match in ENCLOSED.finditer(text):
        if choice := _choice_in(_content(match), options):
            yield _Statement(match.start(), match.end(), choice.letter)
    for match in JSON_ANSWER.finditer(text):
        value = _json_value(match["value"])
        if value is not None and (choice := _choice_in(value, options)):
            start = max(text.rfind("{", 0, match.start()), 0)
            fence = text.rfind("```", 0, start)
            yield _Statement(text.rfind("\n", 0, fence if fence >= 0 else start) + 1, match.end(), choice.letter)


def _line_at(text: str, position: int, options: Sequence[str]) -> Choice | None:
    """Return the option whose text is the rest of a line, whatever it begins with: `A. Lincoln` may be option B."""
    window = text[position : position + max(map(len, options)) + 20]
    line = window.partition("\n")[0]
    end = position + len(line)
    if end < len(text) and len(line) == len(window):  # longer than any option
        return None
    line = line.strip(" *`\"'")
    letter = option_of(line, options) if len(line) > 1 else None
    return Choice(letter, end) if letter else None


def _text_at(text: str, position: int, options: Sequence[str]) -> Choice | None:
    """Return the option whose text stands at a position, to the end of its sentence or of its clause."""
    end = sentence_end(text, position)
    if not text[position:end].strip(" *\n"):  # announced on a line of its own
        end = sentence_end(text, _SPACE.match(text, position).end())
    clause = text[position:end].strip(" *\n`\"'")
    for part in (clause, _REASONS.split(clause, maxsplit=1)[0]):
        if letter := option_of(part, options):
            return Choice(letter, end)
    return None


def _content(match: re.Match[str]) -> str:
    content = next(value for name, value in match.groupdict().items() if name != "tag" and value is not None)
    return LATEX.sub(lambda found: found[1] or "", content).strip()


def _choice_in(content: str, options: Sequence[str]) -> Choice | None:
    """Return the option that an enclosed text names: alone, or as a reply of its own."""
    if choice := whole(content, options):
        return choice
    statements = list(_announced(content, _ANNOUNCED, options))
    return Choice(statements[-1].letter, len(content)) if statements else None


def _json_value(value: str) -> str | None:
    try:
        found = json.loads(value)
    except ValueError:
        found = value.strip("'\"")
    if isinstance(found, list):
        return str(found[0]) if len(found) == 1 else " or ".join(map(str, found))
    return found if isinstance(found, str) else None if found is None else str(found)


def _corrected(text: str, statement: _Statement, options: Sequence[str]) -> _Statement:
    """Return the answer after the student takes the last one back, where it does."""
    retraction = RETRACTED.search(text, statement.end)
    if retraction is None:
        return statement
    rest = text[retraction.start() :]
    if later := _weak(rest, options):
        return _Statement(retraction.start() + later.start, retraction.start() + later.end, later.letter)
    return _Statement(statement.start, statement.end, None) if REFUTED.search(rest) else statement


def _by_lines(text: str, folded: str, options: Sequence[str]) -> Reading | None:
    """Read a reply that announces nothing: it is an option, or its first or last line is."""
    if choice := whole(folded, options):
        return Reading(choice.letter, "" if choice.letter else text.rstrip())
    if UNSURE.search(folded):
        return None
    lines = [match for match in _LINE.finditer(folded) if not match[0].isspace()]
    choices = [_of_line(match[0].strip(), options) for match in lines]
    named = {choice.letter for choice in choices if choice}
    if len(lines) > 1 and len(named) == 1 and (letter := named.pop()):
        if choices[0]:
            return Reading(letter, text[lines[0].end() :].strip())
        if choices[-1]:
            return Reading(letter, text[: lines[-1].start()].rstrip())
    return _by_sentences(text, folded, options) if len(lines) == 1 else None


def _of_line(line: str, options: Sequence[str]) -> Choice | None:
    return whole(line, options) if len(line) < 1000 else labeled(line, options)


def _by_sentences(text: str, folded: str, options: Sequence[str]) -> Reading | None:
    """Read one line: its first sentence is an option's label or text, it says what something is, or ends with (B)."""
    end = sentence_end(folded, 0)
    first = folded[:end].strip()
    if end < len(folded) and (letter := option_of(first, options)):
        return Reading(letter, text[end:].strip())
    if end >= len(folded.rstrip()) and not _NOT.search(folded) and (match := _IS.fullmatch(folded.strip())):
        if letter := option_of(match["rest"], options):
            return Reading(letter, "")
    brackets = list(_ONE_BRACKETED.finditer(folded))
    refused = _NOT.search(folded) or REFUTED.search(folded)
    if len(brackets) == 1 and not refused and not folded[brackets[0].end() :].strip(" .*"):
        return Reading(allowed(brackets[0][1], options), text[: brackets[0].start()].rstrip())
    return None
