"""The checks of a tuning's numbers."""

import pytest
from support.recipes import RECIPE, recipe

TWO_AT_A_TIME = {**RECIPE, "batch_size": 2, "micro_batch_size": 1}


def test_the_effective_batch_divides_into_processes():
    assert recipe(**TWO_AT_A_TIME).accumulation(2) == 1
    with pytest.raises(ValueError, match=r"tuning.batch_size is 2: choose a multiple of .* times 3 processes"):
        recipe(**TWO_AT_A_TIME).accumulation(3)
