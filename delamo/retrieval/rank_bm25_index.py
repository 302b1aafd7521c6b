"""The reference backend: rank-bm25's own BM25Okapi over the same tokens. Pure Python, seconds a query at a million documents."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from rank_bm25 import BM25Okapi

from delamo.retrieval.config import Backend
from delamo.retrieval.corpus import Corpus, DocIds
from delamo.retrieval.index import Bag, Index, Ranking, best_rows, lucene_idf, round_scores


class LuceneOkapi(BM25Okapi):
    """BM25Okapi with Lucene's idf (see `delamo.retrieval.index`); scores are computed by the library's own code."""

    def _calc_idf(self, nd: dict[str, int]) -> None:
        self.idf = {term: lucene_idf(df, self.corpus_size) for term, df in nd.items()}

    def get_scores(self, query: Sequence[str]) -> np.ndarray:
        """Score all documents: (num_docs,) float64.

        Where b is 1, the library divides 0 by 0 for a document without words: it scores 0.
        """
        with np.errstate(invalid="ignore"):
            return np.nan_to_num(super().get_scores(query), copy=False)


class RankBM25Index(Index):
    """Keeps the tokenized documents on disk and the library's structures in memory (about 2 KB a document)."""

    backend = Backend.rank_bm25

    def __init__(self, ids: DocIds, manifest: dict[str, Any], documents: Iterable[list[str]]) -> None:
        super().__init__(ids, manifest)
        self._bm25 = LuceneOkapi(documents, k1=manifest["k1"], b=manifest["b"])

    @classmethod
    def _build(cls, corpus: Corpus, folder: Path, manifest: dict[str, Any]) -> Self:
        np.save(folder / "tokens.npy", corpus.tokens)
        np.save(folder / "lengths.npy", corpus.lengths)
        (folder / "vocabulary.json").write_text(json.dumps(list(corpus.vocabulary)), encoding="utf-8")
        return cls(corpus.ids, manifest, _documents(corpus.tokens, corpus.lengths, list(corpus.vocabulary)))

    @classmethod
    def _load(cls, folder: Path, ids: DocIds, manifest: dict[str, Any], *, mmap: bool) -> Self:
        tokens, lengths = (np.load(folder / f"{name}.npy") for name in ("tokens", "lengths"))
        vocabulary = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        return cls(ids, manifest, _documents(tokens, lengths, vocabulary))

    def _knows(self, term: str) -> bool:
        return term in self._bm25.idf

    def _rank(self, bags: Sequence[Bag], k: int) -> Iterable[Ranking]:
        for bag in bags:
            scores = round_scores(self._scores(bag))
            rows = best_rows(scores, k)
            documents = [self._bm25.doc_freqs[row] for row in rows]
            matches = np.array([[term in document for term in bag.terms] for document in documents], bool)
            yield Ranking(rows, scores[rows], matches)

    def _scores(self, bag: Bag) -> np.ndarray:
        if max(bag.counts) == 1:
            return self._bm25.get_scores(bag.terms)
        # The library adds a repeated term once for each time; count * score is the same number to the last bit but one.
        return sum(count * self._bm25.get_scores([term]) for term, count in zip(bag.terms, bag.counts, strict=True))


def _documents(tokens: np.ndarray, lengths: np.ndarray, vocabulary: list[str]) -> Iterable[list[str]]:
    """Yield each document's tokens as strings."""
    ends = np.cumsum(lengths, dtype=np.int64)
    for start, end in zip((ends - lengths).tolist(), ends.tolist(), strict=True):
        yield [vocabulary[token] for token in tokens[start:end].tolist()]
