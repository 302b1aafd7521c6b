"""What bad input gets: a clear error that names file, key and value, or a quarantined row that the report counts.

Readers are reached as a cell reaches them, through the schemas of the config. What bad input the models' stages meet (an empty
rationale, one of a single step) is tested with them.
"""

import json

import pytest
from support.fake_runs import write_rows, write_run

from delamo import data
from delamo.data.images import ImageError, open_image
from delamo.data.readers.llava_json import LlavaJsonPoolConfig, LlavaJsonTaskConfig
from delamo.data.readers.nlvr import NlvrTaskConfig
from delamo.experiment.experiment import open_experiment
from delamo.reports.report import report

OPTIONS = "Which?\nOptions: (a) bath (b) sink"


def record(id, question=OPTIONS, answer="(b) sink", **more):
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"id": id, "conversations": turns, **more}


@pytest.fixture
def pool(tmp_path):
    """Reads records as a pool."""

    def read(*records):
        path = tmp_path / "pool.json"
        path.write_text(json.dumps(records))
        config = LlavaJsonPoolConfig(name="mine", annotation=str(path), image_root=None)
        return data.read_pool(config)

    return read


@pytest.fixture
def task(tmp_path):
    """Reads records as a task's validation set."""

    def read(*records):
        for name, rows in (("val", records), ("test", [record("t", "Another one?", "yes")])):
            (tmp_path / f"{name}.json").write_text(json.dumps(rows))
        paths = {"validation": str(tmp_path / "val.json"), "test": str(tmp_path / "test.json"), "image_root": None}
        config = LlavaJsonTaskConfig(name="mine", **paths, num_val_samples=None, num_test_samples=None, seed=0)
        return data.read_task(config)

    return read


def quarantined_row(found, *, reason, file, number, value):
    """The one quarantined row; it names file, record and value."""
    (row,) = found.quarantined
    assert row.reason == reason
    for part in (file, f"record {number}", value):
        assert part in row.detail
    return row


def test_missing_image(pool):
    found = pool(record("good"), record("bad", image="gone.png"))
    assert list(found.ids()) == ["good"]
    quarantined_row(found, reason="image missing", file="pool.json", number=2, value="'gone.png'")


def test_broken_image_is_found_where_it_is_decoded(pool, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot a picture")
    sample = pool(record("good"), record("broken", image="broken.png")).get("broken")
    with pytest.raises(ImageError, match=r"broken\.png") as error:
        open_image(sample.image)
    assert error.value.reason == "image broken"


@pytest.mark.parametrize("blank", ["", "  \n", None])
def test_record_without_text(pool, blank):
    quarantined_row(
        pool(record("good"), record("bad", blank)), reason="no text", file="pool.json", number=2, value=repr(blank)
    )


def test_duplicate_id(pool):
    found = pool(record("same", answer="first"), record("same", answer="second"))
    assert found.get("same").answer == "first"
    assert quarantined_row(found, reason="duplicate id", file="pool.json", number=2, value="'same'").id == "same"


def test_options_that_do_not_contain_the_gold_answer(task):
    found = task(record("good"), record("bad", answer="(c) tub"))
    assert [sample.id for sample in found.validation] == ["good"]
    row = quarantined_row(found, reason="gold not among options", file="val.json", number=2, value="'(c) tub'")
    assert "bath" in row.detail and row.stage == "task"


def test_option_texts_that_a_table_reader_would_take_for_missing(task):
    (sample,) = task(record("a", "Which?\nOptions: (a) None (b) NA (c) nan", "(b) NA")).validation
    assert sample.options == ("None", "NA", "nan") and sample.gold == 1


def test_nothing_usable_is_an_error_that_shows_the_first_reason(pool):
    with pytest.raises(ValueError, match=r"pool\.json holds no usable record: 1 quarantined, the first: .*gone\.png"):
        pool(record("bad", image="gone.png"))


def test_missing_file_names_the_key(tmp_path):
    config = LlavaJsonPoolConfig(name="mine", annotation=str(tmp_path / "none.json"), image_root=None)
    with pytest.raises(FileNotFoundError, match=r"pool\.annotation is .*none\.json: no such file"):
        data.read_pool(config)
    nlvr = NlvrTaskConfig(name="nlvr", root=str(tmp_path), num_val_samples=None, num_test_samples=None, seed=0)
    with pytest.raises(FileNotFoundError, match=r"task\.root is .*: no dev/dev\.json in it"):
        data.read_task(nlvr)


def test_budget_above_the_pool_is_an_error_before_anything_is_done(pool, task, tmp_path, experiment_config):
    pool(record("a"), record("b"), record("c", image="gone.png"))
    task(record("v"))
    files = [
        f"pool.annotation={tmp_path}/pool.json",
        f"task.validation={tmp_path}/val.json",
        f"task.test={tmp_path}/test.json",
    ]
    config = experiment_config("pool=llava_json", "task=llava_json", *files, "budget=custom", "budget.num_samples=3")
    with pytest.raises(ValueError, match=r"budget\.num_samples is 3, the pool has 2"):
        open_experiment(config)


def test_every_quarantined_row_is_counted_in_the_report(pool, tmp_path):
    found = pool(record("good"), record("x", ""), record("y", ""), record("z", image="gone.png"))
    run = write_run(tmp_path / "runs", task="a", selector="none", seed=0, bits="10")
    write_rows(run / "quarantine.jsonl", found.quarantined)
    lines = report(tmp_path / "runs").splitlines()
    assert "| pool  | no text       |    2 |    1 |" in lines and "| pool  | image missing |    1 |    1 |" in lines
