"""Make gold mistake steps for `mistakes=annotated` (paper, Table 8): by people, or from the microworld's planted truth.

People, for any task (paper, appendix C.1): write a sheet of errors with their steps numbered from 0, let them fill in
the first wrong one (-1 where none is), and read it back. A name that ends in .jsonl is a sheet of JSON lines, any other
a table for a spreadsheet.

    python scripts/annotate_mistakes.py sheet steps.csv --runs runs --task scienceqa --num 100 --images images
    python scripts/annotate_mistakes.py read steps.csv --out mistake_steps.jsonl

The microworld, where each sentence is true or false in its image:

    python scripts/annotate_mistakes.py planted --runs runs --out mistake_steps.jsonl

How near each finder comes to gold steps (paper, Table 7), from the runs on disk:

    python scripts/annotate_mistakes.py score mistake_steps.jsonl --runs runs

Where people annotated a part of the errors, gold and predicted steps are compared on that part alone: a finder's steps
for it, as a file for mistakes.path like the gold one.

    python scripts/annotate_mistakes.py predicted mistake_steps.jsonl --finder answer_switch --out predicted_steps.jsonl

The errors are those of finished runs whose selector reads them, such as error_driven. A gold step belongs to one
student's rationale.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from delamo.metrics.agreement import step_agreement
from delamo.mistakes.annotated import read as read_gold
from delamo.mistakes.base import ErrorCase, cut
from delamo.records import LETTERS, Sample
from delamo.reports.render.formats import Table, markdown
from delamo.runs import lineage
from delamo.runs.read import Run, finished_runs
from delamo.stages.mistakes import error_cases
from delamo.store import write_text

NO_WRONG_STEP = -1
COLUMNS = ("id", "question", "options", "image", "gold answer", "student's answer", "steps", "last step", "step")
FORMULA = ("=", "+", "-", "@")
"""The characters that start a formula in a spreadsheet."""


@dataclass(frozen=True, slots=True)
class Error:
    """A wrong answer, its rationale cut into steps as every finder cuts it."""

    sample: Sample
    case: ErrorCase
    steps: tuple[str, ...]


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    try:
        print(args.verb(args))
    except (ValueError, OSError) as error:
        raise SystemExit(f"annotate_mistakes: {error}") from None


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(required=True)
    errors = argparse.ArgumentParser(add_help=False)
    errors.add_argument("--runs", type=Path, default=Path("runs"), help="a folder of finished runs")
    errors.add_argument("--task", help="of this task alone")
    errors.add_argument("--student", help="of this student alone")
    gold = argparse.ArgumentParser(add_help=False)
    gold.add_argument("--out", type=Path, default=Path("mistake_steps.jsonl"), help="for mistakes.path")

    verb = verbs.add_parser("sheet", parents=[errors], help="write a sheet for people to fill in")
    verb.add_argument("sheet", type=Path)
    verb.add_argument("--num", type=int, help="so many errors, drawn by --seed; all by default")
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--images", type=Path, help="a folder to write the images to, as PNG")
    verb.set_defaults(verb=write_sheet)
    verb = verbs.add_parser("read", parents=[gold], help="gold steps from a sheet that was filled in")
    verb.add_argument("sheet", type=Path)
    verb.set_defaults(verb=read_sheet)
    verb = verbs.add_parser("planted", parents=[errors, gold], help="gold steps from the microworld's planted truth")
    verb.set_defaults(verb=write_planted)
    verb = verbs.add_parser("predicted", parents=[errors], help="a finder's steps for the errors that have gold ones")
    verb.add_argument("gold", type=Path)
    verb.add_argument("--finder", default="answer_switch", help="the name of a choice of mistakes")
    verb.add_argument("--out", type=Path, default=Path("predicted_steps.jsonl"), help="for mistakes.path")
    verb.set_defaults(verb=write_predicted)
    verb = verbs.add_parser("score", parents=[errors], help="compare the runs' finders with gold steps")
    verb.add_argument("gold", type=Path)
    verb.set_defaults(verb=score)
    return parser.parse_args(argv)


def write_planted(args: argparse.Namespace) -> str:
    """Write the first sentence of every error that is false in the image; null where none is.

    Raises:
        ValueError: an error is of another task.
    """
    from delamo.data.microworld import truth

    errors = errors_of(runs_of(args))
    others = [error.sample.id for error in errors if not (error.sample.image or "").startswith("micro:")]
    if others:
        raise ValueError(
            f"{others[0]} is not of the microworld, which alone has planted truth: let people fill in a sheet"
        )
    steps = {error.sample.id: truth.first_false_step(error.sample.image, error.steps) for error in errors}
    return write_gold(args.out, steps)


def write_sheet(args: argparse.Namespace) -> str:
    """Write the errors as rows with an empty step.

    Raises:
        ValueError: the file exists.
    """
    errors = draw(errors_of(runs_of(args)), args.num, args.seed)
    rows = [row_of(error, image_file(error.sample, args.images)) for error in errors]
    if args.sheet.exists():
        raise ValueError(f"{args.sheet} is there: what people filled in is not written over, name another file")
    write_text(args.sheet, json_lines(rows) if is_json(args.sheet) else spreadsheet(rows))
    return (
        f"{args.sheet}: {len(rows)} errors, to be given their first wrong step, counted from 0, or {NO_WRONG_STEP} "
        "where none is"
    )


def read_sheet(args: argparse.Namespace) -> str:
    """Write the filled rows of a sheet as gold steps, and count those that were left open.

    Raises:
        ValueError: a step that the rationale does not have, or an id twice.
    """
    text = args.sheet.read_text(encoding="utf-8-sig")  # spreadsheets put a mark before the first column
    rows = map(json.loads, text.splitlines()) if is_json(args.sheet) else csv.DictReader(io.StringIO(text))
    steps: dict[str, int | None] = {}
    num_open = 0
    for number, row in enumerate(rows, 1):
        step = filled_step(row, f"{args.sheet}, error {number}")
        if step is None:
            num_open += 1
            continue
        id = plain(row["id"])
        if id in steps:
            raise ValueError(f"{args.sheet}, error {number}: {id} has a row before: leave one")
        steps[id] = None if step == NO_WRONG_STEP else step
    summary = write_gold(args.out, steps)
    return f"{summary}; {num_open} rows have no step yet, those errors will be set aside" if num_open else summary


def write_predicted(args: argparse.Namespace) -> str:
    """Write a finder's steps for the errors of the gold file, and count those that it could not judge.

    Raises:
        ValueError: there is no result of the finder, or several.
    """
    gold = read_gold(args.gold)
    runs = [run for run in stages_once(runs_of(args), "mistakes") if run.config["mistakes.name"] == args.finder]
    if len(runs) != 1:
        raise ValueError(
            f"{len(runs)} results of mistakes={args.finder} under {args.runs}, one is wanted: narrow by --task and "
            "--student, or run one"
        )
    mistakes = lineage.mistakes(runs[0])
    summary = write_gold(args.out, {id: mistakes[id].step for id in gold if id in mistakes})
    left_out = len(gold.keys() - mistakes.keys())
    return f"{summary}; {left_out} errors of {args.gold} are not in {runs[0].path}" if left_out else summary


def stages_once(runs: Iterable[Run], stage: str) -> list[Run]:
    """Return the first run of each distinct result of a stage."""
    distinct: dict[str, Run] = {}
    for run in runs:
        if stage in run.stages:
            distinct.setdefault(run.stages[stage]["digest"], run)
    return list(distinct.values())


def score(args: argparse.Namespace) -> str:
    """Return a table of each finder's accuracy and Recall@3 against the gold steps."""
    gold = read_gold(args.gold)
    rows = []
    for run in stages_once(runs_of(args), "mistakes"):
        measures = step_agreement({id: mistake.step for id, mistake in lineage.mistakes(run).items()}, gold)
        numbers = ["-", "-", "0"]
        if measures:
            numbers = [f"{100 * measures[name]:.1f}" for name in ("accuracy", "recall_at_3")] + [str(measures["n"])]
        rows.append([run.cell["task"], run.cell["student"], run.cell["teacher"], run.config["mistakes.name"], *numbers])
    header = ["target", "student", "teacher", "finder", "accuracy %", "recall@3 %", "n"]
    return markdown([Table(header, sorted(rows), num_text=4)])


def runs_of(args: argparse.Namespace) -> list[Run]:
    """Return the finished runs of the task and the student.

    Raises:
        ValueError: none of them looked at the student's errors.
    """
    names = {"task": args.task, "student": args.student}
    runs = [r for r in finished_runs(args.runs).runs if all(v is None or r.cell[k] == v for k, v in names.items())]
    if not any("answers" in run.stages for run in runs):
        raise ValueError(
            f"no finished run under {args.runs} that looked at the student's errors: run one with "
            "selector=error_driven, or widen --task and --student"
        )
    return runs


def errors_of(runs: Iterable[Run]) -> list[Error]:
    """Return all errors before tuning, by id.

    Raises:
        ValueError: two runs have different rationales for an id, so that no step is right for both.
    """
    errors: dict[str, Error] = {}
    for run in stages_once(runs, "answers"):
        for error in errors_of_run(run):
            if errors.setdefault(error.sample.id, error) != error:
                raise ValueError(
                    f"{error.sample.id} was answered in two ways ({run.path} and an earlier run): narrow by --student "
                    "and --task, or name a folder of one student's runs"
                )
    return [errors[id] for id in sorted(errors)]


def errors_of_run(run: Run) -> list[Error]:
    samples = lineage.validation_samples(run)
    options = {"include_unparsed": run.config.get("mistakes.include_unparsed", True)}
    judged, _ = cut(error_cases(list(samples.values()), list(lineage.answers(run).values()), **options))
    return [Error(samples[case.id], case, steps) for case, steps in judged]


def draw(errors: Sequence[Error], num: int | None, seed: int) -> list[Error]:
    """Draw `num` errors by seed and id, so that neither their order nor their number changes which come first."""
    shuffled = sorted(errors, key=lambda error: hashlib.sha256(f"{seed}\0{error.sample.id}".encode()).digest())
    return sorted(shuffled[:num], key=lambda error: error.sample.id)


def row_of(error: Error, image: str) -> dict[str, Any]:
    """Return the sheet's row of an error, without a step."""
    sample, case = error.sample, error.case
    named = [f"({letter}) {text}" for letter, text in zip(LETTERS, sample.options, strict=False)]
    gold = named[sample.gold] if sample.gold is not None else sample.answer
    chosen = named[LETTERS.index(case.wrong)] if sample.options and case.wrong else case.wrong
    steps = [f"[{number}] {step.strip()}" for number, step in enumerate(error.steps)]
    texts = (sample.id, sample.instruction, named, image, gold, chosen or "could not be read")
    return dict(zip(COLUMNS, (*texts, steps, len(steps) - 1, None), strict=True))


def image_file(sample: Sample, folder: Path | None) -> str:
    """Return where the image is, written to `folder` if there is one; empty for a question without an image."""
    if sample.image is None or folder is None:
        return sample.image or ""
    from delamo.data.images import open_image

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{hashlib.sha256(sample.image.encode()).hexdigest()[:16]}.png"
    if not file.exists():
        open_image(sample.image).save(file)
    return str(file)


def filled_step(row: dict[str, Any], where: str) -> int | None:
    """Return the step that a row was given; None where it was left open.

    Raises:
        ValueError: the rationale has no such step, or the row lacks a column.
    """
    if not {"id", "step", "last step"} <= row.keys():
        raise ValueError(f"{where}: columns are {', '.join(map(str, row))}; id, step and last step must be among them")
    text = str(row["step"] if row["step"] is not None else "").strip()
    if not text:
        return None
    last = int(row["last step"])
    if not text.lstrip("-").isdigit() or not NO_WRONG_STEP <= int(text) <= last:
        raise ValueError(
            f"{where} ({row['id']}): step is {text!r}, choose a number from 0 to {last}, or {NO_WRONG_STEP}"
        )
    return int(text)


def write_gold(path: Path, steps: dict[str, int | None]) -> str:
    rows = [{"id": id, "step": steps[id]} for id in sorted(steps)]
    write_text(path, json_lines(rows))
    num_none = sum(step is None for step in steps.values())
    return f"{path}: {len(rows)} errors with their mistake step, {num_none} of them with none"


def spreadsheet(rows: Iterable[dict[str, Any]]) -> str:
    """Write comma-separated values, a list with one line for each item; see `cell` for formulas."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([cell(row[column]) for column in COLUMNS] for row in rows)
    return text.getvalue()


def cell(value: Any) -> Any:
    """Return a value as a cell; text that would run as a formula gets an apostrophe in front."""
    text = "\n".join(value) if isinstance(value, list) else value
    return f"'{text}" if isinstance(text, str) and text.startswith(FORMULA) else text


def plain(id: str) -> str:
    """Return an id as it was before `cell`."""
    return id[1:] if id.startswith("'") and id[1:].startswith(FORMULA) else id


def json_lines(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def is_json(path: Path) -> bool:
    return path.suffix == ".jsonl"


if __name__ == "__main__":
    main(sys.argv[1:])
