"""Ranked lists of many errors become one selection of exactly N."""

from __future__ import annotations

import random
from itertools import chain

import numpy as np
import pytest

from delamo.records import Skill
from delamo.retrieval import Hit
from delamo.retrieval.merge import Fill, Merge, RankedLists, merge_lists


class TableIndex:
    """An index whose ranked lists are given; it counts what it is asked."""

    def __init__(self, lists: dict[str, list[tuple[str, float]]]) -> None:
        self.lists = lists
        self.asked: list[tuple[tuple[str, ...], int]] = []

    def search(self, queries, k):
        self.asked.append((tuple(queries), k))
        return [[Hit(id, score, tuple(query.split())) for id, score in self.lists[query][:k]] for query in queries]


def skills(**queries: str) -> list[Skill]:
    return [Skill(val_id=error, skill=query, step=0) for error, query in queries.items()]


def taken(index, errors, pool_ids, num_samples, **options):
    rng = np.random.default_rng(options.pop("seed", 0))
    options = {"merge": Merge.round_robin, "fill": Fill.random, "excluded": frozenset()} | options
    return merge_lists(errors, index, pool_ids, num_samples=num_samples, rng=rng, **options)


POOL = list("abcdefgh")
INDEX = {
    "count": [("a", 9.0), ("b", 8.0), ("c", 7.0)],
    "colour": [("a", 3.0), ("b", 2.0), ("d", 1.0)],
    "size": [("e", 8.0)],
}
ERRORS = skills(v1="count", v2="colour", v3="size")


def test_round_robin_by_hand():
    chosen = taken(TableIndex(INDEX), ERRORS, POOL, 5, merge=Merge.round_robin)
    assert [(s.rank, s.id, s.val_id, s.score) for s in chosen] == [
        (0, "a", "v1", 9.0),
        (1, "b", "v2", 2.0),  # a is taken
        (2, "e", "v3", 8.0),
        (3, "c", "v1", 7.0),  # b is taken
        (4, "d", "v2", 1.0),
    ]
    assert {s.reason for s in chosen} == {"retrieved"}
    assert chosen[1].skill == "colour" and chosen[1].matched_terms == ("colour",)


def test_by_score_by_hand():
    chosen = taken(TableIndex(INDEX), ERRORS, POOL, 5, merge=Merge.score)
    assert [(s.id, s.val_id, s.score) for s in chosen] == [
        ("a", "v1", 9.0),
        ("b", "v1", 8.0),  # ties with e: by id
        ("e", "v3", 8.0),
        ("c", "v1", 7.0),
        ("d", "v2", 1.0),
    ]


@pytest.mark.parametrize("merge", list(Merge))
def test_order_of_the_errors_does_not_matter(merge):
    assert taken(TableIndex(INDEX), ERRORS[::-1], POOL, 5, merge=merge) == taken(
        TableIndex(INDEX), ERRORS, POOL, 5, merge=merge
    )


def test_equal_queries_share_a_list():
    index = TableIndex(INDEX)
    chosen = taken(index, skills(v1="count", v2="count", v3="count"), POOL, 3)
    assert [(s.id, s.val_id) for s in chosen] == [("a", "v1"), ("b", "v2"), ("c", "v3")]
    assert {queries for queries, _ in index.asked} == {("count",)}


def test_an_equal_score_goes_to_the_first_error():
    index = TableIndex({"x": [("a", 2.0)], "y": [("a", 2.0)]})
    assert taken(index, skills(v2="y", v1="x"), ["a"], 1, merge=Merge.score)[0].val_id == "v1"
    assert taken(index, skills(v1="y", v2="x"), ["a"], 1, merge=Merge.score)[0].val_id == "v1"


@pytest.mark.parametrize("merge", list(Merge))
def test_what_the_lists_lack_is_drawn_and_marked(merge):
    chosen = taken(TableIndex(INDEX), ERRORS, POOL, 7, merge=merge)
    assert [s.rank for s in chosen] == list(range(7))
    assert len({s.id for s in chosen}) == 7
    filled = [s for s in chosen if s.reason == "fill"]
    assert len(filled) == 2 and {s.id for s in filled} <= set("fgh")
    assert {(s.score, s.skill, s.val_id) for s in filled} == {(None, None, None)}
    assert chosen == taken(TableIndex(INDEX), ERRORS, POOL, 7, merge=merge)


def test_the_fill_follows_the_seed():
    pool = [f"p{i:03d}" for i in range(200)]
    first, second = (taken(TableIndex({}), [], pool, 20, seed=seed) for seed in (1, 2))
    assert {s.reason for s in first} == {"fill"}
    assert {s.id for s in first} != {s.id for s in second}


def test_fill_error_names_the_keys():
    with pytest.raises(ValueError, match="budget.num_samples is 6, .* only 5 samples: .* selector.fill=random"):
        taken(TableIndex(INDEX), ERRORS, POOL, 6, fill=Fill.error)
    assert len(taken(TableIndex(INDEX), ERRORS, POOL, 5, fill=Fill.error)) == 5


def test_an_index_of_another_pool_is_refused():
    with pytest.raises(ValueError, match="index holds samples that the pool lacks"):
        taken(TableIndex(INDEX), ERRORS, list("bcdefgh"), 1)


def test_lists_are_deepened_by_doubling_and_only_while_they_go_on():
    long, short = [(f"l{i:03d}", 100.0 - i) for i in range(100)], [("s0", 1.0)]
    index = TableIndex({"long": long, "short": short})
    lists = RankedLists(index, ["long", "short"], depth=4)
    assert lists.get("short", 1) is None
    assert lists.get("long", 17).id == "l017"
    assert lists.get("long", 100) is None
    assert index.asked == [(("long", "short"), 4), *[(("long",), depth) for depth in (8, 16, 32, 64, 128)]]


def test_by_score_only_the_list_that_is_read_grows():
    """One query whose hits beat all others: the others stay as short as they began, however many are taken."""
    table = {"best": [(f"b{i:04d}", 5000.0 - i) for i in range(1000)]}
    table |= {f"q{n}": [(f"{n}-{i:04d}", 1000.0 - i) for i in range(1000)] for n in range(9)}
    pool = sorted(id for hits in table.values() for id, _ in hits)
    index = TableIndex(table)
    chosen = taken(index, skills(**{query: query for query in table}), pool, 800, merge=Merge.score)
    assert {s.val_id for s in chosen} == {"best"}
    assert {queries for queries, _ in index.asked[1:]} == {("best",)} and index.asked[0][1] == 168


def test_lists_that_are_read_alike_grow_in_one_batch():
    index = TableIndex({query: [(f"{query}{i:03d}", 100.0 - i) for i in range(100)] for query in "abc"} | {"d": []})
    lists = RankedLists(index, list("abcd"), depth=4)
    assert lists.get("b", 9).id == "b009" and lists.get("c", 9).id == "c009"
    assert index.asked == [(tuple("abcd"), 4), (tuple("abc"), 8), (tuple("abc"), 16)]


@pytest.mark.parametrize("merge", list(Merge))
@pytest.mark.parametrize("seed", range(20))
def test_lazy_lists_give_what_whole_lists_give(merge, seed, monkeypatch):
    rng = random.Random(seed)
    pool = [f"p{i:02d}" for i in range(40)]
    table = {}
    for query in "abcd":
        hits = [(id, float(rng.randint(1, 5))) for id in rng.sample(pool, rng.randint(0, 30))]
        table[query] = sorted(hits, key=lambda hit: (-hit[1], hit[0]))
    errors = skills(**{f"v{i}": rng.choice("abcd") for i in range(7)})
    chosen = taken(TableIndex(table), errors, pool, 30, merge=merge)
    original = RankedLists.__init__
    monkeypatch.setattr(
        RankedLists, "__init__", lambda self, *args, depth, **how: original(self, *args, depth=1, **how)
    )
    assert taken(TableIndex(table), errors, pool, 30, merge=merge) == chosen
    assert len({s.id for s in chosen}) == 30
    if merge is Merge.score:
        best: dict[str, float] = {}
        for id, score in chain.from_iterable(table[error.skill] for error in errors):
            best[id] = max(score, best.get(id, 0))
        expected = sorted(best, key=lambda id: (-best[id], id))[:30]
        assert [s.id for s in chosen if s.reason == "retrieved"] == expected
