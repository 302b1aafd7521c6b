"""Each benchmark runs from end to end on little data, and its last line is JSON."""

from __future__ import annotations

import importlib
import json
import sys

import pytest


@pytest.mark.parametrize(
    ("name", "options", "keys"),
    [
        ("bench_answers", ["--samples", "2"], {"ratio"}),
        ("bench_mistakes", ["--rationales", "2"], {"ratio", "largest_difference"}),
        ("bench_pool", ["--rows", "50", "--images", "3"], {"open_json", "convert", "open_parquet"}),
        ("bench_retrieval", ["--docs", "300", "--queries", "4", "--timed-queries", "2"], {"cold_ratio", "warm_ratio"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_it_measures(name, options, keys, monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", [name, *options])
    importlib.import_module(name).main()
    numbers = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert keys <= numbers.keys()


def test_the_embedded_models_are_measured_by_skill(monkeypatch, capsys):
    import measure_embedded

    monkeypatch.setattr(sys, "argv", ["measure_embedded", "--samples", "4"])
    measure_embedded.main()
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert {"known", "missing"} <= {row[1] for row in rows if len(row) == 5}
    assert sum(row[0].startswith(("| pool samples", "| false conclusions")) for row in rows) == 2
