"""What every test runs under: no network, no GPU telemetry, one thread."""

from __future__ import annotations

import os
import tempfile

# Before any library reads them, in workers of pytest-xdist too.
os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "DELAMO_CACHE": os.environ.get("DELAMO_CACHE") or tempfile.mkdtemp(prefix="delamo-cache-"),
    "TOKENIZERS_PARALLELISM": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    # Two threads add in another order than one: numbers would depend on how many workers there are.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}

import socket
from collections.abc import Callable

import pytest
from support.configs import experiment_config

from delamo.config.plugins import load_plugins
from delamo.experiment.config import ExperimentConfig

load_plugins()

LOOPBACK = ("127.", "::1", "localhost")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest test first, so that one worker is at it while the others do the rest."""
    items.sort(key=lambda item: item.path.name != "test_smoke_grid.py")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections leave this machine for nobody; loopback and Unix sockets are free."""
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))


def _guarded(connect: Callable) -> Callable:
    def guarded(self: socket.socket, address: object) -> object:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not str(address[0]).startswith(LOOPBACK):
            raise OSError(f"tests run without a network, and this one connects to {address}")
        return connect(self, address)

    return guarded


@pytest.fixture(name="experiment_config", scope="session")
def experiment_config_fixture() -> Callable[..., ExperimentConfig]:
    """`support.configs.experiment_config`: overrides, as on the command line, to a typed config."""
    return experiment_config
