"""The microworld: deterministic, disjoint between splits, true where it says so, and silent about its plan."""

import json
import re
import time
from dataclasses import replace

import numpy as np
import pytest
from support.readers import read_pool, read_task

from delamo.data.microworld import truth
from delamo.data.microworld.catalogue import FAMILIES, TARGETS
from delamo.data.microworld.examples import example_at, pool_example, target_example
from delamo.data.microworld.questions import KINDS, SKILLS
from delamo.data.microworld.render import digit_glyphs, render_locator
from delamo.data.microworld.scene import PLACES
from delamo.records import to_dict


def pool(size=2000, surface_overlap=0.5, seed=0):
    return read_pool("micro", size=size, surface_overlap=surface_overlap, seed=seed)


def task(target, n=200, seed=0):
    return read_task("micro", target=target, num_val_samples=n, num_test_samples=n, seed=seed)


def test_the_catalogue_is_as_large_as_promised():
    assert len(SKILLS) >= 12
    assert len(FAMILIES) >= 24
    assert len(TARGETS) == 7
    assert sum(not target.multiple_choice for target in TARGETS.values()) == 1
    assert all(1 <= len(kind.skills) <= 3 for kind in KINDS.values())
    assert {skill for kind in KINDS.values() for skill in kind.skills} == set(SKILLS)


@pytest.mark.parametrize("target", TARGETS)
def test_targets_offer_two_to_six_options_with_the_gold_answer_among_them(target):
    for sample in (*task(target).validation, *task(target).test):
        if TARGETS[target].multiple_choice:
            assert 2 <= len(sample.options) <= 6
            assert sample.options[sample.gold] == sample.answer
            assert len(set(sample.options)) == len(sample.options)
        else:
            assert sample.options == () and sample.gold is None and sample.answer


def test_one_address_is_one_picture():
    first, again = (render_locator("micro:objects/val/0/3") for _ in range(2))
    assert first.size == (48, 48) and first.mode == "RGB"
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != render_locator("micro:objects/test/0/3").tobytes()


def test_an_unknown_address_is_an_error_that_shows_the_form():
    with pytest.raises(ValueError, match="micro:nowhere/1.*micro:pool/SEED/INDEX"):
        example_at("micro:nowhere/1")


def test_no_handwritten_digit_is_shared_between_splits():
    seen = {
        split: {m.tobytes() for masks in digit_glyphs(split).values() for m in masks}
        for split in ("pool", "val", "test")
    }
    assert all(len(masks) > 20 for split in seen for masks in digit_glyphs(split).values())
    assert not seen["pool"] & seen["val"] and not seen["pool"] & seen["test"] and not seen["val"] & seen["test"]


def test_a_million_samples_are_named_without_being_drawn():
    start = time.perf_counter()
    large = pool(size=1_000_000)
    assert len(large.ids()) == 1_000_000 and large.get("pool-0999999").id == "pool-0999999"
    assert time.perf_counter() - start < 5


def test_pool_ids_ascend_and_unknown_ids_name_the_range():
    small = pool(size=30)
    assert [s.id for s in small] == list(small.ids()) == sorted(small.ids())
    assert list(small)[7] == small.get("pool-0000007")
    for bad in ("pool-0000030", "pool-7", "nothing"):
        with pytest.raises(KeyError, match="pool-0000000 to pool-0000029"):
            small.get(bad)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"surface_overlap": 1.5}, "pool.surface_overlap is 1.5"),
        ({"size": 0}, "pool.size is 0"),
    ],
)
def test_pool_values_out_of_range_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        pool(**fields)


def test_an_unknown_target_is_named_with_the_choices():
    with pytest.raises(ValueError, match="task.target is 'chairs'.*objects"):
        task("chairs")


def test_digests_follow_the_content():
    assert pool().digest == pool().digest
    assert len({pool().digest, pool(seed=1).digest, pool(size=10).digest, pool(surface_overlap=0.4).digest}) == 4
    assert task("open").digest != task("open", seed=1).digest != task("objects", seed=1).digest


def test_every_family_and_kind_occurs_in_the_pool():
    seen = {sample.source for sample in pool()}
    assert seen == set(FAMILIES)
    assert {FAMILIES[name].kind for name in seen} == set(KINDS)


def test_worked_answers_are_true_to_the_last_sentence():
    for sample in pool():
        example = example_at(sample.image)
        for sentence in re.findall(r"[^.]+\.", sample.answer):
            assert truth.is_true(sentence.strip(), example) is not False, (sentence, example.scene.scan())


def test_the_first_false_sentence_is_found():
    sample = task("surfaces").validation[0]
    example = example_at(sample.image)
    steps = [f" {sentence}" for sentence in (*example.scene.scan(), *example.draft.reasoning)]
    assert truth.first_false_step(sample.image, steps) is None
    place = next(p for p, cell in zip(PLACES, example.scene.cells, strict=True) if cell is None)
    steps[2] = f" The {place} has a big red solid bare circle."
    assert truth.first_false_step(sample.image, steps) == 2
    assert (
        truth.first_false_step(sample.image, ["Who knows?", f"The final answer is ({'ABCDEF'[1 - example.gold]})."])
        == 1
    )


@pytest.mark.parametrize(
    ("sentence", "holds"),
    [
        ("The digit is 7.", None),
        ("7 is odd.", True),
        ("7 is even.", False),
        ("So the answer is zebra.", False),
        ("The zebra is red.", False),
        ("There are 9 objects.", False),
        ("The final answer is (J).", False),
        ("(J) zebra does not fit.", False),
        ("It depends.", None),
    ],
)
def test_sentence_forms(sentence, holds):
    example = target_example("numbers", "val", 0, 0)
    holds = any(thing.digit == "7" for thing in example.scene.things()) if holds is None and "7" in sentence else holds
    assert truth.is_true(sentence, example) is holds


def test_planted_skills_are_recognised_in_their_own_phrases():
    for name, phrase in SKILLS.items():
        assert truth.planted_skill(phrase.format(x="circle")) == name
    assert truth.planted_skill("tie a shoe") is None


def test_surface_overlap_decides_who_wears_the_targets_words():
    def shares(overlap):
        samples = list(pool(size=6000, surface_overlap=overlap))
        worn = {True: [], False: []}
        for sample in samples:
            family = FAMILIES[sample.source]
            target = family.related or family.decoy
            if target:
                worn[family.related is not None].append(sample.instruction.startswith(TARGETS[target].setting))
        return np.mean(worn[True]), np.mean(worn[False])

    assert shares(0.0) == (0.0, 1.0)
    assert shares(1.0) == (1.0, 0.0)
    assert shares(0.5) == pytest.approx((0.5, 0.5), abs=0.05)


def test_surface_overlap_changes_words_and_nothing_else():
    for low, high in zip(pool(surface_overlap=0.0), pool(surface_overlap=1.0), strict=True):
        assert replace(low, instruction="") == replace(high, instruction="")


def test_samples_carry_no_planted_truth():
    """What a selector, a teacher or a student may see names neither a kind of question nor a planted skill."""
    secret = {*KINDS, *(name for name in SKILLS if "_" in name)} - {"describe", "vertical", "horizontal"}
    samples = [*pool(size=500), *task("objects").validation, *task("open").test]
    for sample in samples:
        words = set(re.findall(r"\w+", json.dumps(to_dict(sample))))
        assert not words & secret, words & secret


def test_relevant_families_are_rare_enough_to_make_selection_matter():
    missing = {"size", "fill", "frame", "parity", "vertical", "compare_sizes"}
    needs = [set(pool_example(0, index).kind.skills) & missing for index in range(4000)]
    for skill in missing:
        assert 0.02 < np.mean([skill in need for need in needs]) < 0.15
