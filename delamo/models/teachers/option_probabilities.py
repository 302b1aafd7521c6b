"""From what a model offers to probabilities of the option letters: exact tokens, the most probable tokens, or counted draws."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from delamo.records import LETTERS

LEAST = 1e-12  # probability of a letter for which no mass is left: unlikely, not impossible
BLANKS = str.maketrans("\u2581\u0120\u010a", "  \n")  # how tokenizers write a blank and a line break
DRAWN = re.compile(r"(?:^|[^\w'])\(?([A-Za-z])(?![\w'])")


def spellings(letter: str) -> list[str]:
    """The texts that stand for an option letter: either case, with a blank, a bracket or both before it."""
    return [lead + case for case in (letter, letter.lower()) for lead in ("", " ", "(", " (")]


def letter_of(token: str, num_options: int) -> int | None:
    """The option that a token names (`A`, ` A`, `(a`, ` a)`, `A.`), or None."""
    text = token.translate(BLANKS).strip().lstrip("(").rstrip(").:").upper()
    return LETTERS.index(text) if len(text) == 1 and text in LETTERS[:num_options] else None


def read_options(top: Iterable[tuple[str, float]], num_options: int) -> tuple[tuple[float, ...], float]:
    """(option probabilities, mass outside) from (token, log-probability) pairs.

    Spellings of one letter count together. Letters that the service did not list share what mass is left, at most what
    the least listed token has each: a missing letter is unlikely, not impossible.
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
    return _normalised(mass)


def read_token_ids(
    top: Iterable[tuple[str, float]], tokens: Sequence[Sequence[int]]
) -> tuple[tuple[float, ...], float] | None:
    """Likewise, exact, from pairs named `token_id:NUMBER`; None where one of `tokens` (for each option) is not among them."""
    listed: Mapping[str, float] = dict(top)
    names = [[f"token_id:{token}" for token in option] for option in tokens]
    if not all(name in listed for option in names for name in option):
        return None
    return _normalised([max(sum(math.exp(listed[name]) for name in option), LEAST) for option in names])


def read_samples(texts: Sequence[str], num_options: int) -> tuple[tuple[float, ...], float]:
    """Likewise from drawn replies: the first option letter that stands alone in each.

    Half a draw is added to every option (Jeffreys' prior), so that an option that was never drawn is unlikely, not impossible.
    """
    counts = [0] * num_options
    for text in texts:
        if (option := _drawn(text, num_options)) is not None:
            counts[option] += 1
    row, _ = _normalised([count + 0.5 for count in counts])
    return row, 1 - sum(counts) / len(texts)


def answer_position(positions: Sequence[Sequence[tuple[str, float]]], num_options: int) -> int:
    """Where in a reply the option letter stands: the first place at which option letters have half of the mass, else the first.

    A chat model may begin with "The answer is" although the prompt ends with these words.
    """
    for place, pairs in enumerate(positions):
        if sum(math.exp(value) for token, value in pairs if letter_of(token, num_options) is not None) >= 0.5:
            return place
    return 0


def _drawn(text: str, num_options: int) -> int | None:
    options = (letter_of(found[1], num_options) for found in DRAWN.finditer(text) if found[1] != "a")
    first = next((option for option in options if option is not None), None)
    return letter_of(text, num_options) if first is None else first


def _normalised(mass: Sequence[float]) -> tuple[tuple[float, ...], float]:
    inside = sum(mass)
    return tuple(value / inside for value in mass), min(1.0, max(0.0, 1.0 - inside))
