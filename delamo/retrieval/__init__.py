"""BM25 over the pool: `RETRIEVERS[backend].build(docs, folder, config)`, `.load(folder)`, `.search(queries, k)`."""

from __future__ import annotations

from delamo.retrieval.bm25s_index import BM25SIndex
from delamo.retrieval.config import Backend, RetrieverConfig
from delamo.retrieval.corpus import corpus_digest
from delamo.retrieval.index import Hit, Index
from delamo.retrieval.rank_bm25_index import RankBM25Index

RETRIEVERS: dict[Backend, type[Index]] = {Backend.bm25s: BM25SIndex, Backend.rank_bm25: RankBM25Index}
"""Both rank alike, ties included; `rank_bm25` is the reference and hundreds of times slower."""

__all__ = ["RETRIEVERS", "Backend", "Hit", "Index", "RetrieverConfig", "corpus_digest"]
