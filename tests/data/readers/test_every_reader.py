"""What every reader of a pool or a task owes its callers, on generated files of its own format with broken rows among the good ones.

A format that is declared (`add_pool`, `add_task`) without a case here fails the first test.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.configs import column_map
from support.readers import read_pool, read_task

from delamo.config.registry import SCHEMAS
from delamo.data import POOLS, TASKS, Pool
from delamo.data.readers.parquet import write_pool
from delamo.records import Quarantined, Sample

NUM_GOOD = 8


@dataclass(frozen=True)
class Case:
    """One reader and a source that it reads."""

    write: Callable[[Path], dict[str, Any]]
    """Write the source below a folder; returns fields of the config."""
    read: Callable[..., Any]
    num_broken: int = 0
    """Of NUM_GOOD + num_broken rows."""
    changed: tuple[str, bytes, bytes] = ("", b"", b"")
    """A file below the folder, and one byte's worth of change to it."""
    other: dict[str, Any] | None = None
    """Where there is no file: arguments that stand for another content."""


def png(folder: Path, name: str = "a.png") -> str:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), "red").save(folder / name)
    return name


def turns(question: str, answer: str) -> list[dict]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


def llava_rows(folder: Path, prefix: str = "r", **more) -> list[dict]:
    """Good rows in descending order, then one broken in each way."""
    image = png(folder)
    text = "<image>\nWhat is number {}?\nOptions: (a) a pear (b) a plum"
    good = [
        {"id": f"{prefix}{i}", "image": image, "conversations": turns(text.format(i), "(a) a pear"), **more}
        for i in reversed(range(NUM_GOOD))
    ]
    bad = [
        good[0] | {"id": f"{prefix}90", "image": "none.png"},
        good[0] | {"id": f"{prefix}91", "conversations": turns(" ", "x")},
        good[0] | {"id": f"{prefix}92", "conversations": "turns"},
    ]
    return good[:4] + bad + good[4:]


def llava_file(folder: Path, name: str = "a.json", prefix: str = "r", **more) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(llava_rows(folder, prefix, **more)))
    return folder / name


def write_llava_pool(folder: Path) -> dict:
    return {"annotation": llava_file(folder)}


def write_llava_task(folder: Path) -> dict:
    rows = llava_rows(folder)
    for name, part in (("v.json", rows[:4]), ("t.json", rows[4:])):
        (folder / name).write_text(json.dumps(part))
    return {"validation": folder / "v.json", "test": folder / "t.json"}


def write_flan_pool(folder: Path) -> dict:
    return {"annotation": llava_file(folder, task_name="fruit"), "exclude_tasks": [None]}


def write_flan_task(folder: Path) -> dict:
    return {"annotation": llava_file(folder, task_name="fruit"), "task_name": "fruit", **HALVES}


HALVES = {"num_val_samples": NUM_GOOD // 2, "num_test_samples": NUM_GOOD // 2}


def write_parquet(folder: Path) -> dict:
    pool = read_pool("llava_json", annotation=llava_file(folder / "source"))
    shutil.rmtree(folder / "pool", ignore_errors=True)
    write_pool(pool, folder / "pool")
    return {"folder": folder / "pool"}


def write_hf(folder: Path) -> dict:
    image = png(folder)
    rows = [
        {"key": f"r{i}", "q": f"What is number {i}?", "options": ["pear", "plum"], "gold": i % 2, "image": image}
        for i in reversed(range(NUM_GOOD))
    ]
    bad = [{"key": "r90", "q": ""}, {"key": "r91", "gold": 7}, {"key": "r92", "image": "none.png"}, {"key": "r3"}]
    rows = [*rows[:4], *(rows[0] | one for one in bad[:3]), *rows[4:], rows[0] | bad[3]]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    columns = column_map(id="key", instruction="q", options="options", gold="gold", image="image")
    return {"path": str(folder / "rows.jsonl"), "columns": columns, "cache_dir": folder / "cache"}


def write_hf_task(folder: Path) -> dict:
    return write_hf(folder) | {"validation_split": "all", "test_split": "all", **HALVES}


def write_scienceqa(folder: Path) -> dict:
    problems, splits = {}, {"val": [], "test": []}
    for pid in range(NUM_GOOD + 3):
        split = "val" if pid % 2 else "test"
        png(folder, f"images/{split}/{pid}/image.png")
        problems[str(pid)] = {
            "question": f"What is number {pid}?",
            "choices": ["a", "b"],
            "answer": 0,
            "image": "image.png",
        }
        splits[split].append(str(pid))
    problems["0"]["answer"] = 2
    problems["1"]["choices"] = ["a"]
    (folder / "images/test/2/image.png").unlink()
    splits["val"].append("5")
    (folder / "problems.json").write_text(json.dumps(problems))
    (folder / "pid_splits.json").write_text(json.dumps(splits))
    return {"root": folder, "num_val_samples": None}


def write_mmbench(folder: Path) -> dict:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(out, "PNG")
    image = base64.b64encode(out.getvalue()).decode()
    rows = [[i, f"What is number {i}?", "None", "NA", "A", image] for i in range(NUM_GOOD)]
    rows += [
        [90, "", "a", "b", "A", image],
        [91, "?", "a", "b", "C", image],
        [3, "?", "a", "b", "A", image],
        [92, "?", "a", "b", "A", "%"],
    ]
    with (folder / "dev.tsv").open("w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows([["index", "question", "A", "B", "answer", "image"], *rows])
    return {"annotation": folder / "dev.tsv", **HALVES}


def write_coco(folder: Path) -> dict:
    tables = {
        "categories": [{"id": i, "name": name, "supercategory": "fruit"} for i, name in enumerate(("pear", "plum"))],
        "images": [{"id": i, "file_name": png(folder, f"{i}.png")} for i in range(NUM_GOOD)]
        + [{"id": 90, "file_name": "none.png"}, {"id": 91}, {"id": 3, "file_name": "3.png"}],
        "annotations": [{"image_id": i, "category_id": i % 2, "area": 5.0} for i in (*range(NUM_GOOD), 90, 91)],
    }
    (folder / "instances.json").write_text(json.dumps(tables))
    return {"annotation": folder / "instances.json", "image_root": folder, "supercategory": "fruit", **HALVES}


def write_captions(folder: Path) -> dict:
    tables = {
        "images": [{"id": i, "file_name": png(folder, f"{i}.png")} for i in range(NUM_GOOD)]
        + [{"id": 90, "file_name": "none.png"}, {"id": 91, "file_name": "0.png"}, {"id": 3, "file_name": "3.png"}],
        "annotations": [{"id": i, "image_id": i, "caption": f"Pear number {i}"} for i in range(NUM_GOOD)],
    }
    (folder / "captions.json").write_text(json.dumps(tables))
    return {"annotation": folder / "captions.json", "image_root": folder, **HALVES}


def write_caltech(folder: Path) -> dict:
    for group in ("panda", "chair"):
        for number in range(NUM_GOOD // 2):
            png(folder, f"{group}/image_{number:04d}.png")
    png(folder, "spaceship/image_0000.png")
    shutil.copy(folder / "panda/image_0000.png", folder / "panda/image_0000.jpg")  # another picture of the same name
    return {"root": folder, **HALVES}


def write_visual7w(folder: Path) -> dict:
    image = png(folder)

    def pair(i: int, **changes) -> dict:
        return {
            "qa_id": i,
            "question": f"What is number {i}?",
            "answer": "a",
            "multiple_choices": ["b", "c"],
            **changes,
        }

    half = NUM_GOOD // 2
    val = [*map(pair, range(half)), pair(90, question=""), pair(91, multiple_choices=[])]
    test = [*map(pair, range(half, NUM_GOOD)), pair(92, answer=None), pair(half)]
    images = [{"filename": image, "split": s, "qa_pairs": pairs} for s, pairs in (("val", val), ("test", test))]
    (folder / "telling.json").write_text(json.dumps({"images": images}))
    return {
        "annotation": folder / "telling.json",
        "image_root": folder,
        "num_val_samples": None,
        "num_test_samples": None,
    }


def write_nlvr(folder: Path) -> dict:
    def row(split: str, i: int, **changes) -> dict:
        png(folder, f"{split}/images/1/{split}-{i}-0.png")
        return {"sentence": f"There are {i}.", "label": "true", "identifier": f"{i}-0", "directory": "1", **changes}

    for split, numbers in (("dev", range(NUM_GOOD // 2)), ("test", range(NUM_GOOD // 2, NUM_GOOD))):
        for i in numbers:
            png(folder, f"{split}/images/1/{split}-{i}-0-0.png")
        rows = [row(split, i) for i in numbers] + [row(split, numbers[0], label="maybe", identifier="90-0")]
        lines = [*map(json.dumps, rows), "{", json.dumps(rows[0])]
        (folder / split / f"{split}.json").write_text("\n".join(lines))
    return {"root": folder}


MICRO_POOL = {"size": NUM_GOOD, "surface_overlap": 0.5, "seed": 0}
MICRO_TASK = {"target": "objects", "seed": 0, **HALVES}
SEVEN = b"number 7?", b"number 9?"

POOL_CASES = {
    "micro": Case(lambda folder: MICRO_POOL, partial(read_pool, "micro"), other={"seed": 1}),
    "llava_json": Case(write_llava_pool, partial(read_pool, "llava_json"), 3, ("a.json", *SEVEN)),
    "vision_flan": Case(write_flan_pool, partial(read_pool, "vision_flan"), 3, ("a.json", *SEVEN)),
    "parquet": Case(write_parquet, partial(read_pool, "parquet"), 3, ("source/a.json", *SEVEN)),
    "hf_dataset": Case(write_hf, partial(read_pool, "hf_dataset"), 4, ("rows.jsonl", *SEVEN)),
}
TASK_CASES = {
    "micro": Case(lambda folder: MICRO_TASK, partial(read_task, "micro"), other={"seed": 1}),
    "llava_json": Case(write_llava_task, partial(read_task, "llava_json"), 3, ("v.json", *SEVEN)),
    "vision_flan": Case(write_flan_task, partial(read_task, "vision_flan"), 3, ("a.json", *SEVEN)),
    "scienceqa": Case(write_scienceqa, partial(read_task, "scienceqa"), 4, ("problems.json", *SEVEN)),
    "mmbench": Case(write_mmbench, partial(read_task, "mmbench"), 4, ("dev.tsv", *SEVEN)),
    "coco_classification": Case(
        write_coco, partial(read_task, "coco_classification"), 3, ("instances.json", b"plum", b"plug")
    ),
    "coco_caption_match": Case(
        write_captions,
        partial(read_task, "coco_caption_match"),
        3,
        ("captions.json", b"Pear number 2", b"Bear number 2"),
    ),
    "caltech101_living": Case(
        write_caltech, partial(read_task, "caltech101_living"), 2, ("chair/image_0001.png", b"", b"\0")
    ),
    "visual7w": Case(write_visual7w, partial(read_task, "visual7w"), 4, ("telling.json", *SEVEN)),
    "nlvr": Case(write_nlvr, partial(read_task, "nlvr"), 6, ("test/test.json", b"There are 7.", b"There are 9.")),
    "hf_dataset": Case(write_hf_task, partial(read_task, "hf_dataset"), 4, ("rows.jsonl", *SEVEN)),
}
pools = pytest.mark.parametrize("case", POOL_CASES.values(), ids=POOL_CASES)
tasks = pytest.mark.parametrize("case", TASK_CASES.values(), ids=TASK_CASES)


@pytest.fixture(autouse=True, scope="module")
def quiet() -> None:
    pytest.importorskip("datasets").disable_progress_bars()


def change_a_byte(case: Case, folder: Path) -> None:
    name, old, new = case.changed
    content = (folder / name).read_bytes()
    after = content.replace(old, new) if old else content + new
    differing = sum(a != b for a, b in zip(content, after, strict=False)) + len(after) - len(content)
    assert differing == content.count(old) if old else differing == 1, "the case changes more than it says"
    (folder / name).write_bytes(after)


def reopened(case: Case, folder: Path, given: dict[str, Any]) -> Any:
    """The same source after the change."""
    if case.other is not None:
        return case.read(**given | case.other)
    change_a_byte(case, folder)
    if case is POOL_CASES["parquet"]:  # a copy: it changes when it is made anew
        shutil.rmtree(folder / "pool")
        write_pool(read_pool("llava_json", annotation=folder / "source" / "a.json"), folder / "pool")
    return case.read(**given)


def test_every_reader_has_a_case():
    for group, readers, cases in (("pool", POOLS, POOL_CASES), ("task", TASKS, TASK_CASES)):
        assert {name for name, schema in SCHEMAS.items() if schema in readers} == {f"{group}/{name}" for name in cases}


@pools
def test_a_pool_is_lazy_and_agrees_with_itself(case, tmp_path):
    pool = case.read(**case.write(tmp_path))
    assert isinstance(pool, Pool) and isinstance(iter(pool), Iterator)
    ids = list(pool.ids())
    assert len(pool) == len(ids) == NUM_GOOD and ids == sorted(set(ids))
    walked = list(pool)
    assert [s.id for s in walked] == ids and all(isinstance(s, Sample) for s in walked)
    assert [pool.get(id) for id in reversed(ids)] == walked[::-1] == list(pool)[::-1]
    with pytest.raises(KeyError):
        pool.get("no such id")


@pools
def test_a_pools_sample_can_be_trained_on(case, tmp_path):
    for sample in case.read(**case.write(tmp_path)):
        assert sample.instruction.strip() and sample.answer.strip() and "<image>" not in sample.instruction
        assert (sample.options, sample.gold) == ((), None)
        assert sample.image and (Path(sample.image).is_file() or ":" in sample.image)


@tasks
def test_a_task_is_ordered_and_its_parts_are_disjoint(case, tmp_path):
    task = case.read(**case.write(tmp_path))
    parts = [[sample.id for sample in part] for part in (task.validation, task.test)]
    assert all(part and part == sorted(set(part)) for part in parts)
    assert not set(parts[0]) & set(parts[1])
    asked = [{(s.instruction, s.options, s.image) for s in part} for part in (task.validation, task.test)]
    assert not asked[0] & asked[1]


@tasks
def test_a_tasks_gold_answer_is_among_its_options(case, tmp_path):
    task = case.read(**case.write(tmp_path))
    for sample in (*task.validation, *task.test):
        assert sample.instruction.strip() and len(sample.options) >= 2
        assert sample.options[sample.gold] == sample.answer


@pools
def test_no_row_of_a_pool_is_lost(case, tmp_path):
    pool = case.read(**case.write(tmp_path))
    assert (len(pool), len(pool.quarantined)) == (NUM_GOOD, case.num_broken)
    check_quarantine(pool.quarantined, "pool")


@tasks
def test_no_row_of_a_task_is_lost(case, tmp_path):
    task = case.read(**case.write(tmp_path))
    assert (len(task.validation) + len(task.test), len(task.quarantined)) == (NUM_GOOD, case.num_broken)
    check_quarantine(task.quarantined, "task")


@pytest.mark.parametrize("name", [name for name in TASK_CASES if name != "micro"])
def test_a_task_of_which_nothing_can_be_used_says_why(name, tmp_path):
    given = TASK_CASES[name].write(tmp_path)
    spoil(tmp_path)
    with pytest.raises(
        ValueError, match=r"(?s)\d quarantined, the first: \S.*: (image missing|image broken|unknown class|no options)"
    ):
        TASK_CASES[name].read(**given)


def spoil(folder: Path) -> None:
    """No picture can be used any more; those of class folders are of no class that is known."""
    groups = [folder / name for name in ("chair", "panda") if (folder / name).is_dir()]
    for group in groups:
        group.rename(folder / f"no-{group.name}")
    for picture in [] if groups else folder.rglob("*.png"):
        picture.unlink()
    for table in folder.glob("*.tsv"):
        table.write_bytes(table.read_bytes().replace(b"\tiVBOR", b"\t%"))


@pytest.mark.parametrize("case", [*POOL_CASES.values(), *TASK_CASES.values()], ids=[*POOL_CASES, *TASK_CASES])
def test_a_byte_order_mark_changes_nothing(case, tmp_path):
    given = case.write(tmp_path)
    first = case.read(**given)
    for file in (file for ending in ("json", "jsonl", "tsv") for file in tmp_path.glob(f"**/*.{ending}")):
        if file.relative_to(tmp_path).parts[0] not in ("pool", "cache"):  # those this program and `datasets` wrote
            file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert case.read(**given).digest == first.digest


def check_quarantine(rows: Any, stage: str) -> None:
    for row in rows:
        assert isinstance(row, Quarantined) and row.stage == stage
        assert row.id and row.reason and len(row.reason) < 40 and len(row.detail) > len(row.reason)


@pytest.mark.parametrize("case", [*POOL_CASES.values(), *TASK_CASES.values()], ids=[*POOL_CASES, *TASK_CASES])
def test_identity_is_the_contents(case, tmp_path):
    given = case.write(tmp_path)
    first, again = case.read(**given), case.read(**given)
    assert first.digest == again.digest and len(first.digest) == 64
    assert reopened(case, tmp_path, given).digest != first.digest
