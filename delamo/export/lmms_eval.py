"""A run's test set as a task of lmms-eval, and its results in lmms-eval's shape, keyed by sample id.

lmms-eval is not needed for it. Its names follow docs/task_guide.md and loggers/evaluation_tracker.py of version 0.7.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from delamo.data.images import ImageError
from delamo.export.pictures import PictureFolder
from delamo.export.selection import Selection
from delamo.records import LETTERS, ItemScore, Quarantined, Sample
from delamo.report import chain
from delamo.store import write_json, write_parts, write_text

FUNCTIONS = '''\
"""Functions that the task's YAML names. Scoring here is by whole answer: the option letter, or the gold text."""

import re
from pathlib import Path

from PIL import Image

FOLDER = Path(__file__).parent


def doc_to_visual(doc):
    return [Image.open(FOLDER / doc["image"]).convert("RGB")] if doc["image"] else []


def process_results(doc, results):
    found = re.findall(r"(?:answer is|answer:)\\s*\\(?([^().\\n]+)\\)?", results[0], re.IGNORECASE)
    said = (found[-1] if found else results[0]).strip().strip("().").casefold()
    return {"accuracy": float(said == doc["target"].casefold())}
'''


def write_results(selection: Selection, folder: Path) -> list[Quarantined]:
    """TASK.yaml, delamo_functions.py, test.jsonl, images/, results.json and samples_TASK.jsonl."""
    run, name = selection.run, task_name(selection.run.cell["task"])
    samples = chain.test_samples(run)
    pictures, docs, bad = PictureFolder(folder / "images"), {}, []
    for score in run.scores:
        try:
            docs[score.id] = _doc(samples[score.id], score, pictures.add(samples[score.id].image))
        except ImageError as error:
            bad.append(Quarantined(id=score.id, stage="export", reason=error.reason, detail=error.detail))
    kept = [score for score in run.scores if score.id in docs]
    _lines(folder / "test.jsonl", docs.values())
    _lines(folder / f"samples_{name}.jsonl", (_scored(i, docs[score.id], score) for i, score in enumerate(kept)))
    write_json(folder / "results.json", _results(selection, name))
    write_text(folder / "delamo_functions.py", FUNCTIONS)
    write_text(folder / f"{name}.yaml", _task(name, int(run.config.get("student.max_new_tokens", 512))))
    return bad


def task_name(task: str) -> str:
    """A name that lmms-eval takes: `delamo_micro_objects`."""
    return "delamo_" + re.sub(r"[^a-z0-9]+", "_", task.lower()).strip("_")


def _doc(sample: Sample, score: ItemScore, image: str | None) -> dict[str, Any]:
    options = "".join(f"\n({LETTERS[i]}) {text}" for i, text in enumerate(sample.options))
    return {"id": sample.id, "question": f"{sample.instruction}{options}", "target": score.gold, "image": image}


def _scored(number: int, doc: dict[str, Any], score: ItemScore) -> dict[str, Any]:
    """A line of lmms-eval's sample log; `parsed` and `prediction` are this project's."""
    return {
        "doc_id": number,
        "id": score.id,
        "input": doc["question"],
        "target": score.gold,
        "resps": [[score.text]],
        "filtered_resps": [score.prediction or ""],
        "accuracy": float(bool(score.correct)),
        "parsed": score.parsed,
        "prediction": score.prediction,
    }


def _results(selection: Selection, name: str) -> dict[str, Any]:
    run = selection.run
    test = run.metrics["test"]
    by_id = {score.id: float(bool(score.correct)) for score in run.scores}
    scores = {"alias": name, "accuracy,none": test["accuracy"], "unparsed,none": test["unparsed"] / test["n"]}
    return {
        "results": {name: scores},
        "n-samples": {name: {"original": test["n"], "effective": test["n"]}},
        "higher_is_better": {name: {"accuracy": True}},
        "model_name": run.cell["student"],
        "cell": run.cell,
        "items": {name: by_id},
    }


def _task(name: str, max_new_tokens: int) -> str:
    return f"""\
# lmms-eval --include_path . --tasks {name} --model ... (run in this folder: data_files is relative)
dataset_path: json
dataset_kwargs:
  data_files:
    test: test.jsonl
task: {name}
test_split: test
output_type: generate_until
doc_to_visual: !function delamo_functions.doc_to_visual
doc_to_text: "question"
doc_to_target: "target"
process_results: !function delamo_functions.process_results
metric_list:
  - metric: accuracy
    aggregation: mean
    higher_is_better: true
generation_kwargs:
  max_new_tokens: {max_new_tokens}
  temperature: 0
  do_sample: false
metadata:
  - version: 1.0
"""


def _lines(path: Path, rows: Any) -> None:
    write_parts(path, (json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
