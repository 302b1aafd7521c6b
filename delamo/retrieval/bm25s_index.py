"""The default backend: bm25s' eager index, in which every (term, document) score is computed once and memory-mapped.

bm25s defines the formula's parts and the files: any bm25s opens the folder. Three steps around it are our own, each for
a reason: the score matrix is built by sparse-matrix conversion from token ids instead of Python loops over the
documents; a query's rows are chosen by a kernel that breaks ties by row; and only documents that share a term are hits.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np

from delamo.retrieval.config import Backend
from delamo.retrieval.corpus import Corpus, DocIds
from delamo.retrieval.index import Bag, Index, Ranking, lucene_idf


class BM25SIndex(Index):
    """An index by bm25s; about 12 bytes on disk for each distinct term of each document."""

    backend = Backend.bm25s

    def __init__(self, ids: DocIds, manifest: dict[str, Any], bm25: Any) -> None:
        super().__init__(ids, manifest)
        self._bm25 = bm25
        # Read-only whether mapped, loaded or just built: the kernel is then compiled for one kind of array only.
        self._data, self._indices, self._indptr = (
            _read_only(bm25.scores[name]) for name in ("data", "indices", "indptr")
        )

    @classmethod
    def _build(cls, corpus: Corpus, folder: Path, manifest: dict[str, Any]) -> Self:
        import bm25s

        # Okapi's term frequency is bm25s' "atire"; both sides compute in float64, because near-ties differ in float32.
        bm25 = bm25s.BM25(k1=manifest["k1"], b=manifest["b"], method="atire", idf_method="lucene", dtype="float64")
        bm25.scores = score_matrix(corpus, k1=manifest["k1"], b=manifest["b"])
        bm25.vocab_dict = corpus.vocabulary
        bm25.unique_token_ids_set = set(corpus.vocabulary.values())
        bm25.nonoccurrence_array = None
        bm25.save(folder, show_progress=False)
        return cls(corpus.ids, manifest, bm25)

    @classmethod
    def _load(cls, folder: Path, ids: DocIds, manifest: dict[str, Any], *, mmap: bool) -> Self:
        import bm25s

        return cls(ids, manifest, bm25s.BM25.load(folder, mmap=mmap, show_progress=False))

    def _knows(self, term: str) -> bool:
        return term in self._bm25.vocab_dict

    def _rank(self, bags: Sequence[Bag], k: int) -> Iterable[Ranking]:
        if len(bags) < 2:
            return [self._rank_one(bag, k) for bag in bags]
        with ThreadPoolExecutor(_num_threads()) as threads:
            return list(threads.map(lambda bag: self._rank_one(bag, k), bags))

    def _rank_one(self, bag: Bag, k: int) -> Ranking:
        from delamo.retrieval.topk import best_of_postings

        terms = np.array([self._bm25.vocab_dict[term] for term in bag.terms])
        starts, ends, counts = self._indptr[terms], self._indptr[terms + 1], np.array(bag.counts, np.float64)
        rows, scores = best_of_postings(self._data, self._indices, starts, ends, counts, len(self), k)
        matches = [_contains(self._indices[start:end], rows) for start, end in zip(starts, ends, strict=True)]
        return Ranking(rows, scores, np.stack(matches, axis=1))


def score_matrix(corpus: Corpus, *, k1: float, b: float) -> dict[str, Any]:
    """Compute the scores of all terms in all documents, in bm25s' layout: columns are terms, rows in a column ascend.

    Args:
        corpus: the documents.
        k1: saturation of a repeated term.
        b: discount of long documents.

    Returns:
        data (num_postings,) float64, indices (num_postings,) int32, indptr (num_terms + 1,) int64, num_docs.
    """
    from scipy.sparse import csr_matrix

    num_docs, lengths = len(corpus.ids), corpus.lengths
    indptr = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    ones = np.ones(len(corpus.tokens), np.float64)
    counts = csr_matrix((ones, corpus.tokens, indptr), shape=(num_docs, len(corpus.vocabulary))).tocsc()
    counts.sum_duplicates()
    frequency = np.diff(counts.indptr)
    idf = np.array([lucene_idf(df, num_docs) for df in frequency.tolist()])
    mean_length = int(lengths.sum(dtype=np.int64)) / num_docs
    # The order of operations is rank-bm25's: the two must agree to the last bit.
    norm = k1 * (1 - b + b * lengths / (mean_length or 1.0))
    scores = counts.data * (k1 + 1)
    scores /= counts.data + norm[counts.indices]
    scores *= np.repeat(idf, frequency)
    return {"data": scores, "indices": counts.indices, "indptr": counts.indptr.astype(np.int64), "num_docs": num_docs}


def _read_only(array: np.ndarray) -> np.ndarray:
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


def _contains(postings: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return which of `rows` are among the ascending `postings` (at least one): (num_rows,) bool."""
    indices = np.searchsorted(postings, rows)
    return postings[np.minimum(indices, len(postings) - 1)] == rows


def _num_threads() -> int:
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 8)
