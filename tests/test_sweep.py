"""Which cells several grids and a command line make."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from delamo.sweep import cells_of

GRIDS = [
    {"task": "a,b", "selector": "none"},
    {"task": "a,b", "selector": "random", "seed": "0,1"},
    {"task": "a", "selector": "random", "seed": "1,2"},
]


def cells(*given: str, grids=GRIDS, fast=None) -> list[str]:
    parse = OverridesParser.create().parse_overrides
    return [" ".join(cell) for cell in cells_of(grids, parse(list(given)), parse, fast)]


def test_a_cell_of_two_grids_is_one_cell():
    assert cells() == [
        "task=a selector=none",
        "task=b selector=none",
        "task=a selector=random seed=0",
        "task=a selector=random seed=1",
        "task=b selector=random seed=0",
        "task=b selector=random seed=1",
        "task=a selector=random seed=2",
    ]


def test_a_value_that_some_grid_has_chooses_among_the_grids():
    assert cells("selector=none") == ["task=a selector=none", "task=b selector=none"]
    assert cells("selector=random", "task=b") == ["task=b selector=random seed=0", "task=b selector=random seed=1"]
    assert cells("seed=2") == [
        "task=a selector=none seed=2",
        "task=b selector=none seed=2",
        "task=a selector=random seed=2",
    ]


def test_a_value_that_no_grid_has_replaces_theirs():
    assert cells("task=c", "selector=none,random", "seed=1") == [
        "task=c selector=none seed=1",
        "task=c selector=random seed=1",
    ]


def test_what_no_grid_names_goes_to_every_cell():
    assert all(cell.endswith("budget=10k") for cell in cells("budget=10k")) and len(cells("budget=10k")) == 7
    assert len(cells("budget=10k,30k")) == 14


def test_fast_sets_what_the_preset_says_and_the_command_line_wins():
    fast = {"task": "a", "pool.num_samples": 10}
    assert cells("selector=none", fast=fast) == cells("selector=none")
    assert cells("fast=true", "selector=none", fast=fast) == ["task=a selector=none pool.num_samples=10 fast=True"]
    assert "pool.num_samples=7" in cells("fast=true", "pool.num_samples=7", fast=fast)[0]


def test_without_grids_the_command_line_is_the_grid():
    assert cells("task=a,b", grids=[{}]) == ["task=a", "task=b"]


def test_an_interval_is_no_list_of_cells():
    with pytest.raises(ValueError, match="seed=interval"):
        cells("seed=interval(0,1)")
