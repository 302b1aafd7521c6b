"""How errors of a composed run are shown: the message that says what to mend, without a traceback."""

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
    """Print what a user can mend without a traceback; HYDRA_FULL_ERROR=1 shows that too.

    A sweep goes on after a failed experiment, and Hydra shows the first failure at its end: each is printed when it
    happens.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        _show_in_sweep(f"delamo: {error}")
        raise CompactHydraException(f"delamo: {error}") from error
    except OmegaConfBaseException as error:
        _show_in_sweep(f"delamo: {error}")
        raise CompactHydraException(f"delamo: {error}") from None  # Hydra would print a cause of its own kind twice
    except Exception as error:
        if not isinstance(error, BusyError):  # to a busy experiment the sweep comes back
            _show_in_sweep(traceback.format_exc())
        raise


def _show_in_sweep(message: str) -> None:
    if HydraConfig.get().mode is RunMode.MULTIRUN:
        print(message, file=sys.stderr, flush=True)
