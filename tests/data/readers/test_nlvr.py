"""NLVR as a task: the real folder where it is there, and a small one of the same format everywhere."""

import importlib.util
import json
from pathlib import Path

import pytest
from support.readers import read_task

from delamo.data.quarantine import count_reasons

SCRIPT = Path(__file__).parents[3] / "scripts" / "nlvr.py"
NLVR = Path(__file__).parents[4] / "shared" / "data" / "nlvr"


def write_split(root, split, rows):
    """A split of `(identifier, sentence, label)` rows with one picture each."""
    lines = []
    for number, (identifier, sentence, label) in enumerate(rows):
        folder = root / split / "images" / str(number % 2)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{split}-{identifier}-0.png").write_bytes(b"x")
        row = {"sentence": sentence, "label": label, "identifier": identifier, "directory": str(number % 2)}
        lines.append(json.dumps(row))
    (root / split / f"{split}.json").write_text("\n".join(lines) + "\n")


@pytest.fixture
def root(tmp_path):
    write_split(tmp_path, "dev", [("1-0", "There is a box.", "true"), ("1-1", "There is a tower.", "false")])
    write_split(tmp_path, "test", [("2-0", "A circle touches the wall.", "false")])
    return tmp_path


def test_statement_becomes_a_question_of_two_options(root):
    task = read_task("nlvr", root=root)
    first = task.validation[0]
    assert first.instruction == "Is this statement about the picture true or false? There is a box."
    assert (first.id, first.options, first.gold, first.answer) == ("dev-1-0", ("true", "false"), 0, "true")
    assert first.image == str(root / "dev/images/0/dev-1-0-0.png")
    assert [sample.id for sample in task.test] == ["test-2-0"] and task.quarantined == []


def test_bad_statements_are_quarantined(root):
    path = root / "dev" / "dev.json"
    good = json.loads(path.read_text().splitlines()[0])
    bad = [
        good,
        {**good, "identifier": "9-9"},
        {**good, "identifier": "1-1", "directory": "1", "label": "maybe"},
        {**good, "sentence": ""},
        {**good, "sentence": 5},
        {**good, "directory": "../.."},
        ["no", "object"],
    ]
    path.write_text(path.read_text() + "".join(json.dumps(row) + "\n" for row in bad) + "{oops\n")
    task = read_task("nlvr", root=root)
    assert len(task.validation) == 2
    assert count_reasons(task.quarantined) == {
        "duplicate id": 1,
        "gold not among options": 1,
        "image missing": 1,
        "image outside root": 1,
        "no text": 1,
        "not JSON": 1,
        "not a record": 1,
        "not text": 1,
    }
    assert all(str(path) in row.detail for row in task.quarantined)


def test_missing_folder_and_too_large_subset_are_clear_errors(root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"task\.root is .*no dev/dev\.json"):
        read_task("nlvr", root=tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"task\.num_val_samples.*3 asked for, 2 usable"):
        read_task("nlvr", root=root, num_val_samples=3)


def test_digest_follows_the_subset_and_not_the_folder(root, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    write_split(other, "dev", [("1-0", "There is a box.", "true"), ("1-1", "There is a tower.", "false")])
    write_split(other, "test", [("2-0", "A circle touches the wall.", "false")])
    assert read_task("nlvr", root=root).digest == read_task("nlvr", root=other).digest
    assert read_task("nlvr", root=root, num_val_samples=1).digest != read_task("nlvr", root=root).digest


@pytest.mark.skipif(not NLVR.is_dir(), reason=f"no NLVR at {NLVR}")
def test_real_nlvr():
    task = read_task("nlvr", root=NLVR, num_val_samples=100, seed=3)
    assert (len(task.validation), len(task.test), len(task.quarantined)) == (100, 990, 0)
    assert len({sample.id for sample in task.test}) == 990
    assert sum(sample.gold == 0 for sample in task.test) == 556


def test_script_calls_commands_that_compose(root, experiment_config):
    spec = importlib.util.spec_from_file_location("nlvr_script", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    odd = root.rename(root.with_name("a, b={c}"))
    args = script.parse_args([str(odd), "--test", "1", "--seeds", "2", "--set", "tuning.epochs=7"])
    first, second, last = script.commands(args)
    assert second[-2:] == ["selector=random", "seed=0,1"] and last == ["report", 'runs="runs/nlvr"']
    config = experiment_config(*first[2:-1])
    assert (config.task.root, config.task.num_test_samples) == (str(odd), 1)
    assert (config.budget.num_samples, config.tuning.epochs, config.pool.size) == (500, 7, 10_000)
