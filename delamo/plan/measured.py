"""What results of the same kind took on this machine, as their manifests say."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from delamo.plan.counting import StageWork, TeacherUsage, num_items
from delamo.store import MANIFEST

ALIKE = ("student", "teacher", "tuning", "selector", "scorer", "encoder", "near", "query", "mistakes", "prompts")
"""What a stage reads that decides how long an item takes."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One finished result."""

    items: int
    seconds: float
    disk_bytes: int
    reads: dict[str, Any]
    num_ok: int
    spent: dict[str, Any]
    """What the teacher was asked; empty where none was."""

    def alike(self, reads: dict[str, Any]) -> bool:
        """Whether the same models did the same."""
        return all(self.reads.get(key) == reads.get(key) for key in ALIKE)


@dataclass(slots=True)
class Recorded:
    """The manifests of one store."""

    _kinds: dict[tuple[Path, str], list[Taken]] = field(default_factory=dict)

    def seconds(self, work: StageWork) -> float | None:
        """What a stage that is still to be done will take by them; None where there is nothing to go by."""
        return self._scaled(work, lambda taken: taken.seconds)

    def disk_bytes(self, work: StageWork) -> float | None:
        """Likewise what it will leave on disk."""
        return self._scaled(work, lambda taken: taken.disk_bytes)

    def asked(self, work: StageWork, *, num_asked: float) -> TeacherUsage | None:
        """What the teacher will be asked about so many samples; None where there is nothing to go by.

        A result that took replies from the transcripts does not count: what they once took is not in its manifest.
        """
        found = [taken for taken in self._alike(work) if taken.spent.get("calls") and not taken.spent.get("cached")]
        samples = sum(taken.num_ok for taken in found)
        if not samples:
            return None
        keys = ("calls", "prompt_tokens", "completion_tokens")
        return TeacherUsage(*(sum(taken.spent[key] for taken in found) for key in keys)).times(num_asked / samples)

    def _alike(self, work: StageWork) -> list[Taken]:
        reads = work.stage.stored.identity["reads"]
        return [taken for taken in self._of_kind(work) if taken.items and taken.alike(reads)]

    def _scaled(self, work: StageWork, amount: Any) -> float | None:
        found = self._alike(work)
        if not found:
            return None
        items = num_items(work)
        mean = sum(map(amount, found)) / sum(taken.items for taken in found)
        return mean * items if items else sum(map(amount, found)) / len(found)

    def _of_kind(self, work: StageWork) -> list[Taken]:
        stage = work.stage.stored
        if (stage.root, stage.kind) not in self._kinds:
            paths = sorted((stage.root / stage.kind).glob(f"*/{MANIFEST}"))
            self._kinds[stage.root, stage.kind] = [taken for path in paths if (taken := _read(path))]
        return self._kinds[stage.root, stage.kind]


def _read(path: Path) -> Taken | None:
    """None for a manifest of an earlier layout, which says less."""
    manifest = json.loads(path.read_text(encoding="utf-8"))
    if "disk_bytes" not in manifest:
        return None
    account, spent = manifest["accounting"], manifest.get("spent") or {}
    reads = manifest["identity"]["reads"]
    return Taken(account["in"], manifest["seconds"], manifest["disk_bytes"], reads, account["ok"], spent)
