"""A pool written as Parquet is the pool that it was written from, opens without reading its texts, and says what has changed since."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
from PIL import Image
from support.command import delamo
from support.configs import column_map
from support.readers import read_pool

from delamo.data import Pool
from delamo.data.readers import parquet
from delamo.records import Sample

pytest.importorskip("pyarrow", reason="pyarrow is not installed")
SAMPLE = Path(__file__).parents[4] / "shared" / "data" / "vision_flan_sample"


@pytest.fixture
def annotation(tmp_path) -> Path:
    """1,200 records of three tasks, in no order, over four pictures; two broken rows."""
    source = tmp_path / "source"
    (source / "images").mkdir(parents=True)
    for name in ("a.png", "b.png", "caf#U00e9.png"):
        Image.new("RGB", (8, 8), name[0] + "qua" if name[0] == "a" else "blue").save(source / "images" / name)
    rows = [record(number) for number in range(1200)]
    rows += [record(1, id="gone", image="images/nowhere.png"), {"id": "empty", "conversations": []}]
    random.Random(0).shuffle(rows)
    (source / "annotation.json").write_text(json.dumps(rows))
    return source / "annotation.json"


def record(number: int, **changes) -> dict:
    image = ("images/a.png", "./images/b.png", "images/café.png", None)[number % 4]
    token = "<image>\n" if image else ""
    turns = [
        {"from": "human", "value": f"{token}None {number}\u2028?"},
        {"from": "gpt", "value": "é" * (number % 7 + 1)},
    ]
    row = {"id": f"r{number}", "task_name": ("VQA", "ITM", "other")[number % 3], "conversations": turns}
    return row | ({"image": image} if image else {}) | changes


def same(one: Pool, other: Pool) -> bool:
    ids = list(one.ids())
    drawn = random.Random(1).sample(ids, min(40, len(ids)))
    return ids == list(other.ids()) and list(one) == list(other) and all(one.get(id) == other.get(id) for id in drawn)


def converted(pool: Pool, folder: Path) -> parquet.ParquetPool:
    assert parquet.write_pool(pool, folder) == len(pool)
    return read_pool("parquet", folder=folder)


def test_the_same_pool_with_the_same_digest(annotation, tmp_path):
    pool = read_pool("llava_json", annotation=annotation)
    written = converted(pool, tmp_path / "out")
    assert len(written) == len(pool) == 1200 and same(written, pool)
    assert written.digest == pool.digest  # so that the store's results for one are found for the other
    assert list(written.quarantined) == list(pool.quarantined) and len(written.quarantined) == 2
    assert isinstance(written, Pool)


def test_held_out_tasks_leave_the_pool_that_vision_flan_s_reader_leaves(annotation, tmp_path):
    parquet.write_pool(read_pool("vision_flan", annotation=annotation, exclude_tasks=[]), tmp_path / "out")
    for excluded in (["VQA"], ["VQA", None, "other"], ["unknown"], []):
        pool = read_pool("vision_flan", annotation=annotation, exclude_tasks=excluded)
        written = read_pool("parquet", folder=tmp_path / "out", exclude_tasks=excluded)
        assert same(written, pool) and written.digest == pool.digest and written.held_out == pool.held_out
    with pytest.raises(ValueError, match="leaves no sample"):
        read_pool("parquet", folder=tmp_path / "out", exclude_tasks=["VQA", "ITM", "other"])


def test_a_folder_that_is_a_link_makes_no_other_pool(annotation, tmp_path):
    """The record's name leads through the link, the path that is written does not."""
    (annotation.parent / "images").rename(annotation.parent / "store")
    (annotation.parent / "images").symlink_to("store")
    pool = read_pool("vision_flan", annotation=annotation, exclude_tasks=[])
    with pytest.warns(UserWarning, match=r"have other names than in its records.*pool\.exclude_tasks"):
        written = converted(pool, tmp_path / "out")
    assert written.digest == pool.digest and same(written, pool)
    other = read_pool("vision_flan", annotation=annotation, exclude_tasks=["VQA"])
    written = read_pool("parquet", folder=tmp_path / "out", exclude_tasks=["VQA", "unknown"])
    assert same(written, other) and written.digest not in (pool.digest, other.digest)
    assert read_pool("parquet", folder=tmp_path / "out", exclude_tasks=["unknown"]).digest == pool.digest


@pytest.mark.filterwarnings("error:the pictures of")
def test_pictures_inside_a_table_make_no_other_pool(annotation, tmp_path):
    datasets = pytest.importorskip("datasets", reason="`datasets` is not installed")
    rows = {
        "question": ["What?", "Who?"],
        "answer": ["a sink", "nobody"],
        "image": [str(annotation.parent / "images" / "a.png")] * 2,
    }
    datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image()).save_to_disk(tmp_path / "table")
    columns = column_map(instruction="question", answer="answer", image="image")
    pool = read_pool("hf_dataset", path=str(tmp_path / "table"), columns=columns)
    written = converted(pool, tmp_path / "out")  # of one source: no tasks to leave out, nothing to warn of
    assert len(written) == 2 and written.digest == pool.digest and same(written, pool)


@pytest.mark.filterwarnings("ignore:the pictures of")
def test_rendered_pictures_stay_addresses(tmp_path):
    pool = read_pool("micro", size=30, surface_overlap=0.5, seed=0)
    written = converted(pool, tmp_path / "out")
    assert same(written, pool) and written.digest == pool.digest


@pytest.mark.filterwarnings("error")
def test_plain_files_need_no_warning(annotation, tmp_path):
    converted(read_pool("vision_flan", annotation=annotation, exclude_tasks=[]), tmp_path / "out")


def test_real_records(tmp_path):
    if not SAMPLE.is_dir():
        pytest.skip(f"{SAMPLE} is not there")
    pool = read_pool("vision_flan", annotation=SAMPLE / "annotation.json", exclude_tasks=[])
    written = converted(pool, tmp_path / "out")
    assert len(written) == 204 and same(written, pool) and written.digest == pool.digest


def test_pictures_may_move_but_not_change(annotation, tmp_path):
    parquet.write_pool(read_pool("llava_json", annotation=annotation), tmp_path / "out")
    moved = tmp_path / "moved"
    shutil.move(annotation.parent, moved)
    with pytest.raises(NotADirectoryError, match=r"pool\.image_root"):
        read_pool("parquet", folder=tmp_path / "out")
    pool = read_pool("parquet", folder=tmp_path / "out", image_root=moved)
    assert pool.get("r0").image == str(moved.resolve() / "images" / "a.png")
    (moved / "images" / "a.png").write_bytes(b"another")
    with pytest.raises(RuntimeError, match="convert again"):
        pool.get("r0")
    (moved / "images" / "b.png").unlink()
    with pytest.raises(RuntimeError, match="has gone since"):
        pool.get("r1")
    assert pool.get("r3").image is None


def test_a_name_that_leads_out_of_the_root_is_refused(annotation, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    parquet.write_pool(read_pool("llava_json", annotation=annotation), tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / parquet.SAMPLES)
    (tmp_path / "secret.png").write_bytes(b"x")
    names = pa.array(["../secret.png"] * len(table), pa.string())
    table = table.set_column(table.schema.get_field_index("image"), "image", names)
    pq.write_table(table, tmp_path / "out" / parquet.SAMPLES, row_group_size=parquet.GROUP_SIZE)
    with pytest.raises(RuntimeError, match="image outside root"):
        read_pool("parquet", folder=tmp_path / "out").get("r0")


def test_damage_is_noticed(annotation, tmp_path):
    out = tmp_path / "out"
    parquet.write_pool(read_pool("llava_json", annotation=annotation), out)
    whole = (out / parquet.SAMPLES).read_bytes()
    middle = len(whole) // 2
    (out / parquet.SAMPLES).write_bytes(whole[:middle] + bytes(64) + whole[middle + 64 :])
    with pytest.raises(RuntimeError, match=r"samples\.parquet is damaged"):
        list(read_pool("parquet", folder=out))
    (out / parquet.SAMPLES).write_bytes(whole[:middle])
    with pytest.raises(ValueError, match=r"samples\.parquet is damaged or cut off"):
        read_pool("parquet", folder=out)


class Shuffled:
    """A pool that is not in order."""

    name, digest, quarantined = "shuffled", "d", ()

    def __init__(self, *ids):
        self._ids = ids

    def __len__(self):
        return len(self._ids)

    def __iter__(self):
        return (Sample(id=id, instruction="?", answer="!") for id in self._ids)


def test_what_cannot_be_written_or_read_is_said(tmp_path):
    with pytest.raises(ValueError, match="do not ascend"):
        parquet.write_pool(Shuffled("b", "a"), tmp_path / "one")
    with pytest.raises(FileNotFoundError, match=r"delamo convert"):
        read_pool("parquet", folder=tmp_path / "one")  # half written: no pool
    with pytest.raises(ValueError, match="not empty"):
        parquet.write_pool(Shuffled("a", "b"), tmp_path / "one")
    parquet.write_pool(Shuffled("a", "b"), tmp_path / "two")
    with pytest.raises(KeyError, match="'c'"):
        read_pool("parquet", folder=tmp_path / "two").get("c")
    described = json.loads((tmp_path / "two" / parquet.POOL).read_text())
    (tmp_path / "two" / parquet.POOL).write_text(json.dumps(described | {"format_version": 99}))
    with pytest.raises(ValueError, match="format_version 99"):
        read_pool("parquet", folder=tmp_path / "two")


def test_the_commands(annotation, tmp_path):
    done = delamo("convert", "pool=llava_json", f"pool.annotation={annotation}", "out=out", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout == "out: 1200 samples\n", done.stderr
    done = delamo("check", "pool=parquet", "pool.folder=out", "max_samples=8", cwd=tmp_path)
    assert "1,202 rows read: 1,200 can be used, 2 quarantined." in done.stdout, done.stderr
