"""The drawing of the method: which error it shows, and that it shows what the run has."""

from __future__ import annotations

import base64
import dataclasses
import importlib.util
import io
import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image
from support.fake_runs import MISTAKE, sample, write_chain, write_rows, write_run

from delamo.records import Answer, Sample, Selected, Skill
from delamo.runs.read import finished_runs

SCRIPT = Path(__file__).parents[2] / "scripts" / "draw_method.py"
NAMESPACE = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("draw_method", SCRIPT)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # where dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def mistake(id: str, gold_probabilities: tuple[float, ...], **more):
    rows = tuple((p, 1 - p) for p in gold_probabilities)
    return dataclasses.replace(MISTAKE, id=id, probabilities=rows, **more)


MISTAKES = {
    "v1": mistake("v1", (0.6, 0.55, 0.40, 0.05)),  # changes sides, by 0.15
    "v2": mistake("v2", (0.6, 0.55, 0.10, 0.05)),  # changes sides, by 0.45
    "v3": mistake("v3", (0.6, 0.45, 0.01, 0.01)),  # had changed sides before
    "v4": mistake("v4", (0.6, 0.99, 0.01, 0.01), fallback=True),
    "v5": mistake("v5", (0.6, 0.99, 0.01, 0.01)),  # still wrong after tuning
    "v6": mistake("v6", (0.6, 0.99, 0.01, 0.01)),  # brought in too little
}


@pytest.fixture
def runs(tmp_path) -> Path:
    """An error-driven run with six errors, and the untuned student's."""
    folder = tmp_path / "runs"
    write_run(folder, task="micro/easy", selector="none", seed=0, bits="1" * 10 + "0" * 30)
    path = write_run(folder, task="micro/easy", selector="error_driven", seed=0, bits="1" * 34 + "0" * 6)
    write_chain(tmp_path, path)
    image = tmp_path / "circle.png"
    Image.new("RGB", (48, 48), "red").save(image)
    pool = [
        Sample(id=f"p{i}", instruction=f"How large is <shape> {i}?\nOptions: (a) big", answer="big") for i in range(18)
    ]
    chosen = [
        Selected(id=f"p{i}", rank=i, score=9.25 - i / 2, skill="judge size", val_id=f"v{1 + i % 6}", reason="retrieved")
        for i in range(17)  # one short of three for each
    ]
    reply = Answer(id="", text="", rationale="", prediction="A", correct=True, num_tokens=9)
    old = dataclasses.replace(reply, rationale="".join(MISTAKE.steps), prediction="B", correct=False)
    new = dataclasses.replace(reply, rationale=" The top left has a red circle. It is big.")
    rows = {
        "task/validation": [sample(id, "Is the red circle big or small?", image=str(image)) for id in MISTAKES],
        "answers/answers": [dataclasses.replace(old, id=id) for id in MISTAKES],
        "answers_after/answers": [dataclasses.replace(new, id=id, correct=id != "v5") for id in MISTAKES],
        "mistakes/mistakes": list(MISTAKES.values()),
        "skills/skills": [Skill(val_id=id, skill="judge size", step=1) for id in MISTAKES],
        "selection/selection": chosen,
        "selection/selected_samples": pool,
    }
    stages = json.loads((path / "stages.json").read_text())
    for name, records in rows.items():
        stage, _, file = name.partition("/")
        write_rows(Path(stages[stage]["path"]) / f"{file}.jsonl", records)
    return folder


def test_the_rule_chooses_the_step_at_which_the_teacher_changes_sides_most(script, runs):
    assert script.choose(finished_runs(runs).runs).sample.id == "v2"
    assert script.choose(finished_runs(runs).runs, "v3").sample.id == "v3"


@pytest.mark.parametrize("id", ["v5", "v6", "v9"])
def test_an_example_that_shows_nothing_is_refused(script, runs, id):
    with pytest.raises(ValueError, match=f"{id} is no error that was mended .* another --id"):
        script.choose(finished_runs(runs).runs, id)


def test_the_drawing_has_every_part_of_the_example(script, runs, tmp_path):
    out = tmp_path / "new" / "method.svg"
    script.main([str(runs), "--out", str(out)])
    root = ElementTree.parse(out).getroot()
    words = [element.text for element in root.iter(f"{NAMESPACE}text")]
    text = " ".join(words)
    for part in (
        *("Is the red circle big or small?", "(A) big", "(B) small", "gold", "student"),
        *("before any step", "It is small.", "mistake", "0.55", "0.10", "P(big) after each step"),
        *("judge size", "that step 2 shows to be missing: “It is small.”", "One of 6 errors"),
        *("How large is <shape> 1?", "rank 2 of 17, score 8.8", "rank 14 of 17"),
        *("… It is big.", "✓ (A) big", "40 test items of micro/easy:", "25.0 % → 85.0 % right"),
    ):
        assert part in text, part
    assert "Options" not in text
    (link,) = (element.get("href") for element in root.iter(f"{NAMESPACE}image"))
    with Image.open(io.BytesIO(base64.b64decode(link.removeprefix("data:image/png;base64,")))) as image:
        assert image.size == (script.PHOTO, script.PHOTO)
    assert "prefers-color-scheme:dark" in out.read_text()


def test_nothing_in_the_drawing_comes_from_elsewhere_and_no_text_is_tiny(script, runs, tmp_path):
    script.main([str(runs), "--out", str(tmp_path / "method.svg")])
    svg = (tmp_path / "method.svg").read_text()
    assert set(re.findall(r"https?://[^\s\"<]+", svg)) == {"http://www.w3.org/2000/svg"}
    assert min(map(float, re.findall(r'font-size="([\d.]+)"', svg))) * 900 / script.WIDTH > 12


def test_long_texts_end_in_an_ellipsis_within_their_width(script):
    rows = script.wrapped("word " * 40, 14, 120, 2)
    assert len(rows) == 2 and rows[-1].endswith("…") and all(script.width_of(row, 14) <= 120 for row in rows)
    assert script.wrapped("short", 14, 120, 2) == ["short"]
