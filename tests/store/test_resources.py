"""What work takes of the machine."""

from __future__ import annotations

import pytest

from delamo.store.resources import disk_bytes, forget_peak, peak_memory

BLOCK = 150_000_000


def test_the_peak_is_that_of_the_work_since_it_was_forgotten():
    if not forget_peak():
        pytest.skip("this system measures the whole life of a process only")
    before = peak_memory()["host"]
    block = bytearray(b"x") * BLOCK
    during = peak_memory()["host"]
    del block
    forget_peak()
    after = peak_memory()["host"]
    assert during - before > 0.9 * BLOCK and during - after > 0.9 * BLOCK


def test_disk_counts_every_file_but_the_excluded_folders(tmp_path):
    for place, size in {"a": 10, "deep/b": 20, "drafts/c": 400, "deep/drafts/d": 3}.items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(b"x" * size)
    assert disk_bytes(tmp_path, without="drafts") == 33
