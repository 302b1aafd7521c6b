"""The tokenizer of documents and queries; versioned, because an index only fits the tokenizer that built it.

The paper names BM25 and says nothing of its tokens. A skill is a short phrase in which `C++`, `3.5` or the variable `x`
can be the whole point, so nothing is dropped unless asked: bm25s' own default loses one-letter words and stop words.

A token never spans white space. So a text's tokens are those of its white-space-separated words, and a corpus is
tokenized by tokenizing each distinct word once (`delamo.retrieval.corpus`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

TOKENIZER_VERSION = 1
"""Part of every index's manifest; raise it with any change to the tokens that come out."""

_FUNCTION_WORDS = """
a an and are as at be been but by for from had has have he her his i if in into is it its of on or our she that the
their them there these they this to was we were which will with you your
"""
STOP_WORDS = frozenset(_FUNCTION_WORDS.split())
"""English function words; negations, question words and quantifiers name skills (`count how many`) and are kept."""

_TOKEN = re.compile(
    r"""[0-9]+(?:\.[0-9]+)+               # 3.5, 1.2.3
      | [a-z0-9\x80-\U0010ffff]+          # a word; what is not ASCII has been sorted out before
        (?:(?<![0-9])(?:\+\+|\#))?        # c++, c#
    """,
    re.VERBOSE,
)
# Scripts that put no space between words: each character is a token of its own.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


def tokenize(text: str, *, stop_words: bool = False, stemming: bool = False) -> list[str]:
    """Return the tokens of `text` in order: lower case, NFKC, split at anything but letters, marks and numbers.

    A number keeps its decimal point (`3.5`) and a name its `++` or `#` (`c++`, `c#`); a word of one letter is a word;
    a character of an unspaced script (Han, Kana, Thai, ...) is a token of its own. Never fails, whatever the text.

    Args:
        text: any text, read as a bag of words: no character is an operator.
        stop_words: drop `STOP_WORDS`.
        stemming: reduce English words to their Snowball stem. Needs PyStemmer.

    Raises:
        ImportError: `stemming` without PyStemmer.
    """
    read = word_reader(stop_words=stop_words, stemming=stemming)
    return [token for word in text.split() for token in read(word)]


def word_reader(*, stop_words: bool, stemming: bool) -> Callable[[str], list[str]]:
    """Make the function from one word without white space to its tokens: `tokenize` is this over `text.split()`."""
    stem = _stemmer() if stemming else None

    def read(word: str) -> list[str]:
        tokens = _TOKEN.findall(_plain(word))
        if stop_words:
            tokens = [token for token in tokens if token not in STOP_WORDS]
        return [stem(token) for token in tokens] if stem else tokens

    return read


def tokenizer_identity(*, stop_words: bool, stemming: bool) -> dict[str, object]:
    """Return what decides the tokens, as JSON values: an index records it when built and compares it when loaded."""
    stemmer = f"snowball-english PyStemmer {_stemmer_module().version()}" if stemming else None
    return {"version": TOKENIZER_VERSION, "stop_words": stop_words, "stemmer": stemmer}


def _plain(word: str) -> str:
    """Lower the case and keep nothing above ASCII but letters, marks and numbers, those of unspaced scripts apart."""
    if word.isascii():
        return word.lower()
    lowered = unicodedata.normalize("NFKC", word).lower()
    kept = "".join(c if c.isascii() or unicodedata.category(c)[0] in "LMN" else " " for c in lowered)
    return _UNSPACED.sub(r" \g<0> ", kept)


@lru_cache(maxsize=1)
def _stemmer() -> Callable[[str], str]:
    return _stemmer_module().Stemmer("english").stemWord


def _stemmer_module():
    try:
        import Stemmer
    except ImportError as error:
        hint = "retriever.stemming=true needs PyStemmer: pip install PyStemmer, or set retriever.stemming=false"
        raise ImportError(hint) from error
    return Stemmer
