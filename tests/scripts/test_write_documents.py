"""The documents' numbers are those of the kept results, and a changed result or document shows."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import write_documents as documents

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden/older_runs"
TABLE1 = """\
| Method         | Tuning samples | a    | b     |
| -------------- | -------------- | ---: | ----: |
| Pre-trained    | 0              | 50.0 |  60.0 |
|   95 %         |                | 1-2  |   3-4 |
| Random, 3 runs | 300            | 40.0 |  41.0 |
| Ours           | 300            | 70.2† | 60.0 |
| Random, 3 runs | 1,000          | 42.0 |  43.0 |
| Ours           | 1,000          | 80.0 | 81.0† |"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the documents and the kept results."""
    shutil.copy(ROOT / "README.md", tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("images", "*.html"))
    return tmp_path


def change(root: Path, name: str, old: str, new: str) -> None:
    path = root / "docs/results" / f"{name}.json"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_no_document_is_stale():
    assert documents.write_documents(ROOT, check=True) == []


def test_the_kept_plans_are_what_is_planned():
    plans = {name: s["plan"] for name, s in documents.specification(ROOT)["results"].items() if "plan" in s}
    assert plans
    for name, overrides in plans.items():
        assert documents.kept(ROOT, name) == [documents.plan_line(overrides)]


def test_a_table_ends_where_the_next_section_begins():
    lines = ["# t", "", "intro", "| a |", "| - |", "", "- 1 of 2", "", "## How to read", "- x"]
    assert documents.part_of(lines, "table", bare=False) == "| a |\n| - |\n\n- 1 of 2"
    lines = ["## A", "words", "| a |", "", "| b |", "## B"]
    assert documents.part_of(lines, "## A", bare=False) == "## A\n\n| a |"
    assert documents.part_of(lines, "## A", bare=True) == "| a |"


def test_the_demo_in_the_readme_is_the_kept_demo():
    shown = documents.rendered(ROOT, documents.specification(ROOT)["blocks"]["demo"])
    assert shown.startswith("```text\n## Budget micro_500") and "### Planted truth" in shown
    assert shown in (ROOT / "README.md").read_text(encoding="utf-8")


def test_no_table_of_accuracies_stands_outside_a_block():
    """A row of the README with a number with a decimal point, as every measured one has, is generated."""
    text = documents.BLOCK.sub("", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert [line for line in text.splitlines() if line.startswith("|") and re.search(r"\d\.\d", line)] == []


def test_the_readmes_sentences_quote_kept_numbers():
    """A sentence on the results is written by hand: once its number is in no kept result, it is to be written anew."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = documents.BLOCK.sub("", text.partition("## What came out")[2].partition("\n## ")[0])
    quoted = set(re.findall(r"(?<![\d.])\d+\.\d(?![\d.])", section)) - {"0.6", "0.5"}  # shares of the pool, the overlap
    results = documents.specification(ROOT)["results"]
    measured = set(re.findall(r"\d+\.\d", "\n".join(line for name in results for line in documents.kept(ROOT, name))))
    assert quoted and quoted <= measured, f"in no kept result: {sorted(quoted - measured)}"


@pytest.mark.parametrize("name", sorted(documents.specification(ROOT)["blocks"]))
def test_an_edited_block_is_stale_and_written_anew(project, name):
    page = next(
        path
        for path in [project / "README.md", *sorted((project / "docs").glob("*.md"))]
        if f"<!-- generated: {name} -->" in path.read_text(encoding="utf-8")
    )
    before = page.read_text(encoding="utf-8")
    block = next(match for match in documents.BLOCK.finditer(before) if match[2] == name)
    digit = block.start(3) + re.search(r"\d(?=\D*$)", block[3]).start()
    page.write_text(before[:digit] + str((int(before[digit]) + 1) % 10) + before[digit + 1 :], encoding="utf-8")
    place = page.relative_to(project).as_posix()
    assert documents.write_documents(project, check=True) == [f"{place}: block {name}"]
    documents.write_documents(project)
    assert page.read_text(encoding="utf-8") == before


def test_a_new_result_reaches_its_block_and_its_quote(project):
    change(project, "demo", "84.2†", "85.0†")
    assert documents.write_documents(project) == ["README.md: block demo", "README.md: the quote of demo"]
    text = (project / "README.md").read_text(encoding="utf-8")
    assert "85.0†" in text and "# 85.0% of 400" in text and "84.2†" not in text
    assert documents.write_documents(project, check=True) == []


def test_of_several_seeds_the_quoted_run_is_that_of_seed_0(project):
    path = project / "docs/results/demo.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    rows = [
        "| error_driven, mean of 3 seeds | 84.0 (80 to 87) | 400 |",
        "|   seed 0   | 83.1 | |",
        "|   seed 1 | 84.9 | |",
    ]
    table = [line.replace("| error_driven  ", "| error_driven, mean of 3 seeds  ") for line in record["report"]]
    path.write_text(json.dumps({**record, "report": [*table, "### micro/numbers", "", "| random | 70.0 |", *rows]}))
    quote = documents.specification(project)["quotes"][0]
    assert documents.with_quote(project, "x # 84.2% of 400", quote) == "x # 83.1% of 400"


def test_an_unknown_block_and_a_lost_one_are_errors(project):
    page = project / "README.md"
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("generated: demo", "generated: demos"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"README\.md: block 'demos'"):
        documents.write_documents(project)
    page.write_text(text.replace("generated: demo", "made by hand: demo"), encoding="utf-8")
    with pytest.raises(ValueError, match="no document has the blocks demo"):
        documents.write_documents(project)


@pytest.mark.parametrize(
    ("lines", "part"), [(["# a"], "table"), (["# a"], "## b"), (["## b", "## c", "| x |"], "## b"), (["a"], "b")]
)
def test_a_report_without_the_part_is_an_error(lines, part):
    with pytest.raises(ValueError, match="a kept report has no"):
        documents.part_of(lines, part, bare=False)


def test_means_are_over_the_targets():
    assert documents.means(TABLE1.splitlines()) == (
        "| accuracy %, mean over targets | 300 | 1,000 |\n| --- | ---: | ---: |\n"
        "| Random, 3 runs | 40.5 | 42.5 |\n| Ours | 65.1 | 80.5 |\n\nWithout a budget: Pre-trained (0 samples) 55.0."
    )
    with pytest.raises(ValueError, match="lacks a number"):
        documents.means(TABLE1.replace("81.0†", "-").splitlines())


def test_runs_are_measured_into_a_result_with_every_outcome(project):
    """The finished runs of an older version that the tests keep, in the place of the demo's."""
    runs = project / "runs"
    shutil.copytree(GOLDEN / "runs", runs / "demo")
    for path in runs.rglob("stages.json"):
        path.write_text(path.read_text(encoding="utf-8").replace("@ROOT@", str(GOLDEN)), encoding="utf-8")
    documents.measure(project, "demo", documents.specification(project)["results"]["demo"], runs / "demo")
    record = json.loads((project / "docs/results/demo.json").read_text(encoding="utf-8"))
    assert record["command"] == "delamo run -m experiment=demo" and record["date"] and record["packages"]["torch"]
    assert any(line.startswith("## Budget") for line in record["report"])
    packed = documents.gzip.decompress((project / "docs/results/demo.outcomes.json.gz").read_bytes())
    rows = json.loads(packed)
    for row in rows:
        metrics = json.loads((runs / "demo" / row["run"] / "metrics.json").read_text(encoding="utf-8"))
        assert row["correct"].count("1") / len(row["correct"]) == pytest.approx(metrics["test"]["accuracy"], abs=1e-6)
    assert len(rows) > 1


def test_a_folder_without_runs_is_an_error(project):
    with pytest.raises(FileNotFoundError, match="holds none of demo"):
        documents.measure_all(project, project)
