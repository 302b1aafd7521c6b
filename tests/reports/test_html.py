"""The HTML report stands alone: nothing is loaded or run, everything is escaped, every id is there once."""

import re
import sys
from html.parser import HTMLParser

import pytest
from support.fake_runs import planted, write_example, write_run

from delamo.reports.comparison import compare_runs
from delamo.reports.render import html
from delamo.reports.render.formats import Code, Heading, Lines, Table
from delamo.reports.report import fragment, report
from delamo.runs.read import finished_runs

NASTY = "<script>alert(1)</script> & $x$ \"y\" 'z' <img src=http://x.y/z onerror=alert(2)>"
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """All that the tests ask of a page."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.data, self.tables = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"{tag} closes what it did not open"

    def handle_data(self, data):
        self.data.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data

    def values(self, *names):
        return [value for _, name, value in self.attributes if name in names]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    root = tmp_path_factory.mktemp("example")
    return report(write_example(root), "html")


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_page_loads_and_runs_nothing(text, page):
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form", "image"} & set(page.tags)
    assert all(value.startswith("#") for value in page.values("href", "xlink:href"))
    assert not page.values("src", "srcset", "action", "data", "background", "poster")
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert "@import" not in text and not re.search(r"url\((?!#)", text)
    addresses = set(re.findall(r"\w+://[^\s\"'<>]+", text))
    assert addresses <= {"http://www.w3.org/1999/xlink", "http://www.w3.org/2000/svg"}  # names of XML, never fetched
    policy = [value for _, name, value in page.attributes if name == "content"]
    assert "default-src 'none'; style-src 'unsafe-inline'" in policy


def test_ids_are_unique_and_references_lead_somewhere(text, page):
    ids = page.values("id")
    assert len(set(ids)) == len(ids) > 50
    named = {value.removeprefix("#") for value in page.values("href", "xlink:href")}
    named |= set(re.findall(r"url\(#([^)]+)\)", text)) | set(page.values("aria-labelledby"))
    assert named <= set(ids)


def test_page_has_the_tables_the_plots_and_the_ways_on(text, page):
    assert ["error_driven", "90.0†", "30.0", "60.0"] in page.tables[0]
    assert (
        page.tags.count("figure") == page.tags.count("svg") == 2
    )  # accuracy and skills; one selection alone overlaps with none
    assert "delamo trace v2" in text and "How to read the tables" in text and "Wilson" in text
    assert "prefers-color-scheme: dark" in text and "currentColor" in text


def test_numbers_are_aligned(text):
    assert '<td class="num">30.0</td>' in text and '<th scope="row">error_driven</th>' in text
    assert '<tr class="single"><th scope="row">seed 1</th>' in text


def test_second_page_is_the_same(text, tmp_path):
    runs = write_example(tmp_path)
    assert report(runs, "html") == report(runs, "html")


def test_everything_is_escaped(tmp_path):
    config = {"tuning": {"name": NASTY}}
    for selector in ("none", "random", "error_driven"):
        write_run(
            tmp_path, task=NASTY, selector=selector, seed=0, bits="10" * 20, config=config, planted=planted(0.5, 0.9)
        )
    text = report(tmp_path, "html")
    page = Page(text)
    assert not {"script", "img"} & set(page.tags) and page.tags.count("svg") == 2
    assert any(NASTY in data for data in page.data) and NASTY not in text


def test_blocks_of_every_kind_are_escaped():
    blocks = [Heading(NASTY, 1), Heading(NASTY), Lines([NASTY]), Lines([NASTY], True), Code([NASTY])]
    page = Page(html.page([*blocks, Table([NASTY], [[NASTY]]), html.Folded(NASTY, [NASTY])]))
    assert not {"script", "img"} & set(page.tags) and sum(NASTY in data for data in page.data) == 11


def test_tables_cut_for_a_terminal_are_whole(tmp_path):
    for number in range(9):
        write_run(tmp_path, task=f"micro/a_long_target_{number}", selector="random", seed=0, bits="10" * 20)
    page = Page(report(tmp_path, "html"))
    assert [len(row) for row in page.tables[0]] == [11, 11] and page.tables[0][0][-1] == "mean"


def test_tables_that_are_not_one_stay_apart():
    one, other = Table(["x", "n"], [["a", "1"]]), Table(["y", "n"], [["a", "1"]])
    shorter = Table(["x", "n"], [["a", "1"], ["b", "2"]])
    assert len(Page(html.page([one, other, shorter])).tables) == 3
    cut = Table(["x", "m", "n"], [["a", "2", "1"]])
    assert Page(html.page([one, cut])).tables == [[["x", "n", "m", "n"], ["a", "1", "2", "1"]]]
    assert len(Page(html.page([one, Lines(["-"]), cut])).tables) == 2


def test_configs_are_told_without_repetition(tmp_path):
    for seed, rate in ((0, 0.1), (1, 0.2)):
        config = {"tuning": {"epochs": 2, "learning_rate": rate, "resume": None}}
        write_run(tmp_path, task="a", selector="random", seed=seed, bits="10" * 20, config=config)
    page = Page(report(tmp_path, "html"))
    assert "tuning.epochs: 2\ntuning.resume: null" in page.data and "2 settings that all 2 runs share" in page.data
    assert [row[1] for row in page.tables[-1][1:]] == [
        "tuning.learning_rate=0.1, seed=0",
        "tuning.learning_rate=0.2, seed=1",
    ]


def test_without_matplotlib_the_page_says_so(tmp_path, monkeypatch):
    write_run(tmp_path, task="a", selector="random", seed=0, bits="10" * 20)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "Not drawn: matplotlib is not installed (pip install &#39;delamo[plots]&#39;)." in report(tmp_path, "html")


def test_report_and_plots_are_written_where_they_are_asked_for(tmp_path):
    for selector in ("random", "error_driven"):
        write_run(tmp_path / "runs", task="a", selector=selector, seed=0, bits="10" * 20)
    out, folder = tmp_path / "new" / "report.md", tmp_path / "plots"
    text = report(tmp_path / "runs", "markdown", "random", out=out, plots=folder)
    assert text.splitlines() == [str(out), str(folder / "accuracy.png"), str(folder / "accuracy.svg")]
    assert out.read_text() == report(tmp_path / "runs") + "\n"
    assert [path.name for path in out.parent.iterdir()] == ["report.md"] and (
        folder / "accuracy.png"
    ).stat().st_size > 999


def test_a_fragment_is_the_inside_of_the_page(text, tmp_path):
    comparison = compare_runs(finished_runs(write_example(tmp_path)))
    inside = fragment(comparison)
    whole = report(tmp_path / "runs", "html")
    assert inside.startswith('<div class="delamo-report">') and inside.rstrip().endswith("</div>")
    assert "<html" not in inside and "<style" not in inside
    assert inside.removeprefix('<div class="delamo-report">').rstrip().removesuffix("</div>").strip() in whole
