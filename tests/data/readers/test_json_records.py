"""Annotation files of one JSON object: what is wrong with one is said, and a picture that stands there twice counts once."""

from __future__ import annotations

import io
import json

import pytest
from PIL import Image
from support.readers import read_task

from delamo.data.readers.json_records import read_lists

READERS = {
    "instances_val2017.json of COCO": ("coco_classification", {"supercategory": "pet"}),
    "captions_val2017.json of COCO": ("coco_caption_match", {}),
    "dataset_v7w_telling.json of Visual7W": ("visual7w", {}),
}
SIZES = {"num_val_samples": 1, "num_test_samples": 1}


@pytest.mark.parametrize(
    ("text", "said"), [("{", "is not JSON"), ("[]", "has no list 'images'"), ('{"images": {}}', "has no list 'images'")]
)
@pytest.mark.parametrize("example", READERS)
def test_a_file_of_another_format_is_named(tmp_path, example, text, said):
    format, options = READERS[example]
    path = tmp_path / "annotation.json"
    options = {"annotation": path, "image_root": tmp_path, **SIZES, **options}
    with pytest.raises(FileNotFoundError, match=rf"task\.annotation is {path}: no such file \({example}\)"):
        read_task(format, **options)
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"{path} {said}"):
        read_task(format, **options)


def test_only_the_lists_asked_for_are_read(tmp_path):
    (tmp_path / "a.json").write_text('{"images": [1], "annotations": [], "info": {}}')
    assert read_lists(tmp_path / "a.json", "images", "annotations", example="x") == {"images": [1], "annotations": []}


@pytest.mark.parametrize("format", ["coco_caption_match", "coco_classification"])
def test_a_picture_that_stands_there_twice_counts_once(tmp_path, format):
    picture = io.BytesIO()
    Image.new("RGB", (4, 4)).save(picture, "PNG")
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(picture.getvalue())
    tables = {
        "images": [{"id": number, "file_name": f"{number}.png"} for number in (0, 1, 2, 1)],
        "categories": [
            {"id": number, "name": name, "supercategory": "pet"} for number, name in enumerate(("cat", "dog"))
        ],
        "annotations": [
            {"id": number, "image_id": number, "category_id": number % 2, "area": 1.0, "caption": f"A thing, {number}."}
            for number in range(3)
        ],
    }
    (tmp_path / "annotation.json").write_text(json.dumps(tables))
    group = {"supercategory": "pet"} if format == "coco_classification" else {}
    task = read_task(format, annotation=tmp_path / "annotation.json", image_root=tmp_path, **SIZES, **group)
    assert [(row.id, row.reason) for row in task.quarantined] == [("coco-1", "duplicate id")]
