"""BM25 over the pool: by the skills that its samples need (paper, section 3.5), or by their text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from delamo.config.compose import identity_of
from delamo.records import PoolSkills
from delamo.retrieval import RETRIEVERS
from delamo.retrieval.config import Backend
from delamo.retrieval.index import INDEX_VERSION
from delamo.retrieval.tokenize import TOKENIZER_VERSION
from delamo.stages.base import Stage
from delamo.store import ResultWriter, RowCounts
from delamo.store.provenance import versions

PACKAGES = {Backend.bm25s: "bm25s", Backend.rank_bm25: "rank-bm25"}
"""Whose code scores the documents."""


@dataclass(frozen=True, eq=False)
class IndexStage(Stage):
    """A stage that builds an index of one document for each pool sample."""

    def depends_on(self) -> dict[str, Any]:
        """Return the retriever's config and the versions of tokenizer and file format."""
        retriever = identity_of(self.experiment.config.retriever)
        package = versions([PACKAGES[self.experiment.config.retriever.backend]])
        return {"retriever": retriever, "format": [TOKENIZER_VERSION, INDEX_VERSION], "scored by": package}

    def build(self, writer: ResultWriter, documents: Iterable[tuple[str, str]], num_documents: int) -> None:
        """Write the index of (id, text) pairs."""
        config = self.experiment.config.retriever
        RETRIEVERS[config.backend].build(documents, writer.path / "index", config)
        writer.finish(RowCounts(num_in=num_documents, num_ok=num_documents))


@dataclass(frozen=True, eq=False)
class IndexSkills(IndexStage):
    """Index the pool by skills: a sample's document is all of its skills, joined."""

    pool_skills: Stage

    name: ClassVar[str] = "index"

    @property
    def label(self) -> str:
        """The names of pool, teacher and retriever."""
        return self.experiment.label("pool", "teacher", "retriever")

    def compute(self, writer: ResultWriter) -> None:
        """Write the index."""
        rows = self.pool_skills.stored.rows(PoolSkills)
        self.build(writer, ((row.id, " ".join(row.skills)) for row in rows), len(rows))


@dataclass(frozen=True, eq=False)
class IndexText(IndexStage):
    """Index the pool as it is worded: a sample's document is its question and its answer."""

    name: ClassVar[str] = "text_index"
    resumable: ClassVar[bool] = True

    @property
    def label(self) -> str:
        """The names of pool and retriever."""
        return self.experiment.label("pool", "retriever")

    def depends_on(self) -> dict[str, Any]:
        """Return the pool's digest besides the retriever."""
        return super().depends_on() | {"pool": self.experiment.pool.digest}

    def compute(self, writer: ResultWriter) -> None:
        """Write the index."""
        pool = self.experiment.pool
        self.build(writer, ((sample.id, f"{sample.instruction}\n{sample.answer}") for sample in pool), len(pool))
