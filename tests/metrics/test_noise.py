"""Power, variance by source and forgetting, against values worked out by hand."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from scipy.special import stdtrit
from support.fake_runs import planted, write_rows, write_run

from delamo.metrics.minimum_detectable_effect import detectable_difference
from delamo.metrics.retention import retention
from delamo.metrics.variance import split
from delamo.records import Selected
from delamo.reports.comparison import compare_runs
from delamo.reports.report import report
from delamo.runs.read import collect


def run(bits):
    return {f"i{number:03}": bit == "1" for number, bit in enumerate(bits)}


def test_detectable_difference_is_found_four_times_in_five():
    # 3 runs each of variance 0.02**2: standard error 0.02 * sqrt(2 / 3), 4 degrees of freedom
    error, rng = 0.02 * math.sqrt(2 / 3), np.random.default_rng(0)
    gap = detectable_difference(error, 4, alpha=0.05)
    draws = rng.normal([[[gap]], [[0]]], 0.02, (2, 20_000, 3))
    errors = np.sqrt(draws.var(axis=2, ddof=1).sum(axis=0) / 3)
    found = np.abs(draws.mean(axis=2)[0] - draws.mean(axis=2)[1]) > stdtrit(4, 0.975) * errors
    assert found.mean() == pytest.approx(0.8, abs=0.01)


def test_detectable_difference_is_the_normal_one_where_freedom_is_large():
    z = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(0.8)
    assert detectable_difference(0.01, 1e6, alpha=0.05) == pytest.approx(0.01 * z, rel=1e-4)


def test_more_comparisons_and_less_freedom_need_larger_differences():
    alone = detectable_difference(0.02, 4, alpha=0.05)
    assert alone < detectable_difference(0.02, 4, alpha=0.05 / 10) and alone < detectable_difference(
        0.02, 2, alpha=0.05
    )
    assert detectable_difference(0.04, 4, alpha=0.05) == pytest.approx(2 * alone)
    assert detectable_difference(0.1, 1.1, alpha=0.05 / 7) is None  # no two accuracies lie that far apart
    for error, freedom in ((0, 4), (0.1, 0)):
        with pytest.raises(ValueError, match="has no power"):
            detectable_difference(error, freedom, alpha=0.05)


def test_variance_of_runs_by_hand():
    # accuracies 0.5 and 1, variance 1/8; rest: sum of squares 1/2 over 3 degrees of freedom, over 4 items 1/24
    found = split([run("1100"), run("1111")], ["a", "b"])
    assert found.both == pytest.approx(math.sqrt(1 / 8 - 1 / 24))
    assert found.test_items == pytest.approx(math.sqrt((0.25 / 3 + 0) / 2))
    assert (found.num_runs, found.num_selections, found.selection, found.training) == (2, 2, None, None)
    again = split([run("1100"), run("1111")], ["a", "a"])
    assert again.training == pytest.approx(found.both) and (again.num_selections, again.selection) == (1, None)


def test_variance_of_one_run_is_that_of_its_items():
    found = split([run("1110")], ["a"])
    assert (found.both, found.training, found.selection) == (None, None, None)
    assert found.test_items == pytest.approx(math.sqrt(0.75 * 0.25 / 3))


def test_runs_that_turn_different_items_are_no_seed_noise():
    found = split([run("1100"), run("0011"), run("1010")], ["a", "b", "c"])
    assert found.both == 0


def test_variance_is_split_between_the_seeds():
    rng = np.random.default_rng(3)
    item = rng.normal(0, 1, 4000)
    runs, keys = [], []
    for selection in range(30):
        base = rng.normal(0, 0.3)
        for _ in range(4):
            shift = base + rng.normal(0, 0.1)
            runs.append({str(i): bool(x) for i, x in enumerate(rng.normal(0, 1, 4000) + item + shift > 0)})
            keys.append(selection)
    found = split(runs, keys)
    slope = 1 / math.sqrt(2 * math.pi * 2)  # of the share above 0 of Normal(shift, variance 2), at shift 0
    assert found.selection == pytest.approx(0.3 * slope, rel=0.3)
    assert found.training == pytest.approx(0.1 * slope, rel=0.3)
    assert found.test_items == pytest.approx(0.5 / math.sqrt(4000), rel=0.05)


def test_kept_and_won_by_hand():
    # right before: the first two; one run keeps both and wins one of two, the other keeps one and wins none
    found = retention(run("1100"), [run("1110"), run("1000")])
    assert (found.num_right, found.still_right, found.num_wrong, found.now_right) == (2, 0.75, 2, 0.25)
    assert found.forgetting == -0.25
    assert (
        retention(run("00"), [run("01")]).still_right is None and retention(run("00"), [run("01")]).forgetting is None
    )


def test_report_says_what_seeds_and_items_make_of_the_numbers(tmp_path):
    write_run(tmp_path, task="a", selector="none", seed=0, bits="1" * 20 + "0" * 20)
    for training, bits in ((0, "1" * 30 + "0" * 10), (1, "1" * 10 + "0" * 30)):
        config = {"seeds": {"selection": 0, "training": training, "decoding": 0}}
        path = write_run(tmp_path, task="a", selector="random", seed=0, bits=bits, config=config, digest=str(training))
        write_rows(path / "selection.jsonl", [Selected(id="p", rank=0, reason="random")])
    write_run(tmp_path, task="a", selector="error_driven", seed=0, bits="1" * 35 + "0" * 5, planted=planted(0.5, 0.9))
    (target,) = compare_runs(collect(tmp_path)).budgets[0].targets
    pretrained, random, ours = target.methods
    assert random.variance.num_selections == 1 and random.variance.training > 0 and random.variance.selection is None
    assert pretrained.retention is None and (ours.retention.still_right, ours.retention.now_right) == (1, 0.75)
    assert random.detectable_effect is None and ours.detectable_effect.corrected == ours.detectable_effect.alone
    text = report(tmp_path)
    assert "| a      | error_driven |    20 |   100.0 |    20 |  75.0 |                +0.0 |     -10.0 |" in text
    assert "| a      | random |    2 |          1 |              - | " in text
    assert "nothing is known of its seeds there: error_driven." in text and "Detectable difference in points" in text
