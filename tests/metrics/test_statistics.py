"""Statistics against values worked out by hand, and against scipy where it has the same test."""

import pytest

from delamo.metrics import statistics
from delamo.records import ItemScore


def run(bits):
    return {f"i{number:03}": bit == "1" for number, bit in enumerate(bits)}


def score(id, correct):
    return ItemScore(id=id, text="", prediction=None, gold="A", parsed=correct is not None, correct=correct)


def test_mean_of_nothing_is_an_error():
    assert statistics.mean([1, 2, 6]) == 3
    for function in (statistics.mean, statistics.over_seeds):
        with pytest.raises(ValueError, match="nothing was measured"):
            function([])


def test_unparsed_counts_as_not_correct_and_is_reported_beside():
    scores = [score("a", True), score("b", None), score("c", False), score("d", None)]
    assert statistics.accuracy(scores) == 0.25
    assert statistics.unparsed_rate(scores) == 0.5
    with pytest.raises(ValueError, match="scored twice"):
        statistics.outcomes([score("a", True), score("a", False)])


def test_seeds_keep_each_run():
    summary = statistics.over_seeds([0.4, 0.5, 0.6])
    assert summary.mean == pytest.approx(0.5) and summary.sd == pytest.approx(0.1) and summary.runs == (0.4, 0.5, 0.6)
    assert statistics.over_seeds([0.4]) == statistics.SeedSummary(0.4, None, (0.4,))


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    # Newcombe 1998, table I: the Wilson score interval without continuity correction
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_of_the_literature(correct, n, low, high):
    interval = statistics.wilson(correct / n, n)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


def test_wilson_ends():
    assert statistics.wilson(0.0, 10).low == 0.0 and statistics.wilson(1.0, 10).high == 1.0
    for share, n in ((0.5, 0), (1.1, 10)):
        with pytest.raises(ValueError, match="has no interval"):
            statistics.wilson(share, n)


def test_wilson_agrees_with_scipy():
    from scipy.stats import binomtest

    for n in (1, 7, 40, 1000):
        for correct in {0, 1, n // 3, n // 2, n - 1, n}:
            expected = binomtest(correct, n).proportion_ci(method="wilson")
            interval = statistics.wilson(correct / n, n)
            assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_holm_by_hand():
    # sorted 0.01 * 4, 0.02 * 3, 0.03 * 2, 0.2 * 1; the third is lifted to the second's 0.06
    assert statistics.holm([0.03, 0.01, 0.2, 0.02]) == pytest.approx([0.06, 0.04, 0.2, 0.06])
    assert statistics.holm([0.6, 0.9]) == [1.0, 1.0] and statistics.holm([]) == []
