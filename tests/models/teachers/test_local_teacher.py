"""A local teacher on a tiny random Llama: the shared pass is exact, nothing is cut, equal prompts are asked once."""

import math

import pytest
import torch
from support.configs import node
from support.tiny_models import tiny_tokenizer
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    GraniteConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from delamo.models.hf.config import Dtype
from delamo.models.scorers.losses import scored_logits
from delamo.models.teachers.base import CUT_OFF, OptionScores, PrefixPrompt, Refusal
from delamo.models.teachers.local import LocalTeacher, _Tree
from delamo.models.teachers.option_probabilities import read_options, read_samples, spellings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("teacher")
    tokenizer = tiny_tokenizer(max_length=128)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        initializer_range=0.3,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def teacher(folder):
    return LocalTeacher.load(node("teacher", "micro", path=str(folder)))


def prompt(*steps, options=3):
    return PrefixPrompt("Question: big or small?\nRationale:", steps, "\nThe answer is", options)


def test_one_shared_pass_gives_what_one_pass_for_each_prefix_gives(teacher):
    asked = [prompt(" It is red.", " So it is big."), prompt(" No.", options=2), prompt(*[" Again, it is."] * 6)]
    assert teacher.shared
    shared = teacher.option_probabilities(asked)
    teacher.shared = False
    plain = teacher.option_probabilities(asked)
    for one, other, given in zip(shared, plain, asked, strict=True):
        assert len(one.probabilities) == len(given.steps) + 1
        assert torch.allclose(torch.tensor(one.probabilities), torch.tensor(other.probabilities), atol=1e-4)
        assert one.outside_mass == pytest.approx(other.outside_mass, abs=1e-4)
    assert max(map(max, shared[0].probabilities)) - min(map(min, shared[0].probabilities)) > 0.01


def test_rows_sum_to_one_and_the_rest_is_recorded(teacher):
    (result,) = teacher.option_probabilities([prompt(" It is red.")])
    assert [sum(row) for row in result.probabilities] == pytest.approx([1, 1])
    assert all(0 < mass < 1 for mass in result.outside_mass)


def test_spellings_of_a_letter_count_together(teacher):
    a, b = teacher._spellings("A"), teacher._spellings("B")
    assert a and b and not set(a) & set(b)
    logits = torch.full((1, len(teacher.tokenizer)), -100.0)
    logits[0, a], logits[0, b[:1]] = 0.0, 0.0
    scores = teacher._scores(logits, 2)
    assert scores.probabilities[0][0] == pytest.approx(len(a) / (len(a) + 1))
    assert scores.outside_mass[0] == pytest.approx(0, abs=1e-6)


def agree(some, others):
    for one, other in zip(some, others, strict=True):
        assert torch.allclose(torch.tensor(one.probabilities), torch.tensor(other.probabilities), atol=1e-4)


def test_a_tokenizer_that_merges_across_steps_keeps_the_shared_pass_exact(teacher):
    merging = prompt(" It is re", "d.")  # "red" is one token, "re" another
    rows = teacher._tokenize(merging.prefixes())
    tree = _Tree.of(rows)
    assert rows[1][len(rows[0]) - 4 :] != rows[2][len(rows[0]) - 4 :][: len(rows[1])]
    assert [tree.trunk[:end] + own for end, own in tree.branches] == rows
    mixed = teacher.option_probabilities([merging, prompt(" No.")])
    teacher.shared = False
    agree(mixed, teacher.option_probabilities([merging, prompt(" No.")]))


@pytest.mark.parametrize("rows", [[[1, 2]], [[1, 2], [1, 2]], [[1, 2, 3], [1, 2]], [[1, 9], [1, 2, 9], [1, 2, 3, 9]]])
def test_a_tree_holds_every_row_and_a_place_to_read_its_answer(rows):
    tree = _Tree.of(rows)
    assert [tree.trunk[:end] + own for end, own in tree.branches] == rows
    assert all(own for _, own in tree.branches) and len(tree) <= sum(map(len, rows))


def test_a_model_without_4d_masks_says_so_and_gets_a_pass_for_each_prefix(folder, monkeypatch):
    def refuse(self, trees):
        raise ValueError("attention_mask must be 2-D")

    config = node("teacher", "micro", path=str(folder))
    shared = LocalTeacher.load(config).option_probabilities([prompt(" No.")])
    monkeypatch.setattr(LocalTeacher, "_tree_logits", refuse)
    with pytest.warns(UserWarning, match="a pass of its own"):
        plain = LocalTeacher.load(config)
    assert not plain.shared
    agree(shared, plain.option_probabilities([prompt(" No.")]))


@pytest.mark.filterwarnings("ignore:.*a pass of its own")
def test_beyond_a_sliding_window_prefixes_get_passes_of_their_own(tmp_path, folder):
    config = MistralConfig(**{**LlamaForCausalLM.from_pretrained(folder).config.to_dict(), "sliding_window": 24})
    torch.manual_seed(1)
    MistralForCausalLM(config).save_pretrained(tmp_path)
    tiny_tokenizer(max_length=128).save_pretrained(tmp_path)
    teacher = LocalTeacher.load(node("teacher", "micro", path=str(tmp_path)))
    teacher.shared = True  # whatever a short self-check said
    long = teacher.option_probabilities([prompt(*[" Again, it is."] * 4)])
    teacher.shared = False
    agree(long, teacher.option_probabilities([prompt(*[" Again, it is."] * 4)]))


def test_a_reply_ends_at_any_end_token_and_any_token_with_a_line_break(teacher):
    teacher.model.generation_config.eos_token_id = [1, 2]
    stops = teacher._stop_tokens()
    assert {1, 2, teacher.tokenizer.eos_token_id} <= stops
    assert teacher._tokenize(["\n"], special=False)[0][0] in stops
    assert teacher._tokenize([" red"], special=False)[0][0] not in stops


def test_what_does_not_fit_is_refused_with_its_length(teacher):
    long, short = teacher.option_probabilities([prompt(" word" * 200), prompt(" It is.")])
    assert isinstance(long, Refusal) and long.reason == "too long" and "128" in long.detail
    assert isinstance(short, OptionScores)
    assert isinstance(teacher.complete(["word " * 200], max_new_tokens=4)[0], Refusal)


def test_batched_completions_are_those_of_one_at_a_time(teacher):
    asked = ["The top left", "Is the red circle big or small?", "So"]
    together = teacher.complete(asked, max_new_tokens=8)
    assert together == [teacher.complete([text], max_new_tokens=8)[0] for text in asked]
    assert any(together)


def test_a_reply_stops_at_the_line_break(teacher, monkeypatch):
    (newline,) = teacher._tokenize(["\n"], special=False)[0]
    word = teacher._tokenize([" red"], special=False)[0][0]
    calls = []

    def choose(self, logits, rows):
        calls.append(len(rows))
        return torch.full((len(rows),), word if len(calls) < 3 else newline)

    monkeypatch.setattr("delamo.models.hf.decoding.Decoder._choose", choose)
    assert teacher.complete(["So"], max_new_tokens=20) == ["red red"]
    assert len(calls) == 3


def test_equal_prompts_are_asked_once(teacher, monkeypatch):
    rows = []
    monkeypatch.setattr(LocalTeacher, "_generate", lambda self, batch, n: rows.extend(batch) or ["reply"] * len(batch))
    assert teacher.complete(["one", "two", "one"], max_new_tokens=4) == ["reply"] * 3
    assert len(rows) == 2


def test_a_text_only_teacher_says_so_when_given_a_picture(teacher):
    with pytest.raises(ValueError, match=r"teacher\.sees_images"):
        teacher.complete(["one"], max_new_tokens=4, images=["a.png"])


def test_unknown_weights_name_the_key():
    with pytest.raises(FileNotFoundError, match=r"teacher\.path is package:nothing"):
        LocalTeacher.load(node("teacher", "micro", path="package:nothing"))


FAMILIES = {
    "llama": (LlamaConfig, {}),
    "granite": (GraniteConfig, {"logits_scaling": 8.0}),
    "cohere": (CohereConfig, {"logit_scale": 0.0625}),
    "gemma2": (Gemma2Config, {"final_logit_softcapping": 1.0, "head_dim": 16, "num_key_value_heads": 2}),
}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    """A tiny model of a family that may scale or cap its logits, by much; its head's weights are large."""
    path, (config, shaped) = tmp_path_factory.mktemp(request.param), FAMILIES[request.param]
    tokenizer = tiny_tokenizer(max_length=128)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": 1}
    options = {"vocab_size": len(tokenizer), "max_position_embeddings": 128, "initializer_range": 0.3}
    AutoModelForCausalLM.from_config(config(**sizes, **ends, **options, **shaped)).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_logits_are_those_of_the_model_itself_whatever_it_does_to_them(family, dtype):
    teacher = LocalTeacher.load(node("teacher", "micro", path=str(family), dtype=Dtype(dtype)))
    asked = [prompt(" It is red.", " So it is big."), prompt(*[" Again, it is."] * 6)]
    teacher.shared = True
    shared = teacher.option_probabilities(asked)
    teacher.shared = False
    plain = teacher.option_probabilities(asked)
    for one, other in zip(shared, plain, strict=True):
        near = torch.tensor(one.probabilities) - torch.tensor(other.probabilities)
        assert near.abs().max() < (1e-4 if dtype == "float32" else 0.05)


def test_scored_logits_are_those_of_the_model_itself(family):
    model = AutoModelForCausalLM.from_pretrained(family).eval()
    ids = torch.arange(24).reshape(2, 12) + 5
    labels = torch.where(ids % 3 == 0, ids, -100)
    with torch.inference_mode():
        found, tokens, rows = scored_logits(model, {"input_ids": ids}, labels)
        whole = model(input_ids=ids).logits[:, :-1].float()
    chosen = labels[:, 1:] != -100
    assert torch.allclose(found, whole[chosen], atol=1e-5)
    assert tokens.tolist() == labels[:, 1:][chosen].tolist() and rows.tolist() == chosen.nonzero()[:, 0].tolist()


def test_a_self_check_fails_on_option_probabilities(family, monkeypatch):
    """A pass whose whole vocabulary is near, and whose options are not, is no exact pass."""
    teacher = LocalTeacher.load(node("teacher", "micro", path=str(family)))
    tokens = [i for letter in "AB" for i in teacher._spellings(letter)]
    exact = LocalTeacher._tree_logits

    def bent(self, trees):
        logits = exact(self, trees)
        for row in logits:
            row[:, tokens[0]] += 0.1
        return logits

    monkeypatch.setattr(LocalTeacher, "_tree_logits", bent)
    assert not teacher._shared_pass_is_exact()


SPELLED = [
    ("A", True),
    (" A", True),
    ("(A", True),
    (" (A", True),
    ("(a", True),
    (" (a", True),
    ("a", False),
    (" a", False),
]


def test_the_article_is_no_option():
    assert [text for text, counts in SPELLED if counts] == sorted(spellings("A"), key=[t for t, _ in SPELLED].index)
    found, outside = read_options([(" B", math.log(0.3)), (" a", math.log(0.5)), (" A", math.log(0.05))], 2)
    assert found == pytest.approx((0.05 / 0.35, 0.3 / 0.35)) and outside == pytest.approx(0.65)
    for drawn, letter in (
        ("A cat, so B", 1),
        ("I think B", 1),
        ("a", 0),
        ("(a)", 0),
        ("b", 1),
        ("a dog", None),
        ("B", 1),
    ):
        row, _ = read_samples([drawn], 2)
        assert row.index(max(row)) == letter if letter is not None else row[0] == row[1]


def test_a_reply_without_an_end_is_cut_off_and_says_what_it_said(teacher):
    """A random model never ends: local teachers refuse as API teachers do, and keep the text."""
    (reply,) = teacher.complete(["Question: which?\nMissing skill:"], max_new_tokens=3)
    if isinstance(reply, Refusal):
        assert reply.reason == CUT_OFF and "3 tokens" in reply.detail and reply.text
    else:
        assert len(teacher._tokenize([reply], special=False)[0]) < 3
