"""The search kernel: scores and best rows of one query, compiled; imported late, since numba takes half a second."""

from __future__ import annotations

import heapq

import numpy as np
from numba import njit

from delamo.retrieval.index import ROUNDING

BLOCK = 32_768
"""Rows scored at a time: their 256 KB of scores stay in the second-level cache while the postings stream past."""


def _compiled(function):
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no folder where numba may keep the machine code: compile once in each process
        return njit(nogil=True)(function)


@_compiled
def best_of_postings(data, indices, starts, ends, counts, num_docs, k):
    """Return rows and scores of the best `k` documents of one query, best first, ties by ascending row.

    Args:
        data: (num_postings,) float64, score of a term in a document; the postings of a term lie together.
        indices: (num_postings,) int32, the document; ascending within a term.
        starts: (num_terms,) int64, where the postings of each query term begin.
        ends: (num_terms,) int64, where they end.
        counts: (num_terms,) float64, times that the query has the term.
        num_docs: documents in the corpus.
        k: at least 1.

    Returns:
        rows (at most k,) int64, scores (at most k,) float64 above zero, rounded like `round_scores`.
    """
    scores = np.zeros(min(BLOCK, num_docs))
    position = starts.copy()
    # The worst document kept is on top: the lowest score and, of equal ones, the highest row.
    heap = [(0.0, np.int64(0)) for _ in range(0)]
    threshold = 0.0
    for first in range(0, num_docs, BLOCK):
        last = min(first + BLOCK, num_docs)
        for term in range(len(starts)):
            at, end, count = position[term], ends[term], counts[term]
            while at < end:
                row = indices[at]
                if row >= last:
                    break
                scores[np.uint64(row - first)] += count * data[at]
                at += 1
            position[term] = at
        for i in range(last - first):
            if scores[i] > threshold:  # hardly ever, once the heap is full
                scaled = scores[i] * ROUNDING
                score = scaled - (scaled - scores[i])
                # Rows come in ascending order, so an equal score never displaces an earlier row.
                if len(heap) < k:
                    heapq.heappush(heap, (score, np.int64(-(first + i))))
                elif score > heap[0][0]:
                    heapq.heapreplace(heap, (score, np.int64(-(first + i))))
                if len(heap) == k:
                    threshold = heap[0][0] * (1 - 1e-9)  # of what may still round to more than the worst kept
        scores[:] = 0.0
    rows, best = np.empty(len(heap), np.int64), np.empty(len(heap))
    for rank in range(len(heap) - 1, -1, -1):
        score, row = heapq.heappop(heap)
        rows[rank], best[rank] = -row, score
    return rows, best
