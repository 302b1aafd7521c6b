"""`delamo check` says what is in the data, what is broken and what would not fit, and says it of the right rows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf.errors import OmegaConfBaseException
from PIL import Image
from support.command import delamo
from support.configs import node
from support.readers import read_pool

from delamo.cli import data_check as delamo_check
from delamo.cli.data_check import check
from delamo.cli.verbs import check as _schema  # noqa: F401 -- registers the schema of `check`
from delamo.config.compose import read_verb
from delamo.config.conf import conf_dir
from delamo.models.hf.token_counts import TokenCounter
from delamo.records import Sample
from delamo.reports.render.formats import markdown

SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "vision_flan_sample"


def text_of(*overrides: str) -> str:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return check(read_verb(compose("check", overrides=list(overrides))))


def row(text: str, *names: str) -> list[str]:
    """The cells of the table row of that name."""
    found = [line for line in text.splitlines() if line.startswith(f"| {names[0]} ")]
    assert found, text
    return [cell.strip() for cell in found[0].strip("|").split("|")][1:]


@pytest.fixture
def broken_pool(tmp_path) -> Path:
    """Nine rows: four good, one text only, one too long, one with a broken picture, two that cannot be read."""
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    rows = [record(f"good-{i}", "a.png") for i in range(4)]
    rows += [record("text", None), record("long", "a.png", answer="word " * 1500), record("torn", "broken.png")]
    rows += [record("gone", "nowhere.png"), {"id": "empty", "conversations": []}]
    path = tmp_path / "pool.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def record(id: str, image: str | None, answer: str = "a red wall") -> dict:
    token = "<image>\n" if image else ""
    turns = [{"from": "human", "value": f"{token}What is it?"}, {"from": "gpt", "value": answer}]
    return {"id": id, "conversations": turns, "task_name": "walls"} | ({"image": image} if image else {})


def test_a_broken_pool_is_taken_apart(broken_pool):
    text = text_of("pool=llava_json", f"pool.annotation={broken_pool}", "student=micro")
    assert "9 rows read: 7 can be used, 2 quarantined." in text
    assert "6 with a picture, 1 text only." in text
    assert row(text, "image missing") == ["1"] and row(text, "no text") == ["1"]
    assert "record 8: image missing: image = 'nowhere.png'" in " ".join(text.split())
    assert row(text, "walls") == ["7"]
    assert row(text, "picture width") == ["40"] * 4 and row(text, "picture height") == ["30"] * 4
    assert "5 of them fit student micro, whose context is 1,024 tokens." in text
    unusable = text.partition("Would not be used")[2]
    assert row(unusable, "too long") == ["1"] and row(unusable, "image broken") == ["1"]
    assert "long: " in unusable and "the limit is 1024" in unusable and unusable.count("torn: ") == 1


def test_what_is_longer_than_tuning_takes_is_said_before_it_is_left_out(broken_pool):
    asked = ("pool=llava_json", f"pool.annotation={broken_pool}", "student=micro", "tuning=micro_lora")
    assert text_of(*asked) == text_of(*asked[:-1])  # its limit is the context
    least, median, *_ = map(int, row(text_of(*asked), "tokens with picture and reply"))
    most = median - 1  # enough for a text alone, not with its picture
    assert least <= most
    text = text_of(*asked, f"tuning.max_length={most}")
    fits = f"1 of them fit student micro, whose context is 1,024 tokens, and tuning micro_lora, which takes {most}."
    assert fits in text
    unusable = text.partition("Would not be used")[2]
    assert row(unusable, "too long") == ["5"] and f"the limit is {most}" in unusable


def test_tokens_are_those_that_tuning_and_answering_count(broken_pool):
    from delamo.models.students.local import Student

    pool = read_pool("llava_json", annotation=broken_pool)
    config = node("student", "micro", device="cpu")
    student, counter = Student.load(config), TokenCounter.load(config)
    for id in ("good-0", "text"):
        assert counter.of_prompt(pool.get(id)) == student.num_tokens(pool.get(id))
        assert counter.of_example(pool.get(id)) > counter.of_prompt(pool.get(id))
    assert counter.of_prompt(pool.get("good-0")) > counter.of_prompt(pool.get("text"))  # the picture's tokens
    assert counter.limit == student.max_length


def test_a_large_pool_is_sampled_and_says_so():
    text = text_of("pool=micro", "pool.size=300", "max_samples=20")
    assert "300 rows read: 300 can be used, 0 quarantined." in text
    assert "Measured on a draw of 20 of 300" in text and "tokens" not in text
    assert text == text_of("pool=micro", "pool.size=300", "max_samples=20")


def test_a_task_is_counted_by_split():
    sizes = ("task.num_val_samples=7", "task.num_test_samples=5")
    text = text_of("pool=micro", "pool.size=5", "task=micro/objects", *sizes, "student=micro")
    validation, test = text.partition("## Validation samples")[2].split("## Test samples")
    assert "7 samples." in validation and "7 multiple-choice, 0 open questions." in validation
    assert "5 samples." in test and "1,024 tokens less 160 for the reply" in test


def test_a_task_without_validation_samples_is_counted_too(monkeypatch):
    read = delamo_check.read_task
    monkeypatch.setattr(delamo_check, "read_task", lambda config: replace(read(config), validation=[]))
    text = text_of("pool=micro", "pool.size=5", "task=micro/objects", "task.num_test_samples=5")
    validation, test = text.partition("## Validation samples")[2].split("## Test samples")
    assert "0 samples." in validation and "Measured on all 5 samples" in test


def test_real_records():
    if not SAMPLE.is_dir():
        pytest.skip(f"{SAMPLE} is not there")
    annotation = f"pool.annotation={SAMPLE}/annotation.json"
    text = text_of("pool=llava_json", annotation, "student=micro", "max_samples=12")
    assert "205 rows read: 204 can be used, 1 quarantined." in text
    assert "Sources: 204" in text and row(text, "184 others") == ["184"]
    assert "Emperor\\_Alexander" in text or "Emperor_Alexander" in text
    assert "a draw of 12 of 204" in text and row(text, "tokens with picture and reply")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [(("pool=micro", "max_samples=0"), "max_samples is 0"), (("pool=llava_json",), "pool.annotation has no value")],
)
def test_what_cannot_be_asked_is_said(overrides, message):
    with pytest.raises((ValueError, OmegaConfBaseException), match=message):
        text_of(*overrides)


def test_the_command(tmp_path):
    done = delamo("check", "pool=micro", "pool.size=9", cwd=tmp_path)
    assert done.returncode == 0 and "9 rows read" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []
    without = delamo("check", cwd=tmp_path)
    assert without.returncode == 1 and "pool" in without.stderr and "Traceback" not in without.stderr


def test_gold_answers_that_no_reply_can_give_are_a_warning(tmp_path):
    """Two options of the same words, and an answer of punctuation alone: whoever says them is not read as right."""
    samples = [
        Sample(id="fine", instruction="Which?", answer="a cat", options=("a cat", "a dog"), gold=0),
        Sample(id="twins", instruction="Which?", answer="The cat", options=("a cat", "the cat"), gold=1),
        Sample(id="empty", instruction="What?", answer="..."),
        Sample(id="open", instruction="What?", answer="The answer is: red."),
    ]
    text = markdown(delamo_check._unread_blocks(samples))
    assert "gold answers of 2 of 4 samples (50.0%)" in text and "twins" in text and "empty" in text
    assert delamo_check._unread_blocks(samples[:1]) == []
