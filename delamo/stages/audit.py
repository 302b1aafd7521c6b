"""The leakage audit: pool samples that overlap the task's validation or test samples.

So that no selector may choose them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from omegaconf import MISSING

from delamo.config.compose import identity_of
from delamo.config.fields import not_in_identity
from delamo.config.registry import register
from delamo.data import Pool
from delamo.data.candidates import Candidates
from delamo.data.leakage import Fingerprints, find_leaks, fingerprints, removed_ids
from delamo.records import Leak
from delamo.stages.base import Stage
from delamo.store import ResultWriter, RowCounts, write_rows


@dataclass(slots=True, kw_only=True)
class AuditConfig:
    """Which pool samples are removed because they overlap a validation or test sample (`delamo.data.leakage`)."""

    name: str = not_in_identity()
    enabled: bool = MISSING
    perceptual_distance: int | None = MISSING
    """Bits of 64; null compares no near images, which saves decoding the pool's."""
    text_min_words: int | None = MISSING
    """null compares no texts."""


register({"audit/audit": AuditConfig})


@dataclass(frozen=True, eq=False)
class FingerprintPool(Stage):
    """Compute what the pool's samples are told apart by: once for a pool, whatever the target."""

    name: ClassVar[str] = "fingerprints"
    version: ClassVar[int] = 2  # long numbers in names

    @property
    def near(self) -> bool:
        """Whether near images are compared too, so that every image is decoded."""
        return self.experiment.config.audit.perceptual_distance is not None

    @property
    def label(self) -> str:
        """The pool's name."""
        return self.experiment.label("pool")

    def depends_on(self) -> dict[str, Any]:
        """Return the pool's digest and whether near images are compared."""
        return {"pool": self.experiment.pool.digest, "near": self.near}

    def compute(self, writer: ResultWriter) -> None:
        """Write the fingerprints of every pool sample."""
        pool = self.experiment.pool
        fingerprints(pool, len(pool), near=self.near).save(writer.path)
        writer.finish(RowCounts(num_in=len(pool), num_ok=len(pool)))


@dataclass(frozen=True, eq=False)
class AuditPool(Stage):
    """Find the pool samples that overlap a validation or test sample of the task."""

    fingerprints: Stage

    name: ClassVar[str] = "audit"
    version: ClassVar[int] = 2  # running names

    @property
    def label(self) -> str:
        """The names of task and pool."""
        return self.experiment.label("task", "pool")

    def depends_on(self) -> dict[str, Any]:
        """Return the audit's config and the digests of both splits."""
        return {"audit": identity_of(self.experiment.config.audit), "samples": self.experiment.samples_digests}

    def compute(self, writer: ResultWriter) -> None:
        """Write `leaks.jsonl`."""
        task, pool, config = self.experiment.task, self.experiment.pool, self.experiment.config.audit
        splits = {"validation": task.validation, "test": task.test}
        leaks = find_leaks(
            pool,
            Fingerprints.load(self.fingerprints.stored.path),
            splits,
            perceptual_distance=config.perceptual_distance,
            text_min_words=config.text_min_words,
        )
        write_rows(writer.path / "leaks.jsonl", leaks)
        removed = len(removed_ids(leaks))
        skipped = {"meets the task": removed}
        writer.finish(RowCounts(num_in=len(pool), num_ok=len(pool) - removed, skipped=skipped))

    def leaks(self) -> list[Leak]:
        """Return the overlapping samples, once the audit is done."""
        return self.result().rows(Leak, "leaks")

    def candidates(self) -> Pool:
        """Return what the audit leaves of the pool.

        The pool itself where it removed nothing, so that tasks share results.
        """
        removed = removed_ids(self.leaks())
        return Candidates(self.experiment.pool, removed) if removed else self.experiment.pool
