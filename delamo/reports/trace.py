"""`delamo why` and `delamo trace`: follow one sample through the stages of its runs, as text for a terminal.

validation sample -> rationale -> probabilities by step -> mistake step -> missing skill -> hits
-> after tuning -> test items that flipped
"""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from delamo.records import LETTERS, Answer, Mistake, Sample, Selected
from delamo.reports.render.formats import WIDTH, one_line
from delamo.runs import lineage
from delamo.runs.read import Run, finished_runs

INDENT = 16
"""Columns of a label."""
TOP_HITS = 5
NUM_FLIPS_SHOWN = 3
BAR = 10
"""Characters of a full bar; half of it where there are more than four options."""


def why(pool_id: str, runs: Path) -> str:
    """Name every run below a folder that selected a pool sample, and what brought it in.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no finished run, or none that selected the sample; the nearest ids are named.
    """
    finished = finished_runs(Path(runs)).runs
    chosen = [(run, r, row) for run in finished for r in lineage.rounds(run) for row in lineage.selection(run, r)]
    hits = [(run, r, row) for run, r, row in chosen if row.id == pool_id]
    if not hits:
        raise ValueError(
            _unknown("pool sample", pool_id, {row.id for _, _, row in chosen}, f"selected by a run under {runs}")
        )
    run, r, _ = hits[0]
    lines = [f"Pool sample {one_line(pool_id)}", *_pool_sample(lineage.selected_samples(run, r)[pool_id])]
    lines += ["", f"Selected by {len({run.path for run, _, _ in hits})} of {len(finished)} runs."]
    for run, r, row in hits:
        lines += ["", _run_title(run, r), *_arrival(run, r, row)]
    return "\n".join(lines)


def trace(val_id: str, runs: Path) -> str:
    """Follow a validation sample through every run below a folder that used it.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no finished run, or none whose task has the sample; the nearest ids are named.
    """
    finished = finished_runs(Path(runs)).runs
    with_sample = [run for run in finished if val_id in lineage.validation_samples(run)]
    if not with_sample:
        known = {id for run in finished for id in lineage.validation_samples(run)}
        raise ValueError(_unknown("validation sample", val_id, known, f"in a task of the runs under {runs}"))
    tasks = sorted({run.cell["task"] for run in with_sample})
    parts = [_trace_task([run for run in with_sample if run.cell["task"] == task], val_id, finished) for task in tasks]
    return "\n".join(line for part in parts for line in part).rstrip("\n")


def _trace_task(runs: Sequence[Run], val_id: str, others: Sequence[Run]) -> list[str]:
    lines = [f"Validation sample {one_line(val_id)} of {runs[0].cell['task']}"]
    lines += [*_question(lineage.validation_samples(runs[0])[val_id]), ""]
    reading = [run for run in runs if any(lineage.answers(run, r) for r in lineage.rounds(run))]
    shown: dict[str, str] = {}
    for run in reading:
        lines += [*_trace_run(run, val_id, others, shown), ""]
    others_paths = [str(run.path) for run in runs if run not in reading]
    if others_paths:
        lines += ["Runs whose selector reads no validation sample:", *(f"  {path}" for path in others_paths), ""]
    return lines


def _trace_run(run: Run, val_id: str, runs: Sequence[Run], shown: dict[str, str]) -> list[str]:
    """Follow the sample through one run; `shown` says which shared results were printed for which run."""
    lines = []
    for r in lineage.rounds(run):
        lines += [_run_title(run, r)]
        digest = run.stages.get(f"skills{r}", {}).get("digest", str(run.path))
        if digest in shown:
            lines += _field("skill", f"and all before it: as in {shown[digest]}")
        else:
            lines += _trace_round(run, r, val_id)
            shown[digest] = str(run.path) + (f", iteration {r[1:]}" if r else "")
        lines += _hits(run, r, val_id)
    return [*lines, *_after_tuning(run, val_id), *_flips(run, val_id, runs)]


def _trace_round(run: Run, round: str, val_id: str) -> list[str]:
    """Show one round: the student's answer, where it went wrong, what it lacks."""
    sample, answer = lineage.validation_samples(run)[val_id], lineage.answers(run, round).get(val_id)
    if answer is None:
        return _field("student", "not answered: the sample is in quarantine.jsonl")
    lines = _field("student", _reply(answer, sample))
    mistake = lineage.mistakes(run, round).get(val_id)
    if mistake is None:
        why_not = "none to look for" if answer.correct else "the sample did not go on to mistake identification"
        return lines + _field("rationale", answer.rationale or answer.text) + _field("mistake", why_not)
    skill = lineage.skills(run, round).get(val_id)
    text = skill.skill if skill else "not named: the sample is in quarantine.jsonl"
    return [*lines, "", *_steps(mistake), "", *_field("missing skill", text)]


def _steps(mistake: Mistake) -> list[str]:
    """Show each step and, under it, the teacher's probability of every option once it has read that far."""
    size = BAR if len(mistake.options) <= 4 else BAR // 2
    lines = _field(
        "steps", f"the teacher's probability of each option after each step; gold is ({LETTERS[mistake.gold]})"
    )
    names = ", ".join(f"({LETTERS[i]}) {one_line(option)}" for i, option in enumerate(mistake.options))
    lines += _field("", names)
    for number, row in enumerate(mistake.probabilities):
        text = one_line(mistake.steps[number - 1]).strip() if number else "(before any step)"
        mark = ">" if mistake.step is not None and number == mistake.step + 1 else " "
        outside = mistake.outside_mass[number]
        lines += _field(
            f"{mark} {number}", text + (f" [outside the options: {outside:.2f}]" if outside >= 0.05 else "")
        )
        bars = [f"({LETTERS[i]}) {p:.2f} {_bar(p, size)}" for i, p in enumerate(row)]
        lines += [" " * INDENT + "  ".join(bars[i : i + 6]) for i in range(0, len(bars), 6)]
    return lines + _field("mistake", _mistake_step(mistake))


def _mistake_step(mistake: Mistake) -> str:
    if mistake.step is None:
        return "no step: none met the margin"
    rule = "step with the largest gap, none met the margin" if mistake.fallback else "first step with a lasting margin"
    flag = ", answer unparsed" if mistake.unparsed else ""
    return f'step {mistake.step + 1} of {len(mistake.steps)} ({rule}{flag}): "{mistake.steps[mistake.step].strip()}"'


def _hits(run: Run, round: str, val_id: str) -> list[str]:
    """Show what the error brought into the selection, the best ranks first."""
    rows = [row for row in lineage.selection(run, round) if row.val_id == val_id]
    if not rows:
        error = val_id in lineage.skills(run, round)
        return _field("brought in", "nothing: other errors took its samples first, or nothing matched") if error else []
    texts = lineage.selected_samples(run, round)
    lines = _field("brought in", f"{len(rows)} of {len(lineage.selection(run, round))} samples" + _first_of(len(rows)))
    for row in rows[:TOP_HITS]:
        score = "-" if row.score is None else f"{row.score:.2f}"
        text = f"rank {row.rank + 1}, score {score}, {row.id}: {texts[row.id].instruction}"
        lines += _field("", textwrap.shorten(one_line(text), WIDTH - INDENT, placeholder=" ..."))
    return lines


def _after_tuning(run: Run, val_id: str) -> list[str]:
    answer = lineage.answers_after(run).get(val_id)
    if answer is None:
        return _field("after tuning", "not known: the tuned student was not asked this sample again")
    return _field("after tuning", _reply(answer, lineage.validation_samples(run)[val_id]))


def _flips(run: Run, val_id: str, runs: Sequence[Run]) -> list[str]:
    """Count the test items of the same kind (the sample's `source`) that tuning turned right or wrong."""
    before = {score.id: score for score in lineage.scores_before(run, runs)}
    kind = lineage.validation_samples(run)[val_id].source
    same = {id for id, sample in lineage.test_samples(run).items() if sample.source == kind}
    pairs = [(before[score.id], score) for score in run.scores if score.id in same and score.id in before]
    if not pairs:
        return _field("test items", "no pretrained run to compare with")
    gained = [b.id for a, b in pairs if b.correct is True and a.correct is not True]
    lost = [b.id for a, b in pairs if a.correct is True and b.correct is not True]
    which = f" of kind {kind}" if kind else ""
    counts = f"{len(pairs)}{which}: {len(gained)} turned right{_some(gained)}, {len(lost)} turned wrong{_some(lost)}"
    return _field("test items", counts)


def _arrival(run: Run, round: str, row: Selected) -> list[str]:
    """Say why the selector took the sample."""
    score = "" if row.score is None else f", score {row.score:.2f}"
    reason = f", {row.reason}" if row.reason else ""
    lines = _field("rank", f"{row.rank + 1} of {len(lineage.selection(run, round))}{score}{reason}")
    if row.skill is not None:
        lines += _field("skill", row.skill)
    if row.matched_terms:
        lines += _field("matched", ", ".join(row.matched_terms))
    if row.val_id is None:
        return lines
    sample, answer = lineage.validation_samples(run).get(row.val_id), lineage.answers(run, round).get(row.val_id)
    lines += _field("error", f"{row.val_id}: {one_line(sample.instruction)}" if sample else row.val_id)
    if sample and answer:
        lines += _field("student", _reply(answer, sample))
    mistake = lineage.mistakes(run, round).get(row.val_id)
    return lines + (_field("mistake", _mistake_step(mistake)) if mistake else [])


def _pool_sample(sample: Sample) -> list[str]:
    lines = _field("kind", sample.source) if sample.source else []
    lines += _field("picture", sample.image) if sample.image else []
    return lines + _field("instruction", sample.instruction) + _field("answer", sample.answer)


def _question(sample: Sample) -> list[str]:
    lines = _field("kind", sample.source) if sample.source else []
    lines += _field("picture", sample.image) if sample.image else []
    lines += _field("question", sample.instruction)
    for index, option in enumerate(sample.options):
        gold = " <- gold" if index == sample.gold else ""
        lines += _field("options" if index == 0 else "", f"({LETTERS[index]}) {option}{gold}")
    return lines if sample.options else lines + _field("gold", sample.answer)


def _reply(answer: Answer, sample: Sample) -> str:
    """Write the reading of a reply, with the option's text."""
    if answer.prediction is None:
        return "unparsed: " + textwrap.shorten(one_line(answer.text), 200, placeholder=" ...")
    prediction = answer.prediction
    index = LETTERS.find(prediction) if len(prediction) == 1 else -1
    if 0 <= index < len(sample.options):
        prediction = f"({prediction}) {sample.options[index]}"
    cut = ", cut off at the token limit" if answer.truncated else ""
    return f"{prediction}: {'right' if answer.correct else 'wrong'}{cut}"


def _run_title(run: Run, round: str = "") -> str:
    cell = run.cell
    names = f"{cell['task']}, {cell['selector']}, budget {cell['budget']}, seed {cell['seed']}"
    return f"{run.path} ({names}{f', iteration {round[1:]}' if round else ''})"


def _field(label: str, text: str) -> list[str]:
    """Wrap a labelled text beside its label; its own line breaks stay."""
    lines = []
    for line in text.splitlines() or [""]:
        lines += textwrap.wrap(one_line(line), WIDTH - INDENT, break_on_hyphens=False, break_long_words=False) or [""]
    head = f"  {label}".ljust(INDENT)
    return [(head if i == 0 else " " * INDENT) + line for i, line in enumerate(lines)]


def _bar(p: float, size: int) -> str:
    full = round(p * size)
    return "#" * full + "." * (size - full)


def _first_of(count: int) -> str:
    return f", the first {TOP_HITS}:" if count > TOP_HITS else ":"


def _some(ids: Sequence[str]) -> str:
    shown = ", ".join(map(one_line, ids[:NUM_FLIPS_SHOWN]))
    return f" ({shown}{', ...' if len(ids) > NUM_FLIPS_SHOWN else ''})" if ids else ""


def _unknown(what: str, id: str, known: Iterable[str], where: str) -> str:
    known = sorted(known)
    near = difflib.get_close_matches(id, known, n=3, cutoff=0.3) or known[:3]
    hint = f"; the nearest ids: {', '.join(near)}" if near else "; there is none at all"
    return f"no {what} {id!r} {where}{hint}"
