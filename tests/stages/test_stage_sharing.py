"""What ablations, knobs and swaps share with the whole method, and what they change.

Plans of the embedded models compared.
"""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fake_runs import sample

from delamo.data.readers.splits import draw_both
from delamo.experiment.experiment import open_experiment
from delamo.pipeline import plan_experiment
from delamo.runs.folder import config_digest
from delamo.selectors import SELECTORS
from delamo.selectors.random import RandomConfig
from delamo.stages.audit import AuditPool, FingerprintPool

SMALL = (
    "task=micro/numbers",
    "budget=custom",
    "budget.num_samples=6",
    "pool.size=40",
    "task.num_val_samples=8",
    "task.num_test_samples=5",
)
TUNED = {"selection", "tuning", "evaluation", "answers_after"}
"""What is made from the skills that the student lacks."""


@pytest.fixture
def digests(experiment_config, tmp_path):
    """Digest of every stage of a small experiment, by stage; nothing is computed."""

    def plan(*overrides: str) -> dict[str, str]:
        experiment = open_experiment(experiment_config(*SMALL, *overrides, f"paths.store={tmp_path}"))
        audit = AuditPool(experiment, FingerprintPool(experiment))
        stages = plan_experiment(experiment, audit, experiment.pool).stages()
        return {name: stage.digest for name, stage in stages.items()}

    return plan


def compare(before: dict[str, str], after: dict[str, str]) -> tuple[set[str], set[str]]:
    """(stages that changed, stages that are gone); no stage may be new."""
    assert after.keys() <= before.keys()
    return {name for name in after if after[name] != before[name]}, before.keys() - after.keys()


@pytest.mark.parametrize(
    ("ablation", "changed", "gone"),
    [
        ("no_mistake_identification", {"mistakes", "skills", *TUNED}, set()),
        ("no_error_collection", {"skills", *TUNED}, {"answers", "mistakes"}),
        ("no_skill_analysis", {"skills", *TUNED}, set()),
        (
            "no_targeted_tuning",
            {"selection", "tuning", "evaluation"},
            {"answers", "mistakes", "skills", "pool_skills", "index", "answers_after"},
        ),
    ],
)
def test_an_ablation_changes_what_it_leaves_out_and_nothing_before_it(digests, ablation, changed, gone):
    assert compare(digests(), digests(f"ablation={ablation}")) == (changed, gone)


def test_ablations_differ_from_one_another(digests):
    plans = [
        digests(f"ablation={name}")
        for name in ("no_mistake_identification", "no_error_collection", "no_skill_analysis")
    ]
    assert len({plan["skills"] for plan in plans}) == len({plan["tuning"] for plan in plans}) == 3


def test_without_targeted_tuning_the_selection_is_random(digests, experiment_config):
    ablation, random = "ablation=no_targeted_tuning", "selector=random"
    assert digests(ablation, "seed=2") == digests(random, "seed=2")
    assert config_digest(experiment_config(*SMALL, ablation)) == config_digest(experiment_config(*SMALL, random))


def test_another_validation_set_leaves_test_set_and_pool_alone(digests, experiment_config):
    changed, gone = compare(digests(), digests("task.num_val_samples=5"))
    assert changed == {"task", "audit", "answers", "mistakes", "skills", *TUNED} and not gone
    few, many = (open_experiment(experiment_config(*SMALL, f"task.num_val_samples={size}")).task for size in (5, 8))
    assert few.test == many.test and few.validation == many.validation[:5]


@pytest.mark.parametrize(
    ("override", "shared"),
    [
        ("teacher=micro_early", {"task", "fingerprints", "audit", "answers", "evaluation_before"}),
        ("student=micro_early", {"task", "fingerprints", "audit", "pool_skills", "index"}),
        *(
            (knob, {"task", "fingerprints", "audit", "answers", "pool_skills", "index", "evaluation_before"})
            for knob in ("mistakes.delta=0", "mistakes.delta=0.8", "mistakes.persistence=0", "mistakes.window=literal")
        ),
    ],
)
def test_a_swap_or_a_knob_shares_all_that_does_not_follow_from_it(digests, override, shared):
    before, after = digests(), digests(override)
    changed, gone = compare(before, after)
    assert before.keys() - changed == shared and not gone


@pytest.mark.parametrize("finder", ["prompt_per_step", "pseudo_rationale", "random"])
def test_finders_work_on_the_same_errors(digests, finder):
    assert compare(digests(), digests(f"mistakes={finder}")) == ({"mistakes", "skills", *TUNED}, set())


def test_seeds_of_random_selection_share_everything_upstream(digests):
    plans = [digests("selector=random", f"seed={seed}") for seed in (0, 1, 2)]
    for name in ("selection", "tuning", "evaluation"):
        assert len({plan[name] for plan in plans}) == 3, name
    for name in ("task", "fingerprints", "audit", "evaluation_before"):
        assert len({plan[name] for plan in plans}) == 1, name


def test_a_method_whose_version_is_raised_selects_anew_and_no_other_does(digests, monkeypatch):
    before = digests("selector=random"), digests()
    monkeypatch.setitem(SELECTORS, RandomConfig, dataclasses.replace(SELECTORS[RandomConfig], version=2))
    assert compare(before[0], digests("selector=random")) == (TUNED - {"answers_after"}, set())
    assert digests() == before[1]


def test_a_seed_of_the_whole_method_reaches_selection_and_no_stage_before(digests):
    changed, gone = compare(digests("seed=0"), digests("seed=1"))
    assert changed == TUNED and not gone


@given(num_val=st.integers(1, 20), num_test=st.integers(1, 20), seed=st.integers(0, 3))
def test_a_set_cut_in_two_keeps_its_test_part_whatever_the_validation_part(num_val, num_test, seed):
    found = {f"s{number}": (sample(f"s{number}"), "", 0) for number in range(40)}

    def ids(rows):
        return [row[0].id for row in rows]

    parts, one = draw_both(found, num_val, num_test, seed, "key"), draw_both(found, 1, 1, seed, "key")
    assert (len(parts["validation"]), len(parts["test"])) == (num_val, num_test)
    assert not set(ids(parts["validation"])) & set(ids(parts["test"]))
    assert ids(draw_both(found, 20, num_test, seed, "key")["test"]) == ids(parts["test"]) == sorted(ids(parts["test"]))
    assert set(ids(one["validation"])) <= set(ids(parts["validation"])) and set(ids(one["test"])) <= set(
        ids(parts["test"])
    )
    turned = dict(reversed(found.items()))
    assert draw_both(turned, num_val, num_test, seed, "key") == parts


def test_a_set_too_small_for_both_parts_is_refused():
    found = {str(number): (sample(str(number)), "", 0) for number in range(3)}
    for sizes in ((2, 2), (0, 1), (1, 0)):
        with pytest.raises(ValueError, match=r"key: \d asked for, 3 usable"):
            draw_both(found, *sizes, 0, "key")
    assert draw_both(found, 1, 1, 0, "key") != draw_both(found, 1, 1, 1, "key")
