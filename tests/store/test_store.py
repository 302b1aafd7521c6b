"""A result is there whole or not at all; a killed stage goes on where it stood; rows add up."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delamo.records import PoolSkills, Quarantined
from delamo.store import (
    MANIFEST,
    BusyError,
    RowCounts,
    Store,
    append_shards,
    digest_of,
    locked,
    not_waiting,
    read_rows,
    slug,
    write_rows,
    write_text,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ROWS = [PoolSkills(id=f"{i:03d}", skills=("count", "colour \u2028 of\x85it")) for i in range(10)]


def write_ok(writer):
    write_rows(writer.path / "answers.jsonl", ROWS)
    writer.finish(RowCounts(num_in=10, num_ok=10), seed=7)


def ensure(result, make, *, resumable=False) -> bool:
    """Compute a result unless it is there; whether it was computed here."""
    if result.done:
        return False
    with result.writing(resumable=resumable) as writer:
        if writer is not None:
            make(writer)
    return writer is not None


def test_a_stage_is_computed_once(tmp_path):
    stage = Store(tmp_path).result("answers", "task/a-b", {"x": 1}, 1)
    assert not stage.done
    assert ensure(stage, write_ok) and not ensure(stage, write_ok)
    again = Store(tmp_path).result("answers", "task/a-b", {"x": 1}, 1)
    assert again.done and again.rows(PoolSkills) == ROWS
    assert again.path == tmp_path / "answers" / f"task_a-b-{stage.digest[:12]}"


def test_the_manifest_says_where_a_result_came_from(tmp_path):
    stage = Store(tmp_path).result("answers", "a", {"x": 1}, 3)
    ensure(stage, write_ok)
    manifest = stage.manifest()
    assert manifest["accounting"] == {"in": 10, "ok": 10, "failed": {}, "skipped": {}}
    assert manifest["identity"] == {"kind": "answers", "version": 3, "x": 1}
    assert manifest["seed"] == 7 and manifest["seconds"] >= 0 and manifest["argv"]
    assert manifest["peak_memory_bytes"]["host"] > 1_000_000 and manifest["disk_bytes"] > 0
    assert {"version", "commit", "dirty"} <= set(manifest["code"]) and manifest["packages"]["numpy"]


def test_a_label_is_for_people_only(tmp_path):
    ensure(Store(tmp_path).result("answers", "first", {"x": 1}, 1), write_ok)
    assert Store(tmp_path).result("answers", "second", {"x": 1}, 1).done


@pytest.mark.parametrize("identity", [{"x": 2}, {"x": 1, "y": None}, {"x": "1"}, {"x": 1.5}, {}])
def test_any_change_of_identity_is_another_stage(tmp_path, identity):
    stage = Store(tmp_path).result("answers", "a", {"x": 1}, 1)
    assert Store(tmp_path).result("answers", "a", identity, 1).digest != stage.digest


def test_kind_and_code_version_are_identity(tmp_path):
    store = Store(tmp_path)
    digests = {store.result(kind, "a", {}, version).digest for kind in ("a", "b") for version in (1, 2)}
    assert len(digests) == 4


@given(JSON, JSON)
def test_equal_json_and_only_equal_json_has_an_equal_digest(a, b):
    same = json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)
    assert (digest_of(a) == digest_of(b)) == same


def test_a_digest_of_what_is_no_json_is_refused():
    with pytest.raises(ValueError):
        digest_of(float("nan"))
    with pytest.raises(TypeError):
        digest_of({"x": object()})


@given(st.text())
def test_a_slug_is_a_file_name(text):
    assert slug(text) and not set(slug(text)) & set("/\\ \0\n") and slug(text) == slug(slug(text))


def test_an_exception_leaves_nothing(tmp_path):
    stage = Store(tmp_path).result("answers", "a", {}, 1)
    with pytest.raises(RuntimeError, match="boom"), stage.writing() as draft:
        (draft.path / "half").write_text("x")
        raise RuntimeError("boom")
    assert not stage.done and list((tmp_path / "answers").iterdir()) == []


def test_a_kill_leaves_nothing_that_counts(tmp_path):
    script = """
        import os, signal, sys
        from pathlib import Path
        from delamo.store import Store
        with Store(Path(sys.argv[1])).result("answers", "a", {}, 1).writing() as draft:
            (draft.path / "answers.jsonl").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    stage = Store(tmp_path).result("answers", "a", {}, 1)
    assert not stage.done
    assert ensure(stage, write_ok) and stage.rows(PoolSkills) == ROWS
    assert [path.name for path in (tmp_path / "answers").iterdir()] == [stage.path.name]


def test_rows_that_do_not_add_up_are_an_error_and_no_result(tmp_path):
    stage = Store(tmp_path).result("answers", "a", {}, 1)
    with pytest.raises(ValueError, match=r"do not add up: 10 in, 8 ok"):
        ensure(stage, lambda draft: draft.finish(RowCounts(num_in=10, num_ok=8, skipped={"no error": 1})))
    assert not stage.done


def test_a_stage_without_an_account_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="without a count of its rows"):
        ensure(Store(tmp_path).result("answers", "a", {}, 1), lambda draft: None)


def test_quarantined_rows_are_kept_and_counted(tmp_path):
    bad = [Quarantined(id="7", stage="answers", reason="image missing", detail="x.png")]
    stage = Store(tmp_path).result("answers", "a", {}, 1)
    ensure(stage, lambda draft: draft.finish(RowCounts(num_in=3, num_ok=1, quarantined=bad, skipped={"short": 1})))
    assert stage.quarantined() == bad
    assert stage.manifest()["accounting"] == {"in": 3, "ok": 1, "failed": {"image missing": 1}, "skipped": {"short": 1}}


def test_a_damaged_row_is_named_by_file_and_line(tmp_path):
    write_rows(tmp_path / "rows.jsonl", ROWS)
    text = (tmp_path / "rows.jsonl").read_text().split("\n")
    (tmp_path / "rows.jsonl").write_text("\n".join([text[0], text[1][:10], *text[2:]]))
    with pytest.raises(ValueError, match=r"rows\.jsonl:2 is not a PoolSkills"):
        read_rows(PoolSkills, tmp_path / "rows.jsonl")


def test_a_manifest_of_another_result_is_an_error(tmp_path):
    stage = Store(tmp_path).result("answers", "a", {}, 1)
    ensure(stage, write_ok)
    manifest = stage.manifest() | {"digest": "0" * 64}
    (stage.path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="expected"):
        _ = stage.done


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new\ud800")
    assert path.read_text() == "old" and [entry.name for entry in tmp_path.iterdir()] == ["file"]


def sharded(folder, items, seen, *, shard_size=4, fail_at=None):
    def work(batch):
        seen.extend(batch)
        if fail_at in batch:
            raise KeyboardInterrupt
        bad = [Quarantined(id=item, stage="t", reason="odd") for item in batch if int(item) % 5 == 4]
        return [PoolSkills(id=item, skills=(item,)) for item in batch if int(item) % 5 != 4], bad

    return list(append_shards(folder, items, PoolSkills, key=str, work=work, shard_size=shard_size))


ITEMS = [str(i) for i in range(10)]


def test_a_stopped_run_loses_one_shard_at_most(tmp_path):
    whole, first, second = [], [], []
    expected = sharded(tmp_path / "whole", ITEMS, whole)
    with pytest.raises(KeyboardInterrupt):
        sharded(tmp_path / "stopped", ITEMS, first, fail_at="5")
    assert sharded(tmp_path / "stopped", ITEMS, second) == expected
    assert second == ITEMS[4:]
    assert sum(len(rows) + len(bad) for rows, bad in expected) == len(ITEMS)


def test_shards_of_another_size_are_kept(tmp_path):
    seen: list[str] = []
    sharded(tmp_path, ITEMS[:4], [], shard_size=4)
    rows = sharded(tmp_path, ITEMS, seen, shard_size=3)
    assert seen == ITEMS[4:] and [len(a) + len(b) for a, b in rows] == [4, 3, 3]


def test_shards_of_other_items_are_refused(tmp_path):
    sharded(tmp_path, ITEMS, [])
    with pytest.raises(ValueError, match="was made from"):
        sharded(tmp_path, [str(i) for i in range(1, 11)], [])


def test_a_resumable_stage_goes_on_after_a_failure(tmp_path):
    seen: list[str] = []
    stage = Store(tmp_path).result("pool_skills", "a", {}, 1)

    def make(draft, fail_at=None):
        found = sharded(draft.work, ITEMS, seen, fail_at=fail_at)
        rows = [row for good, _ in found for row in good]
        write_rows(draft.path / "pool_skills.jsonl", rows)
        draft.finish(RowCounts(num_in=10, num_ok=len(rows), quarantined=[bad for _, some in found for bad in some]))

    with pytest.raises(KeyboardInterrupt):
        ensure(stage, lambda draft: make(draft, "9"), resumable=True)
    assert not stage.done and seen == ITEMS
    ensure(stage, make, resumable=True)
    assert seen == [*ITEMS, "8", "9"]
    assert len(stage.rows(PoolSkills)) == 8 and len(stage.quarantined()) == 2
    assert sorted(path.name for path in stage.path.iterdir()) == [MANIFEST, "pool_skills.jsonl", "quarantine.jsonl"]


def test_seconds_are_those_of_every_attempt_until_its_last_file(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("delamo.store.results.time.time", lambda: now[0])
    stage = Store(tmp_path).result("answers", "a", {}, 1)

    def attempt(seconds, after, ends=True):
        def make(draft):
            now[0] += seconds
            (draft.work / f"{now[0]}").touch()
            os.utime(draft.work / f"{now[0]}", (now[0], now[0]))
            os.utime(draft.work / "attempt.json", (0, 0))  # its own time is the real clock's
            now[0] += after
            if not ends:
                raise KeyboardInterrupt
            write_ok(draft)

        return make

    for seconds, idle in ((10, 3), (5, 100)):
        with pytest.raises(KeyboardInterrupt):
            ensure(stage, attempt(seconds, idle, ends=False), resumable=True)
    ensure(stage, attempt(2, 1), resumable=True)
    assert (stage.manifest()["seconds"], stage.manifest()["attempts"]) == (10 + 5 + 2 + 1, 3)
    again = Store(tmp_path).result("answers", "b", {"other": 1}, 1)
    ensure(again, write_ok)
    assert (again.manifest()["seconds"], again.manifest()["attempts"]) == (0, 1)


def slow_stage(root, log):
    def make(draft):
        with open(log, "a") as file:
            file.write("computed\n")
        time.sleep(0.3)
        write_ok(draft)

    ensure(Store(root).result("answers", "a", {}, 1), make)


def test_what_several_processes_want_one_computes(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=slow_stage, args=(tmp_path, tmp_path / "log")) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert (tmp_path / "log").read_text() == "computed\n"


def test_a_lock_dies_with_its_process(tmp_path):
    child = os.fork()
    if child == 0:
        with locked(tmp_path / "lock"):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with not_waiting(), locked(tmp_path / "lock"):
        pass


def test_who_does_not_wait_is_told_what_is_going_on_elsewhere(tmp_path):
    lock = tmp_path / "lock"
    with locked(lock), not_waiting(), pytest.raises(BusyError, match="this work"), locked(lock, what="this work"):
        pass


def test_a_stage_that_is_computed_elsewhere_is_busy_until_it_is_done(tmp_path):
    stage = Store(tmp_path).result("answers", "x", {"x": 1}, version=1)

    def make(draft):
        with not_waiting(), pytest.raises(BusyError, match="answers x"):
            ensure(stage, make)
        draft.finish(RowCounts(num_in=0, num_ok=0))

    assert ensure(stage, make)
    with not_waiting():
        assert not ensure(stage, make)
