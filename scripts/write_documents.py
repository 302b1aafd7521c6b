"""Write the measured numbers of the documents from the results that are kept in docs/results.

    python scripts/write_documents.py runs    # measure what lies below runs (runs/demo, runs/table1, ...), then write
    python scripts/write_documents.py         # write the documents from the kept results, and the plans anew
    python scripts/write_documents.py --check # write nothing; status 1 where a document is stale

`docs/results/blocks.yaml` names every result, the block that it fills, and what of its report is shown. A kept result
is the report itself, the command and versions that it came from, and, in NAME.outcomes.json.gz, every answer of every
run as right or wrong, so that anybody can judge them anew.
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n\n?)(.*?)(\n?<!-- end -->)", re.DOTALL)
LEFT_OUT = "[... each target: n, intervals, single seeds, paired tests, unparsed rate, detectable difference ...]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="?", help="the folder that holds the tables' folders of runs")
    parser.add_argument("--check", action="store_true", help="say which documents are stale, and write nothing")
    args = parser.parse_args()
    if args.check and args.runs:
        parser.error("--check goes without a folder of runs")
    if args.runs:
        measure_all(ROOT, args.runs)
    if not args.check:
        measure_plans(ROOT)
    stale = write_documents(ROOT, check=args.check)
    print("\n".join(stale) if stale else "every document says what the kept results say")
    sys.exit(1 if args.check and stale else 0)


def measure_all(root: Path, runs: Path) -> None:
    """Keep the report on every folder of runs that is there; say which are not.

    Raises:
        FileNotFoundError: `runs` is no folder, or holds none of the results' folders.
    """
    results = {name: spec for name, spec in specification(root)["results"].items() if "runs" in spec}
    there = {name: spec for name, spec in results.items() if (runs / spec["runs"]).is_dir()}
    if not there:
        raise FileNotFoundError(
            f"{runs} holds none of {', '.join(sorted({spec['runs'] for spec in results.values()}))}"
        )
    for name, spec in results.items():
        if name in there:
            measure(root, name, spec, runs / spec["runs"])
        else:
            print(f"{name}: no {runs / spec['runs']}, the kept result stays", file=sys.stderr)


def measure_plans(root: Path) -> None:
    """Keep what the plans come to, where it is not what was kept."""
    for name, spec in specification(root)["results"].items():
        if "plan" in spec and kept(root, name) != [line := plan_line(spec["plan"])]:
            keep(root, name, f"delamo plan {spec['plan']}", line)


def measure(root: Path, name: str, spec: dict[str, str], folder: Path) -> None:
    """Keep the report on a folder of runs, and each run's answers as right or wrong."""
    from delamo.paper.report import report
    from delamo.runs.read import finished_runs

    text = report(folder, table=spec.get("table"))
    keep(root, name, spec["run"], text)
    runs = [
        {"run": run.path.relative_to(folder).as_posix(), "cell": run.cell, "correct": bits(run.outcomes)}
        for run in finished_runs(folder).runs
    ]
    packed = gzip.compress(json.dumps(runs, sort_keys=True).encode(), mtime=0)
    (root / f"docs/results/{name}.outcomes.json.gz").write_bytes(packed)


def bits(outcomes: dict[str, bool]) -> str:
    """Write outcomes as 0 and 1, in the order of the item ids."""
    return "".join(str(int(outcomes[item])) for item in sorted(outcomes))


def plan_line(overrides: str) -> str:
    """Return what a plan comes to: `62 tunings, 407 GPU-hours, 752 USD`.

    Raises:
        ValueError: the plan has no sums to read.
    """
    program = [sys.executable, "-c", "from delamo.cli.app import main; main()", "plan", *overrides.split()]
    text = subprocess.run(program, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    tuning = re.search(r"^\| all +\| +\| +\| +([\d,]+) \| +([\d,.]+) \|", text, re.MULTILINE)
    paid = re.search(r"^\| all +\|.*\| +([\d,.]+) \|$", text.partition("## Teacher")[2], re.MULTILINE)
    if not tuning or not paid:
        raise ValueError(f"delamo plan {overrides} prints no sums:\n{text}")
    hours, dollars = (float(number.replace(",", "")) for number in (tuning[2], paid[1]))
    return f"{tuning[1]} tunings, {hours:,.0f} GPU-hours, {dollars:.0f} USD"


def keep(root: Path, name: str, command: str, text: str) -> None:
    """Write a result's file: its report line by line, so that a change of one number is a change of one line."""
    from delamo.store.provenance import provenance

    made_by = provenance()
    record = {
        "command": command,
        "date": datetime.date.today().isoformat(),
        **{key: made_by[key] for key in ("code", "packages", "python", "platform")},
        "report": text.splitlines(),
    }
    path = root / f"docs/results/{name}.json"
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def specification(root: Path) -> dict[str, Any]:
    """Read `blocks.yaml`."""
    return yaml.safe_load((root / "docs/results/blocks.yaml").read_text(encoding="utf-8"))


def kept(root: Path, name: str) -> list[str]:
    """Read the lines of a kept report."""
    return json.loads((root / f"docs/results/{name}.json").read_text(encoding="utf-8"))["report"]


def write_documents(root: Path, *, check: bool = False) -> list[str]:
    """Rewrite every block and quote that is stale.

    Args:
        root: of the project.
        check: write nothing.

    Returns:
        What was stale, one line for each block or quote.

    Raises:
        ValueError: a document has a block that `blocks.yaml` does not, or lacks one that it has; or a kept report has
            no such part.
    """
    spec, stale, seen = specification(root), [], set()
    for page in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
        name, old = page.relative_to(root).as_posix(), page.read_text(encoding="utf-8")
        text = old
        for match in BLOCK.finditer(old):
            if match[2] not in spec["blocks"]:
                raise ValueError(f"{name}: block {match[2]!r} is not in docs/results/blocks.yaml")
            seen.add(match[2])
            shown = rendered(root, spec["blocks"][match[2]])
            if match[3].strip("\n") != shown:
                stale.append(f"{name}: block {match[2]}")
                text = text.replace(match[0], f"<!-- generated: {match[2]} -->\n\n{shown}\n\n<!-- end -->")
        for quote in spec["quotes"]:
            if quote["document"] == name:
                quoted = with_quote(root, text, quote)
                stale += [f"{name}: the quote of {quote['result']}"] if quoted != text else []
                text = quoted
        if text != old and not check:
            page.write_text(text, encoding="utf-8")
    if missing := set(spec["blocks"]) - seen:
        raise ValueError(f"no document has the blocks {', '.join(sorted(missing))}")
    return stale


def with_quote(root: Path, text: str, quote: dict[str, str]) -> str:
    """Put the measured numbers of a quote into a document's text.

    Raises:
        ValueError: the document or the kept report has no such place.
    """
    shown, report = re.search(quote["shown"], text), "\n".join(kept(root, quote["result"]))
    measured = re.search(quote["measured"], report)
    if not shown or not measured:
        place = quote["document"] if not shown else f"the kept report {quote['result']}"
        raise ValueError(f"{place} has no {quote['shown' if not shown else 'measured']!r}")
    for index in range(len(measured.groups()), 0, -1):
        start, end = shown.span(index)
        text = text[:start] + measured[index] + text[end:]
    return text


def rendered(root: Path, block: dict[str, Any]) -> str:
    """Render a block from its kept result."""
    lines = kept(root, block["result"])
    if block.get("means"):
        return means(lines)
    parts = [part_of(lines, part, bare=block.get("bare", False)) for part in block["parts"]]
    text = "\n\n".join(parts)
    return f"```{block['fence']}\n{text}\n```" if "fence" in block else text


def part_of(lines: list[str], part: str, *, bare: bool) -> str:
    """Cut a part out of a report: see `blocks.yaml`; `bare` leaves out the heading.

    Raises:
        ValueError: the report has no such part.
    """
    if part == "...":
        return LEFT_OUT
    if part == "table":
        first = next((i for i, line in enumerate(lines) if line.startswith("|")), None)
        if first is None:
            raise ValueError("a kept report has no table")
        end = next((i for i in range(first, len(lines)) if lines[i].startswith("#")), len(lines))
        return "\n".join(lines[first:end]).strip()
    first = next((i for i, line in enumerate(lines) if line.startswith(part)), None)
    if first is None:
        raise ValueError(f"a kept report has no line that begins with {part!r}")
    if not part.startswith("#"):
        return lines[first]
    start = next((i for i in range(first + 1, len(lines)) if lines[i].startswith("|")), len(lines))
    if any(line.startswith("#") for line in lines[first + 1 : start]) or start == len(lines):
        raise ValueError(f"a kept report has no table under {part!r}")
    end = next((i for i in range(start, len(lines)) if not lines[i].startswith("|")), len(lines))
    table = "\n".join(lines[start:end])
    return table if bare else f"{lines[first]}\n\n{table}"


def means(lines: list[str]) -> str:
    """Average each row of Table 1's layout over its targets: a row for each method, a column for each budget.

    Raises:
        ValueError: a row lacks a target's number.
    """
    rows: dict[str, dict[str, str]] = {}
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) < 3 or not re.fullmatch(r"[\d,]+", cells[1]):
            continue
        try:
            numbers = [float(re.split(r"[†* ]", cell)[0]) for cell in cells[2:]]
        except ValueError:
            raise ValueError(f"a row of Table 1 lacks a number: {line}") from None
        rows.setdefault(cells[0], {})[cells[1]] = f"{sum(numbers) / len(numbers):.1f}"
    budgets = sorted({b for row in rows.values() if len(row) > 1 for b in row}, key=lambda b: int(b.replace(",", "")))
    table = [f"| accuracy %, mean over targets | {' | '.join(budgets)} |", f"| --- |{' ---: |' * len(budgets)}"]
    table += [f"| {m} | {' | '.join(r.get(b, '-') for b in budgets)} |" for m, r in rows.items() if len(r) > 1]
    single = [f"{m} ({b} samples) {v}" for m, r in rows.items() if len(r) == 1 for b, v in r.items()]
    return "\n".join(table) + ("\n\nWithout a budget: " + ", ".join(single) + "." if single else "")


if __name__ == "__main__":
    main()
