"""Instruction-following difficulty against rows scored one by one, by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.tiny_models import tiny_tokenizer
from transformers import GPT2Config, GPT2LMHeadModel

from delamo.models.scorers.difficulty import Scorer, ifd
from delamo.records import Sample

torch.set_num_threads(1)
ROWS = [
    ("What digit is in the middle?", "The digit is seven."),
    ("How many blue squares are there? " * 4, "There are two. The final answer is (B)."),
    ("Which?", "big"),
    ("", "The top right is empty."),
]
SAMPLES = [Sample(id=f"p{i}", instruction=ask, answer=reply) for i, (ask, reply) in enumerate(ROWS)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A GPT-2 of the real class, its weights far from even, so that no answer is like another."""
    folder = tmp_path_factory.mktemp("scorer")
    tokenizer = tiny_tokenizer(max_length=128)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=128, n_embd=32, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=2
    )
    model = GPT2LMHeadModel(config)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def load(path, **changes):
    return Scorer.load(path, **{"revision": None, "max_length": 1024, "batch_tokens": 128, "device": "cpu", **changes})


@pytest.fixture(scope="module")
def scorer(folder):
    return load(folder)


def by_hand(scorer, sample) -> float:
    """The definition, token by token, without batch, padding or mask."""

    def mean_loss(tokens: list[int], start: int) -> float:
        with torch.no_grad():
            odds = scorer.model(torch.tensor([tokens])).logits[0].double().log_softmax(dim=-1)
        return -sum(odds[place - 1, tokens[place]].item() for place in range(start, len(tokens))) / (
            len(tokens) - start
        )

    def encode(text: str) -> list[int]:
        return scorer.tokenizer(text, add_special_tokens=False).input_ids

    whole, head = encode(f"{sample.instruction.strip()}\n{sample.answer}"), encode(f"{sample.instruction.strip()}\n")
    after, alone = mean_loss(whole, len(head)), mean_loss(encode(sample.answer), 1)
    return math.exp(after) / math.exp(alone)


def test_rows_scored_by_hand(scorer):
    losses, bad = scorer.losses(SAMPLES)
    assert not bad
    expected = [by_hand(scorer, sample) for sample in SAMPLES]
    np.testing.assert_allclose(ifd(losses), expected, rtol=1e-6)
    assert np.ptp(expected) > 0.1


def test_it_is_transformers_own_loss(scorer):
    """What `labels=` gives: the mean over the scored tokens."""
    losses, _ = scorer.losses(SAMPLES[:1])
    tokens = torch.tensor([scorer.tokenizer(SAMPLES[0].answer, add_special_tokens=False).input_ids])
    with torch.no_grad():
        assert losses[0, 1] == pytest.approx(scorer.model(tokens, labels=tokens).loss.item(), rel=1e-6)


def test_neither_batches_nor_order_change_a_score(folder, scorer):
    losses, _ = scorer.losses(SAMPLES)
    alone = load(folder, batch_tokens=1)
    np.testing.assert_allclose(alone.losses(SAMPLES)[0], losses, rtol=1e-5)
    np.testing.assert_allclose(scorer.losses(SAMPLES[::-1])[0], losses[::-1], rtol=1e-5)


def test_what_cannot_be_scored_is_counted_with_its_reason(folder, scorer):
    long = replace(SAMPLES[0], id="long", instruction="Which? " * 200)
    empty = replace(SAMPLES[0], id="empty", answer=" \n")
    short = replace(SAMPLES[0], id="short", answer="7")
    losses, bad = scorer.losses([long, SAMPLES[0], empty, short])
    assert [(row.id, row.reason) for row in bad] == [
        ("long", "too long"),
        ("empty", "empty answer"),
        ("short", "answer of one token"),
    ]
    assert np.isnan(losses).all(axis=1).tolist() == [True, False, True, True]
    np.testing.assert_allclose(losses[1], scorer.losses(SAMPLES[:1])[0][0], rtol=1e-6)
    assert scorer.max_length == 128  # the model's, below the limit asked for
    assert [row.id for row in load(folder, max_length=8).losses(SAMPLES)[1]] == ["p0", "p1", "p3"]


def test_nothing_in_nothing_out(scorer):
    losses, bad = scorer.losses([])
    assert losses.shape == (0, 2) and bad == []


def test_a_missing_scorer_names_its_key():
    with pytest.raises(FileNotFoundError, match=r"selector\.scorer is package:nothing"):
        load("package:nothing")
