"""COCO (Lin et al. 2014) as a task: which object of one supercategory does the picture show?

Format: `instances_SPLIT.json` with `images` (id, file_name), `annotations` (image_id, category_id, area, iscrowd) and `categories`
(id, name, supercategory). The paper's Appliance and Furniture tasks have the five and six categories of these supercategories as
options. An option is a letter, so a supercategory of more than 26 categories, which files of COCO's format by others may have, is an
error: which of them to ask for is the user's choice.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from delamo.data import Task, TaskConfig, add_task
from delamo.data.image_paths import ImageRoot
from delamo.data.quarantine import BadRow, quarantined, text_field
from delamo.data.readers.json_records import read_lists
from delamo.data.readers.splits import Item, as_task, draw_both
from delamo.records import LETTERS, Quarantined, Sample


@dataclass(slots=True, kw_only=True)
class CocoTaskConfig(TaskConfig):
    """Objects of one COCO supercategory, from its instances file."""

    annotation: str = MISSING
    image_root: str = MISSING
    supercategory: str = MISSING
    drop_present_distractors: bool = MISSING
    """Take other categories that an image really shows out of its options; kept, they make some questions ambiguous, as
    in the published task."""
    num_val_samples: int = MISSING
    num_test_samples: int = MISSING
    seed: int = MISSING


QUESTION = "Which {supercategory} does the picture show?"


def read_task(config: CocoTaskConfig) -> Task:
    """Read one question for each image that shows an object of the supercategory; the largest object is the answer.

    Raises:
        FileNotFoundError, NotADirectoryError: a path that does not exist.
        ValueError: not COCO's format, no such supercategory, one of more than 26 categories, or fewer usable images
            than asked for.
    """
    path, supercategory = Path(config.annotation), config.supercategory
    tables = read_lists(path, "images", "annotations", "categories", example="instances_val2017.json of COCO")
    names = {row["id"]: row["name"] for row in tables["categories"] if row.get("supercategory") == supercategory}
    if len(names) < 2:
        known = sorted({str(row.get("supercategory")) for row in tables["categories"]})
        raise ValueError(f"task.supercategory is {supercategory!r}: {path} has {', '.join(known)}")
    if len(names) > len(LETTERS):
        raise ValueError(
            f"task.supercategory is {supercategory!r}: {path} has {len(names)} categories of it, {len(LETTERS)} can be "
            "options of a question: give those to ask for a supercategory of their own"
        )
    areas = _areas(tables["annotations"], names)
    images = ImageRoot(Path(config.image_root), "task.image_root")
    bad_rows: list[Quarantined] = []
    items: dict[str, Item] = {}
    for number, image in enumerate(tables["images"], 1):
        shown = areas.get(image.get("id"))
        if not shown:
            continue
        try:
            item = _question(image, shown, sorted(names.values()), images, config)
            if item.sample.id in items:
                raise BadRow("duplicate id", "id", image["id"], "the first one is used")
            items[item.sample.id] = item
        except BadRow as bad:
            bad_rows.append(quarantined(bad, id=f"coco-{image.get('id')}", stage="task", file=path, record=number))
    key = f"task.num_val_samples + task.num_test_samples, {path}, supercategory {supercategory}"
    parts = draw_both(items, config.num_val_samples, config.num_test_samples, config.seed, key, bad_rows)
    return as_task(f"coco/{supercategory}", parts, bad_rows)


def _areas(annotations: list[dict[str, Any]], names: dict[int, str]) -> dict[int, dict[str, float]]:
    """Return image -> category name -> summed area of its objects; crowds do not count."""
    areas: dict[int, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for row in annotations:
        if row.get("category_id") in names and not row.get("iscrowd"):
            areas[row["image_id"]][names[row["category_id"]]] += float(row.get("area") or 0)
    return areas


def _question(
    image: dict[str, Any], shown: dict[str, float], names: list[str], images: ImageRoot, config: CocoTaskConfig
) -> Item:
    """Make the question of one image; `shown` holds the area of each category that it shows, `names` all of them."""
    file = images.locate(text_field(image.get("file_name"), "file_name", missing="image missing"))
    gold = max(sorted(shown), key=shown.__getitem__)
    options = tuple(name for name in names if name == gold or not (config.drop_present_distractors and name in shown))
    if len(options) < 2:
        raise BadRow("no options", "category_id", sorted(shown), "every other category is in the picture too")
    sample = Sample(
        id=f"coco-{image['id']}",
        instruction=QUESTION.format(supercategory=config.supercategory),
        answer=gold,
        options=options,
        gold=options.index(gold),
        image=file.path,
        source=f"coco/{config.supercategory}",
    )
    return Item.of(sample, file)


add_task("coco_classification", CocoTaskConfig, read_task)
