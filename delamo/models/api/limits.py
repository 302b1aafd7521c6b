"""How fast a service may be asked: a rate limiter, and a circuit breaker for the time that it is overloaded."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from delamo.models.api.retries import backoff


@dataclass(slots=True)
class RateLimiter:
    """Let out the requests and tokens of a minute evenly, by token buckets.

    At most one second's worth goes out at once, then as the minute allows. A request with more tokens than
    there are goes out when nothing is owed, and the next ones wait for it.
    """

    requests_per_minute: float | None
    """None is without limit."""
    tokens_per_minute: float | None
    """None is without limit."""
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _requests: float = field(default=1.0, init=False)
    _tokens: float = field(default=1.0, init=False)
    _filled: float | None = field(default=None, init=False)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def take(self, tokens: int) -> None:
        """Wait until one more request of so many tokens may go out, in the order of the calls."""
        async with self._turn:
            while (wait := self._wait()) > 0:
                await self.sleep(wait)
            self._requests -= 1
            self._tokens -= tokens

    def settle(self, estimated: int, used: int) -> None:
        """Replace the estimated tokens of a request by those that it really took."""
        self._tokens += estimated - used

    def _wait(self) -> float:
        """Return the seconds until there is a request, and no token is owed."""
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
class CircuitBreaker:
    """Hold back all requests while the service is overloaded. After each wait one request goes ahead as a probe.

    Several requests that were under way together fail together: the first of them opens the circuit, the others change
    nothing, unless they were told to wait longer. Requests of one window were sent between the same two changes of the
    circuit.
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

    def succeed(self, window: int) -> None:
        """Close the circuit: a request of this window was answered."""
        if window == self._window and self.failed_windows:
            self.failed_windows = 0
            self._next_window()

    def fail(self, window: int, requested_wait: float | None) -> None:
        """Open the circuit: a request of this window was turned away.

        Args:
            window: of the request.
            requested_wait: seconds that the service asked for.
        """
        if window == self._window:
            wait = requested_wait if requested_wait is not None else backoff(self.failed_windows, self.rng)
            self.failed_windows += 1
            self._until = self.clock() + wait
            self._next_window()
        elif requested_wait is not None and self.failed_windows:
            self._until = max(self._until, self.clock() + requested_wait)

    def leave(self, window: int) -> None:
        """Let another request probe: one of this window ended, whatever came of it."""
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
