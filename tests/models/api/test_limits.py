"""Rate, back-off and circuit breaker, on a clock that only sleep moves."""

import asyncio
import random

import pytest
from support.fake_service import Clock

from delamo.models.api.limits import CircuitBreaker, RateLimiter
from delamo.models.api.retries import backoff


def test_back_off_grows_has_jitter_and_a_cap():
    rng = random.Random(0)
    waits = [backoff(attempt, rng) for attempt in range(9)]
    assert all(2**i <= wait <= 2 ** (i + 1) for i, wait in enumerate(waits[:5])) and max(waits) == 60
    assert len({backoff(0, rng) for _ in range(9)}) == 9


def test_requests_that_fail_together_open_the_circuit_once():
    async def scene():
        clock = Clock()
        breaker = CircuitBreaker(clock, clock.sleep)
        windows = [await breaker.enter() for _ in range(5)]
        for window in windows:
            breaker.fail(window, None)
        assert breaker.failed_windows == 1
        probe = await breaker.enter()
        waiting = asyncio.create_task(breaker.enter())
        await asyncio.sleep(0)
        assert not waiting.done()
        breaker.succeed(probe)
        await asyncio.wait_for(waiting, 1)

    asyncio.run(scene())


def test_the_rate_limiter_lets_out_what_a_minute_allows():
    async def scene(requests_per_minute, tokens_per_minute):
        clock = Clock()
        limiter = RateLimiter(requests_per_minute, tokens_per_minute, clock, clock.sleep)
        for _ in range(31):
            await limiter.take(100)
        return clock.now

    assert asyncio.run(scene(30, None)) == pytest.approx(60, rel=0.05)
    assert asyncio.run(scene(None, 3000)) == pytest.approx(60, rel=0.05)
    assert asyncio.run(scene(None, None)) == 0
