"""Probabilities of the option letters from exact tokens, from the most probable tokens, or from counted draws."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence

from delamo.records import LETTERS

LEAST = 1e-12  # probability of a letter for which no mass is left: unlikely, not impossible
BLANKS = str.maketrans("\u2581\u0120\u010a", "  \n")  # how tokenizers write a blank and a line break
DRAWN = re.compile(r"(?:^|(?<=[^\w'(]))(\(?[A-Za-z][).:]?)(?![\w'])(?!(?<=[AI])\s+[a-z])")
"""A letter that stands alone in a reply; "A" before a small word is the article, "I" the pronoun."""


def spellings(letter: str) -> list[str]:
    """Return the texts that stand for an option letter: a capital, or either case after a bracket.

    A small letter without a bracket is none: " a" is the article, and to count " b" but not " a" would favour B.
    """
    return ["".join(parts) for parts in itertools.product(("", " "), ("", "("), (letter,))] + [
        f"({letter.lower()}",
        f" ({letter.lower()}",
    ]


def letter_of(token: str, num_options: int) -> int | None:
    """Return the index of the option that a token names (`A`, ` A`, `(a`, ` a)`, `A.`), or None (` a`, the article)."""
    marked = token.translate(BLANKS).strip().strip("*\"'`")
    text = marked.lstrip("(").rstrip(").:")
    if text == marked and text.islower():
        return None
    return LETTERS.index(text.upper()) if len(text) == 1 and text.upper() in LETTERS[:num_options] else None


def read_options(top: Iterable[tuple[str, float]], num_options: int) -> tuple[tuple[float, ...], float]:
    """Read option probabilities from the most probable tokens.

    Spellings of one letter count together. Letters that the service did not list share the mass that is left, each at
    most the mass of the least probable listed token: a missing letter is unlikely, not impossible.

    Args:
        top: (token, log-probability) pairs.
        num_options: letters to read.

    Returns:
        (option probabilities, mass outside).
    """
    pairs = list(top)
    mass = [0.0] * num_options
    for token, logprob in pairs:
        if (option := letter_of(token, num_options)) is not None:
            mass[option] += math.exp(logprob)
    listed = sum(math.exp(logprob) for _, logprob in pairs)
    missing = [i for i, value in enumerate(mass) if value == 0.0]
    least = min((math.exp(logprob) for _, logprob in pairs), default=1.0)
    for i in missing:
        mass[i] = max(min(least, max(0.0, 1.0 - listed) / len(missing)), LEAST)
    return _normalized(mass)


def read_token_ids(
    top: Iterable[tuple[str, float]], tokens: Sequence[Sequence[int]]
) -> tuple[tuple[float, ...], float] | None:
    """Read exact option probabilities from the log-probabilities of chosen tokens.

    Args:
        top: (`token_id:NUMBER`, log-probability) pairs.
        tokens: ids of the tokens that spell each option.

    Returns:
        (option probabilities, mass outside); None where one of the tokens is not among the pairs.
    """
    listed: Mapping[str, float] = dict(top)
    names = [[f"token_id:{token}" for token in option] for option in tokens]
    if not all(name in listed for option in names for name in option):
        return None
    return _normalized([max(sum(math.exp(listed[name]) for name in option), LEAST) for option in names])


def read_samples(texts: Sequence[str], num_options: int) -> tuple[tuple[float, ...], float]:
    """Count option probabilities from drawn replies: the first option letter that stands alone in each.

    Half a draw is added to every option (Jeffreys' prior), so that an option that was never drawn is unlikely, not
    impossible.

    Args:
        texts: the replies.
        num_options: letters to read.

    Returns:
        (option probabilities, share of the replies without a letter).
    """
    counts = [0] * num_options
    for text in texts:
        if (option := _drawn(text, num_options)) is not None:
            counts[option] += 1
    row, _ = _normalized([count + 0.5 for count in counts])
    return row, 1 - sum(counts) / len(texts)


def answer_position(positions: Sequence[Sequence[tuple[str, float]]], num_options: int) -> int:
    """Find the token of a reply that is the option letter: the first where letters have half of the mass, else 0.

    A chat model may begin with "The answer is" although the prompt ends with these words.

    Args:
        positions: for each token, the (token, log-probability) pairs that were listed.
        num_options: letters to look for.
    """
    for position, pairs in enumerate(positions):
        if sum(math.exp(value) for token, value in pairs if letter_of(token, num_options) is not None) >= 0.5:
            return position
    return 0


def _drawn(text: str, num_options: int) -> int | None:
    options = (letter_of(match[1], num_options) for match in DRAWN.finditer(text))
    first = next((option for option in options if option is not None), None)
    if first is None and len(text.strip()) == 1:  # a reply of one small letter is no article
        return letter_of(text.upper(), num_options)
    return first


def _normalized(mass: Sequence[float]) -> tuple[tuple[float, ...], float]:
    inside = sum(mass)
    return tuple(value / inside for value in mass), min(1.0, max(0.0, 1.0 - inside))
