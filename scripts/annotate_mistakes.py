"""Gold mistake steps for `mistakes=annotated` (paper, Table 8): from people by a sheet, or from the microworld's planted truth.

People, for any task (paper, appendix C.1): write a sheet of errors with their steps numbered from 0, let them fill in the first wrong
one (-1 where none is), and read it back. A name that ends in .jsonl is a sheet of JSON lines, any other a table for a spreadsheet.

    python scripts/annotate_mistakes.py sheet steps.csv --runs runs --task scienceqa --num 100 --pictures pictures
    python scripts/annotate_mistakes.py read steps.csv --out mistake_steps.jsonl

The microworld, where each sentence is true or false in its picture:

    python scripts/annotate_mistakes.py planted --runs runs --out mistake_steps.jsonl

And how near each finder comes to gold steps (paper, Table 7), from the runs on disk:

    python scripts/annotate_mistakes.py score mistake_steps.jsonl --runs runs

Where people annotated a part of the errors, gold and predicted steps are compared on that part alone: a finder's steps for it, as a file
for mistakes.path like the gold one.

    python scripts/annotate_mistakes.py predicted mistake_steps.jsonl --runs runs --finder answer_switch --out predicted_steps.jsonl

The errors are those of finished runs whose selector reads them, such as error_driven. A gold step belongs to one student's rationale.
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
COLUMNS = ("id", "question", "options", "picture", "gold answer", "student's answer", "steps", "last step", "step")
FORMULA = ("=", "+", "-", "@")
"""What a spreadsheet takes for the start of a formula."""


@dataclass(frozen=True, slots=True)
class Error:
    """One wrong answer, its rationale cut into steps as every finder cuts it."""

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
    verb.add_argument("--pictures", type=Path, help="a folder to write the pictures to, as PNG")
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
    """The first sentence that is false in the picture, of every error; null where none is."""
    from delamo.data.microworld import truth

    found = errors_of(runs_of(args))
    strange = [error.sample.id for error in found if not (error.sample.image or "").startswith("micro:")]
    if strange:
        raise ValueError(
            f"{strange[0]} is not of the microworld, which alone has planted truth: let people fill in a sheet"
        )
    return write_gold(
        args.out, {error.sample.id: truth.first_false_step(error.sample.image, error.steps) for error in found}
    )


def write_sheet(args: argparse.Namespace) -> str:
    """The errors as rows with an empty step."""
    found = drawn(errors_of(runs_of(args)), args.num, args.seed)
    rows = [row_of(error, picture(error.sample, args.pictures)) for error in found]
    if args.sheet.exists():
        raise ValueError(f"{args.sheet} is there: what people filled in is not written over, name another file")
    write_text(args.sheet, json_lines(rows) if is_json(args.sheet) else spreadsheet(rows))
    return f"{args.sheet}: {len(rows)} errors, to be given their first wrong step, counted from 0, or {NO_WRONG_STEP} where none is"


def read_sheet(args: argparse.Namespace) -> str:
    """The filled rows of a sheet as gold steps; how many were left open is said."""
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
    said = write_gold(args.out, steps)
    return f"{said}; {num_open} rows have no step yet, those errors will be set aside" if num_open else said


def write_predicted(args: argparse.Namespace) -> str:
    """A finder's steps for the errors of the gold file; an error that it could not judge is said and left out."""
    gold = read_gold(args.gold)
    runs = [run for run in stages_once(runs_of(args), "mistakes") if run.config["mistakes.name"] == args.finder]
    if len(runs) != 1:
        raise ValueError(
            f"{len(runs)} results of mistakes={args.finder} under {args.runs}, one is wanted: narrow by --task and --student, or run one"
        )
    found = lineage.mistakes(runs[0])
    said = write_gold(args.out, {id: found[id].step for id in gold if id in found})
    left_out = len(gold.keys() - found.keys())
    return f"{said}; {left_out} errors of {args.gold} are not in {runs[0].path}" if left_out else said


def stages_once(runs: Iterable[Run], stage: str) -> list[Run]:
    """The first run of each distinct result of a stage."""
    distinct: dict[str, Run] = {}
    for run in runs:
        if stage in run.stages:
            distinct.setdefault(run.stages[stage]["digest"], run)
    return list(distinct.values())


def score(args: argparse.Namespace) -> str:
    """A table: each finder's accuracy and Recall@3 against the gold steps."""
    gold = read_gold(args.gold)
    rows = []
    for run in stages_once(runs_of(args), "mistakes"):
        found = step_agreement({id: mistake.step for id, mistake in lineage.mistakes(run).items()}, gold)
        cells = (
            [f"{100 * found['accuracy']:.1f}", f"{100 * found['recall_at_3']:.1f}", str(found["n"])]
            if found
            else ["-", "-", "0"]
        )
        rows.append([run.cell["task"], run.cell["student"], run.cell["teacher"], run.config["mistakes.name"], *cells])
    return markdown(
        [Table(["target", "student", "teacher", "finder", "accuracy %", "recall@3 %", "n"], sorted(rows), num_text=4)]
    )


def runs_of(args: argparse.Namespace) -> list[Run]:
    """The finished runs that the command line narrows."""
    wanted = {"task": args.task, "student": args.student}
    runs = [r for r in finished_runs(args.runs).runs if all(v is None or r.cell[k] == v for k, v in wanted.items())]
    if not any("answers" in run.stages for run in runs):
        raise ValueError(
            f"no finished run under {args.runs} that looked at the student's errors: run one with selector=error_driven, "
            "or widen --task and --student"
        )
    return runs


def errors_of(runs: Iterable[Run]) -> list[Error]:
    """All errors before tuning, by id.

    Raises:
        ValueError: two runs have other rationales for an id, so that no step is right for both.
    """
    found: dict[str, Error] = {}
    for run in stages_once(runs, "answers"):
        for error in errors_of_run(run):
            if found.setdefault(error.sample.id, error) != error:
                raise ValueError(
                    f"{error.sample.id} was answered in two ways ({run.path} and an earlier run): narrow by --student and --task, "
                    "or name a folder of one student's runs"
                )
    return [found[id] for id in sorted(found)]


def errors_of_run(run: Run) -> list[Error]:
    samples = lineage.validation_samples(run)
    options = {"include_unparsed": run.config.get("mistakes.include_unparsed", True)}
    good, _ = cut(error_cases(list(samples.values()), list(lineage.answers(run).values()), **options))
    return [Error(samples[case.id], case, steps) for case, steps in good]


def drawn(errors: Sequence[Error], num: int | None, seed: int) -> list[Error]:
    """`num` of them by seed and id, so that neither their order nor their number changes who comes first."""
    by_chance = sorted(errors, key=lambda error: hashlib.sha256(f"{seed}\0{error.sample.id}".encode()).digest())
    return sorted(by_chance[:num], key=lambda error: error.sample.id)


def row_of(error: Error, picture: str) -> dict[str, Any]:
    sample, case = error.sample, error.case
    named = [f"({letter}) {text}" for letter, text in zip(LETTERS, sample.options, strict=False)]
    gold = named[sample.gold] if sample.gold is not None else sample.answer
    chosen = named[LETTERS.index(case.wrong)] if sample.options and case.wrong else case.wrong
    steps = [f"[{number}] {step.strip()}" for number, step in enumerate(error.steps)]
    values = (
        sample.id,
        sample.instruction,
        named,
        picture,
        gold,
        chosen or "could not be read",
        steps,
        len(steps) - 1,
        None,
    )
    return dict(zip(COLUMNS, values, strict=True))


def picture(sample: Sample, folder: Path | None) -> str:
    """Where the picture is, written to `folder` if there is one; empty for a question without a picture."""
    if sample.image is None or folder is None:
        return sample.image or ""
    from delamo.data.images import open_image

    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{hashlib.sha256(sample.image.encode()).hexdigest()[:16]}.png"
    if not file.exists():
        open_image(sample.image).save(file)
    return str(file)


def filled_step(row: dict[str, Any], where: str) -> int | None:
    """The step that a row was given; None where it was left open."""
    if not {"id", "step", "last step"} <= row.keys():
        raise ValueError(f"{where}: columns are {', '.join(map(str, row))}; id, step and last step must be among them")
    given = str(row["step"] if row["step"] is not None else "").strip()
    if not given:
        return None
    last = int(row["last step"])
    if not given.lstrip("-").isdigit() or not NO_WRONG_STEP <= int(given) <= last:
        raise ValueError(
            f"{where} ({row['id']}): step is {given!r}, choose a number from 0 to {last}, or {NO_WRONG_STEP}"
        )
    return int(given)


def write_gold(path: Path, steps: dict[str, int | None]) -> str:
    rows = [{"id": id, "step": steps[id]} for id in sorted(steps)]
    write_text(path, json_lines(rows))
    none = sum(step is None for step in steps.values())
    return f"{path}: {len(rows)} errors with their mistake step, {none} of them with none"


def spreadsheet(rows: Iterable[dict[str, Any]]) -> str:
    """Comma-separated, a list with one line for each item; text that would run as a formula starts with an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([cell(row[column]) for column in COLUMNS] for row in rows)
    return text.getvalue()


def cell(value: Any) -> Any:
    text = "\n".join(value) if isinstance(value, list) else value
    return f"'{text}" if isinstance(text, str) and text.startswith(FORMULA) else text


def plain(id: str) -> str:
    """An id as it was before `cell`."""
    return id[1:] if id.startswith("'") and id[1:].startswith(FORMULA) else id


def json_lines(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def is_json(path: Path) -> bool:
    return path.suffix == ".jsonl"


if __name__ == "__main__":
    main(sys.argv[1:])
