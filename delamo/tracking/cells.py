"""Log a finished cell as a W&B run: its metrics, its tables from error to skill to sample, and its files as artifacts.

Everything is read from the run directory and from the stages that it names, so that a cell that was finished without
W&B can be logged later. `wandb.json` in the run directory says which result was logged where: a finished cell is logged
once, never twice.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from delamo.config.compose import as_dict
from delamo.experiment.config import ExperimentConfig, WandbMode
from delamo.metrics.retention import change
from delamo.records import ItemScore, Mistake, Sample, Selected, from_json
from delamo.reports.methods import follows_budget
from delamo.runs import lineage
from delamo.runs.read import METRICS, STATUS, Run
from delamo.store import write_json
from delamo.tracking.wandb_runs import MAX_ROWS, accuracy_key, open_run

if TYPE_CHECKING:
    import wandb

T = TypeVar("T")
MARKER = "wandb.json"
NOT_RECORDED = ("paths", "logger", "force", "fast")
"""Config that says nothing about the result."""
ROLES = ("task", "selector", "budget", "student", "teacher")
RESULT_FILES = (
    *(METRICS, "items.jsonl", "quarantine.jsonl", "leaks.jsonl"),
    *("config.yaml", "manifest.json", "stages.json"),
)
ITEM_COLUMNS = ("id", "question", "gold", "prediction", "correct", "before tuning", "flip", "reply")
SELECTION_COLUMNS = (
    *("iteration", "rank", "id", "instruction", "score", "reason", "matched terms"),
    *("skill", "error", "error question", "mistake step"),
)
ERROR_COLUMNS = (
    *("iteration", "id", "question", "gold", "prediction", "mistake step", "step", "steps", "fallback"),
    *("missing skill", "samples brought in", "right after tuning"),
)
SKILL_COLUMNS = ("skill", "missing", "n", "before", "after", "gain")
Row = Sequence[Any]


@contextlib.contextmanager
def cell_run(config: ExperimentConfig, folder: Path, attempt: int) -> Iterator[wandb.Run]:
    """Open the W&B run of one attempt at a cell, grouped by its sweep, tagged with its choices."""
    recorded = {key: value for key, value in as_dict(config).items() if key not in NOT_RECORDED}
    with open_run(
        config.logger,
        folder,
        id=f"{folder.name[-10:]}-{attempt}-{secrets.token_hex(3)}",
        name=folder.name,
        job_type="cell",
        group=sweep_name(config),
        tags=[f"{role}={getattr(config, role).name}" for role in ROLES],
        config=recorded,
    ) as run:
        yield run


def sweep_name(config: ExperimentConfig) -> str:
    """Return the experiment that Hydra composed, or the folder of runs where there is none."""
    from hydra.core.hydra_config import HydraConfig

    chosen = HydraConfig.get().runtime.choices.get("experiment") if HydraConfig.initialized() else None
    return Path(config.paths.runs).resolve().name if chosen in (None, "none") else chosen


def log_results(run: wandb.Run, config: ExperimentConfig, folder: Path) -> None:
    """Log a run directory that is complete.

    W&B that cannot take it does not undo a finished cell: stderr says so, and the next `delamo run` of the cell tries
    again.
    """
    import wandb

    if config.logger.mode is WandbMode.disabled:
        return
    try:
        finished = Run(folder, json.loads((folder / METRICS).read_text(encoding="utf-8")))
        tables = {name: wandb.Table(list(columns), list(rows)) for name, (columns, rows) in tables_of(finished).items()}
        run.log({**numbers(finished.metrics), cell_key(finished): finished.metrics["test"]["accuracy"], **tables})
        for artifact in _artifacts(finished, config):
            run.log_artifact(artifact)
    except (wandb.Error, OSError) as error:
        print(f"{folder}: W&B did not take the results ({error}); run the cell again to log them", file=sys.stderr)
        return
    elsewhere = [entry for entry in _logged(folder) if not _is_part(_where(config), entry)]
    entry = {**_where(config), "result": _result(folder), "id": run.id, "folder": run.dir}
    write_json(folder / MARKER, {"logged": [*elsewhere, entry]})


def cell_key(run: Run) -> str:
    """Return the metric of a cell's accuracy, the same for all cells that are bars of one chart."""
    cell = run.cell
    return accuracy_key(cell["student"], cell["task"], cell["budget"] if follows_budget(cell["selector"]) else None)


def log_finished(config: ExperimentConfig, folder: Path, attempt: int) -> None:
    """Log a cell that was found finished, unless this result of it has been logged to the same project.

    A result that is logged offline so far has not reached a project online.
    """
    here = {**_where(config), "result": _result(folder)}
    online = {**here, "mode": WandbMode.online.name}
    if any(_is_part(here, entry) or _is_part(online, entry) for entry in _logged(folder)):
        return
    with cell_run(config, folder, attempt) as run:
        log_results(run, config, folder)


def _logged(folder: Path) -> list[dict[str, Any]]:
    """Read what was logged where, one entry for each project."""
    path = folder / MARKER
    return json.loads(path.read_text(encoding="utf-8"))["logged"] if path.is_file() else []


def _where(config: ExperimentConfig) -> dict[str, str | None]:
    return {"project": config.logger.project, "entity": config.logger.entity, "mode": config.logger.mode.name}


def _is_part(some: dict[str, Any], entry: dict[str, Any]) -> bool:
    return {key: entry.get(key) for key in some} == some


def _result(folder: Path) -> str | None:
    """Read the digest of what the cell's outcome follows from."""
    path = folder / STATUS
    return json.loads(path.read_text(encoding="utf-8")).get("result") if path.is_file() else None


def numbers(metrics: dict[str, Any]) -> dict[str, float]:
    """Flatten the numbers of `metrics.json`, as in `test/accuracy`; null ones are left out, skills have a table."""
    return dict(_numbers({key: value for key, value in metrics.items() if key not in ("schema_version", "cell")}, ""))


def _numbers(node: dict[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for key, value in node.items():
        if isinstance(value, dict) and key != "by_skill":
            yield from _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{key}", value


def tables_of(run: Run) -> dict[str, tuple[Sequence[str], list[Row]]]:
    """Return name -> columns and at most MAX_ROWS rows, of the tables that have any."""
    tables = {
        "items": (ITEM_COLUMNS, _items(run)),
        "selection": (SELECTION_COLUMNS, _selection(run)),
        "errors": (ERROR_COLUMNS, _errors(run)),
        "by_skill": (SKILL_COLUMNS, _by_skill(run)),
    }
    shown = {name: (columns, list(islice(rows, MAX_ROWS))) for name, (columns, rows) in tables.items()}
    return {name: table for name, table in shown.items() if table[1]}


def _items(run: Run) -> Iterator[Row]:
    """Yield the test items, with the untuned student's outcome where that is known."""
    samples, before = lineage.test_samples(run), {score.id: score for score in lineage.scores_before(run)}
    for score in run.scores:
        sample, untuned = samples.get(score.id), before.get(score.id)
        flip = None if untuned is None else _flip(untuned, score)
        yield (
            *(score.id, sample and sample.instruction, score.gold, score.prediction, score.correct),
            *(None if untuned is None else untuned.correct, flip, score.text),
        )


def _flip(before: ItemScore, after: ItemScore) -> str:
    if (before.correct is True) == (after.correct is True):
        return "none"
    return "to right" if after.correct else "to wrong"


def _selection(run: Run) -> Iterator[Row]:
    """Yield what was selected in rank order, each with the error, mistake step and skill that brought it in."""
    validation = lineage.validation_samples(run)
    for number, r in enumerate(lineage.rounds(run), start=1):
        mistakes, folder = lineage.mistakes(run, r), Path(run.stages[f"selection{r}"]["path"])
        chosen = _first(Selected, folder / "selection.jsonl")
        samples = _first(Sample, folder / "selected_samples.jsonl")
        for row, sample in zip(chosen, samples, strict=True):
            error = validation.get(row.val_id or "")
            yield (
                *(number, row.rank, row.id, sample.instruction, row.score, row.reason, ", ".join(row.matched_terms)),
                *(row.skill, row.val_id, error and error.instruction, _step_text(mistakes.get(row.val_id or ""))),
            )


def _errors(run: Run) -> Iterator[Row]:
    """Yield the validation samples that went on to mistake identification, and what became of each."""
    validation, after = lineage.validation_samples(run), lineage.answers_after(run)
    for number, r in enumerate(lineage.rounds(run), start=1):
        mistakes, skills, answers = lineage.mistakes(run, r), lineage.skills(run, r), lineage.answers(run, r)
        brought = Counter(row.val_id for row in lineage.selection(run, r)) if mistakes else {}
        for id, mistake in mistakes.items():
            sample, skill, answer = validation[id], skills.get(id), answers.get(id)
            yield (
                *(number, id, sample.instruction, sample.answer, answer and answer.prediction, _step_text(mistake)),
                *(None if mistake.step is None else mistake.step + 1, len(mistake.steps), mistake.fallback),
                *(skill and skill.skill, brought.get(id, 0), after[id].correct if id in after else None),
            )


def _by_skill(run: Run) -> Iterator[Row]:
    for skill, counts in ((run.metrics["planted"] or {}).get("by_skill") or {}).items():
        yield skill, counts["missing"], counts["n"], counts["before"], counts["after"], change(counts)


def _step_text(mistake: Mistake | None) -> str | None:
    return None if mistake is None or mistake.step is None else mistake.steps[mistake.step].strip()


def _first(cls: type[T], path: Path) -> Iterable[T]:
    """Yield the first rows of a file that may have millions."""
    with path.open(encoding="utf-8") as lines:
        for line in islice(lines, MAX_ROWS):
            yield from_json(cls, line)


def _artifacts(run: Run, config: ExperimentConfig) -> Iterator[wandb.Artifact]:
    """Yield the results, the selection, and the adapter by reference: with checksums and sizes, without weights."""
    import wandb

    digest = run.path.name[-10:]
    results = wandb.Artifact(f"results-{digest}", type="results", metadata=run.cell)
    for name in RESULT_FILES:
        if (run.path / name).is_file():
            results.add_file(str(run.path / name), policy="immutable")
    yield results
    if (run.path / "selection.jsonl").is_file() and lineage.rounds(run):
        metadata = {**run.cell, **run.metrics["selection"]}
        selection = wandb.Artifact(f"selection-{digest}", type="selection", metadata=metadata)
        selection.add_file(str(run.path / "selection.jsonl"), policy="immutable")
        yield selection
    adapter = run.path / "adapter"
    if adapter.is_dir():
        model = wandb.Artifact(
            f"adapter-{digest}", type="model", metadata={**run.cell, "base": as_dict(config.student)}
        )
        model.add_reference(adapter.resolve().as_uri())
        yield model
