"""Which option a text names: by its letter, or by its words.

A hedge ("B or C") names none. A letter must not begin a word, nor be the article in "Answer: a dog".
"""

# ruff: noqa: RUF001 -- quotation marks and full-width punctuation are matched as they are

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from delamo.models.parsing.normal import normalize
from delamo.records import LETTERS

LATIN = "A-Za-zÀ-ɏ"
_ARTICLE = rf"(?<=[AIai])(?=\s+(?!(?:because|since|as|is|and|or|which|but|for|with)\b)[{LATIN}])"
"""Right after "a" or "I" that a word follows: "Answer: a dog" names no option, "Answer: A because ..." does."""
_WORD_GOES_ON = rf"[{LATIN}0-9+#°%]|_[{LATIN}0-9]|['’\-–/][{LATIN}]|\.[{LATIN}](?![a-zà-ɏ])"
LETTER = rf"(?<![{LATIN}0-9])(?<![{LATIN}]['’])(?P<letter>[A-Za-z])(?!{_WORD_GOES_ON})(?!{_ARTICLE})"
"""One letter that neither begins a word nor is one."""
OPENERS = r"\s{0,3}(?:(?:[(\[{<*\"'`“‘「『【《$（_>]|\\(?:boxed|text\w{0,9}|mathrm|mathbf)\b|\\[(\[])\s{0,3}){0,8}"
"""Brackets, quotation marks, Markdown and LaTeX before a letter."""
CLOSERS = r"[)\]}>*\"'`”’」』】》$）_]{0,8}"
NOUN = (
    r"(?:(?:the\s+)?(?:option|choice|letter|answer|alternative|opción|opção|alternativa|opzione|antwort|respuesta|réponse|ans)\b|"
    r"选项|選項|选择|字母|вариант|die\s+option)\s*:?"
)
FILLERS = (
    r"(?:\s*(?:(?:most\s+)?(?:likely|probably|definitely|clearly|certainly|obviously|indeed|therefore|thus|hence|then|simply|"
    r"just|actually|still|maybe|perhaps|possibly|surely|instead|rather)\b,?|to\s+be\b))*"
)
CHOICE = re.compile(rf"{FILLERS}{OPENERS}(?:{NOUN}{OPENERS})?{LETTER}", re.IGNORECASE)
DENIED_CHOICE = re.compile(
    rf"\s*not{OPENERS}(?:{NOUN}{OPENERS})?[A-Z]{CLOSERS},?\s+but(?:\s+rather)?{OPENERS}(?:{NOUN}{OPENERS})?{LETTER}",
    re.IGNORECASE,
)
_OR = r"(?:or|and|und|oder|ou|et|o|y|e|或者?|和|与|與|及|または|и|или)"
_SECOND = (
    rf"{OPENERS}(?:{NOUN}{OPENERS})?(?P<second>[A-Z])(?!{_WORD_GOES_ON})"
    rf"(?=\s*[)\]}}>*\"'`”’」.,:;!?。，）/|&]|\s*\Z|\s*\n|\s+{_OR}\b|\s*[或和与])"
)
HEDGE = re.compile(
    rf"{CLOSERS}\s*(?:[,，、/|&+;(]|(?<=\s)[-–]|{_OR}(?![{LATIN}]))+\s*(?:(?:or|and|maybe|possibly|perhaps|even|also|else)\b\s*)*{_SECOND}",
    re.IGNORECASE,
)
LATER_HEDGE = re.compile(rf"(?<![{LATIN}])(?:or|and|oder|ou|或者?){_SECOND}", re.IGNORECASE)
_REST_OF_CLAUSE = re.compile(
    r"\b(?:not|rather\s+than|instead\s+of|unlike|because|since|as|while|whereas|but)\b|[;\n。]|[.!?](?=\s)", re.I
)

BARE = re.compile(
    rf"{OPENERS}(?:{NOUN}{OPENERS})?(?P<letter>[A-Z])[\s)\]}}>*\"'`”’」』】》$.:。．，,!）\\_]*", re.IGNORECASE
)
"""Table 10, row 6, garbled in print: the reply is the letter."""
LABELED = re.compile(
    rf"{OPENERS}(?:{NOUN}\s*)?(?:[(（\[](?P<bracketed>[A-Z])[)）\]]\**[:.]?|\**(?P<listed>[A-Z])\**(?P<mark>[.)）:：、．]|\s[-–—])\**)\s*(?P<rest>\S.*)",
    re.IGNORECASE,
)
"""`(e) This image contains a sink`, `B) a dog`, `B. a dog`, `B: a dog`, of one line."""
LOOSELY_LABELED = re.compile(r"\W{0,4}(?P<letter>[A-Z])\W{1,4}(?P<rest>\S.*)", re.IGNORECASE)
"""`B, a dog`: read only where the text is that option's."""
LABEL = re.compile(rf"[(（\[][A-Z][)）\]]|(?<![{LATIN}0-9_'’.])[A-Z]\**[.)）](?![{LATIN}0-9_])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Choice:
    """What a text names."""

    letter: str | None
    """None: a hedge, or a letter beyond the options."""
    end: int
    """Of the answer in the text."""


def choice_at(text: str, position: int, options: Sequence[str]) -> Choice | None:
    """Return the option that stands at a position, after words that announce it; None where nothing is named."""
    match = DENIED_CHOICE.match(text, position) or CHOICE.match(text, position)
    if match is None:
        return None
    return Choice(None if _is_hedged(text, match, options) else allowed(match["letter"], options), match.end("letter"))


def _is_hedged(text: str, match: re.Match[str], options: Sequence[str]) -> bool:
    """Return whether a second letter is named with the first one: at once, or later in the clause."""
    end = match.end("letter")
    hedge = HEDGE.match(text, end)
    if hedge is None:
        clause = _REST_OF_CLAUSE.split(text[end : end + 300].lstrip(").:]*"), maxsplit=1)[0]
        hedge = LATER_HEDGE.search(clause)
    return hedge is not None and hedge["second"].upper() != match["letter"].upper()


def allowed(letter: str, options: Sequence[str]) -> str | None:
    """Return the letter as a capital; None beyond the last option."""
    letter = letter.upper()
    return letter if letter in LETTERS[: len(options)] else None


def option_of(text: str, options: Sequence[str]) -> str | None:
    """Return the letter of the one option whose text this is, up to normalisation; yes and no by their first word."""
    said = normalize(text)
    if not said:
        return None
    same = [letter for letter, option in zip(LETTERS, options, strict=False) if normalize(option) == said]
    if len(same) == 1:
        return same[0]
    return _yes_or_no(text, options)


_YES_NO = re.compile(r"\W*(yes|no|true|false)\b(?!\W+(?:and|or)\b)", re.IGNORECASE)


def _yes_or_no(text: str, options: Sequence[str]) -> str | None:
    """Return the option that begins with the same yes or no (true or false), where one does and one other differs."""
    said = _YES_NO.match(text)
    if said is None:
        return None
    firsts = [match[1].lower() if (match := _YES_NO.match(option)) else "" for option in options]
    same = [letter for letter, first in zip(LETTERS, firsts, strict=False) if first == said[1].lower()]
    return same[0] if len(same) == 1 and "" not in firsts and len(options) == 2 else None


def labeled(line: str, options: Sequence[str]) -> Choice | None:
    """Return the option of a line that is one label and its text; None where it is none, or several.

    `A:` may stand for "answer": where another option's text follows, that one is meant, and where none does, nothing.
    """
    match = LABELED.fullmatch(line)
    if match is None:
        loose = LOOSELY_LABELED.fullmatch(line)
        letter = loose["letter"].upper() if loose else None
        return Choice(letter, len(line)) if loose and option_of(loose["rest"], options) == letter else None
    letter, rest, end = (match["bracketed"] or match["listed"]).upper(), match["rest"], len(line)
    named = option_of(rest.strip(" *"), options)
    if named == letter:
        return Choice(letter, end)
    if len({label.strip("()[]（）*.").upper() for label in LABEL.findall(line)}) > 1:
        return None
    if HEDGE.match(line, match.end("listed") if match["listed"] else match.end("bracketed") + 1):
        return Choice(None, end)
    if letter == "A" and (match["mark"] or "") in ":：" and match["listed"]:
        inner = BARE.fullmatch(rest)
        named = allowed(inner["letter"], options) if inner else named
        return Choice(named, end) if named else None
    return Choice(allowed(letter, options), end)


def whole(text: str, options: Sequence[str]) -> Choice | None:
    """Return the option that a text names and says nothing else: its letter, its label, its words, or all of them."""
    text = text.strip()
    if letter := option_of(text, options):
        return Choice(letter, len(text))
    if match := BARE.fullmatch(text):
        return Choice(allowed(match["letter"], options), len(text))
    match = CHOICE.match(text)
    if match and HEDGE.match(text, match.end("letter")):
        return Choice(None, len(text))
    return labeled(text, options) if "\n" not in text else None
