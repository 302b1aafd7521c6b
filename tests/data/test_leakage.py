"""The audit finds every pool sample that meets a target sample, says how, and takes nothing else for one."""

from __future__ import annotations

import dataclasses
import io
import json
import random
import shutil

import numpy as np
import pytest
from PIL import Image, ImageDraw
from support.readers import read_pool, read_task

from delamo.data.candidates import Candidates
from delamo.data.leakage import dhash, find_leaks, fingerprints, removed_ids, words_of
from delamo.experiment.experiment import open_experiment
from delamo.pipeline import find_candidates, plan_audit
from delamo.records import Sample


class Listed:
    """A pool of given samples."""

    name, digest, quarantined = "listed", "d", ()

    def __init__(self, samples):
        self.by_id = {sample.id: sample for sample in sorted(samples, key=lambda sample: sample.id)}

    def __len__(self):
        return len(self.by_id)

    def __iter__(self):
        return iter(self.by_id.values())

    def get(self, id):
        return self.by_id[id]

    def ids(self):
        return list(self.by_id)


def audit(pool, test, validation=(), **options):
    near = options.get("perceptual_distance") is not None
    return find_leaks(
        pool, fingerprints(pool, len(pool), near=near), {"validation": validation, "test": test}, **options
    )


def sample(id, image=None, text="What is it?", answer="a sink"):
    return Sample(id=id, instruction=text, answer=answer, image=str(image) if image else None)


def photo(seed: int) -> Image.Image:
    """Blobs of light, so that recompressed copies are alike and others are not."""
    rng = random.Random(seed)
    picture = Image.new("RGB", (96, 96), tuple(rng.randrange(256) for _ in range(3)))
    draw = ImageDraw.Draw(picture)
    for _ in range(12):
        x, y, r = rng.randrange(96), rng.randrange(96), rng.randrange(8, 40)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=tuple(rng.randrange(256) for _ in range(3)))
    return picture


def test_planted_copies_in_the_microworld_are_all_found_and_chance_is_counted_apart():
    """Every planted copy is found; scenes that are equal by chance are listed, and not taken for copies."""
    task = read_task("micro", target="objects", num_val_samples=200, num_test_samples=300, seed=0)
    planted = [
        dataclasses.replace(row, id=f"planted-{row.id}", instruction="In other words?", options=(), gold=None)
        for row in (*task.validation[:10], *task.test[:15])
    ]
    pool = Listed([*read_pool("micro", size=6000, surface_overlap=0.5, seed=0), *planted])
    leaks = audit(pool, task.test, task.validation)
    copies = {leak.pool_id for leak in leaks if leak.kind == "picture"}
    chance = [leak for leak in leaks if leak.kind == "equal scene"]
    assert copies == {row.id for row in planted} == removed_ids(leaks)
    assert {leak.split for leak in leaks if leak.kind == "picture"} == {"validation", "test"}
    assert 0 < len(chance) < 10 and not any(leak.pool_id in copies for leak in chance)


def test_the_same_bytes_under_another_name(tmp_path):
    photo(1).save(tmp_path / "a.png")
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    photo(2).save(tmp_path / "c.png")
    pool = Listed([sample("p1", tmp_path / "b.png"), sample("p2", tmp_path / "c.png")])
    [leak] = audit(pool, [sample("t1", tmp_path / "a.png", text="Other?")])
    assert (leak.pool_id, leak.sample_id, leak.split, leak.kind, leak.distance) == ("p1", "t1", "test", "picture", 0)


def test_files_of_one_size_are_compared_by_their_bytes(tmp_path):
    (tmp_path / "a.png").write_bytes(b"1234")
    (tmp_path / "b.png").write_bytes(b"1235")
    assert audit(Listed([sample("p", tmp_path / "b.png")]), [sample("t", tmp_path / "a.png", text="Other?")]) == []


def test_the_same_photograph_recompressed_has_its_name(tmp_path):
    (tmp_path / "pool").mkdir()
    photo(1).save(tmp_path / "COCO_train2014_000000162419.png")
    photo(1).save(tmp_path / "pool" / "coco_train2014_000000162419.jpg")
    pool = Listed([sample("p", tmp_path / "pool" / "coco_train2014_000000162419.jpg")])
    leaks = audit(pool, [sample("t", tmp_path / "COCO_train2014_000000162419.png", text="Other?")])
    assert [leak.kind for leak in leaks] == ["picture name"]


@pytest.mark.parametrize(
    ("ours", "theirs", "meet"),
    [
        ("LOC_NARRATIVES+coco_caption_646_000000010449.jpg", "COCO_val2014_000000010449.jpg", True),
        ("task_3_000000010449.jpg", "000000010449.png", True),
        ("task_3_000000010449.jpg", "000000010448.png", False),
        ("Caltech_image_0042.jpg", "caltech_image_0042.png", True),
        ("image.png", "image.jpg", False),  # ScienceQA names every picture so
        ("12.png", "12.jpg", False),
    ],
)
def test_a_name_counts_where_it_is_a_picture_s_own(tmp_path, ours, theirs, meet):
    for folder, name, seed in (("pool", ours, 1), ("task", theirs, 2)):
        (tmp_path / folder).mkdir()
        photo(seed).save(tmp_path / folder / name)
    leaks = audit(Listed([sample("p", tmp_path / "pool" / ours)]), [sample("t", tmp_path / "task" / theirs, "Other?")])
    assert [leak.kind for leak in leaks] == (["picture name"] if meet else [])


def test_a_name_that_many_pictures_of_the_target_have_says_nothing(tmp_path):
    for folder in ("pool", "a", "b"):
        (tmp_path / folder).mkdir()
        photo(ord(folder[0])).save(tmp_path / folder / "frame_0001.png")
    target = [sample(folder, tmp_path / folder / "frame_0001.png", f"{folder}?") for folder in ("a", "b")]
    pool = Listed([sample("p", tmp_path / "pool" / "frame_0001.png")])
    assert audit(pool, target) == []
    assert [leak.kind for leak in audit(pool, target[:1])] == ["picture name"]


@pytest.mark.parametrize("suffix", ["png", "bmp"])  # sizes tell pictures apart, or only their bytes do
@pytest.mark.parametrize(
    ("name", "num_folders", "found"),
    [("frame_0001", 3, 3), ("frame_0001", 4, 0), ("COCO_val2014_000000010449", 6, 6)],
)
def test_a_running_name_that_many_pictures_of_the_pool_have_says_nothing(tmp_path, suffix, name, num_folders, found):
    """A photograph has one number in every data set; a frame of one video is not that of another."""
    rows = []
    for number in range(num_folders):
        (tmp_path / f"video{number}").mkdir()
        photo(number).save(tmp_path / f"video{number}" / f"{name}.{suffix}")
        rows += [sample(f"p{number}-{i}", tmp_path / f"video{number}" / f"{name}.{suffix}", f"{i}?") for i in range(2)]
    photo(99).save(tmp_path / f"{name}.jpg")
    leaks = audit(Listed(rows), [sample("t", tmp_path / f"{name}.jpg", "Other?")])
    assert [leak.kind for leak in leaks] == ["picture name"] * found * 2


def test_copies_of_one_picture_are_one_picture_however_many_folders_hold_them(tmp_path):
    for number in range(6):
        (tmp_path / f"set{number}").mkdir()
        photo(1).save(tmp_path / f"set{number}" / "caltech_image_0042.png")
    photo(1).save(tmp_path / "caltech_image_0042.jpg")
    pool = Listed([sample(f"p{i}", tmp_path / f"set{i}" / "caltech_image_0042.png") for i in range(6)])
    leaks = audit(pool, [sample("t", tmp_path / "caltech_image_0042.jpg", "Other?")])
    assert [leak.kind for leak in leaks] == ["picture name"] * 6


def test_near_pictures(tmp_path):
    for seed in range(30):
        photo(seed).save(tmp_path / f"{seed}.png")
        out = io.BytesIO()
        photo(seed).resize((70, 70)).save(out, "JPEG", quality=70)
        (tmp_path / f"copy-of-{seed}.jpg").write_bytes(out.getvalue())
    pool = Listed(sample(f"p{seed:02}", tmp_path / f"copy-of-{seed}.jpg") for seed in range(30))
    leaks = audit(pool, [sample("t7", tmp_path / "7.png"), sample("t8", tmp_path / "8.png")], perceptual_distance=6)
    assert {(leak.pool_id, leak.sample_id, leak.kind) for leak in leaks} == {
        ("p07", "t7", "near picture"),
        ("p08", "t8", "near picture"),
    }
    assert audit(pool, [sample("t7", tmp_path / "7.png")]) == []  # not asked for


def test_a_broken_picture_is_near_to_nothing(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(name.encode() * 9)
    assert dhash(str(tmp_path / "a.png")) == 0
    pool = Listed([sample("p", tmp_path / "a.png")])
    assert audit(pool, [sample("t", tmp_path / "b.png")], perceptual_distance=64) == []


LONG = (
    "A farmer has twelve sheep and sells all but five of them at the market on a rainy day in May. How many are left?"
)


def test_texts_meet_whatever_their_layout(tmp_path):
    photo(1).save(tmp_path / "a.png")
    photo(2).save(tmp_path / "bb.png")
    inline = sample("p", tmp_path / "a.png", text=f"{LONG}\nOptions: (a) five (b) seven", answer="(a) five")
    asked = Sample(
        id="t", instruction=LONG, options=("five", "seven"), gold=0, answer="five", image=str(tmp_path / "bb.png")
    )
    assert words_of(inline) == words_of(asked)
    assert [leak.kind for leak in audit(Listed([inline]), [asked])] == ["text"]
    assert audit(Listed([inline]), [asked], text_min_words=None) == []


def test_short_texts_of_a_template_meet_only_without_pictures(tmp_path):
    photo(1).save(tmp_path / "a.png")
    photo(2).save(tmp_path / "bb.png")
    assert audit(Listed([sample("p", tmp_path / "a.png")]), [sample("t", tmp_path / "bb.png")]) == []
    assert [leak.kind for leak in audit(Listed([sample("p")]), [sample("t")])] == ["text"]


def test_what_was_removed_is_no_candidate():
    pool = Listed([sample(f"p{i}") for i in range(5)])
    left = Candidates(pool, frozenset({"p1", "p4"}))
    assert list(left.ids()) == ["p0", "p2", "p3"] == [row.id for row in left] and len(left) == 3
    assert left.get("p2") == pool.get("p2") and left.digest != Candidates(pool, frozenset({"p1"})).digest
    with pytest.raises(KeyError, match="was removed"):
        left.get("p1")


def test_fingerprints_are_kept_as_they_are(tmp_path):
    pool = Listed([sample(f"p{i}", text=f"What is {i}?") for i in range(5)])
    made = fingerprints(pool, len(pool), near=False)
    made.save(tmp_path)
    read = type(made).load(tmp_path)
    assert all(np.array_equal(getattr(made, name), getattr(read, name)) for name in made.__slots__)
    assert len(set(made.texts.tolist())) == 5 and not made.names.any() and not len(made.near)


def left(experiment):
    """The pool as the audit left it."""
    return find_candidates(experiment, plan_audit(experiment))


def test_a_budget_above_what_is_left_is_an_error_before_anything_is_asked(tmp_path, experiment_config):
    def write(name, *ids):
        turns = lambda id: [{"from": "human", "value": f"What is {id}?"}, {"from": "gpt", "value": "a sink"}]
        path = tmp_path / name
        path.write_text(json.dumps([{"id": id, "conversations": turns(id)} for id in ids]))
        return path

    data = ("task=llava_json", f"task.validation={write('v.json', 'v')}", f"task.test={write('t.json', 't')}")
    data += ("pool=llava_json", f"pool.annotation={write('p.json', 'a', 'b', 't')}", f"paths.store={tmp_path}/store")
    cell = open_experiment(experiment_config(*data, "budget=custom", "budget.num_samples=3"))
    said = r"is 3, the pool has 2 since 1 of its samples meet the task's \(1 by text; see .*leaks\.jsonl\): choose at most 2, or audit=none"
    with pytest.raises(ValueError, match=said):
        left(cell)
    cell = open_experiment(experiment_config(*data, "budget=custom", "budget.num_samples=2"))
    assert list(left(cell).ids()) == ["a", "b"]
    data = [choice for choice in data if not choice.startswith("pool.annotation")]
    for choices in (("budget=custom", "budget.num_samples=1"), ("selector=full_data",)):
        cell = open_experiment(experiment_config(*data, f"pool.annotation={write('q.json', 't')}", *choices))
        with pytest.raises(
            ValueError, match=r"the pool has 0 since .*\(1 by text; .*\): choose audit=none if they are no copies"
        ):
            left(cell)


def test_leaks_that_the_pool_plants_are_all_found_and_none_besides():
    """Scenes that are equal by chance are counted apart: 31 of the default 50,000 for this target and its default seed."""
    task = read_task("micro", target="surfaces", num_val_samples=30, num_test_samples=30, seed=2)
    clean = read_pool("micro", size=400, surface_overlap=0.5, seed=0)
    how = {"size": 400, "surface_overlap": 0.5, "seed": 0}
    pool = read_pool("micro", **how, planted_leaks=25, planted_target="surfaces", planted_seed=2)
    assert len(pool) == 425 and list(pool)[:400] == list(clean) and pool.digest != clean.digest
    assert read_pool("micro", **how, planted_target="surfaces", planted_seed=2).digest == clean.digest
    assert removed_ids(audit(pool, task.test, task.validation)) == set(pool.ids()[400:])
    assert removed_ids(audit(clean, task.test, task.validation)) == set()
    assert pool.get("pool-0000424").instruction.startswith(task.validation[12].instruction)


def test_leaks_are_planted_for_the_task_at_hand(experiment_config, tmp_path):
    small = ("pool.size=30", "task.num_val_samples=4", "task.num_test_samples=4", "budget=custom")
    options = (*small, "budget.num_samples=30", "pool.planted_leaks=6", f"paths.store={tmp_path}/store")
    cell = open_experiment(experiment_config("task=micro/frames", "task.seed=5", *options))
    assert len(cell.pool) == 36 and len(left(cell)) == 30
    with pytest.raises(ValueError, match=r"pool\.planted_leaks is 6 of pool\.planted_target None"):
        read_pool("micro", size=9, surface_overlap=0.5, seed=0, planted_leaks=6)
