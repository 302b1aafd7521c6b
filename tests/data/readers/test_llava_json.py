"""LLaVA-format records: what is read, what is quarantined, and with which words."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.readers import read_pool, read_task

from delamo.data import Pool
from delamo.data.image_paths import ImageRoot
from delamo.data.quarantine import BadRow, count_reasons
from delamo.data.readers import json_records
from delamo.data.readers.llava_json import as_task_sample, find_gold, parse_options, read_sample

VISION_FLAN = Path(__file__).parents[4] / "shared" / "data" / "vision_flan_sample"
real_data = pytest.mark.skipif(not VISION_FLAN.is_dir(), reason=f"no Vision-Flan sample at {VISION_FLAN}")


def record(id="a", question="What is it?", answer="A sink", **more):
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"id": id, "conversations": turns, **more}


def write(folder, records, name="data.json"):
    path = folder / name
    path.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
    return path


def only_reason(folder, bad):
    """The reason for which `bad` is held back beside one good record."""
    pool = read_pool("llava_json", annotation=write(folder, [record("good"), bad]))
    assert [sample.id for sample in pool] == ["good"]
    (row,) = pool.quarantined
    assert "data.json, record 2" in row.detail and row.stage == "pool"
    return row.reason


def test_pool_gives_samples_in_id_order_and_by_id(tmp_path):
    pool = read_pool(
        "llava_json", annotation=write(tmp_path, [record("b", answer="2"), record("a", answer="1"), record(10)])
    )
    assert isinstance(pool, Pool)
    assert list(pool.ids()) == ["10", "a", "b"] == [sample.id for sample in pool]
    assert pool.get("b").answer == "2" and len(pool) == 3
    with pytest.raises(KeyError, match="'c'"):
        pool.get("c")


@pytest.mark.parametrize("question", ["<image>\nWhat?", "What?\n<image>", " What? \n<image>\n"])
def test_image_token_is_taken_out(tmp_path, question):
    (tmp_path / "p.png").write_bytes(b"x")
    pool = read_pool(
        "llava_json", annotation=write(tmp_path, [record("a", question, image="./p.png", task_name="ITM")])
    )
    sample = pool.get("a")
    assert sample.instruction == "What?" and sample.image == str(tmp_path / "p.png") and sample.source == "ITM"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (record("good"), "duplicate id"),
        (record("x", ""), "no text"),
        (record("x", "<image>", image="p.png"), "image missing"),
        (record("x", answer=" \n"), "no text"),
        (record("x", answer=3), "not text"),
        (record("x", answer=["A"]), "not text"),
        (record("x", image="none.png"), "image missing"),
        (record("x", image=""), "image missing"),
        (record("x", image=["a.png", "b.png"]), "not text"),
        (record("x", "<image> one <image> two", image="a.png"), "several images"),
        (record("x", image="../outside.png"), "image outside root"),
        (record("x", image="/etc/hostname"), "image outside root"),
        (record("x", image="http://example.org/a.png"), "image is a URL"),
        (record("x", image="data:image/png;base64," + "A" * 200_000), "image is a URL"),
        (record("x", image="n" * 5000), "image missing"),
        (record("x", image="."), "image not a file"),
        (record(None), "no id"),
        (record(True), "not text"),
        (record(1.5), "not text"),
        (record("x", task_name=7), "not text"),
        ({"id": "x"}, "no text"),
        ({"id": "x", "conversations": "hello"}, "no text"),
        ({"id": "x", "conversations": ["hello", "you"]}, "not text"),
        ({"id": "x", "conversations": record()["conversations"] * 2}, "several turns"),
        ({"id": "x", "conversations": record()["conversations"][::-1]}, "unknown speakers"),
        ({"id": "x", "conversations": record()["conversations"][:1]}, "unknown speakers"),
        ("not an object", "not a record"),
        (None, "not a record"),
    ],
)
def test_bad_record_is_quarantined(tmp_path, bad, reason):
    assert only_reason(tmp_path, bad) == reason


def test_half_a_surrogate_pair_is_quarantined(tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps([record("good"), record("x", answer="\ud800")]))
    (row,) = read_pool("llava_json", annotation=path).quarantined
    assert row.reason == "not Unicode" and row.id == "x"


def test_long_values_are_cut_in_the_message(tmp_path):
    pool = read_pool(
        "llava_json", annotation=write(tmp_path, [record("good"), record("x", image="data:" + "A" * 200_000)])
    )
    assert len(pool.quarantined[0].detail) < 600 and "200007 characters" in pool.quarantined[0].detail


def test_link_out_of_the_image_root_is_refused(tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    (tmp_path / "secret.png").write_bytes(b"x")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "up").symlink_to(tmp_path)
    path = write(tmp_path, [record("good"), record("a", image="link.png"), record("b", image="up/secret.png")])
    pool = read_pool("llava_json", annotation=path, image_root=root)
    assert count_reasons(pool.quarantined) == {"image outside root": 2}


def test_name_that_unzip_rewrote_is_found(tmp_path):
    (tmp_path / "caf#U00e9.png").write_bytes(b"x")
    pool = read_pool("llava_json", annotation=write(tmp_path, [record("a", image="café.png")]))
    assert pool.get("a").image == str(tmp_path / "caf#U00e9.png")


def test_json_lines_skip_what_is_not_json(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps(record("a")) + "\n{broken\n\n" + json.dumps(record("é")) + "\n", encoding="utf-8-sig")
    pool = read_pool("llava_json", annotation=path)
    assert list(pool.ids()) == ["a", "é"] and pool.get("é").answer == "A sink"
    (row,) = pool.quarantined
    assert row.reason == "not JSON" and "record 2" in row.detail and row.id == "data.jsonl#2"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected a JSON array"),
        ("[]", "no usable record"),
        ("[{}]", "1 quarantined, the first"),
        ('[{"id": "a"} {"id": "b"}]', "record 2 is not valid JSON"),
        ('[{"id": "a"},]', "record 2 is not valid JSON"),
        ('[{"id": "a"}', "the end of the file"),
        ('[{"id": "a', "record 1 is not valid JSON"),
        ("[] []", "text after the end"),
        ('{\n "1": {"question": "?"}\n}', "no line is a JSON record"),
        ("[" * 100_000, "record 1"),
    ],
)
def test_file_that_is_no_such_data_is_a_clear_error(tmp_path, text, words):
    path = tmp_path / "data.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=words) as error:
        read_pool("llava_json", annotation=path)
    assert str(path) in str(error.value)


def test_bytes_that_are_not_utf8_are_a_clear_error(tmp_path):
    path = tmp_path / "data.json"
    path.write_bytes(json.dumps([record("a", "caf\u00e9")], ensure_ascii=False).encode("latin-1"))
    with pytest.raises(ValueError, match="is not UTF-8"):
        read_pool("llava_json", annotation=path)


def test_missing_paths_name_the_key(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"pool\.annotation is .*nowhere"):
        read_pool("llava_json", annotation=tmp_path / "nowhere.json")
    with pytest.raises(NotADirectoryError, match="image_root is"):
        read_pool("llava_json", annotation=write(tmp_path, [record()]), image_root=tmp_path / "nowhere")


def test_file_changed_under_the_pool_is_noticed(tmp_path):
    path = write(tmp_path, [record("a"), record("b")])
    pool = read_pool("llava_json", annotation=path)
    write(tmp_path, [record("b"), record("a")])
    with pytest.raises(RuntimeError, match="changed while in use"):
        pool.get("a")


def test_digest_is_of_the_content(tmp_path):
    def digest(folder, records, image=b"x"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "p.png").write_bytes(image)
        return read_pool("llava_json", annotation=write(tmp_path / folder, records)).digest

    rows = [record("a", image="p.png"), record("b")]
    first = digest("one", rows)
    assert digest("two", rows[::-1]) == first
    assert digest("three", [rows[0], record("b", answer="other")]) != first
    assert digest("four", rows, image=b"other size") != first


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.recursive(st.none() | st.integers() | st.floats(allow_nan=False) | st.text(), st.lists, max_leaves=5))
)
def test_array_is_read_whatever_the_window(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("json") / "data.json"
    path.write_text(json.dumps(values, ensure_ascii=False, indent=1), encoding="utf-8", errors="surrogatepass")
    before = json_records.WINDOW
    json_records.WINDOW = 3
    try:
        found = list(json_records.read_records(path))
    finally:
        json_records.WINDOW = before
    assert [item.value for item in found] == values
    with path.open("rb") as file:
        assert [json_records.read_at(file, item.offset, item.length) for item in found] == values


@pytest.mark.parametrize(
    ("text", "question", "options"),
    [
        ("What?\nOptions: (a) Yes (b) No", "What?", ("Yes", "No")),
        ("What? \n\nOptions: (A) one two (B) 3.5 (C) None", "What?", ("one two", "3.5", "None")),
        ("Sign\nOptions: (a) Limit (80km/h) (b) Stop\nBe brief.", "Sign\nBe brief.", ("Limit (80km/h)", "Stop")),
        ("Options: read them.\nOptions: (a) x (b) y", "Options: read them.", ("x", "y")),
        ("Which?\nOptions: (a) see (c) below (b) y", "Which?", ("see (c) below", "y")),
        ("Which?\nOptions:\n(a) x\n(b) y\n(c) z", "Which?", ("x", "y", "z")),
        ("Only\nOptions: (a) one", "Only\nOptions: (a) one", ()),
        ("Which?\nOptions: previous next", "Which?\nOptions: previous next", ()),
    ],
)
def test_options_are_cut_out_of_the_text(text, question, options):
    assert parse_options(text) == (question, options)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("(b) This image contains a sink", 1),
        ("(B)", 1),
        ("b", 1),
        ("B.", 1),
        ("B: This image contains a sink.", 1),
        ("this image contains a  SINK", 1),
        ("(a) None", 0),
        ("(c) This image contains a sink", None),
        ("(a) This image contains a sink", None),
        ("a bath", None),
    ],
)
def test_gold_is_found_by_letter_and_text(answer, gold):
    assert find_gold(answer, ("None", "This image contains a sink.")) == gold


def test_task_quarantines_what_has_no_gold_and_what_is_in_the_test_set(tmp_path):
    options = "\nOptions: (a) bath (b) sink"
    validation = write(
        tmp_path,
        [
            record("v1", "Is it?" + options, "(b) sink"),
            record("v2", "Which?" + options, "(c) tub"),
            record("v3", "Twins?\nOptions: (a) x (b) X", "(a) x"),
            record("v4", "Shared?" + options, "(a) bath"),
            record("v5", "Say what it is.", "a tub"),
        ],
        "val.json",
    )
    test = write(tmp_path, [record("t1", "Shared?" + options, "(a) bath"), record("t2", answer="B")], "test.json")
    task = read_task("llava_json", validation=validation, test=test)
    assert [sample.id for sample in task.validation] == ["v1", "v5"]
    first, free = task.validation
    assert (first.instruction, first.options, first.gold, first.answer) == ("Is it?", ("bath", "sink"), 1, "sink")
    assert (free.options, free.gold, free.answer) == ((), None, "a tub")
    assert {row.id: row.reason for row in task.quarantined} == {
        "v2": "gold not among options",
        "v3": "duplicate options",
        "v4": "also in test",
    }


def test_task_subset_is_seeded_and_nested(tmp_path):
    test = write(tmp_path, [record("t")], "test.json")
    val = write(tmp_path, [record(f"v{i:02}", f"What is {i}?") for i in range(30)], "val.json")

    def ids(count, seed):
        task = read_task("llava_json", validation=val, test=test, num_val_samples=count, seed=seed)
        return [sample.id for sample in task.validation]

    assert ids(5, 1) == ids(5, 1) != ids(5, 2)
    assert set(ids(5, 1)) < set(ids(20, 1)) and ids(20, 1) == sorted(ids(20, 1))
    with pytest.raises(ValueError, match=r"task.num_val_samples.*val.json: 31 asked for, 30 usable"):
        ids(31, 1)
    with pytest.raises(ValueError, match="the same file"):
        read_task("llava_json", validation=val, test=val)


def test_task_digest_covers_the_rows_held_back(tmp_path):
    test = write(tmp_path, [record("t")], "test.json")
    good = record("v", "What is there?")
    digests = [
        read_task("llava_json", validation=write(tmp_path, rows, "val.json"), test=test).digest
        for rows in ([good], [good, record("x", "")], [good, record("x", image="gone.png")])
    ]
    assert len(set(digests)) == 3


@real_data
def test_real_vision_flan_sample():
    pool = read_pool("llava_json", annotation=VISION_FLAN / "annotation.json")
    assert len(pool) == 204 and count_reasons(pool.quarantined) == {"image missing": 1}
    assert "Emperor_Alexander_I" in pool.quarantined[0].id
    assert all("<image>" not in sample.instruction and Path(sample.image).is_file() for sample in pool)
    questions = [as_task_sample(sample) for sample in pool]
    assert sum(bool(q.options) for q in questions) == 37
    assert all(q.answer == q.options[q.gold] for q in questions if q.options)


@settings(deadline=None)
@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_is_read_or_quarantined(tmp_path_factory, question, answer):
    images = ImageRoot(tmp_path_factory.getbasetemp())
    try:
        sample, _ = read_sample(record("x", f"{question}\nOptions: (a) {answer} (b) no", answer), images)
        as_task_sample(sample)
    except BadRow as bad:
        assert bad.reason in (
            "no text",
            "not Unicode",
            "gold not among options",
            "duplicate options",
            "empty option",
            "image missing",
            "several images",
        )
