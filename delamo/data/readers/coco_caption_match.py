"""COCO captions as a task: does this caption belong to this picture?

Format: `captions_SPLIT.json` with `images` (id, file_name) and `annotations` (id, image_id, caption). Half of the questions show the
picture's own caption, half that of another picture; which, and which phrasing, is drawn from the caption's id.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from omegaconf import MISSING

from delamo.data import Task, TaskConfig, add_task
from delamo.data.image_paths import ImageRoot
from delamo.data.quarantine import BadRow, quarantined, text_field
from delamo.data.readers.json_records import read_lists
from delamo.data.readers.splits import Item, as_task, draw_both
from delamo.records import Quarantined, Sample


@dataclass(slots=True, kw_only=True)
class CaptionMatchTaskConfig(TaskConfig):
    """Whether a caption belongs to a picture, from COCO's captions file."""

    annotation: str = MISSING
    image_root: str = MISSING
    num_val_samples: int = MISSING
    num_test_samples: int = MISSING
    seed: int = MISSING


OPTIONS = ("yes", "no")
PHRASINGS = (
    'Does the caption "{caption}" describe the picture?',
    'Is "{caption}" a caption of this picture?',
    'Do the picture and the text "{caption}" match?',
    'Would "{caption}" be a right description of what is shown?',
    'Is this picture what the sentence "{caption}" is about?',
)


def read_task(config: CaptionMatchTaskConfig) -> Task:
    """Read one question for each image, from its first caption or from another image's; disjoint parts are drawn.

    Raises:
        FileNotFoundError, NotADirectoryError: a path that does not exist.
        ValueError: not this format, or fewer usable images than asked for.
    """
    path = Path(config.annotation)
    tables = read_lists(path, "images", "annotations", example="captions_val2017.json of COCO")
    first: dict[Any, str] = {}
    for row in sorted(tables["annotations"], key=lambda row: row["id"]):
        first.setdefault(row["image_id"], row.get("caption"))
    images = ImageRoot(Path(config.image_root), "task.image_root")
    bad_rows: list[Quarantined] = []
    items: dict[str, Item] = {}
    ids = sorted(first)
    for number, image in enumerate(tables["images"], 1):
        try:
            item = _question(image, first, ids, images)
            if item.sample.id in items:
                raise BadRow("duplicate id", "id", image["id"], "the first one is used")
            items[item.sample.id] = item
        except BadRow as bad:
            bad_rows.append(quarantined(bad, id=f"coco-{image.get('id')}", stage="task", file=path, record=number))
    key = f"task.num_val_samples + task.num_test_samples, {path}"
    parts = draw_both(items, config.num_val_samples, config.num_test_samples, config.seed, key, bad_rows)
    return as_task("coco_caption_match", parts, bad_rows)


def _question(image: dict[str, Any], first: dict[Any, str], ids: list[Any], images: ImageRoot) -> Item:
    """Make the question of one image; `first` holds the first caption of each image, `ids` all of them."""
    id = image.get("id")
    file = images.locate(text_field(image.get("file_name"), "file_name", missing="image missing"))
    own = text_field(first.get(id), "caption", missing="no text")
    rng = Random(f"coco_caption_match/{id}")
    caption = own
    if rng.random() < 0.5:
        others = [
            first[other] for other in rng.sample(ids, min(8, len(ids))) if first[other] and first[other].strip() != own
        ]
        if not others:
            raise BadRow("no options", "caption", own, "no other picture has another caption")
        caption = others[0].strip()
    gold = int(caption != own)
    sample = Sample(
        id=f"coco-{id}",
        instruction=rng.choice(PHRASINGS).format(caption=caption.rstrip(".")),
        answer=OPTIONS[gold],
        options=OPTIONS,
        gold=gold,
        image=file.path,
        source="coco_caption_match",
    )
    return Item.of(sample, file)


add_task("coco_caption_match", CaptionMatchTaskConfig, read_task)
