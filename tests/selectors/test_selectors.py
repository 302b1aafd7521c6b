"""What every selector must do, by being in the dict."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest
from support.configs import node
from support.toy_pool import ToyPool

from delamo.data.candidates import Candidates
from delamo.models.parsing import read_answer
from delamo.records import Sample, Skill
from delamo.retrieval import RETRIEVERS, Backend
from delamo.retrieval.corpus import pack_ids
from delamo.retrieval.merge import Fill, Merge
from delamo.retrieval.rows import SampleVectors
from delamo.selectors import INPUTS, SELECTORS, add_selector
from delamo.selectors.bm25_text import Bm25TextConfig
from delamo.selectors.error_driven import ErrorDrivenConfig
from delamo.selectors.none import NoneConfig
from delamo.selectors.random import RandomConfig
from delamo.selectors.superfiltering import SuperfilteringConfig
from delamo.selectors.validation_data import ValidationDataConfig

SKILLS = ["count circles", "name a colour", "read a digit", "compare two sizes", "find the odd one out"]
BY_NAME = {selector.name: selector for selector in SELECTORS.values()}
BUDGETED = {name: selector for name, selector in BY_NAME.items() if selector.tunes and not selector.takes_all}
TAKES_ALL = {name: selector for name, selector in BY_NAME.items() if selector.takes_all}


def toy_pool(size: int = 40, *, shuffled: bool = False) -> ToyPool:
    samples = [Sample(id=f"p{i:03d}", instruction=SKILLS[i % 5], answer=str(i)) for i in range(size)]
    if shuffled:
        random.Random(1).shuffle(samples)
    return ToyPool(samples)


def rows(ids, width: int = 4) -> SampleVectors:
    """Numbers that follow from the id; a sample of the pool has none."""
    values = np.array([np.random.default_rng(list(id.encode())).normal(size=width) for id in ids])
    values[[id == "p007" for id in ids]] = np.nan
    return SampleVectors(pack_ids(ids), values)


class RecordedInputs:
    """Inputs over a toy pool that note what was called."""

    def __init__(self, pool: ToyPool, folder, missing: tuple[str, ...] = ("count the circles", "read digits")) -> None:
        self.called: set[str] = set()
        skills = [Skill(val_id=f"v{i}", skill=skill, step=0) for i, skill in enumerate(missing)]
        docs = ((sample.id, sample.instruction) for sample in pool)
        makers = {
            "missing_skills": lambda: skills,
            "index": lambda: RETRIEVERS[Backend.rank_bm25].build(docs, folder, node("retriever", "bm25s")),
            "validation": lambda: [Sample(id="v0", instruction="How many circles?", answer="2")],
            "text_index": lambda: RETRIEVERS[Backend.rank_bm25].build(docs, folder, node("retriever", "bm25s")),
            "difficulty": lambda: rows(pool.ids(), width=2),
            "gradients": lambda: rows(pool.ids()),
            "validation_gradients": lambda: rows(["v0"]),
        }
        for vectors in ("embeddings", "hidden_states"):
            makers[vectors] = lambda: rows(pool.ids())
            makers[f"validation_{vectors}"] = lambda: rows(["v0", "v1"])
        self.inputs = SimpleNamespace(**{name: self._noting(name, make) for name, make in makers.items()})

    def _noting(self, name, make):
        return lambda: self.called.add(name) or make()


def select(selector, pool, inputs, num_samples, seed=0, **changes):
    config, rng = node("selector", selector.name, **changes), np.random.default_rng(seed)
    return selector.select(pool, inputs, config, num_samples=num_samples, rng=rng)


def chosen(selector, pool, folder, num_samples, seed=0, **changes):
    num_samples = len(pool) if selector.takes_all else num_samples
    return select(selector, pool, RecordedInputs(pool, folder).inputs, num_samples, seed, **changes)


@pytest.mark.parametrize("selector", BUDGETED.values(), ids=BUDGETED)
@pytest.mark.parametrize("num_samples", [1, 7, 40])
def test_exactly_n_distinct_samples_of_the_pool_in_order_of_rank(selector, tmp_path, num_samples):
    pool = toy_pool()
    selected = chosen(selector, pool, tmp_path, num_samples)
    assert [s.rank for s in selected] == list(range(num_samples))
    assert len({s.id for s in selected}) == num_samples
    assert {s.id for s in selected} <= set(pool.ids())
    assert all(s.reason for s in selected)


@pytest.mark.parametrize("selector", BY_NAME.values(), ids=BY_NAME)
def test_same_seed_same_selection_whatever_the_order_of_the_pool(selector, tmp_path):
    first = chosen(selector, toy_pool(), tmp_path / "a", 12, seed=3)
    assert first == chosen(selector, toy_pool(), tmp_path / "b", 12, seed=3)
    assert first == chosen(selector, toy_pool(shuffled=True), tmp_path / "c", 12, seed=3)


@pytest.mark.parametrize("selector", BUDGETED.values(), ids=BUDGETED)
@pytest.mark.parametrize(("num_samples", "message"), [(41, "is 41, the pool has 40: choose at most that"), (0, "is 0")])
def test_an_impossible_budget_is_an_error_before_any_work(selector, tmp_path, num_samples, message):
    pool = toy_pool()
    recorded = RecordedInputs(pool, tmp_path)
    with pytest.raises(ValueError, match=f"budget.num_samples {message}"):
        select(selector, pool, recorded.inputs, num_samples)
    assert recorded.called == set()


@pytest.mark.parametrize("selector", BY_NAME.values(), ids=BY_NAME)
@pytest.mark.parametrize("num_samples", [5, 31])
def test_what_meets_the_task_is_never_selected(selector, tmp_path, num_samples):
    """Inputs are of the whole pool, whatever was removed from it for one task."""
    pool, removed = toy_pool(), frozenset(f"p{i:03d}" for i in range(0, 36, 4))
    left = Candidates(pool, removed)
    num_samples = len(left) if selector.takes_all else num_samples
    selected = select(selector, left, RecordedInputs(pool, tmp_path).inputs, num_samples)
    assert len({s.id for s in selected}) == (num_samples if selector.tunes else 0)
    assert not {s.id for s in selected} & removed


@pytest.mark.parametrize("selector", [one for one in BUDGETED.values() if one.needs])
def test_whatever_is_ranked_has_a_score_and_goes_before_what_is_drawn(selector, tmp_path):
    selected = chosen(selector, toy_pool(), tmp_path, 40)
    drawn = [s.reason == "fill" for s in selected]
    assert drawn == sorted(drawn) and not all(drawn)
    assert [s.score is None for s in selected] == drawn


@pytest.mark.parametrize("selector", BY_NAME.values(), ids=BY_NAME)
def test_a_selector_asks_for_nothing_but_what_it_declares(selector, tmp_path):
    pool = toy_pool()
    recorded = RecordedInputs(pool, tmp_path)
    num_samples = len(pool) if selector.takes_all else 5
    select(selector, pool, recorded.inputs, num_samples)
    assert recorded.called <= {need.name for need in selector.needs} <= set(INPUTS)


@pytest.mark.parametrize("selector", TAKES_ALL.values(), ids=TAKES_ALL)
def test_a_selector_without_a_budget_takes_everything_once_and_refuses_a_part(selector, tmp_path):
    pool = toy_pool()
    selected = chosen(selector, pool, tmp_path, 40)
    assert [row.id for row in selected] == pool.ids()
    assert {row.reason for row in selected} == {"all"}
    with pytest.raises(ValueError, match="takes all 40 samples, not 39"):
        select(selector, pool, RecordedInputs(pool, tmp_path / "b").inputs, 39)


def test_validation_samples_become_training_samples_that_evaluation_reads():
    for prompt in ("micro", "paper"):
        closed = Sample(id="v1", instruction="How many?", answer="2", options=("1", "2"), gold=1, image="micro:x")
        opened = Sample(id="v0", instruction="Which digit?", answer="seven.")
        pool = SELECTORS[ValidationDataConfig].own_pool([closed, opened], prompt)
        assert pool.ids() == ["v0", "v1"]
        replies = zip(pool, [(), "xy"], strict=True)
        assert [read_answer(sample.answer, options).prediction for sample, options in replies] == [
            "seven",
            "B",
        ]
        sample = pool.get("v1")
        assert sample.image == "micro:x" and "How many?" in sample.instruction and "(A) 1 (B) 2" in sample.instruction


def test_none_selects_nothing(tmp_path):
    assert chosen(SELECTORS[NoneConfig], toy_pool(), tmp_path, 5) == []
    assert not SELECTORS[NoneConfig].tunes


def test_random_is_uniform_and_follows_its_seed(tmp_path):
    selector, pool = SELECTORS[RandomConfig], toy_pool(10)
    draws = [frozenset(s.id for s in chosen(selector, pool, tmp_path, 3, seed=seed)) for seed in range(600)]
    counts = [sum(id in draw for draw in draws) for id in pool.ids()]
    assert len(set(draws)) > 90  # of 120 sets
    assert max(abs(count - 180) for count in counts) < 5 * (600 * 0.3 * 0.7) ** 0.5


def test_error_driven_by_hand(tmp_path):
    """Two errors take turns; the eight samples of each skill come in order of id, then the fill."""
    selected = chosen(SELECTORS[ErrorDrivenConfig], toy_pool(), tmp_path, 18)
    assert [s.id for s in selected[:4]] == ["p000", "p002", "p005", "p007"]
    assert [s.val_id for s in selected[:4]] == ["v0", "v1", "v0", "v1"]
    assert [s.matched_terms for s in selected[:2]] == [("circles", "count"), ("read",)]
    retrieved = [s for s in selected if s.reason == "retrieved"]
    # "the" brings in the odd one out, but only after every circle.
    assert {int(s.id[1:]) % 5 for s in retrieved} == {0, 2, 4}
    assert [int(s.id[1:]) % 5 for s in selected if s.val_id == "v0"][:8] == [0] * 8


def test_error_driven_by_score(tmp_path):
    selected = chosen(SELECTORS[ErrorDrivenConfig], toy_pool(), tmp_path, 10, merge=Merge.score)
    assert [s.score for s in selected] == sorted((s.score for s in selected), reverse=True)
    assert [int(s.id[1:]) % 5 for s in selected] == [0] * 8 + [2] * 2


def test_error_driven_refuses_to_fill_when_told(tmp_path):
    with pytest.raises(ValueError, match=r"selector\.fill=random"):
        chosen(SELECTORS[ErrorDrivenConfig], toy_pool(), tmp_path, 40, fill=Fill.error)


def test_superfiltering_by_hand(tmp_path):
    """The highest ratio of perplexities below 1; then at random what is above it or was not scored."""
    pool, losses = toy_pool(6), np.log([[3.0, 4], [5, 4], [2, 4], [3.9, 4], [3, 4]])
    values = np.vstack([losses, [np.nan, np.nan]])
    inputs = SimpleNamespace(difficulty=lambda: SampleVectors(pack_ids(pool.ids()), values))
    selected = select(SELECTORS[SuperfilteringConfig], pool, inputs, 6)
    assert [s.id for s in selected[:4]] == ["p003", "p000", "p004", "p002"]
    assert [s.score for s in selected[:4]] == [0.975, 0.75, 0.75, 0.5]
    assert {(s.id, s.reason, s.score) for s in selected[4:]} == {("p001", "fill", None), ("p005", "fill", None)}


def test_bm25_text_asks_with_the_question(tmp_path):
    selected = chosen(SELECTORS[Bm25TextConfig], toy_pool(), tmp_path, 9)
    assert [int(s.id[1:]) % 5 for s in selected] == [0] * 8 + [int(selected[8].id[1:]) % 5]
    assert {s.val_id for s in selected[:8]} == {"v0"} and {s.skill for s in selected} == {None}
    assert selected[0].matched_terms == ("circles",) and selected[8].reason == "fill"


def test_an_input_that_has_settings_wants_a_schema_that_has_them():
    with pytest.raises(ValueError, match="embeddings follow from fields of InstaConfig, derive RandomConfig from it"):
        add_selector("mine", RandomConfig, lambda pool, inputs: [], needs=("validation", "embeddings"))
