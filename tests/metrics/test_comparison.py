"""The inference behind every verdict: by hand where it can be, its properties where it cannot, its error rates."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import kstest, ttest_ind, ttest_rel

from delamo.metrics.comparison import ALPHA, MethodRuns, Verdict, compare, verdict

NINE = (72.8, 74.0, 89.2, 70.5, 75.5, 75.8, 72.0, 82.0, 77.5)
"""Random selection on one target over nine seeds, percent of 400 items."""


def method(*bits, **more):
    return MethodRuns(outcomes=[{f"i{n:03}": bit in "1T" for n, bit in enumerate(run)} for run in bits], **more)


def of_array(runs, **more):
    return MethodRuns(outcomes=[dict(enumerate(run)) for run in np.asarray(runs, dtype=bool).tolist()], **more)


def drawn(rng, num_runs, num_items, *, seed_sd=0.4, item_sd=1.0):
    items = rng.normal(0, item_sd, num_items)
    return rng.random((num_runs, num_items)) < expit(1 + items + rng.normal(0, seed_sd, (num_runs, 1)))


def test_it_is_welchs_test_where_the_runs_are_all_that_varies():
    # nested outcomes of many items: each run is right on the first ones, so that items tell nothing besides
    rng = np.random.default_rng(2)
    counts = rng.integers(200, 800, (2, 4))
    sides = [np.arange(1000) < side[:, None] for side in counts]
    found = compare(*(of_array(side) for side in sides)).inference
    expected = ttest_ind(*(side.mean(axis=1) for side in sides), equal_var=False)
    low, high = expected.confidence_interval()
    assert found.p == pytest.approx(expected.pvalue, abs=0.02) and found.freedom == pytest.approx(expected.df, rel=0.05)
    assert (found.interval.low, found.interval.high) == pytest.approx((low, high), abs=0.02)


def test_two_fixed_models_are_compared_by_their_items_alone():
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 1, 80)) < 0.6
    found = compare(of_array(first, fixed=True), of_array(second, fixed=True)).inference
    expected = ttest_rel(first[0].astype(float), second[0].astype(float))
    assert found.p == pytest.approx(expected.pvalue) and found.freedom == pytest.approx(79) and not found.borrowed


def test_a_difference_by_hand_has_the_variance_of_runs_and_of_items():
    # first: 4 of 4 and 3 of 4; second, fixed: 1 of 4
    found = compare(method("1111", "1110"), method("1000", fixed=True))
    assert found.n == 4 and found.difference == pytest.approx(7 / 8 - 1 / 4)
    # runs: variance 1/32, halved by two; rest: residuals +-1/8 and +-3/8, square sum 0.375 over 3, over 4 items 1/32
    # items: gaps 0, 1, 1, 1/2, variance 11/48 over 4; what the rest puts into it is 1/64
    variance = 1 / 64 + 11 / 192 - 1 / 64
    assert found.inference.standard_error == pytest.approx(math.sqrt(variance))
    doubt = (1 / 64) ** 2 / 1 + (11 / 192) ** 2 / 3
    assert found.inference.freedom == pytest.approx(variance**2 / doubt)


def test_one_run_borrows_the_variance_of_the_others():
    rng = np.random.default_rng(1)
    runs = drawn(rng, 9, 300)
    one, three, five = of_array(runs[:1]), of_array(runs[1:4]), of_array(runs[4:])
    alone = compare(one, three).inference
    assert alone.borrowed and alone.freedom == pytest.approx(2)
    helped = compare(one, three, [five]).inference
    assert helped.borrowed and helped.freedom > 2
    assert compare(one, of_array(runs[1:2]), [five]).inference.freedom == pytest.approx(4)
    own = compare(three, five, [one]).inference
    assert not own.borrowed and own == compare(three, five).inference


@pytest.mark.parametrize(
    ("first", "second", "others", "why"),
    [
        (("1100",), ("1000",), (), "1 run"),
        (("1100",), ("1000", "1000"), (), "1 run"),  # a copy is no second run
        (("1100", "1100"), ("1000", "1000", "1000"), (), "2 runs, 1 draw"),
        (("1111", "1111"), ("1111", "1111"), (), "2 runs, 1 draw"),
        (("1100",), ("1000",), (("1000",), ("0001",)), "1 run"),  # other methods, run once each
        (("1",), ("0",), (("1", "0"),), "1 item"),
        (("1", "0", "1"), ("0", "1"), (), "1 item"),
    ],
)
def test_nothing_is_judged_where_nothing_is_known_of_the_runs(first, second, others, why):
    found = compare(method(*first), method(*second), [method(*runs) for runs in others])
    assert (found.inference, found.not_judged) == (None, why)
    assert verdict(found, None) is Verdict.NOT_JUDGED


def test_a_fixed_model_needs_no_runs_and_lends_none():
    pretrained, ours = method("10100000", fixed=True), method("11111100", "11111010", "11110110")
    assert compare(ours, pretrained).inference is not None
    assert compare(method("11111100"), pretrained).not_judged == "1 run"
    noisy = method("10100000", "10000000", fixed=True)
    assert compare(method("11111100"), noisy).not_judged == "1 run"
    assert compare(method("11111100"), pretrained, [ours]).inference.borrowed
    same = method("1111", fixed=True)
    assert compare(same, same).not_judged == "runs without any spread"
    assert compare(same, method("0000", fixed=True)).not_judged == "runs without any spread"


def test_others_that_were_asked_other_items_lend_nothing():
    elsewhere = MethodRuns(outcomes=[{"x": True, "y": False}, {"x": False, "y": False}])
    assert compare(method("1100"), method("1000"), [elsewhere]).not_judged == "1 run"
    with pytest.raises(ValueError, match="no test item in common"):
        compare(method("1100"), elsewhere)
    with pytest.raises(ValueError, match="at least one run"):
        compare(method("1100"), MethodRuns(outcomes=[]))


def test_only_the_items_that_all_runs_have_count():
    found = compare(method("111", "101"), method("0110", "0011"))
    assert found.n == 3 and found.difference == pytest.approx(5 / 6 - 1 / 2)


def test_runs_on_one_selection_are_one_draw():
    rng = np.random.default_rng(4)
    runs = drawn(rng, 6, 200)
    other = of_array(drawn(rng, 3, 200))
    free = compare(of_array(runs), other).inference
    nested = compare(of_array(runs, units=list("aabbcc")), other).inference
    assert nested.freedom < free.freedom
    averaged = compare(of_array(runs, units=["a"] * 6), of_array(runs[:1]))
    assert averaged.not_judged == "1 run"


@st.composite
def sides(draw):
    n = draw(st.integers(2, 12))
    run = st.text("01", min_size=n, max_size=n)
    return tuple(draw(st.lists(run, min_size=1, max_size=4)) for _ in range(3))


@given(sides())
@settings(deadline=None, max_examples=150)
def test_sides_can_be_swapped_and_p_agrees_with_the_interval(three):
    first, second, third = (method(*runs) for runs in three)
    here, there = compare(first, second, [third]), compare(second, first, [third])
    assert here.difference == pytest.approx(-there.difference, abs=1e-12) and here.not_judged == there.not_judged
    if here.inference is None:
        assert here.not_judged
        return
    low, high = here.inference.interval.low, here.inference.interval.high
    assert (-high, -low) == pytest.approx((there.inference.interval.low, there.inference.interval.high), abs=1e-9)
    assert here.inference.p == pytest.approx(there.inference.p, abs=1e-9)
    assert low - 1e-12 <= here.difference <= high + 1e-12 and -1 <= low and high <= 1
    if abs(here.inference.p - ALPHA) > 1e-9:
        assert (low > 0 or high < 0) == (here.inference.p < ALPHA)


@given(sides(), st.data())
@settings(deadline=None, max_examples=150)
def test_copies_of_runs_never_narrow_the_interval(three, data):
    first, second, _ = three
    copies = data.draw(st.lists(st.sampled_from(first), max_size=4))
    found, more = (
        compare(method(*dict.fromkeys(first)), method(*second)),
        compare(method(*dict.fromkeys(first), *copies), method(*second)),
    )
    assert (found.inference is None) == (more.inference is None)
    if found.inference:
        assert more.inference.standard_error >= found.inference.standard_error - 1e-12
        assert more.inference.freedom == pytest.approx(found.inference.freedom)


def test_the_verdict_follows_the_corrected_p_and_the_sign():
    better = compare(method(*["1" * 20 + "0" * k + "1" * (20 - k) for k in (1, 2, 3)]), method("01" * 20, "0110" * 10))
    assert better.inference.p < ALPHA
    assert verdict(better, better.inference.p) is Verdict.BEATS and verdict(better, ALPHA) is Verdict.OPEN
    worse = compare(method("01" * 20, "0110" * 10), method(*["1" * 20 + "0" * k + "1" * (20 - k) for k in (1, 2, 3)]))
    assert verdict(worse, worse.inference.p) is Verdict.WORSE
    assert verdict(better, None) is Verdict.NOT_JUDGED and verdict(None, 0.01) is Verdict.NOT_JUDGED


def test_p_is_uniform_where_seeds_are_what_varies():
    rng = np.random.default_rng(7)
    p = []
    for _ in range(300):
        runs = drawn(rng, 10, 400, seed_sd=0.5)
        p.append(compare(of_array(runs[:5]), of_array(runs[5:])).inference.p)
    assert kstest(p, "uniform").pvalue > 0.01 and 0.02 < np.mean(np.array(p) < ALPHA) < 0.07


@pytest.mark.parametrize("own_luck", [0.0, 0.5, 5.0])
@pytest.mark.parametrize("sizes", [(1, 3), (3, 3), (1, 2), (4, 5)])
def test_the_nine_real_accuracies_do_not_beat_themselves(sizes, own_luck):
    """All splits, or many, of runs of these accuracies; they differ by item as much as by luck, or only in how many."""
    rng = np.random.default_rng(0)
    hardness = rng.normal(0, 1, 400)
    runs = np.array([np.argsort(np.argsort(hardness + own_luck * rng.normal(0, 1, 400))) < round(4 * a) for a in NINE])
    false = []
    for _ in range(150):
        chosen = rng.permutation(9)[: sum(sizes)]
        found = compare(of_array(runs[chosen[: sizes[0]]]), of_array(runs[chosen[sizes[0] :]]))
        false.append(found.inference.p < ALPHA)
    assert np.mean(false) <= 0.07 + 2 * math.sqrt(0.07 * 0.93 / 150)
