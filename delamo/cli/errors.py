"""How errors of a verb with a config are shown: by their message, without a traceback."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator

from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

from delamo.store import BusyError


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Print errors that a user can fix without a traceback, unless HYDRA_FULL_ERROR=1 is set.

    In a sweep, which goes on after a failure and of which Hydra shows only the first one, each error is printed as it
    happens.

    Raises:
        CompactHydraException: in place of a ValueError, an OSError or an error of the config.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        _show_in_sweep(f"delamo: {error}")
        raise CompactHydraException(f"delamo: {error}") from error
    except OmegaConfBaseException as error:
        _show_in_sweep(f"delamo: {error}")
        raise CompactHydraException(f"delamo: {error}") from None  # with a cause of OmegaConf, Hydra prints it twice
    except Exception as error:
        if not isinstance(error, BusyError):  # the sweep tries a busy experiment again
            _show_in_sweep(traceback.format_exc())
        raise


def _show_in_sweep(message: str) -> None:
    if HydraConfig.get().mode is RunMode.MULTIRUN:
        print(message, file=sys.stderr, flush=True)
