"""`delamo export`: write a run's selection, adapter and results as other tools read them.

    llava           data.json and images/: LLaVA's JSON, which `pool=llava_json` reads too
    llama_factory   the same in ShareGPT form, with the dataset_info.json that LLaMA-Factory wants
    hf              train/metadata.jsonl and train/images/: what `datasets.load_dataset(FOLDER)` reads, with a card
    lmms_eval       the test set as a task of lmms-eval, and the run's results keyed by sample id

A tuned run's adapter goes along in `adapter/`, with a model card. With several runs under DIR, each has a folder of its
run's name.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from delamo.export import datasets, lmms_eval
from delamo.export.adapters import write_adapter
from delamo.export.selection import Selection, read_selection
from delamo.records import Quarantined
from delamo.runs.read import Run, finished_runs
from delamo.store import QUARANTINE, write_json, write_rows

FORMATS: dict[str, Callable[[Selection, Path], list[Quarantined]]] = {
    "llava": datasets.write_llava,
    "llama_factory": datasets.write_llama_factory,
    "hf": datasets.write_hf,
    "lmms_eval": lmms_eval.write_results,
}
"""Each writes a folder and returns the samples that it had to leave out."""


def export(runs: Path, format: str, out: Path) -> str:
    """Write every finished run below a folder that selected samples, or for `lmms_eval` every one.

    Args:
        runs: the folder.
        format: one of `FORMATS`.
        out: a new or empty folder; with several runs, each gets a folder of its run's name in it.

    Returns:
        What was written.

    Raises:
        ValueError: an unknown format, a folder that is not empty, or no run with anything to export.
        FileNotFoundError: no such folder of runs, or a stage's result is gone from the store.
    """
    if format not in FORMATS:
        raise ValueError(f"format is {format!r}: choose one of {', '.join(FORMATS)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"out is {out}, which is there and not empty: choose a new folder")
    selections = [read_selection(run) for run in finished_runs(runs).runs]
    chosen = [selection for selection in selections if selection.rows or format == "lmms_eval"]
    if not chosen:
        raise ValueError(f"no run under {runs} selected a sample: there is nothing to train others on")
    lines = [
        _write(selection, format, out if len(chosen) == 1 else out / selection.run.path.name) for selection in chosen
    ]
    if left := len(selections) - len(chosen):
        lines.append(f"Left out: {left} runs that selected nothing.")
    return "\n".join(lines)


def _write(selection: Selection, format: str, folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    bad = FORMATS[format](selection, folder)
    if bad:
        write_rows(folder / QUARANTINE, bad)
    adapter = write_adapter(selection, folder / "adapter")
    of = selection.run.scores if format == "lmms_eval" else selection.rows
    write_json(folder / "export.json", _counts(selection.run, format, len(of), bad))
    line = f"{folder}: {len(of) - len(bad)} samples" + (" and the adapter" if adapter else "")
    return line + (f"; {len(bad)} left out, see {QUARANTINE}" if bad else "")


def _counts(run: Run, format: str, num_in: int, bad: list[Quarantined]) -> dict:
    return {
        "schema_version": 1,
        "format": format,
        "run": run.path.name,
        "cell": run.cell,
        "samples": {"in": num_in, "ok": num_in - len(bad), "failed": len(bad)},
    }
