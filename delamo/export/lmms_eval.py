"""Export a run's test set as a task of lmms-eval, and its results in lmms-eval's shape, keyed by sample id.

lmms-eval is not needed for it. Its names follow docs/task_guide.md and loggers/evaluation_tracker.py of version 0.7.
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

from delamo.data.images import ImageError
from delamo.export.images import ImageFolder
from delamo.export.selection import Selection
from delamo.models import prompts
from delamo.models.parsing import choices, normal, open_answers, reply, statements
from delamo.records import LETTERS, ItemScore, Quarantined, Sample
from delamo.runs import lineage
from delamo.store import write_json, write_parts, write_text

SCORING = '''

from pathlib import Path

from PIL import Image

FOLDER = Path(__file__).parent


def doc_to_visual(doc):
    return [Image.open(FOLDER / doc["image"]).convert("RGB")] if doc["image"] else []


def process_results(doc, results):
    """1 where the reply's final answer is the option's letter, or says the gold text; a reply without one is wrong."""
    said = read_answer(results[0].strip(), doc["options"]).prediction
    if doc["letter"]:
        right = said == doc["target"]
    else:  # the gold answer of an open question is read as a reply is
        golds = {doc["target"], read_answer(doc["target"]).prediction or doc["target"]}
        right = said is not None and any(same_answer(said, gold) for gold in golds)
    return {"accuracy": float(right)}
'''
"""What the task's YAML names, behind the reading of replies."""


def write_results(selection: Selection, folder: Path) -> list[Quarantined]:
    """Write TASK.yaml, delamo_functions.py, test.jsonl, images/, results.json and samples_TASK.jsonl."""
    run, name = selection.run, task_name(selection.run.cell["task"])
    samples = lineage.test_samples(run)
    images, docs, bad = ImageFolder(folder / "images"), {}, []
    prompt = run.config.get("student.prompt", "micro")
    for score in run.scores:
        try:
            docs[score.id] = _doc(samples[score.id], score, images.add(samples[score.id].image), prompt)
        except ImageError as error:
            bad.append(Quarantined(id=score.id, stage="export", reason=error.reason, detail=error.detail))
    kept = [score for score in run.scores if score.id in docs]
    _lines(folder / "test.jsonl", docs.values())
    _lines(folder / f"samples_{name}.jsonl", (_scored(i, docs[score.id], score) for i, score in enumerate(kept)))
    write_json(folder / "results.json", _results(selection, name))
    write_text(folder / "delamo_functions.py", functions())
    write_text(folder / f"{name}.yaml", _task(name, int(run.config.get("student.max_new_tokens", 512))))
    return bad


PARSING = (normal, statements, choices, open_answers, reply)
"""In the order in which each needs the ones before it."""
_IMPORTED = re.compile(r"^from (?:__future__|delamo\S*) import (?:\([^)]*\)|[^(\n]*)\n", re.MULTILINE)
_DEFINED = re.compile(r"^(?:def |class )?([A-Za-z_]\w*)(?=\(| = |:)", re.MULTILINE)


def task_name(task: str) -> str:
    """Make a name that lmms-eval takes: `delamo_micro_objects`."""
    return "delamo_" + re.sub(r"[^a-z0-9]+", "_", task.lower()).strip("_")


def functions() -> str:
    """Write the Python file that the task's YAML names: this project's reading of replies as it is, and `SCORING`.

    It imports nothing of this project.

    lmms-eval loads the file without entering it among the modules, where a dataclass cannot resolve annotations that
    are text.
    """
    parts = [_IMPORTED.sub("", inspect.getsource(module)) for module in PARSING]
    names = [name for part in parts for name in _DEFINED.findall(part)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise RuntimeError(f"modules of delamo.models.parsing, joined in one file, define {', '.join(twice)} twice")
    return "\n\n".join([f"LETTERS = {LETTERS!r}", *parts]).replace("open_answers.", "") + SCORING


def _doc(sample: Sample, score: ItemScore, image: str | None, prompt: str) -> dict[str, Any]:
    """Build a row with the question as the student read it; `letter` says that the target is one."""
    return {
        "id": sample.id,
        "question": prompts.question(prompt, sample),
        "options": list(sample.options),
        "letter": sample.gold is not None,
        "target": score.gold,
        "image": image,
    }


def _scored(number: int, doc: dict[str, Any], score: ItemScore) -> dict[str, Any]:
    """Build a line of lmms-eval's sample log; `parsed` and `prediction` are this project's."""
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
