"""The plan of batches, and a loader that resumes in it."""

import pytest

from delamo.tuning.batches import ResumableLoader, batches_of_rank, padding_fraction, plan_batches


def test_every_epoch_holds_every_sample_once():
    batches = plan_batches([5, 9, 1, 7, 3], batch_size=2, epochs=3, seed=1)
    assert len(batches) == 9
    epochs = [sorted(index for batch in batches[at : at + 3] for index in batch) for at in (0, 3, 6)]
    assert epochs == [[0, 1, 2, 3, 4]] * 3
    assert batches == plan_batches([5, 9, 1, 7, 3], batch_size=2, epochs=3, seed=1)
    assert batches != plan_batches([5, 9, 1, 7, 3], batch_size=2, epochs=3, seed=2)


def test_every_process_has_as_many_batches_and_none_is_lost():
    batches = plan_batches([3, 9, 4, 4, 7, 1, 2], batch_size=1, epochs=1, seed=0)
    for size in (1, 2, 3, 4):
        parts = [batches_of_rank(batches, rank, size) for rank in range(size)]
        assert len({len(part) for part in parts}) == 1
        together = [part[step] for step in range(len(parts[0])) for part in parts]
        assert together[: len(batches)] == batches


def test_padding_is_what_is_no_token():
    assert padding_fraction([[0, 1], [2]], [10, 5, 7]) == pytest.approx(5 / 27)
    lengths = list(range(1, 257))
    grouped = plan_batches(lengths, batch_size=4, epochs=1, seed=0)
    assert padding_fraction(grouped, lengths) < 0.05  # without grouping, about a third


def test_a_loader_goes_on_after_the_last_batch_it_gave():
    loader = ResumableLoader(list("abcd"), [[0, 1], [2], [3]], "plan", collate_fn="".join)
    stream = iter(loader)
    assert next(stream) == "ab"
    other = ResumableLoader(list("abcd"), [[0, 1], [2], [3]], "plan", collate_fn="".join)
    other.load_state_dict(loader.state_dict())
    assert list(other) == ["c", "d"]


def test_a_checkpoint_of_another_selection_is_refused():
    loader = ResumableLoader([0, 1], [[0], [1]], "plan a", collate_fn=list)
    with pytest.raises(ValueError, match="another selection"):
        loader.load_state_dict({"plan": "plan b", "given": 1})
