"""Cards of exported data sets and adapters: where they come from, and what they scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from delamo.export.selection import Selection
from delamo.reports.render.formats import escape_markdown

LICENCE = (
    "This card claims no licence: the samples keep that of the pool, and weights that of their base and of what they "
    "were tuned on."
)

USE = """\
```python
from peft import PeftModel

model = PeftModel.from_pretrained(base_model, "adapter")  # base_model as transformers loads it
```"""


def dataset_card(selection: Selection, *, num_rows: int, has_images: bool) -> str:
    """Write README.md of a data set on the hub; its head tells `datasets` where the rows are."""
    head = {
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "train/**"}]}],
        "tags": ["data-selection", "delamo"],
    }
    columns = ["image"] * has_images + ["id", "instruction", "answer", "source", "rank", "score", "skill", "val_id"]
    lines = [
        f"# {escape_markdown(selection.title)}",
        f"{num_rows} training samples, chosen for a target by what a student gets wrong "
        "(or as the selector below says).",
        f"Columns: {', '.join(columns)}, reason.",
        "`instruction` is the whole user turn, `answer` the reply to imitate; the last five say what brought a sample "
        "in.",
        *_origin(selection),
        LICENCE,
    ]
    return _with_head(head, lines)


def model_card(selection: Selection, base: dict[str, Any]) -> str:
    """Write README.md of an adapter.

    Args:
        selection: of the run that tuned it.
        base: `name`, `revision`, `digest` and `on_hub`; see `adapters.base_of`.
    """
    head: dict[str, Any] = {"library_name": "peft", "tags": ["lora", "delamo"]}
    if base["on_hub"]:
        head["base_model"] = base["name"]
    revision = f", revision `{base['revision']}`" if base["revision"] else ""
    lines = [
        f"# {escape_markdown(selection.title)}",
        f"Base: `{base['name']}`{revision}, untuned weights and prompt sha256 `{base['digest']}`.",
        USE,
        *_origin(selection),
        _scores(selection),
        _recipe(selection),
        LICENCE,
    ]
    return _with_head(head, lines)


def _origin(selection: Selection) -> list[str]:
    cell, inputs = selection.run.cell, _inputs(selection.run.path)
    keys = ("task", "pool", "selector", "budget", "seed")
    names = ", ".join(f"{key} {escape_markdown(str(cell[key]))}" for key in keys)
    models = f"student {escape_markdown(cell['student'])}, teacher {escape_markdown(cell['teacher'])}"
    return [f"From a run of delamo: {names}, iterations {cell['iterations']}; {models}.", *inputs]


def _inputs(run: Path) -> list[str]:
    """List digests of the data, as the run's manifest has them."""
    path = run / "manifest.json"
    digests = json.loads(path.read_text(encoding="utf-8")).get("inputs", {}) if path.is_file() else {}
    lines = [f"- content of the {key}: sha256 `{digests[key]}`" for key in ("pool", "task") if key in digests]
    return ["\n".join(lines)] if lines else []


def _scores(selection: Selection) -> str:
    test = selection.run.metrics["test"]
    interval = f"{100 * test['wilson_low']:.1f} to {100 * test['wilson_high']:.1f}"
    row = f"{100 * test['accuracy']:.1f} ({interval}) | {test['n']} | {100 * test['unparsed'] / test['n']:.1f}"
    head = "| test set | accuracy % (95 %) | n | unparsed % |\n| --- | ---: | ---: | ---: |"
    return f"{head}\n| {escape_markdown(selection.run.cell['task'])} | {row} |"


def _recipe(selection: Selection) -> str:
    config = selection.run.config
    names = sorted(key for key in config if key.startswith("tuning."))
    shown = ", ".join(f"{name.removeprefix('tuning.')} {config[name]}" for name in names)
    return f"Tuning: {shown}." if shown else "Tuning: the run directory has no config.yaml."


def _with_head(head: dict[str, Any], lines: list[str]) -> str:
    import yaml

    return "---\n" + yaml.safe_dump(head, sort_keys=False) + "---\n\n" + "\n\n".join(lines) + "\n"
