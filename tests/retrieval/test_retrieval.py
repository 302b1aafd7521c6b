"""Tokens, and two retrievers that must agree with each other, with the formula and with what is on disk."""

from __future__ import annotations

import json
import math
import random
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.configs import node

from delamo.retrieval import RETRIEVERS, Backend, RetrieverConfig, corpus_digest
from delamo.retrieval.index import best_rows, round_scores
from delamo.retrieval.tokenize import STOP_WORDS, tokenize

VISION_FLAN = Path(__file__).parents[3] / "shared/data/vision_flan_sample/annotation.json"
NASTY = [
    "()\"':^~\0",
    "",
    " \t\n",
    "\0",
    "c++ AND (",
    "数の猫 は",
    "what (is",
    "\ud800",
    "zzzz",
    "İ",
    "a" * 100_000,
    "a b " * 25_000,
]

# Few words and short texts make ties, repeated terms, empty documents and unknown words common.
small_texts = st.lists(st.sampled_from(["red", "blue", "big", "circle", "C++", "3.5", "x", "the"]), max_size=6).map(
    " ".join
)
corpora = st.lists(small_texts, min_size=1, max_size=25)
any_text = st.text(max_size=60)


def numbered(texts: list[str]) -> list[tuple[str, str]]:
    return [(f"s{i:06d}", text) for i, text in enumerate(texts)]


def config(**changes) -> RetrieverConfig:
    """Return the values of `conf/retriever`, whatever the backend: the class that builds is the backend."""
    return node("retriever", "bm25s", **changes)


def built(texts: list[str], **options) -> dict:
    """Both retrievers over the texts; their folders may go, for nothing is memory-mapped after a build."""
    with tempfile.TemporaryDirectory() as folder:
        return {
            backend.value: kind.build(numbered(texts), Path(folder, backend.value), config(**options))
            for backend, kind in RETRIEVERS.items()
        }


@pytest.fixture(params=RETRIEVERS)
def retriever(request):
    return RETRIEVERS[request.param]


# --- tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Read C++ and C#, not c.", ["read", "c++", "and", "c#", "not", "c"]),
        ("3.5 v1.2.3 3. .5 50%", ["3.5", "v1", "2.3", "3", "5", "50"]),
        ("x is a variable", ["x", "is", "a", "variable"]),
        ("red-green_blue/child's", ["red", "green", "blue", "child", "s"]),
        ("Größe Ｃ＋＋ ﬁsh naïve", ["größe", "c++", "fish", "naïve"]),
        ("数字 7を読む", ["数", "字", "7", "を", "読", "む"]),
        ("हिन्दी", ["हिन्दी"]),
        ("a\0b", ["a", "b"]),
        ("++ # . \"'()^~", []),
    ],
)
def test_tokens(text, tokens):
    assert tokenize(text) == tokens


@given(any_text)
def test_tokens_are_lower_case_and_without_space(text):
    for token in tokenize(text):
        assert token
        assert not any(c.isspace() for c in token)
        assert token == token.lower()


def test_stop_words_go_only_when_asked():
    assert tokenize("the size of a circle", stop_words=True) == ["size", "circle"]
    assert "not" not in STOP_WORDS and "how" not in STOP_WORDS


def test_stemming_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "Stemmer", None)
    with pytest.raises(ImportError, match="retriever.stemming.*pip install PyStemmer"):
        tokenize.__globals__["_stemmer_module"]()


def test_stemming(tmp_path, retriever):
    pytest.importorskip("Stemmer", reason="PyStemmer is not installed")
    retriever.build(numbered(["counting circles"]), tmp_path, config(stemming=True))
    assert [hit.terms for hit in retriever.load(tmp_path).search(["count circle"], 5)[0]] == [("circl", "count")]


# --- both rank alike


@settings(max_examples=60, deadline=None)
@given(
    corpora,
    st.lists(small_texts, min_size=1, max_size=5),
    st.integers(1, 30),
    st.sampled_from([0.1, 0.9, 1.5, 2.0]),
    st.sampled_from([0.0, 0.4, 0.75, 1.0]),
)
def test_both_rank_alike_on_random_corpora(texts, queries, k, k1, b):
    indexes = built(texts, k1=k1, b=b)
    assert indexes["bm25s"].search(queries, k) == indexes["rank_bm25"].search(queries, k)


def test_both_rank_alike_on_a_corpus_of_several_blocks():
    rng = random.Random(0)
    words = [f"w{i}" for i in range(300)]
    texts = [" ".join(rng.choices(words, range(300, 0, -1), k=rng.randint(0, 5))) for _ in range(70_000)]
    queries = [" ".join(rng.choices(words, k=4)) for _ in range(4)]
    indexes = built(texts)
    for k in (1, 300, 100_000):
        assert indexes["bm25s"].search(queries, k) == indexes["rank_bm25"].search(queries, k)


@pytest.mark.parametrize("stop_words", [False, True])
def test_both_rank_alike_on_vision_flan(stop_words):
    if not VISION_FLAN.exists():
        pytest.skip(f"the Vision-Flan sample is not at {VISION_FLAN}")
    turns = [[turn["value"] for turn in row["conversations"]] for row in json.loads(VISION_FLAN.read_text())]
    indexes = built([" ".join(turn) for turn in turns], stop_words=stop_words)
    queries = [turn[0] for turn in turns]
    found = {name: index.search(queries, 300) for name, index in indexes.items()}
    assert found["bm25s"] == found["rank_bm25"]
    assert len(found["bm25s"]) == len(queries) and all(found["bm25s"])


def test_scores_are_those_of_bm25s_own_scorer_and_of_its_own_indexer(tmp_path):
    import bm25s

    texts = ["red circle red", "blue circle", "big red digit 7", "", "the"]
    index = RETRIEVERS[Backend.bm25s].build(numbered(texts), tmp_path, config())
    ours = bm25s.BM25.load(tmp_path)
    theirs = bm25s.BM25(method="atire", idf_method="lucene", dtype="float64")
    theirs.index([tokenize(text) for text in texts], show_progress=False)
    query = ["circle", "red"]
    found = np.zeros(len(texts))
    for hit in index.search([" ".join(query)], 10)[0]:
        found[int(hit.id[1:])] = hit.score
    np.testing.assert_allclose(found, ours.get_scores(query), rtol=1e-11)
    np.testing.assert_allclose(found, theirs.get_scores(query), rtol=1e-11)


def test_formula_by_hand(retriever, tmp_path):
    index = retriever.build(numbered(["red circle red", "blue circle", "green"]), tmp_path, config(k1=1.2, b=0.5))

    def weight(tf, df, length):
        return math.log(1 + (3 - df + 0.5) / (df + 0.5)) * tf * 2.2 / (tf + 1.2 * (0.5 + 0.5 * length / 2))

    hits = index.search(["circle red unknown"], 5)[0]
    assert [(hit.id, hit.terms) for hit in hits] == [("s000000", ("circle", "red")), ("s000001", ("circle",))]
    assert hits[0].score == pytest.approx(weight(1, 2, 3) + weight(2, 1, 3), abs=1e-5)
    assert hits[1].score == pytest.approx(weight(1, 2, 2), abs=1e-5)


# --- what a search returns


@settings(max_examples=60, deadline=None)
@given(
    st.lists(any_text, min_size=1, max_size=8),
    st.lists(st.one_of(any_text, st.sampled_from(NASTY)), min_size=1, max_size=4),
)
def test_any_text_is_a_bag_of_words(texts, queries):
    indexes = built([*texts, "a b", "数 c++"])
    found = indexes["bm25s"].search(queries, 3)
    assert found == indexes["rank_bm25"].search(queries, 3)
    documents = dict(numbered([*texts, "a b", "数 c++"]))
    for query, hits in zip(queries, found):
        for hit in hits:
            assert hit.score > 0
            assert set(hit.terms) == set(tokenize(query)) & set(tokenize(documents[hit.id])) != set()


@pytest.mark.parametrize("query", NASTY)
def test_nasty_queries(retriever, tmp_path, query):
    index = retriever.build(numbered(["is a c++ b", "plain 猫 text", "", "a" * 100_000]), tmp_path, config())
    hits = index.search([query], 10)[0]
    assert bool(hits) == bool(set(tokenize(query)) & {"is", "a", "c++", "b", "猫", "a" * 100_000})


def test_ties_break_by_ascending_id_at_the_cut_too(retriever, tmp_path):
    index = retriever.build(numbered(["red", "blue", "red", "red red red", "red"]), tmp_path, config(b=0.0))
    assert [hit.id for hit in index.search(["red"], 3)[0]] == ["s000003", "s000000", "s000002"]
    assert [hit.id for hit in index.search(["red"], 99)[0]] == ["s000003", "s000000", "s000002", "s000004"]


def test_word_order_case_and_repetition_of_the_whole_query_do_not_matter(retriever, tmp_path):
    index = retriever.build(numbered(["red big circle", "big digit", "red"]), tmp_path, config())
    first, second, third = index.search(["red, BIG circle", "circle big red", "circle red red big"], 5)
    assert first == second != third
    assert [hit.id for hit in third][:2] == ["s000000", "s000002"]


def test_equal_queries_are_asked_once(retriever, tmp_path, monkeypatch):
    index = retriever.build(numbered(["red circle", "big"]), tmp_path, config())
    asked = []
    rank = retriever._rank
    monkeypatch.setattr(retriever, "_rank", lambda self, bags, k: asked.extend(bags) or rank(self, bags, k))
    found = index.search(["red", "big", "RED!", "", "nowhere"], 5)
    assert [bag.terms for bag in asked] == [("red",), ("big",)]
    assert found[0] == found[2] and found[0] is not found[2]
    assert found[3] == found[4] == []


def test_documents_without_a_single_word(retriever, tmp_path):
    retriever.build(numbered(["", "...", "\0"]), tmp_path, config())
    assert retriever.load(tmp_path).search(["red", ""], 5) == [[], []]


def test_no_queries_and_k_below_one(retriever, tmp_path):
    index = retriever.build(numbered(["red"]), tmp_path, config())
    assert index.search([], 5) == []
    with pytest.raises(ValueError, match="k is 0"):
        index.search(["red"], 0)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.integers(1, 60))
def test_best_rows_and_rounding(scores, k):
    scores = round_scores(np.array(scores))
    expected = sorted((row for row in range(len(scores)) if scores[row] > 0), key=lambda row: (-scores[row], row))
    assert best_rows(scores, k).tolist() == expected[:k]
    assert round_scores(scores).tolist() == scores.tolist()


def test_rounding_ties_sums_of_another_order():
    one, other = np.array([0.1 + 0.2 + 0.3]), np.array([0.3 + 0.2 + 0.1])
    assert one != other and round_scores(one) == round_scores(other)


# --- on disk


@pytest.mark.parametrize("mmap", [False, True])
def test_saved_loaded_and_mapped_answer_alike(retriever, tmp_path, mmap):
    docs = numbered(["red circle", "c++ 3.5 x", "red", "数 猫"])
    index = retriever.build(iter(docs), tmp_path / "deep" / "index", config())
    again = retriever.load(tmp_path / "deep" / "index", mmap=mmap, corpus=corpus_digest(iter(docs)))
    queries = ["red x", "3.5 猫", "none"]
    assert again.search(queries, 9) == index.search(queries, 9)
    assert (len(again), again.corpus) == (4, index.corpus)


@pytest.mark.parametrize("change", [("s000001", "blue"), ("s000001x", "red"), ("s0000011", "ed")])
def test_a_changed_corpus_is_refused(retriever, tmp_path, change):
    docs = [("s000000", "circle"), ("s000001", "red")]
    retriever.build(docs, tmp_path, config())
    with pytest.raises(ValueError, match="index.json: corpus is .* expected .* build the index again"):
        retriever.load(tmp_path, corpus=corpus_digest([docs[0], change]))


@pytest.mark.parametrize(("key", "value"), [("version", 0), ("retriever", "other"), ("tokenizer", {"version": 0})])
def test_an_index_of_another_make_is_refused(retriever, tmp_path, key, value):
    retriever.build(numbered(["red"]), tmp_path, config())
    path = tmp_path / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(ValueError, match=f"index.json: {key} is"):
        retriever.load(tmp_path)


def test_an_unfinished_index_is_none(retriever, tmp_path):
    retriever.build(numbered(["red"]), tmp_path, config())

    def broken():
        yield "s0", "red"
        raise RuntimeError("killed")

    with pytest.raises(FileNotFoundError, match="index.json is missing.*build it again"):
        retriever.load(tmp_path / "nothing")
    with pytest.raises(RuntimeError, match="killed"):
        retriever.build(broken(), tmp_path / "half", config())
    with pytest.raises(FileNotFoundError):
        retriever.load(tmp_path / "half")


@pytest.mark.parametrize(
    ("docs", "message"),
    [
        ([], "no documents"),
        ([("b", "red"), ("b", "red")], "'b' stands twice"),
        ([("b", "red"), ("a", "red")], "'a' comes after 'b'"),
    ],
)
def test_documents_that_cannot_be_indexed(retriever, tmp_path, docs, message):
    with pytest.raises(ValueError, match=message):
        retriever.build(docs, tmp_path, config())


def test_order_is_checked_across_chunks(retriever, tmp_path, monkeypatch):
    monkeypatch.setattr("delamo.retrieval.corpus.CHUNK_DOCS", 2)
    docs = numbered(["red", "red circle", "", "big 3.5-c++ red", "x"])
    assert len(retriever.build(docs, tmp_path, config()).search(["red", "c++"], 9)[0]) == 3
    with pytest.raises(ValueError, match="'s000001' stands twice"):
        retriever.build([docs[0], docs[1], docs[1]], tmp_path, config())


@pytest.mark.parametrize(("k1", "b"), [(0, 0.5), (1.5, 1.1), (float("nan"), 0.5)])
def test_parameters_out_of_range(retriever, tmp_path, k1, b):
    with pytest.raises(ValueError, match="retriever.k1"):
        retriever.build(numbered(["red"]), tmp_path, config(k1=k1, b=b))


def test_odd_ids_come_back(retriever, tmp_path):
    ids = sorted(["", "a/b", "猫", "coco['train', 'val']_1", "\ud800", "x" * 300])
    retriever.build([(id, "red") for id in ids], tmp_path, config())
    assert [hit.id for hit in retriever.load(tmp_path).search(["red"], 9)[0]] == ids
