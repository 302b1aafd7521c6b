"""The verdicts' error rates: on real runs of random selection, on simulated ones, and that the script can fail."""

import json

import calibrate_verdicts as script
import numpy as np
import pytest
from support.fake_runs import write_run


def last_json(text):
    return json.loads(text.strip().splitlines()[-1])


def sampled(rate, num_draws):
    """The largest share that this rate gives in so many draws, but for one time in two hundred."""
    return rate + 2.6 * (rate * (1 - rate) / num_draws) ** 0.5


def test_random_selection_does_not_beat_itself_on_real_runs():
    rows = script.real(script.read_nulls(script.KEPT), script.RULES, 150, np.random.default_rng(1))
    assert {row["target"] for row in rows} == {"micro/frames", "micro/numbers", "micro/surfaces"}
    assert len(rows) == 9 and all(row["runs"] >= 12 and row["items"] == 400 for row in rows)
    assert all(row["false"]["crossed"] <= sampled(0.06, row["splits"]) for row in rows)
    total = sum(row["false"]["crossed"] * row["splits"] for row in rows) / sum(row["splits"] for row in rows)
    assert total < 0.05


def test_the_last_line_is_json_and_the_status_says_whether_the_limit_holds(capsys, monkeypatch):
    for limit, status in ((1.0, 0), (-1.0, 1)):
        monkeypatch.setattr(script, "LIMIT", limit)
        assert script.main(["--draws", "3"]) == status
        found = last_json(capsys.readouterr().out)
        assert len(found["broken"]) == 9 * status and found["limit"] == limit


def test_a_test_of_the_items_alone_would_be_caught(capsys, monkeypatch):
    monkeypatch.setattr(script, "RULES", {"crossed": script.items_only})
    assert script.main(["--draws", "60"]) == 1
    printed = capsys.readouterr()
    assert last_json(printed.out)["broken"] and "above the limit of 7%" in printed.err


@pytest.mark.parametrize(
    ("seeds", "sd", "other_sd", "items", "taste"),
    [
        ("normal", 0.0, 0.0, 100, 0.0),
        ("normal", 3.4, 3.4, 200, 1.0),
        ("normal", 5.0, 1.0, 400, 0.0),
        ("nine", 5.8, 5.8, 400, 0.0),
    ],
)
@pytest.mark.parametrize("sizes", script.DESIGNS)
def test_simulated_runs_do_not_beat_themselves(seeds, sd, other_sd, items, taste, sizes):
    world = script.World(seeds=seeds, seed_sd=sd, other_sd=other_sd, items=items, difficulty_sd=1.0, taste_sd=taste)
    rng, num_draws = np.random.default_rng(0), 150
    rate = script._rate(world, sizes, 0, script.RULES, num_draws, rng)["crossed"]
    assert rate <= sampled(0.05, num_draws)


def test_a_large_difference_is_found():
    world = script.World(seeds="normal", seed_sd=2.0, other_sd=2.0, items=400, difficulty_sd=1.0, taste_sd=0.0)
    rate = script._rate(world, (5, 5), 10, script.RULES, 60, np.random.default_rng(0))["crossed"]
    assert rate > 0.9


def test_simulated_runs_have_the_accuracy_and_spread_that_they_are_said_to():
    world = script.World(seeds="normal", seed_sd=5.0, other_sd=5.0, items=2000, difficulty_sd=1.0, taste_sd=0.5)
    first, second = world.draw((200, 200), 0.1, np.random.default_rng(1))
    assert second.mean() == pytest.approx(np.mean(script.NINE) / 100, abs=0.03)
    assert first.mean() - second.mean() == pytest.approx(0.1, abs=0.02)
    assert second.mean(axis=1).std() == pytest.approx(0.05, abs=0.012)


def test_every_split_counts_once_and_many_are_drawn():
    rng = np.random.default_rng(0)
    every = list(script.splits(6, (3, 3), 1000, rng))
    assert len(every) == 10 and len({tuple(split) for split in every}) == 10
    assert len(list(script.splits(5, (1, 3), 1000, rng))) == 20
    few = list(script.splits(12, (5, 5), 7, rng))
    assert len(few) == 7 and all(len(set(split)) == 10 for split in few)


def test_runs_are_kept_in_a_file_and_read_again(tmp_path):
    for seed in range(8):
        write_run(tmp_path / "runs", task="a", selector="random", seed=seed, bits="01" * seed + "1" * (40 - 2 * seed))
    write_run(tmp_path / "runs", task="a", selector="insta", seed=0, bits="1" * 40)
    kept = tmp_path / "kept.json.gz"
    script.main([str(tmp_path / "runs"), "--save", str(kept), "--draws", "5"])
    from_folder, from_file = script.read_nulls(tmp_path / "runs"), script.read_nulls(kept)
    assert list(from_folder) == list(from_file) == ["a"] and from_folder["a"].shape == (8, 40)
    assert (from_folder["a"] == from_file["a"]).all()
    write_run(tmp_path / "runs", task="a", selector="random", seed=0, bits="1" * 40, budget="b30")
    with pytest.raises(ValueError, match="2 students and budgets"):
        script.read_nulls(tmp_path / "runs")
