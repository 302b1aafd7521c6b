"""How fast a service may be asked: a token bucket, and a gate that all workers share when it says "too much"."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0


def backoff(attempt: int, rng: random.Random) -> float:
    """Seconds before attempt `attempt + 1`: doubled each time, with jitter of up to as much again, at most a minute."""
    return min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**attempt * (1 + rng.random()))


@dataclass(slots=True)
class Bucket:
    """Requests and tokens of a minute, let out evenly: at most one second's worth at once, then as the minute allows.

    A request with more tokens than there are goes out when nothing is owed, and the next ones wait for it.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _requests: float = field(default=1.0, init=False)
    _tokens: float = field(default=1.0, init=False)
    _filled: float | None = field(default=None, init=False)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def take(self, tokens: int) -> None:
        """Wait until one more request of so many tokens may go out; in the order of asking."""
        async with self._turn:
            while (wait := self._wait()) > 0:
                await self.sleep(wait)
            self._requests -= 1
            self._tokens -= tokens

    def settle(self, estimated: int, used: int) -> None:
        """The tokens that the request really took."""
        self._tokens += estimated - used

    def _wait(self) -> float:
        """Seconds until there is a request, and no token is owed."""
        now = self.clock()
        passed, self._filled = (0.0 if self._filled is None else now - self._filled), now
        waits = [0.0]
        if self.requests_per_minute:
            rate = self.requests_per_minute / 60
            self._requests = min(max(1.0, rate), self._requests + passed * rate)
            waits.append((1 - self._requests) / rate)
        if self.tokens_per_minute:
            rate = self.tokens_per_minute / 60
            self._tokens = min(rate, self._tokens + passed * rate)
            waits.append(-self._tokens / rate)
        wait = max(waits)
        return wait if wait > 1e-9 else 0.0


@dataclass(slots=True)
class Gate:
    """Closed for everybody while the service is overloaded. After each wait one request goes ahead as a probe.

    Several requests that were under way together fail together: the first of them closes the gate, the others change nothing,
    unless they were told to wait longer.
    """

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    rng: random.Random = field(default_factory=random.Random)
    _window: int = field(default=0, init=False)
    failed_windows: int = field(default=0, init=False)
    """How often in a row the service turned a request away, those that were under way together counted once."""
    _until: float = field(default=0.0, init=False)
    _probing: bool = field(default=False, init=False)
    _changed: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    async def enter(self) -> int:
        """Wait until a request may go out; returns the window that it belongs to."""
        while self.failed_windows:
            if self._probing:
                await self._changed.wait()
            elif (wait := self._until - self.clock()) > 0:
                await self.sleep(wait)
            else:
                self._probing = True
                break
        return self._window

    def open(self, window: int) -> None:
        """A request of this window was answered."""
        if window == self._window and self.failed_windows:
            self.failed_windows = 0
            self._next_window()

    def close(self, window: int, asked_wait: float | None) -> None:
        """A request of this window was turned away; `asked_wait` is what the service asked for, in seconds."""
        if window == self._window:
            wait = asked_wait if asked_wait is not None else backoff(self.failed_windows, self.rng)
            self.failed_windows += 1
            self._until = self.clock() + wait
            self._next_window()
        elif asked_wait is not None and self.failed_windows:
            self._until = max(self._until, self.clock() + asked_wait)

    def leave(self, window: int) -> None:
        """A request of this window ended without telling anything about the load: let another one probe."""
        if window == self._window and self._probing:
            self._probing = False
            self._wake()

    def _next_window(self) -> None:
        self._window += 1
        self._probing = False
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
