"""Statistics against values worked out by hand, and against scipy where it has the same test."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def test_mcnemar_by_hand():
    # 6 items for the first run alone, 1 for the second alone: p = 2 * (1 + 7) / 2**7
    first, second = run("111111" + "0" + "11"), run("000000" + "1" + "11")
    assert statistics.mcnemar(first, second) == statistics.PairedCounts(6, 1, 16 / 128)
    assert statistics.mcnemar(second, first) == statistics.PairedCounts(1, 6, 16 / 128)
    assert statistics.mcnemar(first, first).p == 1.0


def test_mcnemar_of_many_items_does_not_underflow():
    counts = statistics.mcnemar(run("1" * 3000 + "0" * 2500), run("0" * 3000 + "1" * 2500))
    assert 0 < counts.p < 1e-10


def test_paired_test_by_hand():
    # one run of ours, two of random; two items where ours alone is correct: of 3 runs one is correct, so ours has
    # it with 1/3. Expected 2/3; as far as the observed 2 is only 2 itself: p = 1/9.
    assert statistics.paired_test([run("11")], [run("00"), run("00")]) == pytest.approx(1 / 9)
    assert statistics.paired_test([run("01")], [run("01"), run("01")]) == 1.0


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
@settings(deadline=None)
def test_paired_test_of_single_runs_is_mcnemar(items):
    first = {str(i): a for i, (a, _) in enumerate(items)}
    second = {str(i): b for i, (_, b) in enumerate(items)}
    assert statistics.paired_test([first], [second]) == pytest.approx(statistics.mcnemar(first, second).p, abs=1e-12)


def test_paired_test_against_enumeration():
    rng = np.random.default_rng(5)
    ours = [run("".join(rng.choice(["0", "1"], 4))) for _ in range(2)]
    other = [run("".join(rng.choice(["0", "1"], 4))) for _ in range(2)]
    assert statistics.paired_test(ours, other) == pytest.approx(_enumerated(ours, other))


def _enumerated(ours, other):
    """The same test by going through every assignment of runs to methods on every item."""
    from itertools import combinations, product

    runs, k = [*ours, *other], len(ours)
    choices = list(combinations(range(len(runs)), k))
    ids = list(ours[0])
    totals = [
        sum(runs[r][id] for id, pick in zip(ids, picks, strict=True) for r in pick)
        for picks in product(choices, repeat=len(ids))
    ]
    observed, centre = sum(run_[id] for run_ in ours for id in ids), sum(totals) / len(totals)
    return sum(abs(t - centre) >= abs(observed - centre) - 1e-9 for t in totals) / len(totals)


def test_paired_test_agrees_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(1)
    first, second = (run("".join(rng.choice(["0", "1"], 400, p=[1 - q, q]))) for q in (0.6, 0.5))
    counts = statistics.mcnemar(first, second)
    expected = stats.binomtest(counts.only_first, counts.only_first + counts.only_second).pvalue
    assert counts.p == pytest.approx(expected) and statistics.paired_test([first], [second]) == pytest.approx(expected)


def test_mcnemar_is_the_tail_of_a_binomial_by_counting():
    for first, second in itertools.product(range(0, 40, 3), repeat=2):
        n, k = first + second, min(first, second)
        counted = min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / (1 << n))
        outcomes = run("1" * first + "0" * second + "1"), run("0" * first + "1" * second + "1")
        assert statistics.mcnemar(*outcomes).p == pytest.approx(counted, abs=1e-12)


def test_wilson_agrees_with_scipy():
    from scipy.stats import binomtest

    for n in (1, 7, 40, 1000):
        for correct in {0, 1, n // 3, n // 2, n - 1, n}:
            expected = binomtest(correct, n).proportion_ci(method="wilson")
            interval = statistics.wilson(correct / n, n)
            assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_paired_test_keeps_its_level():
    rng = np.random.default_rng(0)
    chance = rng.beta(2, 2, 80)
    p = []
    for _ in range(300):
        runs = [{str(i): bool(x) for i, x in enumerate(rng.random(80) < chance)} for _ in range(4)]
        p.append(statistics.paired_test(runs[:1], runs[1:]))
    assert np.mean(np.array(p) < 0.05) < 0.08


def test_bootstrap_is_seeded_and_covers_the_normal_interval():
    first, second = run("1" * 60 + "0" * 40), run("0" * 20 + "1" * 30 + "0" * 50)
    interval = statistics.bootstrap_difference([first], [second], rng=np.random.default_rng(0))
    assert interval == statistics.bootstrap_difference([first], [second], rng=np.random.default_rng(0))
    # differences: 30 items of +1, none of -1, so standard error sqrt(0.3 * 0.7 / 100)
    reach = 1.96 * math.sqrt(0.3 * 0.7 / 100)
    assert interval.low == pytest.approx(0.3 - reach, abs=0.012) and interval.high == pytest.approx(
        0.3 + reach, abs=0.012
    )


def test_bootstrap_shows_the_noise_between_runs():
    steady = [run("10" * 50)] * 3
    noisy = [run("1" * 20 + "10" * 40), run("0" * 20 + "10" * 40), run("10" * 50)]
    still = statistics.bootstrap_difference([run("10" * 50)], steady, rng=np.random.default_rng(0))
    wide = statistics.bootstrap_difference([run("10" * 50)], noisy, rng=np.random.default_rng(0))
    assert (still.low, still.high) == pytest.approx((0, 0), abs=1e-12)
    assert wide.high - wide.low > 0.1


def test_compare_uses_the_common_items():
    rng = np.random.default_rng(0)
    found = statistics.compare([run("111")], [run("0110"), run("0011")], rng=rng)
    assert found.n == 3 and found.difference == pytest.approx(1 - (2 / 3 + 1 / 3) / 2)
    assert [[pair.only_first for pair in row] for row in found.pairs] == [[1, 2]]
    with pytest.raises(ValueError, match="no test item in common"):
        statistics.compare([{"a": True}], [{"b": True}], rng=rng)
    with pytest.raises(ValueError, match="at least one run"):
        statistics.compare([{"a": True}], [], rng=rng)


def test_holm_by_hand():
    # sorted 0.01 * 4, 0.02 * 3, 0.03 * 2, 0.2 * 1; the third is lifted to the second's 0.06
    assert statistics.holm([0.03, 0.01, 0.2, 0.02]) == pytest.approx([0.06, 0.04, 0.2, 0.06])
    assert statistics.holm([0.6, 0.9]) == [1.0, 1.0] and statistics.holm([]) == []
