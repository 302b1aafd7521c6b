"""The plan of batches, and a loader that resumes in it."""

import pytest

from delamo.tuning.batches import ResumableLoader, padding_fraction, plan_batches, plan_micro_batches
from delamo.tuning.config import LossAverage


def test_every_epoch_holds_every_sample_once():
    batches = plan_batches([5, 9, 1, 7, 3], batch_size=2, epochs=3, seed=1)
    assert len(batches) == 9
    epochs = [sorted(index for batch in batches[at : at + 3] for index in batch) for at in (0, 3, 6)]
    assert epochs == [[0, 1, 2, 3, 4]] * 3
    assert batches == plan_batches([5, 9, 1, 7, 3], batch_size=2, epochs=3, seed=1)
    assert batches != plan_batches([5, 9, 1, 7, 3], batch_size=2, epochs=3, seed=2)


REPLIES = [3, 9, 4, 4, 7, 1, 2]


@pytest.mark.parametrize("accumulation", [1, 2, 4, 8])
@pytest.mark.parametrize("average", LossAverage)
def test_the_weights_of_a_batch_are_those_of_its_mean_however_it_is_cut(accumulation, average):
    batches = [[4, 1, 0, 6], [5, 2], [3]]
    plan = plan_micro_batches(batches, REPLIES, accumulation=accumulation, average=average)
    assert len(plan) == len(batches) * accumulation
    for number, batch in enumerate(batches):
        cut = plan[number * accumulation :][:accumulation]
        rows = [(i, weight) for part in cut for i, weight in zip(part.samples, part.weights, strict=True) if weight]
        assert [i for i, _ in rows] == batch
        tokens, samples = 1 / sum(REPLIES[i] for i in batch), 1 / len(batch)
        for i, weight in rows:
            assert weight == pytest.approx(tokens if average is LossAverage.tokens else samples / REPLIES[i])
        assert all(part.samples for part in cut)  # each process has something to do in each step


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
