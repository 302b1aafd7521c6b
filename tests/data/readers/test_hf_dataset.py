"""Any data set that `datasets` opens, as pool and as task: generated ones in the shapes that are common on the Hub, without a network."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from PIL import Image
from support.configs import column_map
from support.readers import read_pool, read_task

from delamo import data
from delamo.data.images import ImageError, open_image
from delamo.data.leakage import find_leaks, fingerprints
from delamo.experiment.experiment import samples_digest

datasets = pytest.importorskip("datasets")
NUM_ROWS = 9


@pytest.fixture(autouse=True)
def quiet():
    datasets.disable_progress_bars()


def png(shade: int, size: int = 8) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (size, size), (shade, 20, 30)).save(out, "PNG")
    return out.getvalue()


def rows(count: int = NUM_ROWS, first: int = 0) -> dict:
    numbers = range(first, first + count)
    return {
        "qid": [f"q{i}" for i in numbers],
        "query": [f"Which fruit is number {i}?" for i in numbers],
        "label": [["pear", "plum", "None"][i % 3] for i in numbers],
        "choices": [{"text": ["pear", "plum", "None"], "label": ["A", "B", "C"]} for _ in numbers],
        "key": [i % 3 for i in numbers],
        "picture": [{"bytes": png(10 * i), "path": None} for i in numbers],
    }


def with_pictures(columns: dict) -> datasets.Dataset:
    return datasets.Dataset.from_dict(columns).cast_column("picture", datasets.Image())


MAPPED = column_map(id="qid", instruction="query", answer="label", image="picture", options="choices.text", gold="key")


@pytest.fixture
def saved(tmp_path):
    def save(columns: dict, name: str = "saved", *, embed: bool = True) -> str:
        made = with_pictures(columns) if embed else datasets.Dataset.from_dict(columns)
        made.save_to_disk(tmp_path / name, num_shards=2)
        return str(tmp_path / name)

    return save


def test_a_pool_of_pictures_inside_arrow_files(saved):
    pool = read_pool("hf_dataset", path=saved(rows()), columns=MAPPED)
    assert (len(pool), pool.quarantined, list(pool.ids())) == (NUM_ROWS, [], [f"q{i}" for i in range(NUM_ROWS)])
    sample = pool.get("q7")
    assert sample.instruction == "Which fruit is number 7?\nOptions: (a) pear (b) plum (c) None"
    assert (sample.answer, sample.options, sample.gold) == ("plum", (), None)
    assert sample.image.startswith("arrow:/") and open_image(sample.image).getpixel((0, 0)) == (70, 20, 30)
    assert [open_image(s.image).getpixel((0, 0))[0] for s in pool] == [10 * i for i in range(NUM_ROWS)]


def test_without_an_answer_column_the_gold_option_is_the_reply(saved):
    columns = column_map(instruction="query", image="picture", options="choices.text", gold="key")
    sample = read_pool("hf_dataset", path=saved(rows()), columns=columns).get("train-000000004")
    assert sample.answer == "(b) plum"


def test_a_task_keeps_options_apart_and_its_splits_disjoint(tmp_path):
    both = datasets.DatasetDict(validation=with_pictures(rows(6)), test=with_pictures(rows(8, first=4)))
    both.save_to_disk(tmp_path / "both")
    task = read_task("hf_dataset", path=str(tmp_path / "both"), columns=MAPPED)
    assert ([s.id for s in task.validation], len(task.test)) == (["q0", "q1", "q2", "q3"], 8)
    assert [(row.id, row.reason) for row in task.quarantined] == [("q4", "also in test"), ("q5", "also in test")]
    assert (task.test[0].options, task.test[0].gold, task.test[0].answer) == (("pear", "plum", "None"), 1, "plum")


def test_ids_that_start_anew_in_each_split_are_no_repeats(tmp_path):
    validation, test = with_pictures(rows(4)), with_pictures(rows(3, first=4) | {"qid": ["q0", "q1", "q2"]})
    datasets.DatasetDict(validation=validation, test=test).save_to_disk(tmp_path / "anew")
    task = read_task("hf_dataset", path=str(tmp_path / "anew"), columns=MAPPED)
    assert ([s.id for s in task.validation], [s.id for s in task.test]) == (
        ["q0", "q1", "q2", "q3"],
        ["q0", "q1", "q2"],
    )
    assert not task.quarantined and task.validation[0].instruction != task.test[0].instruction


@pytest.mark.parametrize("num_val", [None, 2])
def test_a_part_of_which_nothing_is_left_is_an_error(tmp_path, num_val):
    both = datasets.DatasetDict(validation=with_pictures(rows(3)), test=with_pictures(rows(8)))
    both.save_to_disk(tmp_path / "same")
    why = r"same, split validation: .*3 quarantined, the first: q0: .*same question and picture"
    with pytest.raises(ValueError, match=why):
        read_task("hf_dataset", path=str(tmp_path / "same"), columns=MAPPED, num_val_samples=num_val)


def test_two_parts_of_one_split(saved):
    wanted = {"path": saved(rows()), "columns": MAPPED, "validation_split": "train", "test_split": "train"}
    task = read_task("hf_dataset", **wanted, num_val_samples=3, num_test_samples=5)
    assert not {s.id for s in task.validation} & {s.id for s in task.test} and len(task.test) == 5
    with pytest.raises(ValueError, match="set task.num_val_samples"):
        read_task("hf_dataset", **wanted)


def test_conversations_in_both_dialects(tmp_path):
    parts = [{"type": "image", "text": None}, {"type": "text", "text": "What is it?"}]
    turns = [
        [{"role": "user", "content": parts}, {"role": "assistant", "content": [{"type": "text", "text": "A pear."}]}],
        [{"role": "user", "content": parts}],
    ]
    table = {"messages": turns, "images": [[{"bytes": png(9), "path": None}]] * 2}
    features = datasets.Features(
        messages=[
            {
                "role": datasets.Value("string"),
                "content": [{"type": datasets.Value("string"), "text": datasets.Value("string")}],
            }
        ],
        images=datasets.List(datasets.Image()),
    )
    datasets.Dataset.from_dict(table, features=features).save_to_disk(tmp_path / "chat")
    pool = read_pool(
        "hf_dataset", path=str(tmp_path / "chat"), columns=column_map(conversations="messages", image="images")
    )
    sample = pool.get("train-000000000")
    assert (sample.instruction, sample.answer, open_image(sample.image).size) == ("What is it?", "A pear.", (8, 8))
    assert [row.reason for row in pool.quarantined] == ["unknown speakers"]
    llava = [{"id": 1, "turns": [{"from": "human", "value": "<image>\nSee?"}, {"from": "gpt", "value": "Yes"}]}]
    (tmp_path / "turns.jsonl").write_text("\n".join(map(json.dumps, llava)))
    with pytest.raises(ValueError, match=r"no usable row.*image missing"):
        read_pool(
            "hf_dataset",
            path=str(tmp_path / "turns.jsonl"),
            columns=column_map(id="id", conversations="turns"),
            cache_dir=tmp_path / "cache",
        )


def test_a_parquet_file_and_options_in_columns_of_their_own(tmp_path):
    table = {"q": ["One?", "Two?"], "A": ["yes", "blue"], "B": ["no", "red"], "C": [None, "green"], "key": ["B", "c"]}
    datasets.Dataset.from_dict(table).to_parquet(tmp_path / "mc.parquet")
    columns = column_map(instruction="q", option_columns=("A", "B", "C"), gold="key")
    task = read_task(
        "hf_dataset",
        path=str(tmp_path / "mc.parquet"),
        columns=columns,
        validation_split="x",
        test_split="x",
        num_val_samples=1,
        num_test_samples=1,
        cache_dir=tmp_path / "cache",
    )
    found = {s.instruction: (s.options, s.gold) for s in (*task.validation, *task.test)}
    assert found == {"One?": (("yes", "no"), 1), "Two?": (("blue", "red", "green"), 2)}


WORDS = ["None", "NA", "null", "nan", "N/A", ""]


def write_words(path, separator: str = "\t"):
    """One question for each of `WORDS`, which is its last option."""
    lines = [["q", "A", "B", "C", "key"], *(["Which?", "one", "two", word, "B"] for word in WORDS)]
    if path.suffix == ".jsonl":
        lines = [[json.dumps(dict(zip(lines[0], line, strict=True)))] for line in lines[1:]]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(separator.join(line) for line in lines))
    return path


@pytest.mark.parametrize("name", ["one.csv", "one.tsv", "one.jsonl", "folder/train.csv", "folder/train.tsv"])
def test_options_worded_none_and_na_are_kept_in_files_of_text(tmp_path, name):
    path = write_words(tmp_path / name, "," if name.endswith(".csv") else "\t")
    pool = read_pool(
        "hf_dataset",
        path=str(path if path.parent == tmp_path else path.parent),
        columns=column_map(instruction="q", option_columns=("A", "B", "C"), gold="key"),
        cache_dir=tmp_path / "cache",
    )
    options = [sample.instruction.partition("(b) two")[2] for sample in pool]
    assert options == [f" (c) {word}" if word else "" for word in WORDS] and not pool.quarantined


def test_words_for_missing_that_a_csv_data_set_declares_stay_its_own(tmp_path):
    write_words(tmp_path / "own" / "train.csv", ",")
    head = {"configs": [{"config_name": "default", "data_files": "train.csv", "na_values": ["None"]}]}
    (tmp_path / "own" / "README.md").write_text(f"---\n{json.dumps(head)}\n---\n")
    columns = column_map(instruction="q", option_columns=("A", "B", "C"), gold="key")
    pool = read_pool("hf_dataset", path=str(tmp_path / "own"), columns=columns, cache_dir=tmp_path / "cache")
    assert next(iter(pool)).instruction == "Which?\nOptions: (a) one (b) two"


def test_a_cached_csv_data_set_of_the_hub_is_read_without_a_network(tmp_path, monkeypatch):
    write_words(tmp_path / "words" / "train.csv", ",")
    columns = column_map(instruction="q", option_columns=("A", "B", "C"), gold="key")
    options = {"columns": columns, "cache_dir": tmp_path / "cache"}
    read_pool("hf_dataset", path=str(tmp_path / "words"), **options)
    (tmp_path / "cache" / "words").rename(tmp_path / "cache" / "somebody___words")  # as one from the hub lies there
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    assert len(read_pool("hf_dataset", path="somebody/words", **options)) == len(WORDS)


def test_a_folder_of_classes_is_asked_for_among_all_of_them(tmp_path):
    for shade, name in enumerate(("cat", "dog", "owl")):
        (tmp_path / "pets" / name).mkdir(parents=True)
        (tmp_path / "pets" / name / "one.png").write_bytes(png(shade))
    pool = read_pool(
        "hf_dataset",
        path=str(tmp_path / "pets"),
        columns=column_map(image="image", gold="label"),
        question="Which animal is it?",
        cache_dir=tmp_path / "cache",
    )
    samples = list(pool)
    assert [s.answer for s in samples] == ["(a) cat", "(b) dog", "(c) owl"]
    assert all(s.image.startswith(str(tmp_path.resolve())) for s in samples)
    assert samples[0].instruction == "Which animal is it?\nOptions: (a) cat (b) dog (c) owl"


def test_what_cannot_be_used_is_quarantined_with_its_row(saved):
    columns = rows()
    columns["query"][1] = " "
    columns["key"][2] = 5
    columns["qid"][3] = "q0"
    columns["choices"][4] = {"text": ["only"], "label": ["A"]}
    columns["picture"][5] = {"bytes": None, "path": "/etc/hostname"}
    columns["picture"][6] = {"bytes": None, "path": "https://host/a.png"}
    pool = read_pool(
        "hf_dataset", path=saved(columns, embed=False), columns=MAPPED
    )  # saving an Image fetches what it names
    assert [(row.id, row.reason) for row in pool.quarantined] == [
        ("q1", "no text"),
        ("q2", "gold not among options"),
        ("q0", "duplicate id"),
        ("q4", "number of options"),
        ("q5", "image outside root"),
        ("q6", "image is a URL"),
    ]
    assert len(pool) + len(pool.quarantined) == NUM_ROWS and all(row.stage == "pool" for row in pool.quarantined)
    assert "record 3" in pool.quarantined[1].detail and "key = 5" in pool.quarantined[1].detail


def test_identity_is_of_the_content(saved):
    digest = lambda columns, name: read_pool("hf_dataset", path=saved(columns, name), columns=MAPPED).digest
    first = digest(rows(), "a")
    assert digest(rows(), "b") == first
    turned = {name: values[::-1] for name, values in rows().items()}
    assert digest(turned, "c") == first
    assert digest(rows() | {"query": [*rows()["query"][:-1], "Which fruit is number 9?"]}, "d") != first
    larger = rows()
    larger["picture"][0] = {"bytes": png(0, size=64), "path": None}
    assert digest(larger, "e") != first


def test_stage_identity_covers_the_pictures_bytes_and_not_where_they_lie(saved):
    def samples(columns, name):
        return list(read_pool("hf_dataset", path=saved(columns, name), columns=MAPPED))

    other = rows()
    other["picture"][0] = {"bytes": png(200), "path": None}
    assert samples_digest(samples(rows(), "a")) == samples_digest(samples(rows(), "b"))
    assert samples_digest(samples(other, "c")) != samples_digest(samples(rows(), "b"))


def test_the_audit_finds_equal_pictures_in_files_and_in_arrow(saved, tmp_path):
    pool = read_pool("hf_dataset", path=saved(rows()), columns=MAPPED)
    (tmp_path / "test.png").write_bytes(png(40))
    target = replace(pool.get("q1"), id="t", instruction="Another question", image=str(tmp_path / "test.png"))
    leaks = find_leaks(pool, fingerprints(pool, len(pool), near=True), {"test": [target]}, perceptual_distance=None)
    assert [(leak.pool_id, leak.kind) for leak in leaks] == [("q4", "picture")]


def test_a_table_that_has_gone_is_a_missing_picture(saved, tmp_path):
    locator = read_pool("hf_dataset", path=saved(rows()), columns=MAPPED).get("q0").image
    with pytest.raises(ImageError) as caught:
        open_image(locator.replace("/saved/", "/gone/"))
    assert caught.value.reason == "image missing"
    with pytest.raises(ImageError, match="image missing"):
        open_image(locator.replace("#0/", "#99/"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"columns": column_map(instruction="querry", answer="label")},
            r"pool.columns.instruction is 'querry': .*'query'",
        ),
        (
            {"columns": column_map(answer="label")},
            "set one of columns.conversations, columns.instruction and question",
        ),
        ({"columns": column_map(instruction="query")}, "set columns.answer or columns.gold"),
        ({"split": "train[:3]"}, "whole splits"),
        ({"path": "no/such_folder_here/x.txt"}, "pool.path is no/such_folder_here/x.txt"),
    ],
)
def test_mistakes_in_the_map_name_the_key(saved, change, message, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=message):
        read_pool("hf_dataset", **({"path": saved(rows()), "columns": MAPPED} | change))


def test_from_the_command_line(experiment_config, saved, tmp_path):
    path = saved(rows())
    both = datasets.DatasetDict(validation=with_pictures(rows(3)), test=with_pictures(rows(3, first=20)))
    both.save_to_disk(tmp_path / "both")
    columns = {"id": "qid", "instruction": "query", "image": "picture", "options": "choices.text", "gold": "key"}
    cell = experiment_config(
        *(f"{role}.columns.{field}={column}" for field, column in columns.items() for role in ("pool", "task")),
        "pool=hf_dataset",
        f"pool.path={path}",
        "task=hf_dataset",
        f"task.path={tmp_path / 'both'}",
    )
    assert len(data.read_pool(cell.pool)) == NUM_ROWS and len(data.read_task(cell.task).test) == 3
