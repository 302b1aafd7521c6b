"""Draws the method with a real example from finished runs.

    make demo
    python scripts/draw_method.py runs/demo --out docs/images/method.svg --png docs/images/method.png

Question, rationale, mistake step, missing skill, retrieved samples and the answer after tuning: nothing is computed
here and nothing is worded anew. Unless `--id` names the example, it is the error that shows the method most clearly by
this rule: the tuned student answers it rightly; it brought in three samples or more; just before the mistake step the
teacher preferred the gold answer, and after it the student's; and at that step the gold answer loses the most
probability. Ties go to the smaller id. The SVG has a background of its own and follows the reader's light or dark mode;
the PNG, for pages that show no SVG, is the light one and needs Chromium or Chrome.
"""

from __future__ import annotations

import argparse
import base64
import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from PIL import Image, ImageFont

from delamo.data.images import open_image
from delamo.mistakes.steps import split_steps
from delamo.records import LETTERS, Answer, Mistake, Sample, Selected, Skill
from delamo.runs import lineage
from delamo.runs.read import PRETRAINED, Run, finished_runs
from delamo.store import write_text

NUM_HITS = 3
WIDTH, MARGIN, GAP, PAD = 960, 12, 30, 14
"""Of the drawing and its cards, in units of the SVG; a README shows 960 of them as about 900 pixels."""
LEFT, RIGHT = 224, 236
"""Widths of the cards in the left column, and of the last one."""
HEAD, ROW, LINE, HIT, SIDE = 34, 24, 18, 68, 144
"""Heights of a card's heading, a step, a line of text, a retrieved sample and the question's image."""
BAR, BESIDE = 120, 112
"""Widths of a bar of probability 1, and of what stands to the right of it."""
PHOTO = 288
"""Pixels of the longer side of an embedded image."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FONT = "-apple-system, BlinkMacSystemFont, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif"
COLORS = {  # class -> (property, light, dark)
    "page": ("fill", "#ffffff", "#0d1117"),
    "card": ("fill", "#f6f8fa", "#161b22"),
    "edge": ("stroke", "#d0d7de", "#30363d"),
    "text": ("fill", "#1f2328", "#e6edf3"),
    "muted": ("fill", "#59636e", "#9198a1"),
    "good": ("fill", "#0969da", "#4493f8"),
    "bad": ("fill", "#d9730d", "#f0883e"),
    "other": ("fill", "#c9d1d9", "#484f58"),
    "tint": ("fill", "#ffe8d1", "#4a2b10"),
    "arrow": ("stroke", "#59636e", "#9198a1"),
}


@dataclass(frozen=True, slots=True)
class Example:
    """One error and what became of it."""

    run: Run
    sample: Sample
    before: Answer
    mistake: Mistake
    skill: Skill
    hits: Sequence[tuple[Selected, Sample]]
    after: Answer
    accuracies: tuple[float, float] | None
    """On the test items, before and after tuning; None where no run has the untuned student's."""


def fall(mistake: Mistake) -> float:
    """Return what the gold answer loses at the mistake step; 0 where the teacher does not change sides there."""
    if mistake.step is None or mistake.wrong is None or mistake.fallback:
        return 0.0
    gold, wrong = mistake.gold, mistake.wrong
    before, after = mistake.probabilities[mistake.step], mistake.probabilities[mistake.step + 1]
    return before[gold] - after[gold] if before[gold] > before[wrong] and after[gold] < after[wrong] else 0.0


def examples(runs: Sequence[Run]) -> Iterable[Example]:
    """Yield each error that was answered rightly after tuning and brought samples in."""
    for run in runs:
        if not lineage.mistakes(run):
            continue
        samples, texts = lineage.validation_samples(run), lineage.selected_samples(run)
        answers, after, skills = lineage.answers(run), lineage.answers_after(run), lineage.skills(run)
        for id, mistake in lineage.mistakes(run).items():
            rows = [row for row in lineage.selection(run) if row.val_id == id]
            if (
                id in skills
                and id in after
                and after[id].correct
                and mistake.step is not None
                and len(rows) >= NUM_HITS
            ):
                hits = [(row, texts[row.id]) for row in rows[:NUM_HITS]]
                rates = accuracies(run, runs)
                yield Example(run, samples[id], answers[id], mistake, skills[id], hits, after[id], rates)


def accuracies(run: Run, runs: Sequence[Run]) -> tuple[float, float] | None:
    """Read the untuned and the tuned student's accuracy on the run's test items."""
    keys = ("task", "student", "budget")
    for other in runs:
        if other.cell["selector"] == PRETRAINED and all(other.cell[key] == run.cell[key] for key in keys):
            return other.metrics["test"]["accuracy"], run.metrics["test"]["accuracy"]
    return None


def choose(runs: Sequence[Run], id: str | None = None) -> Example:
    """Choose the example by the rule that the head of this file states, or the one that is named.

    Raises:
        ValueError: no error of the runs will do.
    """
    candidates = [
        example for example in examples(runs) if id == example.sample.id or (id is None and fall(example.mistake))
    ]
    if not candidates:
        which = f"{id} is no error that" if id else "there is no error that"
        want = f"was mended by tuning and brought in {NUM_HITS} samples"
        raise ValueError(f"{which} {want}: name other runs or another --id")
    return min(candidates, key=lambda example: (-fall(example.mistake), example.sample.id))


def width_of(text: str, size: float) -> float:
    """Estimate a text's width in units; a little too wide for the usual fonts, so that nothing runs over an edge."""
    return ImageFont.load_default(100).getlength(text) * size / 100 * 1.04


def wrapped(text: str, size: float, width: float, lines: int) -> list[str]:
    """Break a text into lines of a width; what exceeds the number of lines becomes an ellipsis."""
    rows: list[str] = [""]
    for word in text.split():
        longer = f"{rows[-1]} {word}".strip()
        rows = [*rows[:-1], longer] if width_of(longer, size) <= width or not rows[-1] else [*rows, word]
    if len(rows) <= lines:
        return rows
    last = rows[lines - 1]
    while last and width_of(f"{last} …", size) > width:
        last = last.rpartition(" ")[0]
    return [*rows[: lines - 1], f"{last} …"]


def text(x: float, y: float, content: str, kind: str = "text", size: float = 14, extra: str = "") -> str:
    """Write one line of text; y is its baseline."""
    return f'<text x="{x:g}" y="{y:g}" class="{kind}" font-size="{size:g}" {extra}>{escape(content)}</text>'


def block(
    x: float, y: float, content: str, width: float, lines: int, kind: str = "text", size: float = 14
) -> list[str]:
    """Write a wrapped text; y is the baseline of its first line."""
    rows = wrapped(content, size, width, lines)
    return [text(x, y + number * LINE, row, kind, size) for number, row in enumerate(rows)]


def box(x: float, y: float, width: float, height: float, kind: str, radius: float = 0) -> str:
    """Draw a filled rectangle."""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}" class="{kind}"/>'


def card(x: float, y: float, width: float, height: float, number: int, title: str) -> list[str]:
    """Draw a card with a numbered heading."""
    circle = f'<circle cx="{x + PAD + 9:g}" cy="{y + 20:g}" r="10" class="good"/>'
    digit = text(x + PAD + 9, y + 24.5, str(number), "page", 13, 'text-anchor="middle" font-weight="700"')
    heading = text(x + PAD + 26, y + 25, title, size=14.5, extra='font-weight="600"')
    return [box(x, y, width, height, "card edge", 8), circle, digit, heading]


def image(x: float, y: float, side: float, locator: str | None) -> list[str]:
    """Embed an image into a square; small ones are enlarged pixel by pixel."""
    if locator is None:
        return []
    picture = open_image(locator)
    factor = PHOTO / max(picture.size)
    size = (round(picture.width * factor), round(picture.height * factor))
    resized = picture.resize(size, Image.Resampling.NEAREST if factor > 1 else Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    resized.save(buffer, "PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    place = f'x="{x:g}" y="{y:g}" width="{side:g}" height="{side:g}"'
    frame = f'<rect {place} fill="none" class="edge"/>'
    return [f'<image {place} href="data:image/png;base64,{data}"/>', frame]


def option(mistake: Mistake, index: int) -> str:
    """Name an option by letter and text."""
    return f"({LETTERS[index]}) {mistake.options[index]}"


def question_card(x: float, y: float, height: float, example: Example) -> list[str]:
    """Draw the question, its image, and the options with the gold answer and the student's."""
    mistake, left, inner = example.mistake, x + PAD, LEFT - 2 * PAD
    parts = card(x, y, LEFT, height, 1, "The student answers")
    top = y + HEAD + 6
    if example.sample.image:
        parts += image(left, top, SIDE, example.sample.image)
        top += SIDE
    question = block(left, top + 26, example.sample.instruction, inner, 3)
    parts += question
    top += 26 + len(question) * LINE + 8
    for index in range(len(mistake.options)):
        role, kind = {mistake.gold: ("gold", "good"), mistake.wrong: ("student", "bad")}.get(index, ("", "text"))
        label = wrapped(option(mistake, index), 14, inner - 60, 1)[0]
        parts.append(text(left, top, label, kind, extra='font-weight="600"'))
        parts.append(text(x + LEFT - PAD, top, role, kind, 13, 'text-anchor="end"'))
        top += LINE + 3
    return parts


def rationale_card(x: float, y: float, width: float, height: float, example: Example) -> list[str]:
    """Draw the steps, each with the teacher's distribution over the options once it has read that far."""
    mistake = example.mistake
    parts = card(x, y, width, height, 2, "The teacher reads the rationale step by step, without the image")
    bar = x + width - PAD - BESIDE - BAR
    top = y + HEAD + 16
    gold = wrapped(f"P({mistake.options[mistake.gold]}) after each step", 13, BAR + BESIDE, 1)[0]
    parts.append(text(bar, top, gold, "good", 13, 'font-weight="600"'))
    for number, row in enumerate(mistake.probabilities):
        top += ROW
        is_mistake = mistake.step is not None and number == mistake.step + 1
        if is_mistake:
            parts.append(box(x + 6, top - 17, width - 12, ROW, "tint", 5))
            parts.append(text(x + width - PAD, top, "mistake", "bad", 13, 'text-anchor="end" font-weight="700"'))
        words = mistake.steps[number - 1].strip() if number else "before any step"
        weight = 'font-weight="600"' if is_mistake else ""
        if number:
            parts.append(text(x + PAD + 16, top, str(number), "muted", 13, 'text-anchor="end"'))
        kind = "text" if number else "muted"
        parts.append(text(x + PAD + 26, top, wrapped(words, 14, bar - x - PAD - 40, 1)[0], kind, extra=weight))
        parts += probability(bar, top, row, mistake)
    return parts


def probability(x: float, y: float, row: Sequence[float], mistake: Mistake) -> list[str]:
    """Draw one distribution as a bar of three parts, and the gold answer's number."""
    gold = row[mistake.gold]
    wrong = row[mistake.wrong] if mistake.wrong is not None else 0.0
    parts, left = [], x
    for share, kind in ((gold, "good"), (1 - gold - wrong, "other"), (wrong, "bad")):
        parts.append(box(left, y - 11, max(share, 0) * BAR, 13, kind))
        left += max(share, 0) * BAR
    return [*parts, text(x + BAR + 8, y, f"{gold:.2f}", "text" if gold > wrong else "bad", 13)]


def skill_card(x: float, y: float, height: float, example: Example) -> list[str]:
    """Draw the missing skill, the step that it was named from, and how many errors there are."""
    mistake, inner, bold = example.mistake, LEFT - 2 * PAD, 'font-weight="600"'
    parts = card(x, y, LEFT, height, 3, "and names the skill")
    skill = wrapped(example.skill.skill, 16, inner, 3)
    top = y + HEAD + 28
    parts += [text(x + PAD, top + number * 21, row, size=16, extra=bold) for number, row in enumerate(skill)]
    top += len(skill) * 21 + 8
    if mistake.step is not None:
        step = f"that step {mistake.step + 1} shows to be missing: “{mistake.steps[mistake.step].strip()}”"
        parts += block(x + PAD, top, step, inner, 4, "muted", 13)
    errors, budget = len(lineage.skills(example.run)), example.run.cell["num_samples"]
    note = f"One of {errors:,} errors: their skills together choose {budget:,} samples."
    return parts + block(x + PAD, y + height - 2 * LINE + 4, note, inner, 2, "muted", 13)


def hits_card(x: float, y: float, width: float, height: float, example: Example) -> list[str]:
    """Draw the best-ranked samples that the error brought in."""
    parts = card(x, y, width, height, 4, "BM25 retrieves pool samples by that skill")
    total = len(lineage.selection(example.run))
    for number, (row, sample) in enumerate(example.hits):
        top = y + HEAD + 8 + number * HIT
        left = x + PAD + (66 if sample.image else 0)
        parts += image(x + PAD, top, 56, sample.image)
        question = sample.instruction.splitlines()[0]
        words = block(left, top + 12, question, x + width - PAD - left, 2)
        score = "" if row.score is None else f", score {row.score:.1f}"
        parts += words
        parts.append(
            text(left, top + 15 + len(words) * LINE, f"rank {row.rank + 1:,} of {total:,}{score}", "muted", 13)
        )
    return parts


def after_card(x: float, y: float, height: float, example: Example) -> list[str]:
    """Draw the tuned student's reply from where it leaves the old one, and the accuracies."""
    parts = card(x, y, RIGHT, height, 5, "Tuned and asked again")
    old, new = split_steps(example.before.rationale), split_steps(example.after.rationale)
    common = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    words = ("… " if common else "") + "".join(new[common:]).strip()
    inner = RIGHT - 2 * PAD
    reply = block(x + PAD, y + HEAD + 24, words, inner, 4)
    parts += reply
    answer = wrapped(f"✓ {option(example.mistake, example.mistake.gold)}", 16, inner, 1)[0]
    parts.append(text(x + PAD, y + HEAD + 24 + len(reply) * LINE + 14, answer, "good", 16, 'font-weight="700"'))
    if example.accuracies:
        before, after = (f"{100 * rate:.1f} %" for rate in example.accuracies)
        task, n = example.run.cell["task"], example.run.metrics["test"]["n"]
        parts += block(x + PAD, y + height - 2 * LINE - 2, f"{n:,} test items of {task}:", inner, 1, "muted", 13)
        parts.append(text(x + PAD, y + height - LINE, f"{before} → {after} right", "text", 14, 'font-weight="600"'))
    return parts


def arrow(*points: tuple[float, float]) -> str:
    """Draw a line through points with a head at its end."""
    path = " ".join(f"{'L' if number else 'M'}{x:g},{y:g}" for number, (x, y) in enumerate(points))
    return f'<path d="{path}" fill="none" stroke-width="2" class="arrow" marker-end="url(#head)"/>'


def style() -> str:
    """Return the colors as CSS, the dark ones for readers in dark mode."""
    light, dark = (
        "".join(f".{name}{{{values[0]}:{values[shade]}}}" for name, values in COLORS.items()) for shade in (1, 2)
    )
    heads = ["#head path{fill:" + COLORS["arrow"][shade] + "}" for shade in (1, 2)]
    return f"<style>{light}{heads[0]}@media (prefers-color-scheme:dark){{{dark}{heads[1]}}}</style>"


def question_height(example: Example) -> float:
    """Return the height that the question's card needs."""
    lines = wrapped(example.sample.instruction, 14, LEFT - 2 * PAD, 3)
    side = SIDE if example.sample.image else 0
    return HEAD + 6 + side + 26 + len(lines) * LINE + 8 + (LINE + 3) * len(example.mistake.options)


def draw(example: Example) -> tuple[str, int]:
    """Draw the example as SVG.

    Returns:
        (the SVG, its height in units).
    """
    mistake = example.mistake
    upper = max(HEAD + 22 + ROW * len(mistake.probabilities) + 8, question_height(example))
    lower = HEAD + 8 + HIT * NUM_HITS
    middle, wide = MARGIN + LEFT + GAP, WIDTH - 2 * MARGIN - LEFT - GAP
    top, bottom = MARGIN, MARGIN + upper + GAP + 4
    last = WIDTH - MARGIN - RIGHT
    height = bottom + lower + MARGIN
    center, bend = MARGIN + LEFT / 2, MARGIN + upper + GAP / 2
    parts = [
        box(0, 0, WIDTH, height, "page", 10),
        *question_card(MARGIN, top, upper, example),
        *rationale_card(middle, top, wide, upper, example),
        *skill_card(MARGIN, bottom, lower, example),
        *hits_card(middle, bottom, last - GAP - middle, lower, example),
        *after_card(last, bottom, lower, example),
        arrow((middle - GAP + 3, top + 20), (middle - 7, top + 20)),
        arrow((middle + 34, top + upper), (middle + 34, bend), (center, bend), (center, bottom - 7)),
        arrow((middle - GAP + 3, bottom + 20), (middle - 7, bottom + 20)),
        arrow((last - GAP + 3, bottom + 20), (last - 7, bottom + 20)),
    ]
    stages = "The mistake step, the missing skill, retrieved samples, and the answer after tuning."
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}" '
        f'role="img" font-family="{FONT}">'
        f"<title>Error-driven data selection on one error: {escape(example.sample.id)}</title>"
        f"<desc>{escape(example.sample.instruction)} {stages}</desc>{style()}"
        '<defs><marker id="head" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="5" markerHeight="5" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z"/></marker></defs>'
    )
    return "\n".join([head, *parts, "</svg>\n"]), round(height)


def rasterize(svg: Path, png: Path, height: int) -> None:
    """Render the SVG as PNG, two pixels to a unit, in a browser without a window.

    Raises:
        FileNotFoundError: there is no browser.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise FileNotFoundError(f"--png needs one of {', '.join(BROWSERS)} on the path")
    with tempfile.TemporaryDirectory() as profile:
        flags = ["--headless", "--no-sandbox", "--hide-scrollbars", "--force-device-scale-factor=2", "--disable-gpu"]
        flags += [f"--user-data-dir={profile}", f"--window-size={WIDTH},{height}", f"--screenshot={png.resolve()}"]
        subprocess.run([browser, *flags, svg.resolve().as_uri()], check=True, capture_output=True, timeout=120)
    with Image.open(png) as picture:
        small = picture.convert("RGB").quantize(256)
    small.save(png, optimize=True)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="a folder of finished runs, such as runs/demo")
    parser.add_argument("--id", help="the validation sample to show; by default the rule chooses")
    parser.add_argument("--out", type=Path, default=Path("docs/images/method.svg"))
    parser.add_argument("--png", type=Path, help="also as PNG")
    args = parser.parse_args(argv)
    example = choose(finished_runs(args.runs).runs, args.id)
    svg, height = draw(example)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(args.out, svg)
    print(f"{args.out}: {example.sample.id} of {example.run.path}", file=sys.stderr)
    if args.png:
        rasterize(args.out, args.png, height)


if __name__ == "__main__":
    main()
