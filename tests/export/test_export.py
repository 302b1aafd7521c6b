"""What is exported is what was selected, and other code reads it: this project's readers, PEFT, `datasets`."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import json
import re
from pathlib import Path

import pytest
import yaml
from support.command import delamo
from support.configs import node
from support.readers import read_pool

from delamo.data.images import open_image
from delamo.export import FORMATS, export
from delamo.export.adapters import base_of
from delamo.export.datasets import write_hf, write_llama_factory, write_llava
from delamo.export.lmms_eval import functions
from delamo.export.selection import Selection, read_selection
from delamo.models.students.answers import read_reply
from delamo.models.students.local import Reply, Student
from delamo.records import LETTERS, ItemScore, Sample, Selected
from delamo.runs import lineage
from delamo.runs.read import Run, finished_runs
from delamo.store import read_rows

SMALL = (
    *("selector=random", "budget=custom", "budget.num_samples=6", "pool.size=40", "task=micro/objects"),
    *("task.num_val_samples=2", "task.num_test_samples=4", "student.max_new_tokens=8", "student.device=cpu"),
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, experiment_config) -> Path:
    """Two finished cells of the embedded student: one tuned on six samples, one not."""
    from delamo.pipeline import run_experiment

    folder = tmp_path_factory.mktemp("work")
    paths = (f"paths.runs={folder}/runs", f"paths.store={folder}/store")
    run_experiment(experiment_config(*SMALL, *paths))
    run_experiment(experiment_config(*SMALL, "selector=none", *paths))
    return folder / "runs"


@pytest.fixture
def tuned(runs) -> Selection:
    (found,) = [run for run in finished_runs(runs).runs if run.cell["selector"] == "random"]
    return read_selection(found)


def exported(runs: Path, format: str, out: Path) -> Path:
    said = export(runs, format, out)
    assert "6 samples and the adapter" in said and "Left out: 1 runs" in said
    return out


def text_of(sample: Sample) -> Sample:
    return dataclasses.replace(sample, image=None)


def loaded(path: Path):
    """The Python file as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pixels(locator: str) -> bytes:
    return open_image(locator).tobytes()


def test_llava_is_read_back_by_the_reader(runs, tuned, tmp_path):
    out = exported(runs, "llava", tmp_path / "out")
    pool = read_pool("llava_json", annotation=out / "data.json")
    assert len(pool) == 6 and not pool.quarantined
    for _, sample in tuned.rows:
        again = pool.get(sample.id)
        assert text_of(again) == text_of(sample) and pixels(again.image) == pixels(sample.image)
    order = [row["id"] for row in json.loads((out / "data.json").read_text())]
    assert order == [chosen.id for chosen, _ in tuned.rows]


def test_llama_factory_finds_every_field_that_it_asks_for(runs, tuned, tmp_path):
    out = exported(runs, "llama_factory", tmp_path / "out")
    (info,) = json.loads((out / "dataset_info.json").read_text()).values()
    assert info["formatting"] == "sharegpt"
    rows, tags = json.loads((out / info["file_name"]).read_text()), info["tags"]
    for row, (_, sample) in zip(rows, tuned.rows, strict=True):
        messages, images = row[info["columns"]["messages"]], row[info["columns"]["images"]]
        assert [turn[tags["role_tag"]] for turn in messages] == [tags["user_tag"], tags["assistant_tag"]]
        question, answer = (turn[tags["content_tag"]] for turn in messages)
        assert question.removeprefix("<image>\n") == sample.instruction and answer == sample.answer
        assert question.count("<image>") == len(images) == 1 and (out / images[0]).is_file()


def test_hf_holds_rows_pictures_and_a_card(runs, tuned, tmp_path):
    out = exported(runs, "hf", tmp_path / "out")
    rows = [json.loads(line) for line in (out / "train" / "metadata.jsonl").read_text().splitlines()]
    for row, (chosen, sample) in zip(rows, tuned.rows, strict=True):
        assert (row["id"], row["instruction"], row["answer"]) == (sample.id, sample.instruction, sample.answer)
        assert (row["rank"], row["reason"]) == (chosen.rank, "random")
        assert pixels(str(out / "train" / row["file_name"])) == pixels(sample.image)
    head = yaml.safe_load((out / "README.md").read_text().split("---")[1])
    assert head["configs"][0]["data_files"] == [{"split": "train", "path": "train/**"}]
    assert "6 training samples" in (out / "README.md").read_text()


@pytest.mark.skipif(importlib.util.find_spec("datasets") is None, reason="`datasets` is not installed")
def test_hf_loads_with_datasets(runs, tuned, tmp_path):
    from datasets import load_dataset

    out = exported(runs, "hf", tmp_path / "out")
    rows = load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    assert [row["id"] for row in rows] == [sample.id for _, sample in tuned.rows]
    assert rows[0]["image"].convert("RGB").tobytes() == pixels(tuned.rows[0][1].image)


def test_lmms_eval_has_the_run_s_scores_by_sample_id(runs, tuned, tmp_path):
    said = export(runs, "lmms_eval", tmp_path / "out")
    assert said.count("4 samples") == 2  # the untuned student has results, too
    out = tmp_path / "out" / tuned.run.path.name
    docs = [json.loads(line) for line in (out / "test.jsonl").read_text().splitlines()]
    scored = [json.loads(line) for line in (out / "samples_delamo_micro_objects.jsonl").read_text().splitlines()]
    stated = {score.id: float(bool(score.correct)) for score in read_rows(ItemScore, tuned.run.path / "items.jsonl")}
    results = json.loads((out / "results.json").read_text())
    assert {row["id"]: row["accuracy"] for row in scored} == stated == results["items"]["delamo_micro_objects"]
    assert results["results"]["delamo_micro_objects"]["accuracy,none"] == tuned.run.metrics["test"]["accuracy"]
    assert [doc["id"] for doc in docs] == [row["id"] for row in scored]
    assert all((out / doc["image"]).is_file() and doc["target"] in "ABCDEFGH" for doc in docs)


def test_the_lmms_eval_task_names_functions_that_are_there(runs, tuned, tmp_path):
    export(runs, "lmms_eval", tmp_path / "out")
    out = tmp_path / "out" / tuned.run.path.name
    text = (out / "delamo_micro_objects.yaml").read_text()
    named = re.findall(r"!function delamo_functions\.(\w+)", text)
    module = loaded(out / "delamo_functions.py")
    assert named and all(callable(getattr(module, name)) for name in named)
    doc = json.loads((out / "test.jsonl").read_text().splitlines()[0])
    assert module.doc_to_visual(doc)[0].mode == "RGB" and module.doc_to_visual({"image": None}) == []
    samples = {sample.id: sample for sample in lineage.test_samples(tuned.run).values()}
    assert doc["question"] == Student.load(node("student", "micro", device="cpu")).prompt(samples[doc["id"]])
    stated = {score.id: score for score in tuned.run.scores}
    for line in (out / "test.jsonl").read_text().splitlines():
        score = stated[json.loads(line)["id"]]
        assert module.process_results(json.loads(line), [score.text]) == {"accuracy": float(bool(score.correct))}
    task = yaml.safe_load(text.replace("!function ", ""))
    assert (
        task["dataset_kwargs"]["data_files"] == {"test": "test.jsonl"}
        and task["generation_kwargs"]["max_new_tokens"] == 8
    )


SIGNS = Sample(id="t", instruction="Which sign?", options=("stop", "yield"), gold=1, answer="yield")
TYPES = ("stop", "yield", "A red bus.", "3.5", "the kitchen", "St. Louis", "C++", "B")
SHAPES = (
    "{}",
    "{}.",
    "**{}**",
    "({})",
    "({}) yield.",
    "{}: yield",
    "{}, yield",
    "{}. yield",
    "option {}.",
    '"{}"',
    "The {}",
)
LEADS = (
    "The final answer is ",
    "The correct answer is: ",
    "It is round. So the answer is ",
    "Answer: ",
    "I choose the answer, ",
)
LEADS += ("", "The answer is A. No, the final answer is ")


def test_the_lmms_eval_task_scores_every_reply_as_this_project_does(tmp_path):
    """Choices and open answers; a file that names nothing of this project."""
    (tmp_path / "functions.py").write_text(functions())
    imported = [line.split()[1] for line in functions().splitlines() if re.match(r"\s*(import|from)\s", line)]
    assert imported and not any(name.startswith("delamo") for name in imported)
    module, verdicts = loaded(tmp_path / "functions.py"), []
    opens = [dataclasses.replace(SIGNS, options=(), gold=None, answer=answer) for answer in TYPES]
    for sample in (SIGNS, dataclasses.replace(SIGNS, gold=0, answer="stop"), *opens):
        doc = {"options": list(sample.options), "letter": sample.gold is not None, "image": None}
        doc["target"] = sample.answer if sample.gold is None else LETTERS[sample.gold]
        for said in (*TYPES, "A", "b", "Z", "kitchen", ""):
            for lead, shape in itertools.product(LEADS, SHAPES):
                text = lead + shape.format(said)
                ours = float(bool(read_reply(sample, Reply(text=text, num_tokens=1, truncated=False)).correct))
                assert module.process_results(doc, [f" {text}\n"]) == {"accuracy": ours}, (text, sample)
                verdicts.append(ours)
    assert 0.05 < sum(verdicts) / len(verdicts) < 0.5
    for text in ("The final answer is A red bus.", "The final answer is B: yield", "The final answer is **B**."):
        sample = opens[2] if "bus" in text else SIGNS
        doc = {
            "options": list(sample.options),
            "letter": bool(sample.options),
            "target": "B" if sample.options else "A red bus.",
        }
        assert module.process_results(doc, [text]) == {"accuracy": 1.0}


def test_the_adapter_loads_with_plain_peft(runs, tuned, tmp_path):
    import torch
    from peft import PeftModel

    out = exported(runs, "llava", tmp_path / "out")
    config = json.loads((out / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "package:micro_student" and "revision" in config
    config = node("student", "micro", device="cpu")
    base = Student.load(config).model
    tokens = torch.arange(1, 9)[None]
    with torch.no_grad():
        before = base(input_ids=tokens).logits
        after = PeftModel.from_pretrained(base, out / "adapter")(input_ids=tokens).logits
        same = Student.load(config, adapter=tuned.adapter).model(input_ids=tokens).logits
    assert (after - before).abs().max() > 0
    assert torch.allclose(after, same, atol=1e-4)


def test_the_model_card_says_where_it_comes_from(runs, tuned, tmp_path):
    out = exported(runs, "llava", tmp_path / "out")
    card = (out / "adapter" / "README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert head["library_name"] == "peft" and "base_model" not in head  # packaged weights have no hub id
    test = tuned.run.metrics["test"]
    assert f"{100 * test['accuracy']:.1f} (" in card and "pool micro" in card and "learning_rate" in card
    everything = "".join(path.read_text() for path in out.rglob("*") if path.suffix in (".json", ".md", ".jsonl"))
    assert str(tmp_path) not in everything and str(runs) not in everything


@pytest.mark.parametrize(
    ("path", "name", "on_hub"),
    [
        ("llava-hf/llava-1.5-7b-hf", "llava-hf/llava-1.5-7b-hf", True),
        ("package:micro_student", "package:micro_student", False),
        ("/home/me/models/mine", "mine", False),
        ("./models/mine", "mine", False),
    ],
)
def test_a_base_is_named_without_the_way_to_it(tuned, path, name, on_hub):
    run = Run(tuned.run.path, tuned.run.metrics)
    vars(run)["config"] = {"student.path": path, "student.revision": "abc"}
    base = base_of(Selection(run, []))
    assert (base["name"], base["on_hub"], base["revision"]) == (name, on_hub, "abc")


WEIRD = [
    Sample(id="text only/ä\n", instruction="None", answer="None", source="é"),
    Sample(id="gone", instruction="What?", answer="x", image="/nowhere/a.png"),
    Sample(id="a|b", instruction='"quoted"\nnext line', answer="<script>", image="micro:pool/0/1"),
    Sample(id="twin", instruction="same picture", answer="y", image="micro:pool/0/1"),
]


@pytest.mark.parametrize("write", [write_llava, write_llama_factory, write_hf])
def test_weird_samples(tuned, tmp_path, write):
    rows = [(Selected(id=sample.id, rank=rank), sample) for rank, sample in enumerate(WEIRD)]
    (bad,) = write(Selection(tuned.run, rows), tmp_path)
    assert (bad.id, bad.reason) == ("gone", "image missing")
    assert len(list(tmp_path.rglob("*.png"))) == 1  # two samples, one picture
    if write is write_llava:
        pool = read_pool("llava_json", annotation=tmp_path / "data.json")
        assert {row.instruction for row in pool} == {row.instruction for row in WEIRD if row.id != "gone"}
        assert pool.get("text only/ä").image is None and not pool.quarantined


def test_a_set_without_pictures_is_plain_rows(tuned, tmp_path):
    write_hf(Selection(tuned.run, [(Selected(id="t", rank=0), WEIRD[0])]), tmp_path)
    (row,) = map(json.loads, (tmp_path / "train" / "data.jsonl").read_text().splitlines())
    assert "file_name" not in row and row["instruction"] == "None"


def test_what_cannot_be_exported_is_said(runs, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    with pytest.raises(ValueError, match="not empty"):
        export(runs, "llava", tmp_path / "full")
    with pytest.raises(ValueError, match=f"choose one of {', '.join(FORMATS)}"):
        export(runs, "parquet", tmp_path / "new")
    (untuned,) = [run.path for run in finished_runs(runs).runs if run.cell["selector"] == "none"]
    with pytest.raises(ValueError, match="nothing to train others on"):
        export(untuned, "llava", tmp_path / "new")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        export(tmp_path / "nowhere", "llava", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_command(runs, tmp_path):
    done = delamo("export", f"runs={runs}", "format=llava", "out=out", cwd=tmp_path)
    assert done.returncode == 0 and "6 samples" in done.stdout, done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"data.json", "images", "adapter", "export.json"}
    without = delamo("export", f"runs={runs}", cwd=tmp_path)
    assert without.returncode == 1 and "out has no value" in without.stderr
