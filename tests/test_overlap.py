"""How alike selections are, against sets counted by hand."""

import numpy as np
import pytest

from delamo.report.overlap import jaccard, overlap


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
    with pytest.raises(ValueError, match="none has .*leave it out"):
        overlap({"random": [{"a"}], "none": runs})
