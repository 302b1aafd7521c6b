"""The numbers that the paper prints, as data: `table1.yaml` to `table12.yaml`, and those in its text, `prose.yaml`.

Source: Yao, Wang, Huang, "Error-driven Data-efficient Large Multimodal Model Tuning" (arXiv 2412.15652, late version),
read from its text, which has no page numbers: `source` names table and section. One value is missing from that text and
stands as `lost`.

A cell of a table is the overrides that make it, the table's, its row's and its column's together: `selector: random`,
`budget: names.budgets.0`. `names.X.i` is the i-th of what `conf/scale/SCALE.yaml` calls X, so that a row means 10K
samples at one scale and 300 at the other; `{paper: P}` has no counterpart in the microworld. An error-driven cell also
has the paper's own settings (`OURS`, `ANSWER_SWITCH`) wherever it says nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from delamo.config import conf

TABLES = tuple(f"table{number}" for number in range(1, 13))
PAPER, MICRO = "paper", "micro"
LOST = "lost"
ACCURACY = "accuracy"
OURS = {"mistakes": "answer_switch", "skills": "skill_analysis"}
ANSWER_SWITCH = {"mistakes.delta": 0.2, "mistakes.persistence": 12}  # paper, section 4.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A column of a table that names the row."""

    name: str
    key: str | None
    """The config key whose value stands there in our tables; None where the paper's own words do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of numbers."""

    name: str
    ours: str | None
    """Its name in the microworld; None where that is the target's, or the paper's own."""
    cell: Mapping[str, Any]
    measure: str
    """What is taken from a run: `delamo.paper.measures.MEASURES`."""
    unit: str
    decimals: int
    underivable: str | None
    """Why no run can give the paper's number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of numbers, one for each column."""

    labels: tuple[str, ...]
    """One for each head, in the paper's words."""
    cell: Mapping[str, Any]
    values: tuple[float | str | None, ...]
    """In the column's unit; None where the paper prints none, `LOST` where our copy lacks it."""
    of: tuple[int, ...]
    """Rows of which this one is mean and standard deviation: ours, not the paper's."""
    form: str | None
    """Table 10: the regular expression, or the name of the pattern rebuilt for one garbled in print."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTable:
    """One table of the paper."""

    name: str
    title: str
    source: str
    cell: Mapping[str, Any]
    heads: tuple[Head, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    lost: str | None
    notes: tuple[str, ...]
    inconsistent: tuple[str, ...]
    """Where it contradicts the paper's other tables or its text."""

    def choices(self, row: int, column: int, scale: str) -> dict[str, Any] | None:
        """Return the overrides that make a cell at a scale; None where the scale has no counterpart."""
        return resolved({**self.cell, **self.rows[row].cell, **self.columns[column].cell}, scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """A number in the paper's text."""

    says: str
    where: str
    value: float
    unit: str
    tables: float | None
    """What the paper's own tables give for it."""
    underivable: str | None


@lru_cache(maxsize=16)
def paper_table(name: str) -> PaperTable:
    """Read one table.

    Raises:
        ValueError: the paper has no such table.
    """
    if name not in TABLES:
        raise ValueError(f"table is {name!r}: choose one of {', '.join(TABLES)}")
    read = _read(name)
    columns = tuple(_column(read, column) for column in read["columns"])
    return PaperTable(
        name=name,
        title=read["title"],
        source=read["source"],
        cell=read.get("cell", {}),
        heads=tuple(Head(name=head["name"], key=head.get("key")) for head in read["heads"]),
        columns=columns,
        rows=tuple(_row(row, len(columns)) for row in read["rows"]),
        lost=read.get("lost"),
        notes=tuple(read.get("notes", ())),
        inconsistent=tuple(read["inconsistent"]),
    )


@lru_cache(maxsize=1)
def remarks() -> tuple[Remark, ...]:
    """Read the numbers in the paper's text."""
    empty = {"tables": None, "underivable": None}
    return tuple(Remark(**{**empty, **entry}) for entry in _read("prose")["numbers"])


def numbers(table: PaperTable) -> Iterator[tuple[int, int, float]]:
    """Yield (row, column, value) of every number that the paper prints in the table, in the column's unit."""
    for index, row in enumerate(table.rows):
        for column, value in enumerate(row.values):
            if value is not None and value != LOST:
                yield index, column, float(value)


def resolved(overrides: Mapping[str, Any], scale: str) -> dict[str, Any] | None:
    """Replace names by what they are at the scale, and an ablation by what it overrides.

    None where a name is nothing there.
    """
    choices = {key: _at_scale(value, scale) for key, value in overrides.items()}
    if None in choices.values():
        return None
    choices = conf.expanded(choices)
    if choices.get("selector") != "error_driven":
        return choices
    choices = {**OURS, **choices}
    return choices if choices["mistakes"] != "answer_switch" else {**ANSWER_SWITCH, **choices}


def _at_scale(value: Any, scale: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(scale)
    if isinstance(value, str) and value.startswith("names."):
        _, name, index = value.split(".")
        return conf.names(scale)[name][int(index)]
    return value


def _column(read: Mapping[str, Any], column: Mapping[str, Any]) -> Column:
    return Column(
        name=column["name"],
        ours=column.get("ours"),
        cell=column.get("cell", {}),
        measure=column.get("measure", ACCURACY),
        unit=column.get("unit", read["unit"]),
        decimals=column.get("decimals", read["decimals"]),
        underivable=column.get("underivable", read.get("underivable")),
    )


def _row(row: Mapping[str, Any], num_columns: int) -> Row:
    return Row(
        labels=tuple(row["labels"]),
        cell=row.get("cell", {}),
        values=tuple(row.get("values", (None,) * num_columns)),
        of=tuple(row.get("of", ())),
        form=row.get("form"),
    )


def _read(name: str) -> dict[str, Any]:
    import yaml

    path = resources.files("delamo.paper") / f"{name}.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))
