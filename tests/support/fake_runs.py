"""A folder of finished runs made by hand: a student, two targets, pretrained, three random seeds and error-driven."""

import json
from pathlib import Path

from delamo.metrics.statistics import wilson
from delamo.records import Answer, ItemScore, Mistake, Quarantined, Sample, Selected, Skill, to_json

TESTED = 40


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(to_json(row) + "\n" for row in rows), encoding="utf-8")


def items(bits):
    """Item scores from a string: 1 correct, 0 wrong, ? unparsed."""
    return [
        ItemScore(
            id=f"t{i:03}",
            text="So it is big. The final answer is (A).",
            prediction=None if bit == "?" else "A" if bit == "1" else "B",
            gold="A",
            parsed=bit != "?",
            correct=None if bit == "?" else bit == "1",
        )
        for i, bit in enumerate(bits)
    ]


def sample(id, question="Is it big?", answer="big", **more):
    fields = {"options": ("big", "small"), "gold": 0, "source": "size", **more}
    return Sample(id=id, instruction=question, answer=answer, **fields)


def write_run(root, *, task, selector, seed, bits, budget="b20", num_samples=20, planted=None, config=None, **more):
    """One finished run directory; `more` overrides top-level keys of metrics.json. Returns its path."""
    path = Path(root) / f"{task.replace('/', '_')}-micro-{selector}-{budget}-s{seed}-{more.pop('digest', '0123456789')}"
    scores = items(bits)
    write_rows(path / "items.jsonl", scores)
    n, correct = len(bits), bits.count("1")
    interval = wilson(correct / n, n)
    cell = {
        "task": task,
        "student": "micro",
        "teacher": "micro",
        "pool": "micro",
        "selector": selector,
        "budget": budget,
    }
    metrics = {
        "schema_version": 1,
        "cell": {**cell, "num_samples": num_samples, "seed": seed, "iterations": 1},
        "test": {
            "n": n,
            "correct": correct,
            "unparsed": bits.count("?"),
            "accuracy": correct / n,
            "wilson_low": interval.low,
            "wilson_high": interval.high,
        },
        "validation": None,
        "selection": {"num_samples": 0, "reasons": {}},
        "planted": planted,
        "seconds": {},
        "quarantined": {},
        "cost": {},
        **more,
    }
    (path / "metrics.json").write_text(json.dumps(metrics))
    (path / "status.json").write_text(json.dumps({"state": "done"}))
    (path / "config.yaml").write_text(json.dumps({**(config or {}), "seed": seed}))
    return path


def by_skill(before, after):
    """Planted accuracies of one missing and one known skill."""
    return {
        "size": {"n": 30, "before": before, "after": after, "missing": True},
        "colour": {"n": 10, "before": 0.9, "after": 0.8, "missing": False},
    }


def planted(precision, after, *, teacher=False):
    return {
        "precision_at_n": precision,
        "precision_any": precision,
        "mistake_step": {"accuracy": 0.75, "recall_at_3": 0.9, "n": 20} if teacher else None,
        "skill_agreement": {"accuracy": 0.8, "n": 20} if teacher else None,
        "by_skill": by_skill(0.2, after),
    }


MISTAKE = Mistake(
    id="v2",
    question="Is the red circle big or small?",
    options=("big", "small"),
    gold=0,
    wrong=1,
    steps=(" The top left has a red circle.", " It is small.", " The final answer is (B)."),
    probabilities=((0.6, 0.4), (0.55, 0.45), (0.1, 0.9), (0.05, 0.95)),
    outside_mass=(0.01, 0.02, 0.0, 0.0),
    step=1,
    fallback=False,
)


def write_chain(root, path, *, after=True):
    """Give the error-driven run `path` its stage results under `root`/store."""
    store = Path(root) / "store"
    chosen = [
        Selected(
            id="p7",
            rank=0,
            score=7.25,
            skill="compare the size of shapes",
            val_id="v2",
            matched_terms=("size", "shapes"),
            reason="retrieved",
        ),
        Selected(id="p3", rank=1, reason="fill"),
    ]
    validation = [sample("v1"), sample("v2", "Is the red circle big or small?", image="micro:v2")]
    replies = [
        Answer(id="v1", text="big", rationale="", prediction="A", correct=True, num_tokens=3),
        Answer(id="v2", text="".join(MISTAKE.steps), rationale="", prediction="B", correct=False, num_tokens=20),
    ]
    tuned = Answer(id="v2", text="It is big.", rationale="", prediction="A", correct=True, num_tokens=20)
    files = {
        "task": {"validation": validation, "test": [sample(f"t{i:03}") for i in range(TESTED)]},
        "answers": {"answers": replies},
        "mistakes": {"mistakes": [MISTAKE]},
        "skills": {"skills": [Skill(val_id="v2", skill="compare the size of shapes", step=1)]},
        "selection": {
            "selection": chosen,
            "selected_samples": [
                Sample(
                    id="p7", instruction="Which shape is larger?\nOptions: (a) red", answer="(a) red", source="sizes"
                ),
                Sample(id="p3", instruction="What colour?", answer="blue"),
            ],
        },
    }
    if after:
        files["answers_after"] = {"answers": [replies[0], tuned]}
    stages = {}
    for number, (stage, contents) in enumerate(files.items()):
        folder = store / stage / f"micro-{number:012}"
        for name, rows in contents.items():
            write_rows(folder / f"{name}.jsonl", rows)
        stages[stage] = {"path": str(folder), "digest": f"{number:064}", "seconds": 1.5 * number, "reused": False}
    write_rows(path / "selection.jsonl", chosen)
    (path / "stages.json").write_text(json.dumps(stages))
    return path


def write_example(root, runs="runs"):
    """The whole folder: on micro/easy ours beats random clearly, on micro/hard it does not.

    Returns the folder of runs.
    """
    runs = Path(root) / runs
    validation = {"n": 30, "correct": 10, "unparsed": 2, "errors": 20, "accuracy": 10 / 30}
    for task, ours in (("micro/easy", "1" * 36 + "0000"), ("micro/hard", "1" * 12 + "0" * 27 + "?")):
        write_run(runs, task=task, selector="none", seed=0, bits="1" * 10 + "0" * 28 + "??", planted=planted(None, 0.2))
        for seed in range(3):
            bits = "0" * seed + "1" * 12 + "0" * (28 - seed)
            write_run(runs, task=task, selector="random", seed=seed, bits=bits, planted=planted(0.1, 0.25))
        path = write_run(
            runs,
            task=task,
            selector="error_driven",
            seed=0,
            bits=ours,
            planted=planted(0.9, 0.95, teacher=True),
            validation=validation,
        )
        if task == "micro/easy":
            write_chain(root, path)
            gone = Quarantined(id="v9", stage="answers", reason="image missing", detail="x.png")
            write_rows(path / "quarantine.jsonl", [gone])
    broken = runs / "micro_easy-micro-error_driven-b20-s1-abc"
    broken.mkdir()
    (broken / "status.json").write_text(json.dumps({"state": "failed"}))
    return runs
