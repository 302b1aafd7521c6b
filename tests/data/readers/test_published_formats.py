"""The readers of the paper's data: Vision-Flan, ScienceQA and MMBench, on generated files in their published formats."""

from __future__ import annotations

import base64
import csv
import io
import json
import random
import shutil
from pathlib import Path

import pytest
from PIL import Image
from support.readers import read_pool, read_task

from delamo.data.images import open_image
from delamo.data.readers import caltech101_living

SAMPLE = Path(__file__).parents[4] / "shared" / "data" / "vision_flan_sample"


def png(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(out, "PNG")
    return out.getvalue()


# Vision-Flan.


def flan(number: int, task: str = "coco+image_classification_appliance", **changes) -> dict:
    record = {
        "id": f"{task}_{number % 3}",  # not unique, as in the full set
        "image": "images/a.png",
        "task_name": task,
        "conversations": [
            {"from": "human", "value": f"<image>\nWhat is in picture {number}?\n\nOptions: (a) a sink (b) an oven"},
            {"from": "gpt", "value": "(b) an oven"},
        ],
    }
    return record | changes


@pytest.fixture
def flan_folder(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(png("red"))
    (tmp_path / "images" / "caf#U00e9.png").write_bytes(png("blue"))

    def write(records: list, name: str = "annotation.json") -> Path:
        (tmp_path / name).write_text(json.dumps(records, ensure_ascii=False))
        return tmp_path / name

    return write


def test_a_pool_leaves_held_out_tasks_out_and_counts_them(flan_folder):
    records = [flan(i) for i in range(4)] + [flan(i, "VQA") for i in range(3)] + [flan(i, "ITM") for i in range(2)]
    pool = read_pool("vision_flan", annotation=flan_folder(records), exclude_tasks=["VQA", None, "ITM"])
    assert len(pool) == 4 and not pool.quarantined
    assert pool.held_out == {"VQA": 3, "ITM": 2}
    assert {sample.source for sample in pool} == {"coco+image_classification_appliance"}


def test_ids_become_unique_by_content_whatever_the_order(flan_folder):
    records = [flan(i) for i in range(9)]
    pool = read_pool("vision_flan", annotation=flan_folder(records), exclude_tasks=[])
    random.Random(1).shuffle(records)
    shuffled = read_pool("vision_flan", annotation=flan_folder(records, "other.json"), exclude_tasks=[])
    assert len(pool) == 9 and list(pool.ids()) == list(shuffled.ids()) and pool.digest == shuffled.digest
    assert all(pool.get(id) == shuffled.get(id) for id in pool.ids())


def test_a_record_that_is_there_twice_is_quarantined(flan_folder):
    pool = read_pool("vision_flan", annotation=flan_folder([flan(1), flan(1), flan(2)]), exclude_tasks=[])
    assert len(pool) == 2 and [row.reason for row in pool.quarantined] == ["duplicate id"]


def test_names_as_unzip_writes_them_are_found(flan_folder):
    pool = read_pool("vision_flan", annotation=flan_folder([flan(1, image="images/café.png")]), exclude_tasks=[])
    assert next(iter(pool)).image.endswith("caf#U00e9.png")


def test_a_held_out_task_is_drawn_into_disjoint_parts(flan_folder):
    path = flan_folder([flan(i) for i in range(30)] + [flan(i, "VQA") for i in range(9)])
    wanted = {"annotation": path, "task_name": "coco+image_classification_appliance", "num_test_samples": 12}
    task = read_task("vision_flan", num_val_samples=10, seed=3, **wanted)
    assert (len(task.validation), len(task.test)) == (10, 12)
    assert not {s.instruction for s in task.validation} & {s.instruction for s in task.test}
    sample = task.test[0]
    assert (sample.options, sample.gold, sample.answer) == (("a sink", "an oven"), 1, "an oven")
    assert "Options" not in sample.instruction
    assert read_task("vision_flan", num_val_samples=10, seed=4, **wanted).digest != task.digest
    with pytest.raises(ValueError, match=r"31 asked for, 30 usable"):
        read_task("vision_flan", num_val_samples=19, seed=3, **wanted)


def test_rows_of_a_task_that_cannot_be_asked_are_quarantined(flan_folder):
    bad_answer = flan(5)
    bad_answer["conversations"][1]["value"] = "(e) a fridge"
    records = [flan(1), flan(2), flan(2, id="again"), bad_answer, flan(6, image="images/none.png")]
    task = read_task(
        "vision_flan",
        annotation=flan_folder(records),
        task_name="coco+image_classification_appliance",
        num_val_samples=1,
        num_test_samples=1,
    )
    assert sorted(row.reason for row in task.quarantined) == ["gold not among options", "image missing", "repeated"]
    assert len(task.validation) + len(task.test) + len(task.quarantined) == len(records)


def test_an_unknown_task_name_is_answered_with_the_known_ones(flan_folder):
    with pytest.raises(ValueError, match=r"task.task_name is 'appliances': .* coco\+image_classification_appliance"):
        read_task(
            "vision_flan",
            annotation=flan_folder([flan(1)]),
            task_name="appliances",
            num_val_samples=1,
            num_test_samples=1,
        )


@pytest.mark.skipif(not SAMPLE.is_dir(), reason=f"no {SAMPLE}: the real Vision-Flan sample is not beside the project")
def test_the_real_sample():
    pool = read_pool("vision_flan", annotation=SAMPLE / "annotation.json", exclude_tasks=[])
    assert (len(pool), [row.reason for row in pool.quarantined]) == (204, ["image missing"])
    held = read_pool("vision_flan", annotation=SAMPLE / "annotation.json", exclude_tasks=["ITM", "VQA"])
    assert len(held) == 202 and held.held_out == {"ITM": 1, "VQA": 1}


def test_the_target_at_hand_is_held_out_of_the_pool(experiment_config, flan_folder):
    path = flan_folder([flan(i, "my_task") for i in range(6)] + [flan(i, "other") for i in range(4)])
    cell = experiment_config(
        "task=vision_flan",
        "task.task_name=my_task",
        f"task.annotation={path}",
        "pool=vision_flan",
        f"pool.annotation={path}",
    )
    assert "my_task" in cell.pool.exclude_tasks
    assert len(read_pool("vision_flan", annotation=path, exclude_tasks=cell.pool.exclude_tasks)) == 4


# ScienceQA.


@pytest.fixture
def science(tmp_path):
    problems = {}
    for pid in range(1, 13):
        problems[str(pid)] = {
            "question": f"Which of these attracts, number {pid}?",
            "choices": ["a magnet", "None", "NA"],
            "answer": pid % 3,
            "hint": "Magnets have poles." if pid % 2 else "",
            "image": None if pid in (3, 9) else "image.png",
            "skill": "Compare magnitudes of magnetic forces",
            "split": "val" if pid < 7 else "test",
        }
        folder = tmp_path / "images" / ("val" if pid < 7 else "test") / str(pid)
        folder.mkdir(parents=True)
        (folder / "image.png").write_bytes(png("green"))
    splits = {"train": [], "val": list("123456"), "test": [str(pid) for pid in range(7, 13)]}

    def write() -> Path:
        (tmp_path / "problems.json").write_text(json.dumps(problems))
        (tmp_path / "pid_splits.json").write_text(json.dumps(splits))
        return tmp_path

    return problems, splits, write


def test_scienceqa(science):
    _, _, write = science
    task = read_task("scienceqa", root=write(), num_val_samples=None)
    assert (len(task.validation), len(task.test), task.quarantined) == (5, 5, [])
    first = task.validation[0]
    assert first.instruction == "Magnets have poles.\nWhich of these attracts, number 1?"
    assert (first.options, first.gold, first.answer) == (("a magnet", "None", "NA"), 1, "None")
    assert first.source == "Compare magnitudes of magnetic forces" and open_image(first.image).size == (8, 8)
    everything = read_task("scienceqa", root=write(), num_val_samples=None, images_only=False)
    assert len(everything.validation) == 6 and sum(s.image is None for s in everything.validation) == 1


def test_scienceqa_moves_without_another_identity(science, tmp_path_factory):
    folder = science[2]()
    other = tmp_path_factory.mktemp("moved") / "science"
    shutil.copytree(folder, other)
    assert (
        read_task("scienceqa", root=folder, num_val_samples=None).digest
        == read_task("scienceqa", root=other, num_val_samples=None).digest
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"answer": 3}, "gold not among options"),
        ({"answer": "a"}, "gold not among options"),
        ({"question": " "}, "no text"),
        ({"choices": ["one"]}, "no options"),
        ({"choices": ["one", None]}, "empty option"),
        ({"image": "../../1/image.png"}, "image outside root"),
        ({"image": "none.png"}, "image missing"),
        ({"image": 7}, "not text"),
    ],
)
def test_a_bad_problem_is_quarantined_with_its_key(science, change, reason):
    problems, _, write = science
    problems["2"] |= change
    if reason == "image outside root":
        problems["2"]["image"] = "../../../../outside.png"
    task = read_task("scienceqa", root=write(), num_val_samples=None)
    assert [(row.id, row.reason) for row in task.quarantined] == [("val-2", reason)]
    assert len(task.validation) == 4


def test_scienceqa_names_the_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"task.root is .*: no problems.json in it"):
        read_task("scienceqa", root=tmp_path, num_val_samples=None)
    (tmp_path / "problems.json").write_text("{}")
    (tmp_path / "pid_splits.json").write_text('{"train": []}')
    with pytest.raises(ValueError, match=r"pid_splits.json has no list 'val'; it has \['train'\]"):
        read_task("scienceqa", root=tmp_path, num_val_samples=None)


# MMBench.

COLUMNS = ["index", "question", "hint", "A", "B", "C", "D", "answer", "category", "image"]


def bench_row(index: int, **changes) -> dict:
    image = base64.b64encode(png("red") + bytes(random.Random(index).randbytes(150_000))).decode()
    row = {"index": index, "question": f'Say "{index}"?', "hint": "", "A": "None", "B": "NA", "answer": "B"}
    return {**row, "C": "", "D": "", "category": "attribute_reasoning", "image": image, **changes}


@pytest.fixture
def bench(tmp_path):
    def write(rows: list[dict], name: str = "dev.tsv") -> Path:
        with (tmp_path / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, delimiter="\t")
            writer.writeheader()
            writer.writerows(rows)
        return tmp_path / name

    return write


def test_mmbench(bench):
    rows = [bench_row(i, C="nan" if i == 2 else "", hint="Look." if i == 1 else "") for i in range(1, 7)]
    rows.append(bench_row(1_000_001))  # a rotation of row 1
    task = read_task("mmbench", annotation=bench(rows), num_val_samples=2, num_test_samples=4)
    by_id = {sample.id: sample for sample in (*task.validation, *task.test)}
    assert len(by_id) == 6 and not task.quarantined
    assert by_id["mmbench-000001"].instruction == 'Look.\nSay "1"?'
    assert by_id["mmbench-000001"].options == ("None", "NA") and by_id["mmbench-000001"].answer == "NA"
    assert by_id["mmbench-000002"].options == ("None", "NA", "nan")
    assert open_image(by_id["mmbench-000003"].image).size == (8, 8)


def test_a_row_that_names_another_ones_index_has_its_picture(bench):
    rows = [bench_row(7, image="12"), bench_row(12), bench_row(13, image=" 7 "), bench_row(14, image="1000012")]
    rows += [bench_row(1_000_012), bench_row(15), bench_row(16, image="99"), bench_row(1717, image="1717")]
    rows += [bench_row(18, image="19"), bench_row(19, image="#" * 99)]
    task = read_task("mmbench", annotation=bench(rows), num_val_samples=1, num_test_samples=4)
    image = {sample.id: sample.image for sample in (*task.validation, *task.test)}
    assert image["mmbench-000007"] == image["mmbench-000012"] == image["mmbench-000013"] != image["mmbench-000015"]
    assert open_image(image["mmbench-000014"]).size == (8, 8) and image["mmbench-000014"] != image["mmbench-000012"]
    assert [(row.id, row.reason) for row in task.quarantined] == [
        ("mmbench-16", "image missing"),
        ("mmbench-1717", "image missing"),
        ("mmbench-18", "image missing"),
        ("mmbench-19", "image broken"),
    ]
    assert "image = '99' (it names another row's index" in task.quarantined[0].detail


def test_mmbench_writes_each_picture_once(bench, tmp_path):
    path = bench([bench_row(i) for i in range(3)])
    options = {"num_val_samples": 1, "num_test_samples": 2, "image_cache": tmp_path / "cache"}
    task = read_task("mmbench", annotation=path, **options)
    written = {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").iterdir()}
    again = read_task("mmbench", annotation=path, **options)
    assert len(written) == 3 and task.digest == again.digest
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").iterdir()} == written


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"question": ""}, "no text"),
        ({"answer": "C"}, "gold not among options"),
        ({"answer": ""}, "no answer"),
        ({"B": ""}, "empty option"),
        ({"C": "", "D": "four"}, "empty option"),
        ({"image": ""}, "image missing"),
        ({"image": "#" * 200_000}, "image broken"),
        ({"index": "x"}, "no id"),
        ({"index": 1}, "duplicate id"),
    ],
)
def test_a_bad_mmbench_row_is_quarantined(bench, change, reason):
    rows = [bench_row(1), bench_row(2), bench_row(3) | change]
    task = read_task("mmbench", annotation=bench(rows), num_val_samples=1, num_test_samples=1)
    [row] = task.quarantined
    assert row.reason == reason and "dev.tsv, record 3" in row.detail and len(row.detail) < 1000


def test_a_tsv_without_answers_says_so(bench, tmp_path):
    (tmp_path / "test.tsv").write_text("index\tquestion\tA\tB\timage\n")
    with pytest.raises(ValueError, match=r"test.tsv has no column 'answer'"):
        read_task("mmbench", annotation=tmp_path / "test.tsv", num_val_samples=1, num_test_samples=1)


# COCO.


@pytest.fixture
def coco(tmp_path):
    categories = [(1, "oven", "appliance"), (2, "sink", "appliance"), (3, "toaster", "appliance"), (4, "cat", "animal")]
    tables = {
        "categories": [{"id": id, "name": name, "supercategory": group} for id, name, group in categories],
        "images": [{"id": number, "file_name": f"{number}.png"} for number in range(1, 9)],
        "annotations": [{"image_id": number, "category_id": 1 + number % 3, "area": 5.0} for number in range(1, 7)]
        + [
            {"image_id": 1, "category_id": 1, "area": 9.0},  # beside a sink of area 5: the oven is the answer
            {"image_id": 2, "category_id": 2, "area": 99.0, "iscrowd": 1},
            {"image_id": 7, "category_id": 4, "area": 9.0},  # no appliance
            {"image_id": 8, "category_id": 1, "area": 9.0},  # its file is missing
        ],
    }
    for number in range(1, 8):
        (tmp_path / f"{number}.png").write_bytes(png("red"))
    (tmp_path / "instances.json").write_text(json.dumps(tables))
    return {"annotation": tmp_path / "instances.json", "image_root": tmp_path, "supercategory": "appliance"}


def test_coco_asks_for_the_largest_and_drops_what_is_there_too(coco):
    task = read_task("coco_classification", **coco, num_val_samples=3, num_test_samples=3)
    by_id = {sample.id: sample for sample in (*task.validation, *task.test)}
    assert by_id.keys() == {f"coco-{number}" for number in range(1, 7)}
    assert (by_id["coco-1"].answer, by_id["coco-1"].options) == ("oven", ("oven", "toaster"))
    assert (by_id["coco-2"].answer, by_id["coco-2"].options) == ("toaster", ("oven", "sink", "toaster"))
    assert [(row.id, row.reason) for row in task.quarantined] == [("coco-8", "image missing")]
    kept = read_task(
        "coco_classification", **coco, drop_present_distractors=False, num_val_samples=3, num_test_samples=3
    )
    assert all(len(sample.options) == 3 for sample in kept.test)


def test_coco_names_the_supercategories_that_there_are(coco):
    with pytest.raises(ValueError, match=r"task.supercategory is 'furniture': .* has animal, appliance"):
        read_task("coco_classification", **coco | {"supercategory": "furniture"}, num_val_samples=1, num_test_samples=1)


def test_a_supercategory_of_more_categories_than_there_are_letters_is_an_error(coco):
    tables = json.loads(coco["annotation"].read_text())

    def read(count: int):
        rest = [{"id": 10 + n, "name": f"thing {n:02d}", "supercategory": "appliance"} for n in range(count - 3)]
        coco["annotation"].write_text(json.dumps(tables | {"categories": tables["categories"] + rest}))
        return read_task("coco_classification", **coco, num_val_samples=1, num_test_samples=1)

    assert len(read(26).test[0].options) in (25, 26)
    with pytest.raises(
        ValueError, match=r"supercategory is 'appliance': .*instances.json has 27 categories of it, 26 can"
    ):
        read(27)


# Caltech101.


def test_caltech101_living(tmp_path):
    for name in ("Faces", "panda", "chair", "BACKGROUND_Google", "spaceship"):
        (tmp_path / name).mkdir()
        for number in (1, 2):
            (tmp_path / name / f"image_000{number}.jpg").write_bytes(png("red"))
    task = read_task("caltech101_living", root=tmp_path, num_val_samples=2, num_test_samples=4)
    answers = {sample.source: sample.answer for sample in (*task.validation, *task.test)}
    assert answers == {"Faces": "living", "panda": "living", "chair": "non-living"}
    assert [row.reason for row in task.quarantined] == ["unknown class"] * 2


def test_caltechs_hundred_and_one_classes_are_all_told_apart():
    assert len(caltech101_living.LIVING) + len(caltech101_living.NON_LIVING) == 101
    assert not caltech101_living.LIVING & caltech101_living.NON_LIVING


# Visual7W.


@pytest.fixture
def seven(tmp_path):
    (tmp_path / "v7w_1.jpg").write_bytes(png("red"))
    pairs = [
        {
            "qa_id": n,
            "question": f"Where is it, {n}?",
            "answer": "At home.",
            "multiple_choices": ["At sea.", "NA", "None"],
            "type": "where",
        }
        for n in range(6)
    ]
    images = [
        {"filename": "v7w_1.jpg", "split": split, "qa_pairs": pairs[start : start + 3]}
        for start, split in ((0, "val"), (3, "test"))
    ] + [{"filename": "v7w_1.jpg", "split": "train", "qa_pairs": [{"qa_id": 9}]}]

    def read(**options):
        (tmp_path / "telling.json").write_text(json.dumps({"images": images}))
        sizes = {"num_val_samples": None, "num_test_samples": None}
        return read_task("visual7w", annotation=tmp_path / "telling.json", image_root=tmp_path, **sizes | options)

    return images, read


def test_visual7w(seven):
    task = seven[1]()
    assert (len(task.validation), len(task.test), task.quarantined) == (3, 3, [])
    assert all(sorted(s.options) == ["At home.", "At sea.", "NA", "None"] for s in task.test)
    assert all(s.options[s.gold] == s.answer == "At home." for s in task.test)
    assert seven[1](num_test_samples=2).test[0] in task.test  # the same order of options in a subset


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"question": ""}, "no text"),
        ({"answer": None}, "no answer"),
        ({"multiple_choices": []}, "no options"),
        ({"multiple_choices": ["at home."]}, "duplicate options"),
        ({"multiple_choices": ["x", 3]}, "not text"),
    ],
)
def test_a_bad_pair_is_quarantined(seven, change, reason):
    images, read = seven
    images[1]["qa_pairs"][0] |= change
    assert [(row.id, row.reason) for row in read().quarantined] == [("visual7w-3", reason)]


# COCO captions.


def test_captions_match_or_come_from_another_picture(tmp_path):
    captions = {number: f"A {word} on a table." for number, word in enumerate(("cat", "dog", "cup", "hat") * 10)}
    captions = {number: f"{text} No {number}" for number, text in captions.items()}
    tables = {
        "images": [{"id": number, "file_name": f"{number}.png"} for number in captions]
        + [{"id": 99, "file_name": "none.png"}],
        "annotations": [{"id": number, "image_id": number, "caption": text} for number, text in captions.items()],
    }
    for number in captions:
        (tmp_path / f"{number}.png").write_bytes(png("red"))
    (tmp_path / "captions.json").write_text(json.dumps(tables))
    task = read_task(
        "coco_caption_match",
        annotation=tmp_path / "captions.json",
        image_root=tmp_path,
        num_val_samples=20,
        num_test_samples=20,
    )
    for sample in (*task.validation, *task.test):
        own = captions[int(sample.id.removeprefix("coco-"))].rstrip(".")
        assert (f'"{own}"' in sample.instruction) == (sample.answer == "yes")
    assert {sample.answer for sample in task.test} == {"yes", "no"}
    assert [(row.id, row.reason) for row in task.quarantined] == [("coco-99", "image missing")]
