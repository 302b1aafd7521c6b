"""Which checkpoints are kept, and which is resumed from."""

import pytest
import torch

from delamo.tuning import checkpoints


def test_checkpoints_of_later_steps_are_of_a_run_that_was_given_up(tmp_path):
    for step in (1, 2, 3, 8, 9):
        (tmp_path / f"step={step:08d}.ckpt").touch()
    old = checkpoints.superseded(tmp_path / "step=00000003.ckpt")
    assert [path.stem[-1] for path in old] == ["1", "8", "9"]


def test_a_torn_checkpoint_falls_back_to_the_one_before(tmp_path):
    torch.save({"a": 1}, tmp_path / "step=00000001.ckpt")
    (tmp_path / "step=00000002.ckpt").write_bytes(b"torn")
    with pytest.warns(UserWarning, match=r"00000002.ckpt cannot be read"):
        assert checkpoints.resume_point("auto", tmp_path).endswith("00000001.ckpt")


@pytest.mark.parametrize("resume", ["must", "https://example.org/a.ckpt", "nowhere.ckpt"])
def test_a_resume_point_that_is_not_there_is_an_error(resume, tmp_path):
    with pytest.raises(ValueError, match=r"tuning.resume is"):
        checkpoints.resume_point(resume, tmp_path)
