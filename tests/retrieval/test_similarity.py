"""Numbers by sample on disk, and the nearest of them, against a calculation that holds all at once."""

from __future__ import annotations

import math

import numpy as np
import pytest

from delamo.records import Quarantined, Sample
from delamo.retrieval import similarity
from delamo.retrieval.corpus import pack_ids
from delamo.retrieval.rows import SampleVectors, fill_rows, unit
from delamo.retrieval.similarity import Aggregation, nearest_rows

IDS = [f"p{i:03d}" for i in range(50)]
POOL = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
POOL[[3, 20]] = POOL[11]  # three alike: ties break by id
POOL[7] = np.nan
QUERIES = unit(np.random.default_rng(1).normal(size=(4, 6)))
ALLOWED = np.array([i % 10 != 1 for i in range(50)])  # not 1, 11, 21, ...


@pytest.fixture(params=[2**22, 40], ids=["one block", "blocks of six"])
def pool(request, monkeypatch) -> SampleVectors:
    monkeypatch.setattr(similarity, "CELLS", request.param)
    return SampleVectors(pack_ids(IDS), POOL)


def cosines() -> np.ndarray:
    """(4, 50), minus infinity where a row cannot be taken."""
    found = np.round(QUERIES @ unit(POOL).T, 6)
    return np.where(ALLOWED & ~np.isnan(found), found, -np.inf)


@pytest.mark.parametrize("aggregation", [Aggregation.max, Aggregation.mean])
def test_nearest_by_one_number(pool, aggregation):
    joined = getattr(cosines(), aggregation.value)(axis=0)
    expected = np.argsort(-joined, kind="stable")[:20]
    near = nearest_rows(pool, QUERIES, num_rows=20, aggregation=aggregation, allowed=ALLOWED)
    assert [one.row for one in near] == expected.tolist()
    np.testing.assert_allclose([one.score for one in near], joined[expected], atol=2e-6)
    if aggregation is Aggregation.max:
        assert [one.query for one in near] == cosines()[:, expected].argmax(axis=0).tolist()
    else:
        assert {one.query for one in near} == {None}


@pytest.mark.parametrize("num_rows", [1, 6, 44, 50])
def test_queries_take_turns_and_each_takes_its_nearest_that_is_left(pool, num_rows):
    left, expected = cosines(), []
    for turn in range(min(num_rows, 44)):  # 50 rows, five not allowed, one without numbers
        row = int(np.argsort(-left[turn % 4], kind="stable")[0])
        expected.append((row, turn % 4))
        left[:, row] = -np.inf
    near = nearest_rows(pool, QUERIES, num_rows=num_rows, aggregation=Aggregation.round_robin, allowed=ALLOWED)
    assert [(one.row, one.query) for one in near] == expected


@pytest.mark.parametrize("num_rows", [1, 7, 44, 50])
@pytest.mark.parametrize("repeats", [[0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 2, 0, 1]])
def test_equal_queries_take_turns_all_the_same(pool, num_rows, repeats):
    left, expected = cosines()[repeats], []
    for number in range(min(num_rows, 44)):
        turn = number % len(repeats)
        row = int(np.argsort(-left[turn], kind="stable")[0])
        expected.append((row, turn, left[turn, row]))
        left[:, row] = -np.inf
    near = nearest_rows(pool, QUERIES[repeats], num_rows=num_rows, aggregation=Aggregation.round_robin, allowed=ALLOWED)
    assert [(one.row, one.query) for one in near] == [(row, turn) for row, turn, _ in expected]
    np.testing.assert_allclose([one.score for one in near], [score for *_, score in expected], atol=2e-6)


@pytest.mark.parametrize(("apart", "passes"), [(0.0, 1), (1e-4, 6)])
def test_queries_alike_do_not_make_the_pool_be_read_again_and_again(apart, passes, monkeypatch):
    read = []

    class Counted(SampleVectors):
        def blocks(self, size):
            read.append(size)
            return super().blocks(size)

    rng = np.random.default_rng(3)
    pool = Counted(pack_ids([f"p{i:04d}" for i in range(2000)]), rng.normal(size=(2000, 6)).astype(np.float32))
    queries = unit(QUERIES[:1] + apart * rng.normal(size=(100, 6)))
    near = nearest_rows(pool, queries, num_rows=1000, aggregation=Aggregation.round_robin, allowed=np.ones(2000, bool))
    assert len({one.row for one in near}) == 1000 and len(read) <= passes


def test_rows_alike_come_in_order_of_id(pool):
    near = nearest_rows(pool, unit(POOL[[11]]), num_rows=2, aggregation=Aggregation.max, allowed=np.ones(50, bool))
    assert [one.row for one in near] == [3, 11]
    near = nearest_rows(pool, unit(POOL[[11]]), num_rows=2, aggregation=Aggregation.max, allowed=ALLOWED)
    assert [one.row for one in near] == [3, 20]


def test_the_order_is_that_of_exact_products_however_they_are_added_up(pool):
    """Near ties, a few millionths apart: single precision, which rounds at a ten-millionth, would swap some of them."""
    rng = np.random.default_rng(2)
    query = rng.normal(size=(1, 384))
    rows = (query + 1e-3 * rng.normal(size=(400, 384))).astype(np.float32)
    pool = SampleVectors(pack_ids([f"p{i:03d}" for i in range(400)]), rows)
    exact = [round(math.fsum(a * b for a, b in zip(unit(query)[0], row, strict=True)), 6) for row in unit(rows)]
    near = nearest_rows(pool, unit(query), num_rows=400, aggregation=Aggregation.max, allowed=np.ones(400, bool))
    assert [(-one.score, one.row) for one in near] == sorted((-score, row) for row, score in enumerate(exact))


def test_a_block_is_bounded_by_the_width_of_its_rows_too(monkeypatch):
    sizes = []

    class Counted(SampleVectors):
        def blocks(self, size):
            sizes.append(size)
            return super().blocks(size)

    nearest_rows(Counted(pack_ids(IDS), POOL), QUERIES[:1], num_rows=3, aggregation=Aggregation.max, allowed=ALLOWED)
    assert sizes == [similarity.CELLS // 6]


def test_what_cannot_be_compared_is_an_error(pool):
    with pytest.raises(ValueError, match="no validation sample"):
        nearest_rows(pool, QUERIES[:0], num_rows=3, aggregation=Aggregation.max, allowed=ALLOWED)


def test_a_killed_run_goes_on_after_its_last_block(tmp_path):
    samples = [Sample(id=id, instruction="q", answer="a") for id in IDS]
    seen: list[str] = []

    def compute(block: list[Sample], fails: bool) -> tuple[np.ndarray, list[Quarantined]]:
        if fails and len(seen) >= 30:
            raise KeyboardInterrupt
        seen.extend(sample.id for sample in block)
        rows = np.array([[float(sample.id[1:])] * 3 for sample in block])
        bad = [Quarantined(id=s.id, stage="x", reason="empty") for s in block if s.id.endswith("7")]
        rows[[s.id.endswith("7") for s in block]] = np.nan
        return rows, bad

    def run(fails: bool) -> list[Quarantined]:
        return fill_rows(
            tmp_path,
            tmp_path / "work",
            samples,
            IDS,
            width=3,
            dtype="float16",
            compute=lambda block: compute(block, fails),
            block_size=8,
            what="numbers",
        )

    with pytest.raises(KeyboardInterrupt):
        run(fails=True)
    bad = run(fails=False)
    assert seen == IDS  # each once
    assert [row.id for row in bad] == ["p007", "p017", "p027", "p037", "p047"]
    rows = SampleVectors.load(tmp_path)
    assert rows.ids.take(np.arange(50)) == IDS
    expected = np.array([np.nan if i % 10 == 7 else i for i in range(50)])
    np.testing.assert_array_equal(rows.values[:, 1], expected)
