"""How alike selections are, against sets counted by hand."""

import numpy as np
import pytest
from support.fake_runs import write_rows, write_run

from delamo.metrics.overlap import jaccard, over_targets, overlap
from delamo.records import Selected
from delamo.reports.report import report


def test_two_sets_by_hand():
    assert jaccard({"a", "b", "c"}, {"b", "c", "d", "e"}) == 2 / 5
    assert jaccard({"a"}, {"a"}) == 1
    assert jaccard({"a"}, {"b"}) == 0


def test_selectors_by_hand():
    """random's three runs: pairs 1/3, 0, 0; with ours: 1, 1/3, 0."""
    names, matrix = overlap({"random": [{"a", "b"}, {"b", "c"}, {"d", "e"}], "ours": [{"a", "b"}]})
    assert names == ["random", "ours"]
    np.testing.assert_allclose(matrix, [[1 / 9, 4 / 9], [4 / 9, 1]])


def test_the_order_of_runs_does_not_matter():
    runs = {"x": [{"a", "b"}, {"c", "b"}], "y": [{"a"}, {"b", "d"}]}
    turned = {name: sets[::-1] for name, sets in runs.items()}
    np.testing.assert_array_equal(overlap(runs)[1], overlap(turned)[1])


def test_random_halves_share_a_third():
    rng = np.random.default_rng(0)
    halves = [{str(i) for i in rng.choice(4000, 2000, replace=False)} for _ in range(4)]
    _, matrix = overlap({"one": halves[:2], "other": halves[2:]})
    np.testing.assert_allclose(matrix, 1 / 3, atol=0.03)


@pytest.mark.parametrize("runs", [[], [{"a"}, set()]])
def test_nothing_selected_is_no_overlap_but_an_error(runs):
    with pytest.raises(ValueError, match=r"none has .*leave it out"):
        overlap({"random": [{"a"}], "none": runs})


def test_mean_over_targets_by_hand():
    """On one target 1/3 and on the other 1; ours was not run on the third, and others only there."""
    first = {"random": [{"a", "b"}], "ours": [{"b", "c"}]}
    second = {"random": [{"a"}], "ours": [{"a"}]}
    third = {"random": [{"a"}, {"b"}], "others": [{"a", "b"}]}
    found = over_targets([first, second, {}, third])
    assert found.methods == ["random", "ours", "others"] and found.num_targets == 3
    assert found.values == [[2 / 3, 2 / 3, 1 / 2], [2 / 3, 1, None], [1 / 2, None, 1]]
    assert over_targets([{"random": [{"a"}]}]) is None and over_targets([]) is None


def test_overlap_stands_in_the_report(tmp_path):
    for selector, seed, ids in (("random", 0, "ab"), ("random", 1, "bc"), ("insta", 0, "cd"), ("full_data", 0, "abcd")):
        path = write_run(tmp_path, task="a", selector=selector, seed=seed, bits="10")
        write_rows(path / "selection.jsonl", [Selected(id=id, rank=i, reason="x") for i, id in enumerate(ids)])
    text = report(tmp_path)
    assert "### Overlap of the selections" in text
    assert "| 1 random | 0.33 |      |" in text and "| 2 insta  | 0.17 | 1.00 |" in text and "3 full" not in text
