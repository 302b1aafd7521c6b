"""The BM25 index: its interface, the formula, the order of hits, and the folder on disk; the backends compute it.

The formula is Okapi's BM25 with Lucene's idf, in 64-bit floats:

    score(d, q)  = sum over the distinct terms t of q: count(t, q) * idf(t) * tf * (k1 + 1) / (tf + norm(d))
    norm(d)      = k1 * (1 - b + b * |d| / avg)
    idf(t)       = ln(1 + (N - df + 0.5) / (df + 0.5))

The paper says only "BM25". rank-bm25's own idf, ln((N - df + 0.5) / (df + 0.5)), is negative for a term of more than
half of the documents and then replaced by a quarter of the mean idf, which bm25s does not offer and which ranks no
better; Lucene's is always positive, so that a score above zero means exactly: shares a term with the query. (bm25s' own
default, `method="lucene"`, leaves out the constant k1 + 1: the same ranks.)

Both backends add the same numbers in the same order, so that their scores agree to the last bit; what is then compared
is the score rounded to 40 bits of mantissa, so that equal sums of unequal order tie. Ties break by id, ascending.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from delamo.retrieval.config import Backend, RetrieverConfig
from delamo.retrieval.corpus import Corpus, DocIds, read_corpus
from delamo.retrieval.tokenize import tokenize, tokenizer_identity

INDEX_VERSION = 1
MANIFEST = "index.json"
ROUNDING = 2.0**13 + 1
"""Veltkamp's splitter: keeps 53 - 13 = 40 bits of mantissa, a relative step of 1e-12."""


class Hit(NamedTuple):
    """One document of a ranked list."""

    id: str
    score: float
    """BM25 score, above zero."""
    terms: tuple[str, ...]
    """The query's distinct terms that the document has, sorted."""


class Bag(NamedTuple):
    """A query as the scorer sees it: its distinct known terms in alphabetical order."""

    terms: tuple[str, ...]
    counts: tuple[int, ...]


class Ranking(NamedTuple):
    """A query's best documents, best first."""

    rows: np.ndarray
    """(num_hits,) int64."""
    scores: np.ndarray
    """(num_hits,) float64, rounded."""
    matches: np.ndarray
    """(num_hits, num_terms) bool: which of the bag's terms the document has."""


class Index(ABC):
    """BM25 over a fixed corpus. Make one with `build` or `load`."""

    backend: ClassVar[Backend]
    """Recorded in the manifest as `retriever`."""

    def __init__(self, ids: DocIds, manifest: dict[str, Any]) -> None:
        self.ids = ids
        self.manifest = manifest

    @classmethod
    def build(
        cls,
        docs: Iterable[tuple[str, str]],
        folder: Path,
        config: RetrieverConfig,
    ) -> Self:
        """Index (id, text) pairs and save the index.

        Args:
            docs: in strictly ascending order of id; read once, as a stream.
            folder: made where it is missing. The manifest is written last: a folder without it is no index.
            config: of the retriever; its backend is this class's own.

        Raises:
            ValueError: no documents, an id twice or out of order, k1 or b out of range.
        """
        if not (0 < config.k1 < math.inf and 0 <= config.b <= 1):
            raise ValueError(
                f"retriever.k1 is {config.k1} and retriever.b is {config.b}: choose k1 above 0 and b from 0 to 1"
            )
        words = {"stop_words": config.stop_words, "stemming": config.stemming}
        tokenizer = tokenizer_identity(**words)
        corpus = read_corpus(docs, **words)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        manifest = {
            "version": INDEX_VERSION,
            "retriever": cls.backend.value,
            "corpus": corpus.digest,
            "num_docs": len(corpus.ids),
            "tokenizer": tokenizer,
            **words,
            "k1": config.k1,
            "b": config.b,
        }
        corpus.ids.save(folder)
        index = cls._build(corpus, folder, manifest)
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        return index

    @classmethod
    def load(cls, folder: Path, *, mmap: bool = True, corpus: str | None = None) -> Self:
        """Open a saved index.

        Args:
            folder: the one given to `build`.
            mmap: leave the arrays on disk and let the system page them in; results are the same.
            corpus: the digest (`corpus_digest`) of the documents that the caller means to search.

        Raises:
            FileNotFoundError: no finished index in `folder`.
            ValueError: built over another corpus, or by another backend, tokenizer or format.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing, so {folder} holds no finished index: build it again")
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["version"] != INDEX_VERSION:
            raise ValueError(f"{path}: version is {manifest['version']!r}, expected {INDEX_VERSION!r}: build it again")
        tokenizer = tokenizer_identity(stop_words=manifest["stop_words"], stemming=manifest["stemming"])
        expected = {"retriever": cls.backend.value, "tokenizer": tokenizer, "corpus": corpus or manifest["corpus"]}
        for key, value in expected.items():
            if manifest[key] != value:
                raise ValueError(f"{path}: {key} is {manifest[key]!r}, expected {value!r}: build the index again")
        return cls._load(folder, DocIds.load(folder, mmap=mmap), manifest, mmap=mmap)

    @property
    def corpus(self) -> str:
        """Digest of the documents."""
        return self.manifest["corpus"]

    def __len__(self) -> int:
        return len(self.ids)

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """Return the best `k` documents for each query, best first, ties by ascending id.

        Only documents that share a term with the query are hits, so that a list may be shorter than `k`, and is empty
        for a query without a known word. Queries of equal words are scored once, whatever their order.
        """
        if k < 1:
            raise ValueError(f"k is {k}: choose at least 1")
        bags = [self._bag(query) for query in queries]
        distinct = [bag for bag in dict.fromkeys(bags) if bag.terms]
        rankings = zip(distinct, self._rank(distinct, k), strict=True)
        hits = {bag: self._hits(bag, ranking) for bag, ranking in rankings}
        return [list(hits.get(bag, ())) for bag in bags]

    def _bag(self, query: str) -> Bag:
        options = {key: self.manifest[key] for key in ("stop_words", "stemming")}
        counts = Counter(token for token in tokenize(query, **options) if self._knows(token))
        terms = tuple(sorted(counts))
        return Bag(terms, tuple(counts[term] for term in terms))

    def _hits(self, bag: Bag, ranking: Ranking) -> list[Hit]:
        rows_of_matches, which = np.unique(ranking.matches, axis=0, return_inverse=True)
        terms = [
            tuple(term for term, has in zip(bag.terms, row, strict=True) if has) for row in rows_of_matches.tolist()
        ]
        matched = map(terms.__getitem__, which.ravel().tolist())
        return list(map(Hit, self.ids.take(ranking.rows), ranking.scores.tolist(), matched))

    @classmethod
    @abstractmethod
    def _build(cls, corpus: Corpus, folder: Path, manifest: dict[str, Any]) -> Self: ...

    @classmethod
    @abstractmethod
    def _load(cls, folder: Path, ids: DocIds, manifest: dict[str, Any], *, mmap: bool) -> Self: ...

    @abstractmethod
    def _knows(self, term: str) -> bool: ...

    @abstractmethod
    def _rank(self, bags: Sequence[Bag], k: int) -> Iterable[Ranking]:
        """Yield a ranking for each bag, none of which is empty."""


def lucene_idf(document_frequency: int, num_docs: int) -> float:
    """Return Lucene's inverse document frequency: above zero even for a term that every document has."""
    return math.log(1 + (num_docs - document_frequency + 0.5) / (document_frequency + 0.5))


def round_scores(scores: np.ndarray) -> np.ndarray:
    """Round scores to 40 bits of mantissa (a relative 1e-12): order is kept and what is above zero stays so."""
    scaled = scores * ROUNDING
    return scaled - (scaled - scores)


def best_rows(scores: np.ndarray, k: int) -> np.ndarray:
    """Return the rows of the `k` highest scores above zero, best first, ties by ascending row.

    (num_docs,) -> (at most k,).
    """
    rows = np.flatnonzero(scores > 0)
    if len(rows) > k:
        positive = scores[rows]
        rows = rows[positive >= np.partition(positive, len(positive) - k)[len(positive) - k]]
    return rows[np.argsort(-scores[rows], kind="stable")][:k]
