r"""Read a student's reply by rule: the final answer, and the rationale before it.

Source: paper, Table 10, which prints eight rows with seven distinct patterns (its first two rows share one). Two of the
patterns are garbled in print, those of the rows "A" and "answer is the option A"; they are rebuilt here from the row's
example: a reply that is nothing but the letter, and `answer is (the) option` with or without a bracket.

Where we differ: small letters are read everywhere (Vision-Flan answers look like `(e) This image contains a sink`);
row three needs no full stop; row five needs the noun, as "A is the correct colour" names no option; a letter must not
be the start of a word, nor the article in "Answer: a dog". Markup and other words that large models use are read too:
`**Final Answer**: B`, `\boxed{B}`, `B) a dog`. The last match wins, as a reply may quote the answer's format first,
which the paper does not say.
"""

# ruff: noqa: RUF001 -- typographic quotation marks are matched as they are

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from delamo.records import LETTERS

MARKUP = r"(?:[*#]{1,6}\s?)?"
LEAD = MARKUP + r"(?:(?:so|thus|hence|therefore)\b,?\s+)?(?:the\s+)?(?:(?:final|correct|right|best)\s+)?"
ARTICLE = r"(?<=[AI])(?=\s+(?!(?:because|since|as|is|and|which)\b)[^\W\d_])"
"""Right after "a" or "I" that a word follows: "Answer: a dog" names no option, "Answer: A because ..." does."""
LETTER = rf"(?P<letter>[A-Z])(?!\w|['’]\w)(?!{ARTICLE})"
"""One letter that neither begins a word nor is one."""
OPENERS = r"\s*(?:(?:[(\[{<*\"'`“‘$]|\\(?:boxed|text\w*|mathrm|mathbf)\b|\\[(\[])\s*)*"
"""Brackets, quotation marks, Markdown and LaTeX before a letter."""
START = r"(?:\A|(?<=\n)|(?<=[.!?]\s))"
NO_IF = r"(?!\W*\s(?:if|unless|were|had)\b)"
OPTION = r"(?:the\s+)?(?:option|choice|letter)\b"

PHRASES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # rows 1 to 3: "answer is (A)", "answer is (A", "answer is A."
        rf"{LEAD}answer\**\s+is:?{OPENERS}{LETTER}",
        # row 4: "Answer: A"
        rf"{LEAD}answer\**\s?:{OPENERS}(?:{OPTION}{OPENERS})?{LETTER}",
        # row 5: "A is the correct answer"
        r"(?:\boption\s+)?(?<![\w'’])\(?(?P<letter>[A-Z])[)*\"'`]*\s+is\s+the\s+correct(?:\s+\**(?:answer|option|choice|one)\b|\W*$)",
        # row 7, garbled in print: "answer is the option A"; section 3.2 has "The final answer is option A"
        rf"{LEAD}answer\**\s+is:?{OPENERS}{OPTION}{OPENERS}{LETTER}",
        # row 8: "choose the answer, A"
        rf"(?:I\s+(?:would\s+|will\s+)?)?choose\s+the\s+answer,?{OPENERS}{LETTER}",
        # "### Final Answer", and the letter on a line below
        rf"(?:\A|(?<=\n)){LEAD}answer\**[ \t]*\n{OPENERS}(?:{OPTION}{OPENERS})?{LETTER}",
        rf"\${{0,2}}\\boxed\s*\{{{OPENERS}{LETTER}",
    )
)
WEAKER = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # not after "If it were red, ", nor before " if it were red"
        rf"{START}{LEAD}answer\**\s+(?:would|should|must|will)\s+be:?{OPENERS}(?:{OPTION}{OPENERS})?{LETTER}{NO_IF}",
        rf"{MARKUP}(?:\bthe\s+)?\b(?:final|correct|right|best)\s+(?:option|choice)\**(?:\s+is:?|\s?:){OPENERS}{LETTER}",
    )
)
"""Read only in a reply that has none of the phrases above."""
BARE = re.compile(rf"{OPENERS}(?P<letter>[A-Z])[\s)\]}}>*\"'`”’$.:\\]*", re.IGNORECASE)
"""Row 6, garbled in print: the reply is the letter."""
LABELED = re.compile(r"\s*\((?P<letter>[A-Z])\)\s*\S.*", re.IGNORECASE)
"""Vision-Flan: `(e) This image contains a sink`, one line, one bracketed letter."""
MARKER = re.compile(r"\([A-Z]\)", re.IGNORECASE)
LISTED = re.compile(r"\s*\**(?P<letter>[A-Z])\**[.)]\**\s+\S.*", re.IGNORECASE)
"""`B) a dog` or `B. a dog`, one line, and no second letter that is written like this."""
LIST_MARKER = re.compile(r"(?<![\w'’])[A-Z]\**[.)](?!\w)", re.IGNORECASE)

OPEN_PHRASE = re.compile(rf"{LEAD}answer\**(?:\s+is\b:?|\s?:)", re.IGNORECASE)
SENTENCE_END = re.compile(r"(?<![A-Z])(?<![A-Z][a-z])[.!?]\s+(?=[A-Z])")
ARTICLES = {"a", "an", "the"}
BORDER = ".,;:!?\"'`()[]{}*“”‘’…"


@dataclass(frozen=True, slots=True)
class Reading:
    """The final answer and the rationale of a reply."""

    prediction: str | None
    """The option's letter, or the answer's text where there are no options; None when unparsed."""
    rationale: str
    """The reply before the final-answer phrase, without trailing blanks; the whole reply where there is none."""


def read_answer(text: str, options: Sequence[str] = ()) -> Reading:
    """Find the final answer in a reply.

    Args:
        text: the reply.
        options: texts. With options the prediction is a capital letter, and a letter beyond the last option is
            unparsed. Without, it is the text after the last "final answer is" (the paper is silent).
    """
    return _read_letter(text, len(options)) if options else _read_text(text)


def _read_letter(text: str, num_options: int) -> Reading:
    matches = _matches(PHRASES, text) or _matches(WEAKER, text)
    if matches:
        last = max(matches, key=lambda match: (match.start("letter"), -match.start()))
        return Reading(_allowed(last["letter"], num_options), text[: last.start()].rstrip())
    option = BARE.fullmatch(text) or _labeled(text.rstrip())
    if option is None:
        return Reading(None, text.rstrip())
    letter = _allowed(option["letter"], num_options)
    return Reading(letter, "" if letter else text.rstrip())


def _matches(patterns: Sequence[re.Pattern[str]], text: str) -> list[re.Match[str]]:
    return [match for pattern in patterns for match in pattern.finditer(text)]


def _labeled(text: str) -> re.Match[str] | None:
    """Match a reply that is one option with its letter before it, not several."""
    for option, marker in ((LABELED, MARKER), (LISTED, LIST_MARKER)):
        if len(marker.findall(text)) == 1 and (match := option.fullmatch(text)):
            return match
    return None


def _allowed(letter: str, num_options: int) -> str | None:
    letter = letter.upper()
    return letter if letter in LETTERS[:num_options] else None


def _read_text(text: str) -> Reading:
    matches = list(OPEN_PHRASE.finditer(text))
    if not matches:
        return Reading(None, text.rstrip())
    last = matches[-1]
    line = text[last.end() :].lstrip().partition("\n")[0]
    answer = SENTENCE_END.split(line, maxsplit=1)[0].strip().rstrip(".").strip(" *\"'`")
    return Reading(answer or None, text[: last.start()].rstrip())


def same_answer(prediction: str, gold: str) -> bool:
    """Return whether two open answers agree but for case, articles and punctuation: `A Sink.` is `sink`."""
    return normalize(prediction) == normalize(gold)


def normalize(answer: str) -> str:
    """Lower the case, drop articles and punctuation at the border of a word: `3.5`, `-3` and `C++` keep theirs."""
    words = [word.strip(BORDER) for word in unicodedata.normalize("NFKC", answer).casefold().split()]
    words = [word for word in words if word]
    return " ".join([word for word in words if word not in ARTICLES] or words)
