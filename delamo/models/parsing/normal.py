"""When two open answers are the same: VQA's normalisation (Antol et al. 2015; visualqa.org/evaluation.html).

Lower case, number words as digits, no articles, no punctuation, one spelling of contractions. Where we differ: a sign
or a decimal point of a number stays (`-3` is not `3`), and so do the signs of a name (`C++`); Unicode is folded first.
"""

# ruff: noqa: RUF001 -- typographic signs are matched as they are

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

ARTICLES = frozenset({"a", "an", "the"})
NUMBERS = {
    word: str(number)
    for number, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    )
} | {"none": "0"}
APOSTROPHE = re.compile(r"(?<=\w)['’`](?=\w)")
THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
KEPT = re.compile(r"(?<!\w)[-−](?=\.?\d)|(?<=\d)[.,](?=\d)|(?<!\w)\.(?=\d)|(?<=[^\W_])[+#]+(?!\w)|[%°$€£]")
"""Punctuation that tells one answer from another."""
PUNCTUATION = re.compile(r"[^\w\s]|_")


def same_answer(prediction: str, gold: str) -> bool:
    """Return whether two open answers agree once both are normalised: `A Sink.` is `sink`, `Two` is `2`."""
    return normalize(prediction) == normalize(gold)


@lru_cache(maxsize=4096)
def normalize(answer: str) -> str:
    """Normalise an open answer; what would have nothing left keeps its articles, or itself."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", answer).casefold())
    text = THOUSANDS.sub("", APOSTROPHE.sub("", text)).replace("−", "-")
    kept = {at for match in KEPT.finditer(text) for at in range(*match.span())}
    text = "".join(" " if at not in kept and PUNCTUATION.match(char) else char for at, char in enumerate(text))
    words = [NUMBERS.get(word, word) for word in text.split()]
    return " ".join([word for word in words if word not in ARTICLES] or words)
