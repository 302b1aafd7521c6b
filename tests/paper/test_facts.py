"""What the paper's tables say of costs, as estimates take it."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from delamo.cli.verbs import plan as _verb  # noqa: F401 -- registers the sweeper that plans
from delamo.config.conf import conf_dir
from delamo.paper import facts


def test_seconds_are_means_of_table_6():
    assert facts.measured_seconds() == {
        100_000: pytest.approx((4353 + 4647 + 4041 + 4534 + 4296 + 4391) / 6),
        1_552_000: 72410,
    }


def test_error_rates_and_steps_are_those_of_tables_1_and_12():
    assert facts.error_rates()["scienceqa"] == 0.3466 and facts.steps()["vqa"] == 12.74
    assert facts.error_rates().keys() == facts.steps().keys() and len(facts.steps()) == 7


def test_the_plan_assumes_them_one_by_one():
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        own = "hydra.sweeper.assume.steps.vqa=3"
        config = compose("plan", overrides=["task=micro/numbers", own], return_hydra_config=True)
    assumed = OmegaConf.to_object(config.hydra.sweeper.assume)
    assert assumed.error_rates == facts.error_rates() and assumed.tuning_seconds == facts.measured_seconds()
    assert assumed.steps == {**facts.steps(), "vqa": 3} and assumed.tuning_gpus == facts.NUM_GPUS
