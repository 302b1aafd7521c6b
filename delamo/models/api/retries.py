"""Which failures of a service may pass, and how long to wait before the request is sent again."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

OVERLOADED = frozenset({429, 503, 529})
TRANSIENT = frozenset({408, 409, 425, 500, 502, 504})
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
LONGEST_REQUESTED_WAIT_S = 600.0  # a service that asks for more (a daily limit) is out of reach for this run


def backoff(attempt: int, rng: random.Random) -> float:
    """Return the seconds before attempt `attempt + 1`: doubled each time, plus jitter, at most a minute."""
    return min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**attempt * (1 + rng.random()))


def requested_wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `Retry-After` asks for by a number above zero or a date to come; else None."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value)
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def _seconds_until(date: str) -> float:
    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except ValueError:
        return math.nan
