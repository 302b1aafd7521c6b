"""Export a run's adapter: PEFT's files without any path of this machine, and a model card."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from delamo.export.cards import model_card
from delamo.export.selection import Selection
from delamo.store import write_json, write_text

CONFIG, FULL_CONFIG = "adapter_config.json", "trained.json"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def write_adapter(selection: Selection, folder: Path) -> bool:
    """Copy the run's adapter (or fully tuned weights) to a new folder and describe it.

    Returns:
        Whether there is one: False where the run tuned nothing.
    """
    source = selection.adapter
    if source is None:
        return False
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.md"))
    base = base_of(selection)
    for name in (CONFIG, FULL_CONFIG):
        if (folder / name).is_file():
            config = json.loads((folder / name).read_text(encoding="utf-8"))
            config |= {"base_model_name_or_path": base["name"], "revision": base["revision"]}
            write_json(folder / name, dict(sorted(config.items())))
    write_text(folder / "README.md", model_card(selection, base))
    return True


def base_of(selection: Selection) -> dict[str, Any]:
    """Describe the untuned student.

    Returns:
        `name` (hub id, packaged name, or a folder's own name without the path to it), `revision`, `digest` of weights
        and prompt, and whether it is `on_hub`.
    """
    config = selection.run.config
    path = str(config.get("student.path", ""))
    local = path.startswith(("/", ".", "~")) or Path(path).expanduser().is_dir()
    on_hub = not local and bool(_HUB_ID.fullmatch(path))
    manifest = json.loads((selection.run.path / "manifest.json").read_text(encoding="utf-8"))
    return {
        "name": Path(path).expanduser().name if local else path,
        "revision": config.get("student.revision"),
        "digest": manifest["inputs"]["student"],
        "on_hub": on_hub,
    }
