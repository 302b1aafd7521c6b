"""`delamo report`: the report on all runs, or a table of the paper, by what was asked for."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hydra import compose, initialize_config_dir
from support.fake_runs import write_example
from support.table_runs import write_table1

from delamo.cli.verbs.report import ReportConfig
from delamo.config.compose import read_verb
from delamo.config.conf import conf_dir
from delamo.paper.report import report
from delamo.reports import report as all_runs


def test_command_line_takes_the_keys():
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        request = read_verb(compose("report", overrides=["format=html", "out=r.html", "plots=p", "reference=none"]))
    assert isinstance(request, ReportConfig)
    assert (request.format, request.out, request.plots, request.reference) == ("html", "r.html", "p", "none")


def test_without_a_table_it_is_the_report_on_all_runs(tmp_path):
    runs = write_example(tmp_path)
    assert report(runs, "csv", "pretrained") == all_runs.report(runs, "csv", "pretrained")


def test_a_table_has_a_reference_of_its_own(tmp_path):
    with pytest.raises(ValueError, match="reference is 'insta', and table1 compares with random alone"):
        report(write_table1(tmp_path), "csv", "insta", table="table1")


def test_a_table_of_the_paper_is_a_page_with_the_plots_of_its_runs(tmp_path):
    text = report(write_table1(tmp_path), "html", table="table1")
    tags: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append(tag)
    parser.feed(text)
    assert "Table 1" in text and tags.count("figure") >= 1
    assert tags.count("table") >= 2 and "settings that not all share" in text.rpartition("<table>")[2]


def test_table_and_plots_are_written_where_they_belong(tmp_path):
    runs, out, folder = write_table1(tmp_path / "runs"), tmp_path / "new" / "table.md", tmp_path / "plots"
    lines = report(runs, table="table1", out=out, plots=folder).splitlines()
    assert lines[0] == str(out) and out.read_text() == report(runs, table="table1") + "\n"
    assert len(lines) > 1 and all((folder / name.rpartition("/")[2]).is_file() for name in lines[1:])
