"""Gold mistake steps: the sheet that people fill in, the planted ones, and how near each finder comes to them."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from pathlib import Path

import pytest
from support.fake_runs import MISTAKE, sample, write_rows, write_run
from support.readers import read_task

from delamo.mistakes import annotated
from delamo.records import Answer, Mistake, Skill
from delamo.reports.render.formats import markdown
from delamo.reports.sections.agreement import agreement_blocks
from delamo.runs.read import collect

SCRIPT = Path(__file__).parents[2] / "scripts" / "annotate_mistakes.py"
RATIONALE = "The top left has a red circle. It is small."


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("annotate_mistakes", SCRIPT)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # where dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def answer(id: str, rationale: str = RATIONALE, *, correct: bool | None = False) -> Answer:
    prediction = {True: "A", False: "B", None: None}[correct]
    return Answer(id=id, text=rationale, rationale=rationale, prediction=prediction, correct=correct, num_tokens=9)


def mistake(id: str, step: int | None) -> Mistake:
    values = {name: getattr(MISTAKE, name) for name in Mistake.__slots__}
    return Mistake(**values | {"id": id, "step": step})


def stage(root: Path, run: Path, name: str, file: str, rows, digest: str = "") -> None:
    """Give a run one more stage result."""
    folder = root / "store" / name / (digest or run.name)
    write_rows(folder / f"{file}.jsonl", rows)
    path = run / "stages.json"
    stages = json.loads(path.read_text()) if path.exists() else {}
    entry = {"path": str(folder), "digest": digest or run.name, "seconds": 1.0, "reused": False}
    path.write_text(json.dumps({**stages, name: entry}))


def write_errors(
    root: Path, samples, answers, *, finder="answer_switch", steps=None, teacher="t", skills=None, **more
) -> Path:
    """A run with the student's answers, and the steps that a finder named."""
    config = {"mistakes": {"name": finder, "include_unparsed": True}, "skills": {"query": "skill"}}
    names = {"selector": "error_driven", "seed": 0, "bits": "10", "config": config, "task": "easy", **more}
    run = write_run(root / "runs", digest=f"{finder}{teacher}{more.get('student', '')}", **names)
    metrics = json.loads((run / "metrics.json").read_text())
    metrics["cell"] |= {"teacher": teacher, "student": more.get("student", "micro")}
    (run / "metrics.json").write_text(json.dumps(metrics))
    write_rows(root / "store" / "task" / run.name / "test.jsonl", [])
    stage(root, run, "task", "validation", samples)
    stage(root, run, "answers", "answers", answers, digest="-".join(row.rationale for row in answers)[:40].strip(" ."))
    if steps:
        stage(root, run, "mistakes", "mistakes", [mistake(id, step) for id, step in steps.items()])
    if skills:
        stage(root, run, "skills", "skills", [Skill(val_id=id, skill=text, step=None) for id, text in skills.items()])
    return run


@pytest.fixture
def errors(tmp_path, monkeypatch) -> Path:
    """Four validation samples: right, wrong, unreadable, and wrong with an id that a spreadsheet would compute."""
    monkeypatch.chdir(tmp_path)
    samples = [sample("v1"), sample("v2", "Big, or small?"), sample("v3"), sample("=v4", options=(), gold=None)]
    answers = [answer("v1", correct=True), answer("v2"), answer("v3", correct=None), answer("=v4")]
    write_errors(tmp_path, samples, answers)
    return tmp_path


def fill(path: Path, steps: dict[str, str]) -> None:
    """What an annotator does in a spreadsheet."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(row | {"step": steps.get(row["id"], "")} for row in rows)


def test_a_filled_sheet_becomes_gold_steps(script, errors, capsys):
    script.main(["sheet", "s.csv"])
    with open("s.csv", encoding="utf-8", newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["'=v4", "v2", "v3"]
    assert rows["v2"]["steps"] == "[0] The top left has a red circle.\n[1] It is small."
    assert (rows["v2"]["gold answer"], rows["v2"]["student's answer"]) == ("(A) big", "(B) small")
    assert rows["v3"]["student's answer"] == "could not be read" and rows["'=v4"]["gold answer"] == "big"
    fill(Path("s.csv"), {"v2": "1", "'=v4": "-1"})
    script.main(["read", "s.csv", "--out", "gold.jsonl"])
    assert annotated.read(Path("gold.jsonl")) == {"v2": 1, "=v4": None}
    assert "1 rows have no step yet" in capsys.readouterr().out


def test_a_sheet_of_json_lines(script, errors):
    script.main(["sheet", "s.jsonl", "--num", "2", "--seed", "3"])
    rows = [json.loads(line) for line in Path("s.jsonl").read_text().splitlines()]
    assert len(rows) == 2 and all(row["step"] is None and row["last step"] == 1 for row in rows)
    script.main(["sheet", "again.jsonl", "--num", "2", "--seed", "3"])
    assert Path("again.jsonl").read_text() == Path("s.jsonl").read_text()
    Path("s.jsonl").write_text("".join(json.dumps(row | {"step": 0}) + "\n" for row in rows))
    script.main(["read", "s.jsonl", "--out", "gold.jsonl"])
    assert annotated.read(Path("gold.jsonl")) == {row["id"]: 0 for row in rows}


@pytest.mark.parametrize(
    ("step", "message"), [("2", "choose a number from 0 to 1, or -1"), ("x", "step is 'x'"), ("-2", "step is '-2'")]
)
def test_a_step_that_is_not_there_is_refused(script, errors, step, message):
    script.main(["sheet", "s.csv"])
    fill(Path("s.csv"), {"v2": step})
    with pytest.raises(SystemExit, match=message):
        script.main(["read", "s.csv", "--out", "gold.jsonl"])
    assert not Path("gold.jsonl").exists()


def test_what_people_filled_in_is_not_written_over(script, errors):
    script.main(["sheet", "s.csv"])
    with pytest.raises(SystemExit, match="not written over"):
        script.main(["sheet", "s.csv"])


def test_two_students_rationales_are_not_mixed(script, errors):
    write_errors(errors, [sample("v2", "Big, or small?")], [answer("v2", "It is round.")], student="other")
    with pytest.raises(SystemExit, match="v2 was answered in two ways"):
        script.main(["sheet", "s.csv"])
    script.main(["sheet", "s.csv", "--student", "other"])
    with pytest.raises(SystemExit, match="no finished run"):
        script.main(["sheet", "t.csv", "--student", "third"])


def test_planted_steps_are_the_first_false_sentences(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = read_task("micro", target="numbers", num_val_samples=3, num_test_samples=1, seed=0)
    false = "The digits are 1 and 1. 3 is even."  # no scene of this target shows the same digit twice
    texts = [f"Who knows? {false}", false, "Who knows?"]
    write_errors(
        tmp_path, task.validation, [answer(s.id, text) for s, text in zip(task.validation, texts, strict=True)]
    )
    script.main(["planted", "--out", "gold.jsonl"])
    assert list(annotated.read(Path("gold.jsonl")).values()) == [1, 0, None]
    assert [json.loads(line)["id"] for line in Path("gold.jsonl").read_text().splitlines()] == [
        s.id for s in task.validation
    ]


def test_planted_steps_need_planted_truth(script, errors):
    with pytest.raises(SystemExit, match="not of the microworld"):
        script.main(["planted"])


def test_finders_are_scored_against_gold_steps(script, errors, capsys):
    samples, answers = [sample("v2"), sample("v3")], [answer("v2"), answer("v3")]
    write_errors(errors, samples, answers, finder="random", steps={"v2": 1, "v3": 0})
    write_errors(errors, samples, answers, finder="prompt_per_step", steps={"v2": 2, "v3": 2})
    Path("gold.jsonl").write_text('{"id": "v2", "step": 1}\n{"id": "v3", "step": 2}\n')
    script.main(["score", "gold.jsonl"])
    rows = [[cell.strip() for cell in line.split("|")[4:-1]] for line in capsys.readouterr().out.splitlines()]
    assert ["prompt_per_step", "50.0", "100.0", "2"] in rows and ["random", "50.0", "50.0", "2"] in rows


def test_a_finders_steps_for_the_annotated_errors_alone(script, errors, capsys):
    samples, answers = [sample("v2"), sample("v3")], [answer("v2"), answer("v3")]
    write_errors(errors, samples, answers, finder="random", steps={"v2": 1, "v3": 0})
    Path("gold.jsonl").write_text('{"id": "v3", "step": 1}\n{"id": "v7", "step": 0}\n')
    script.main(["predicted", "gold.jsonl", "--finder", "random"])
    assert annotated.read(Path("predicted_steps.jsonl")) == {"v3": 0}
    assert "1 errors of gold.jsonl are not in" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0 results of mistakes=pseudo_rationale"):
        script.main(["predicted", "gold.jsonl", "--finder", "pseudo_rationale"])


def test_teachers_are_compared_on_the_same_answers_alone(tmp_path):
    samples, answers = [sample("v2")], [answer("v2")]
    for teacher, skill in (("early", "count circles"), ("late", "count red circles")):
        write_errors(tmp_path, samples, answers, teacher=teacher, steps={"v2": 0}, skills={"v2": skill})
    write_errors(tmp_path, samples, [answer("v2", "Else.")], teacher="third", steps={"v2": 0}, skills={"v2": "x"})
    text = markdown(agreement_blocks(collect(tmp_path / "runs").runs))
    (row,) = [line for line in text.splitlines() if line.startswith("| easy")]
    assert [cell.strip() for cell in row.split("|")[2:-1]] == ["early and late", "1", "0.0", "80.0"]
    assert agreement_blocks(collect(tmp_path / "runs").runs[:1]) == []
