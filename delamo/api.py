"""The public Python API: compose an experiment, run it, look at what it left, and compare it with others.

    import delamo
    config = delamo.compose("task=micro/numbers", "selector=error_driven", "seed=1")
    run = delamo.run(config)
    run.accuracy, run.items, run.selection, run.skills
    delamo.report("runs", reference="random")

Everything here is also `delamo.NAME`. The command line is a thin layer over the same functions.
"""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from delamo.records import Answer, ItemScore, Mistake, Sample, Selected, Skill

if TYPE_CHECKING:
    import pandas
    from _typeshed import DataclassInstance
    from PIL import Image

    from delamo.experiment.config import ExperimentConfig
    from delamo.models.parsing import Reading
    from delamo.reports.comparison import Comparison
    from delamo.runs.read import Run as FinishedRun

R = TypeVar("R", bound="DataclassInstance")
SHOWN_ROWS = 10
"""Rows of a table in a notebook."""


class Records(Sequence[R], Generic[R]):
    """Records in order: a list that shows itself as a table and converts to pandas."""

    def __init__(self, rows: Sequence[R], name: str) -> None:
        self._rows, self._name = rows, name

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> Records[R]: ...
    def __getitem__(self, index: int | slice) -> R | Records[R]:
        return Records(self._rows[index], self._name) if isinstance(index, slice) else self._rows[index]

    def __iter__(self) -> Iterator[R]:
        return iter(self._rows)

    def get(self, id: str) -> R:
        """Return the record of that id.

        Args:
            id: of the sample; of a skill, the validation sample that it belongs to.

        Raises:
            KeyError: there is none.
        """
        for row in self._rows:
            if getattr(row, "id", getattr(row, "val_id", None)) == id:
                return row
        raise KeyError(f"no row of {self._name} has the id {id!r}")

    def to_pandas(self) -> pandas.DataFrame:
        """Return a data frame, one row for each record.

        Raises:
            ImportError: pandas is not installed.
        """
        import pandas

        return pandas.DataFrame([dataclasses.asdict(row) for row in self._rows])

    def __repr__(self) -> str:
        return f"<{len(self)} {self._name}>"

    def _repr_html_(self) -> str:
        rows = [dataclasses.asdict(row) for row in self._rows[:SHOWN_ROWS]]
        more = f", the first {SHOWN_ROWS}" if len(self) > SHOWN_ROWS else ""
        return f"<p>{len(self)} {html.escape(self._name)}{more}</p>" + (_table(rows) if rows else "")


class Text(str):
    """A text for a terminal, which a notebook shows as it stands."""

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self)}</pre>"


class Run:
    """A finished experiment: its numbers, and every row that it went through."""

    def __init__(self, folder: str | Path) -> None:
        """Open a run directory.

        Args:
            folder: that `delamo run` or `delamo.run` has made.

        Raises:
            FileNotFoundError: no such folder, or its experiment is not finished.
        """
        self.path = Path(folder)
        """The run directory."""
        if not (self.path / "metrics.json").is_file():
            raise FileNotFoundError(f"{folder} has no metrics.json: it is no run directory, or its run is not finished")

    @cached_property
    def _run(self) -> FinishedRun:
        from delamo.runs.read import open_run

        return open_run(self.path)

    @property
    def metrics(self) -> dict[str, Any]:
        """Everything in `metrics.json`; `delamo/runs/read.py` documents it."""
        return self._run.metrics

    @property
    def names(self) -> dict[str, Any]:
        """The choices that place the run in a table.

        Task, student, teacher, pool, selector, budget, num_samples, seed, iterations.
        """
        return self.metrics["cell"]

    @property
    def config(self) -> dict[str, Any]:
        """The resolved config, keys dotted."""
        return self._run.config

    @property
    def accuracy(self) -> float:
        """Share of the test items that were answered rightly, from 0 to 1; unparsed replies count as not right."""
        return self.metrics["test"]["accuracy"]

    @property
    def adapter_path(self) -> Path | None:
        """The adapter in PEFT's format; None for the pretrained student."""
        folder = self.path / "adapter"
        return folder if folder.is_dir() else None

    @cached_property
    def items(self) -> Records[ItemScore]:
        """The outcome of every test item."""
        return Records(self._run.scores, "test items")

    @cached_property
    def selection(self) -> Records[Selected]:
        """The samples that were selected, in order of rank, with what brought each in."""
        return self._rows("selected samples", lambda lineage, round: lineage.selection(self._run, round))

    @cached_property
    def selected_samples(self) -> Records[Sample]:
        """Question, answer and image of the selected samples."""
        return self._rows(
            "selected samples", lambda lineage, round: lineage.selected_samples(self._run, round).values()
        )

    @cached_property
    def answers(self) -> Records[Answer]:
        """The student's replies to the validation samples before tuning; empty for a selector that needs none."""
        return self._rows("answers", lambda lineage, round: lineage.answers(self._run, round).values())

    @cached_property
    def mistakes(self) -> Records[Mistake]:
        """The mistake step of each error, with the teacher's probabilities after each step."""
        return self._rows("mistakes", lambda lineage, round: lineage.mistakes(self._run, round).values())

    @cached_property
    def skills(self) -> Records[Skill]:
        """The skill that each error shows to be missing."""
        return self._rows("skills", lambda lineage, round: lineage.skills(self._run, round).values())

    @cached_property
    def validation_samples(self) -> Records[Sample]:
        """The task's validation samples."""
        from delamo.runs import lineage

        return Records(list(lineage.validation_samples(self._run).values()), "validation samples")

    @cached_property
    def test_samples(self) -> Records[Sample]:
        """The task's test samples."""
        from delamo.runs import lineage

        return Records(list(lineage.test_samples(self._run).values()), "test samples")

    def _rows(self, name: str, of_round: Callable[[Any, str], Any]) -> Records[Any]:
        from delamo.runs import lineage

        return Records([row for round in lineage.rounds(self._run) for row in of_round(lineage, round)], name)

    def flips(self, others: Sequence[Run] = ()) -> list[tuple[ItemScore, ItemScore]]:
        """Pair the test items that tuning turned right or wrong, each before and after.

        Args:
            others: runs among which the pretrained student's is looked for, where this run has not kept its outcomes.
        """
        from delamo.runs import lineage

        return lineage.flips(self._run, [run._run for run in others])

    def trace(self, val_id: str) -> Text:
        """Follow one validation sample.

        Rationale, probability at each step, mistake, skill, hits, and what became of it.

        Raises:
            ValueError: the task has no such sample; the nearest ids are named.
        """
        from delamo.reports.trace import trace

        return Text(trace(val_id, self.path))

    def why(self, pool_id: str) -> Text:
        """Say which error, step, skill, score and rank brought a pool sample in.

        Raises:
            ValueError: the run did not select the sample; the nearest ids are named.
        """
        from delamo.reports.trace import why

        return Text(why(pool_id, self.path))

    def image(self, sample: Sample, width: int | None = None) -> Image.Image | None:
        """Open the image of a sample; None for a sample of text alone.

        Args:
            sample: of this run.
            width: pixels that the image is resized to, in proportion.
        """
        from delamo.data.images import open_image

        if sample.image is None:
            return None
        image = open_image(sample.image)
        return image.resize((width, width * image.height // image.width)) if width else image

    def __repr__(self) -> str:
        return f"<Run {self.path.name}: accuracy {100 * self.accuracy:.1f} % of {self.metrics['test']['n']}>"

    def _repr_html_(self) -> str:
        test = self.metrics["test"]
        interval = f"{100 * test['wilson_low']:.1f} to {100 * test['wilson_high']:.1f}"
        facts = {
            **self.names,
            "accuracy %": f"{100 * self.accuracy:.1f} ({interval}), n {test['n']}",
            "unparsed": test["unparsed"],
            "selected": self.metrics["selection"]["num_samples"],
            "folder": str(self.path),
        }
        rows = "".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(str(v))}</td></tr>" for k, v in facts.items())
        return f"<table>{rows}</table>"


class Report:
    """Finished runs compared: shows itself as HTML in a notebook and as Markdown in a terminal."""

    def __init__(self, runs: Path, reference: str, table: str | None, against: str | None) -> None:
        self._runs, self._reference, self._table, self._against = runs, reference, table, against
        self._text = self.text("markdown")  # what cannot be reported is said at once

    def text(self, format: str = "markdown") -> str:
        """Return the report as `markdown`, `html`, `json`, `csv` or `latex`."""
        from delamo.paper.report import report

        return report(self._runs, format, self._reference, table=self._table, against=self._against)

    def save(self, file: str | Path, format: str | None = None) -> Path:
        """Write the report; the format follows from the file's ending unless it is given."""
        from delamo.paper.report import report

        endings = {".md": "markdown", ".html": "html", ".json": "json", ".csv": "csv", ".tex": "latex"}
        chosen = format or endings.get(Path(file).suffix, "markdown")
        report(self._runs, chosen, self._reference, table=self._table, against=self._against, out=Path(file))
        return Path(file)

    @cached_property
    def results(self) -> Comparison:
        """The numbers behind the tables, by budget, target and method."""
        from delamo.reports.comparison import compare_runs
        from delamo.runs.read import finished_runs

        return compare_runs(finished_runs(self._runs), self._reference)

    @property
    def verdicts(self) -> dict[str, list[str]]:
        """What the report concludes, one sentence for each comparison, by budget and student."""
        from delamo.reports.sections.verdicts import verdicts

        return {f"{budget.budget}, student {budget.student}": verdicts(budget) for budget in self.results.budgets}

    def figures(self) -> dict[str, Any]:
        """Draw the plots that the runs have the numbers for: name -> matplotlib figure.

        Raises:
            ImportError: matplotlib is not installed.
        """
        from delamo.reports import plots

        return plots.figures(self.results)

    def images(self, format: str = "png") -> dict[str, bytes]:
        """Render the plots: caption -> file content, as `png` or `svg`.

        Raises:
            ImportError: matplotlib is not installed.
        """
        from delamo.reports import plots

        figures = self.figures()
        return {figure.get_label() or name: plots.rendered(name, figure, format) for name, figure in figures.items()}

    @property
    def summary(self) -> str:
        """How many runs there are, and of what state."""
        results = self.results
        counts = f"{len(results.runs)} finished runs, {len(results.unfinished)} unfinished"
        return f"{counts}, {len(results.superseded)} replaced by newer ones"

    def to_pandas(self) -> pandas.DataFrame:
        """Return a data frame of accuracies, one row for each method, target and budget."""
        import pandas

        from delamo.reports.render.data import verdict_text

        return pandas.DataFrame(
            {
                "budget": budget.budget,
                "student": budget.student,
                "task": target.task,
                "method": method.label,
                "runs": len(method.runs),
                "n": method.n,
                "accuracy": method.accuracy.mean,
                "low": method.interval.low,
                "high": method.interval.high,
                "p_holm": method.p_holm,
                "verdict": verdict_text(method),
            }
            for budget in self.results.budgets
            for target in budget.targets
            for method in target.methods
        )

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return self._text

    def _repr_html_(self) -> str | None:
        from delamo.reports.report import fragment

        return None if self._table else fragment(self.results)  # a notebook then takes the Markdown

    def _repr_markdown_(self) -> str:
        return self._text


class LoadedStudent:
    """A student ready to generate: `model` and `processor` are transformers' own."""

    def __init__(self, student: Any, config: Any) -> None:
        self._student, self._config = student, config

    @property
    def model(self) -> Any:
        """The model, the adapter merged."""
        return self._student.model

    @property
    def processor(self) -> Any:
        """The processor of images and text."""
        return self._student.processor

    def ask(self, question: str, *, options: Sequence[str] = (), image: str | Path | None = None) -> str:
        """Ask one question in the form in which the student was evaluated; returns the reply.

        Args:
            question: without the options.
            options: of a multiple-choice question.
            image: a file, or the `image` of a sample.

        Raises:
            ValueError: the image cannot be opened, or the prompt is too long.
        """
        sample = Sample(
            id="question",
            instruction=question,
            answer="",
            options=tuple(options),
            image=str(Path(image).absolute() if image and Path(image).is_file() else image) if image else None,
        )
        config = self._config
        replies = self._student.replies(
            [sample], max_new_tokens=config.max_new_tokens, batch_size=1, temperature=config.temperature, seed=0
        )
        ((_, reply),) = replies
        if isinstance(reply, Exception):
            raise ValueError(str(reply)) from reply
        return reply.text


def compose(*overrides: str) -> ExperimentConfig:
    """Compose an experiment as the command line does.

    Args:
        overrides: as in `delamo run`: `task=micro/numbers`, `budget=custom`, `budget.num_samples=700`.

    Raises:
        ValueError: a key or choice that does not exist, a value out of range, or something that looks like an API key.
    """
    from delamo.config.compose import compose_experiment
    from delamo.experiment import config  # noqa: F401 -- registers the schemas of an experiment
    from delamo.runs import sweeper  # noqa: F401 -- a preset may name the sweeper

    return compose_experiment(overrides)


def run(config: ExperimentConfig) -> Run:
    """Run one experiment, or find it finished; only the stages that the store lacks are computed.

    Args:
        config: from `compose`; `dataclasses.replace` changes a field.

    Raises:
        ValueError: a budget above the pool, data that cannot be used, or a finished run of other code or data.
    """
    from delamo.pipeline import run_experiment

    return Run(run_experiment(config))


def load_runs(folder: str | Path = "runs") -> list[Run]:
    """Open all finished runs below a folder.

    Raises:
        FileNotFoundError: no such folder.
    """
    from delamo.runs.read import finished_runs

    return [Run(finished.path) for finished in finished_runs(Path(folder)).runs]


def report(
    runs: str | Path = "runs", *, reference: str = "random", table: str | None = None, against: str | None = None
) -> Report:
    """Compare all finished runs below a folder.

    Args:
        runs: the folder.
        reference: the method that the others are compared with.
        table: one of the paper's tables, `table1` to `table12`, whose layout the runs take.
        against: `paper` puts that table's own numbers beside ours.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no finished run, or an unknown reference or table.
    """
    return Report(Path(runs), reference, table, against)


def load_student(run: Run, *, device: str | None = None) -> LoadedStudent:
    """Load the student of a run, tuned as the run left it.

    Args:
        run: a finished run.
        device: torch's name; as in the run's config unless given.

    Raises:
        ValueError: the adapter does not fit the student.
    """
    from omegaconf import OmegaConf

    from delamo.models.students.config import HuggingFaceStudentConfig
    from delamo.models.students.loading import load_student

    stored = {key.removeprefix("student."): v for key, v in run.config.items() if key.startswith("student.")}
    values: Mapping[str, Any] = stored | ({"device": device} if device else {})
    config: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(HuggingFaceStudentConfig), values))
    return LoadedStudent(load_student(config, run.adapter_path), config)


def parse_answer(text: str, options: Sequence[str] = ()) -> Reading:
    """Find the final answer in a reply: the rule that every score rests on.

    Args:
        text: the reply.
        options: the texts of the options. With options the prediction is a capital letter, without it is a text.

    Returns:
        `prediction` (None where the reply is unparsed, which is not wrong) and `rationale`, the reply before the
        answer.
    """
    from delamo.models.parsing import read_answer

    return read_answer(text, options)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    def cell(value: Any) -> str:
        if isinstance(value, float):
            return f"{value:.3g}"
        text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        return html.escape(text if len(text) <= 120 else text[:117] + "...")

    head = "".join(f"<th>{html.escape(key)}</th>" for key in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{cell(value)}</td>" for value in row.values()) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
