"""Export a selection as a training set: LLaVA's JSON, LLaMA-Factory's ShareGPT form, a folder for the hub."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from delamo.data.images import ImageError
from delamo.export.cards import dataset_card
from delamo.export.images import ImageFolder
from delamo.export.selection import Selection
from delamo.records import Quarantined, Sample, Selected
from delamo.store import write_json, write_parts, write_text

IMAGE_TOKEN = "<image>"
DATASET_NAME = "delamo_selection"
DATA = "data.json"


def write_llava(selection: Selection, folder: Path) -> list[Quarantined]:
    """Write `data.json` and `images/`, in the order of selection."""
    rows, bad = _rows(selection, folder / "images", _llava_row)
    write_json(folder / DATA, rows)
    return bad


def write_llama_factory(selection: Selection, folder: Path) -> list[Quarantined]:
    """Write `data.json`, `images/` and the `dataset_info.json` that names them `delamo_selection`."""
    rows, bad = _rows(selection, folder / "images", _sharegpt_row)
    write_json(folder / DATA, rows)
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    columns = {"messages": "messages", "images": "images"}
    info = {"file_name": DATA, "formatting": "sharegpt", "columns": columns, "tags": tags}
    write_json(folder / "dataset_info.json", {DATASET_NAME: info})
    return bad


def write_hf(selection: Selection, folder: Path) -> list[Quarantined]:
    """Write `train/` as `datasets`' image folder: metadata.jsonl beside images/; without any image, plain rows."""
    rows, bad = _rows(selection, folder / "train" / "images", _hf_row)
    has_images = any(row["file_name"] for row in rows)
    if not has_images:
        rows = [{key: value for key, value in row.items() if key != "file_name"} for row in rows]
    (folder / "train").mkdir(exist_ok=True)
    name = "metadata.jsonl" if has_images else "data.jsonl"
    write_parts(folder / "train" / name, (json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    write_text(folder / "README.md", dataset_card(selection, num_rows=len(rows), has_images=has_images))
    return bad


def _rows(
    selection: Selection, images: Path, make: Callable[[Selected, Sample, str | None], dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[Quarantined]]:
    """Make a row for each sample and write its image; returns them with the samples whose image is gone."""
    folder, rows, bad = ImageFolder(images), [], []
    for chosen, sample in tqdm(selection.rows, desc="exporting", unit="sample", delay=5, leave=False):
        try:
            rows.append(make(chosen, sample, folder.add(sample.image)))
        except ImageError as error:
            bad.append(Quarantined(id=sample.id, stage="export", reason=error.reason, detail=error.detail))
    return rows, bad


def _llava_row(chosen: Selected, sample: Sample, image: str | None) -> dict[str, Any]:
    turns = [{"from": "human", "value": _question(sample, image)}, {"from": "gpt", "value": sample.answer}]
    row = {"id": sample.id, "image": image, "task_name": sample.source, "conversations": turns}
    return {key: value for key, value in row.items() if value}


def _sharegpt_row(chosen: Selected, sample: Sample, image: str | None) -> dict[str, Any]:
    question = {"role": "user", "content": _question(sample, image)}
    answer = {"role": "assistant", "content": sample.answer}
    return {"id": sample.id, "messages": [question, answer], "images": [image] if image else []}


def _hf_row(chosen: Selected, sample: Sample, image: str | None) -> dict[str, Any]:
    text = {"id": sample.id, "instruction": sample.instruction, "answer": sample.answer, "source": sample.source}
    why = {key: getattr(chosen, key) for key in ("rank", "score", "skill", "val_id", "reason")}
    return {"file_name": image, **text, **why}


def _question(sample: Sample, image: str | None) -> str:
    return f"{IMAGE_TOKEN}\n{sample.instruction}" if image else sample.instruction
