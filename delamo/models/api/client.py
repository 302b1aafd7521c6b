"""Ask a service many requests at once, each answered once, paid once and kept."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import functools
import random
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from delamo.data.images import ImageError
from delamo.models.api.budget import Budget, BudgetExhaustedError
from delamo.models.api.limits import CircuitBreaker, RateLimiter
from delamo.models.api.requests import Completion, Rejected, Request, Service, read_completion
from delamo.models.api.retries import backoff
from delamo.models.api.transcripts import Transcripts
from delamo.models.api.transport import (
    AllRefusedError,
    FailureKind,
    RequestError,
    TeacherUnavailableError,
    Transport,
)
from delamo.models.teachers.base import Refusal
from delamo.models.usage import Usage

MANY_FAILED, FAILED_SHARE = 100, 0.5  # of so many requests or more, this share failing is the service's fault
OVERLOADS = 4  # times as often as other failures one request may be turned away while others pass
GIVEN_UP = "given up"


class NotRecordedError(ValueError):
    """A request that the transcripts hold no completion of, and no service may be asked."""


@dataclass(slots=True)
class ApiClient:
    """A client of one service; see `ask`."""

    service: Service
    transcripts: Transcripts
    transport: Transport
    budget: Budget
    rate_limiter: RateLimiter
    concurrency: int
    """Requests under way at a time."""
    max_attempts: int
    """Of one request after failures that may pass; of all together while the service is overloaded."""
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    max_failed_in_a_row: int = 5
    """Requests given up one after the other before the service counts as down."""
    replay: bool = False
    """Answer from the transcripts alone."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    rng: random.Random = field(default_factory=random.Random)
    usage: Usage = field(default_factory=Usage)

    def ask(
        self, requests: Sequence[Request], *, label: str, keep_refusals: bool = False
    ) -> list[Completion | Refusal]:
        """Return one result for each request, in order.

        Equal requests are sent once; those in the transcripts are not sent.

        Args:
            requests: to answer.
            label: of the progress bar.
            keep_refusals: a request that failed for good stays refused; else it is sent again.

        Raises:
            TeacherUnavailableError: the service refuses everything, or stays down. What came until then is kept.
            BudgetExhaustedError: the next call could pass the cap.
            NotRecordedError: a request is not in the transcripts, and this client only replays.
        """
        keys, results, missing = self._look_up(requests, keep_refusals)
        if missing and self.replay:
            raise NotRecordedError(_not_recorded(next(iter(missing.values())), len(missing), self.transcripts))
        if missing:
            results |= _loop().run(RequestBatch(self, missing, label).run())
        return [results[key] for key in keys]

    def _look_up(
        self, requests: Sequence[Request], keep_refusals: bool
    ) -> tuple[list[str], dict[str, Completion | Refusal], dict[str, Request]]:
        """Return the key of each request, the known results by key, and the requests that are to be sent."""
        keys: list[str] = []
        results: dict[str, Completion | Refusal] = {}
        missing: dict[str, Request] = {}
        for number, request in enumerate(requests):
            try:
                key = request.key(self.service)
            except ImageError as error:
                key = f"unreadable image {number}"
                results[key] = Refusal(error.reason, error.detail)
            keys.append(key)
            if key in results or key in missing:
                continue
            if (completion := self.transcripts.get(key)) is not None:
                results[key] = completion
                self.usage += Usage(cached=1)
            elif keep_refusals and (refusal := self.transcripts.refusal(key)):
                results[key] = Refusal(*refusal)
            else:
                missing[key] = request
        return keys, results, missing


class RequestBatch:
    """The requests of one call of `ApiClient.ask`, under way together.

    Args:
        client: that sends them.
        requests: by key.
        label: of the progress bar.
    """

    def __init__(self, client: ApiClient, requests: dict[str, Request], label: str) -> None:
        self.client, self.requests = client, requests
        self.slots = asyncio.Semaphore(client.concurrency)
        self.tasks: dict[asyncio.Task, str] = {}
        self.under_way: set[asyncio.Task] = set()
        self.results: dict[str, Completion | Refusal] = {}
        self.num_answered = self.num_failed = self.failed_in_a_row = 0
        self.stopped: Exception | None = None
        self.bar = tqdm(total=len(requests), desc=label, delay=5, unit="call")

    async def run(self) -> dict[str, Completion | Refusal]:
        """Send the requests and return the results by key; see `ApiClient.ask`."""
        try:
            for key, request in self.requests.items():
                self.tasks[asyncio.create_task(self._answer(key, request))] = key
            await asyncio.gather(*self.tasks, return_exceptions=True)
        finally:
            for task in self.tasks:
                task.cancel()
            self.bar.close()
        if self.stopped:
            raise self.stopped
        refusals = list(self.results.values())
        if not self.num_answered and self.num_failed and self.num_failed == len(refusals):
            given_up = any(refusal.reason == GIVEN_UP for refusal in refusals)
            error = TeacherUnavailableError if given_up else AllRefusedError
            raise error(_unavailable(self.client, refusals[0].detail))
        return self.results

    async def _answer(self, key: str, request: Request) -> None:
        async with self.slots:
            if self.stopped is None:
                try:
                    result = await self._attempts(key, request)
                except Exception as error:  # say a full disk: send nothing that could not be kept
                    result = self._stop(error)
                if result is not None:
                    self.results[key] = result
                    self.bar.set_postfix_str(_cost_so_far(self.client.usage), refresh=False)
                    self.bar.update()

    async def _attempts(self, key: str, request: Request) -> Completion | Refusal | None:
        """Return the result; None where the batch was stopped before there was one."""
        client, num_transient, num_overloads = self.client, 0, 0
        while True:
            try:
                return await self._attempt(key, request)
            except BudgetExhaustedError as error:
                return self._stop(error)
            except ImageError as error:
                return Refusal(error.reason, error.detail)
            except RequestError as error:
                kind, invalid = error.kind, error.kind is FailureKind.invalid
                client.transcripts.fail(key, error.reason, error.detail, for_good=invalid)
                num_transient += kind is FailureKind.transient
                num_overloads += kind is FailureKind.overload
                down = kind is FailureKind.overload and client.breaker.failed_windows >= client.max_attempts
                if kind is FailureKind.fatal or down:
                    detail = f"{error.reason}: {error.detail}"
                    return self._stop(TeacherUnavailableError(_unavailable(client, detail)))
                if invalid:
                    return self._refuse(error)
                if num_transient == client.max_attempts or num_overloads == OVERLOADS * client.max_attempts:
                    return self._give_up(error, num_transient + num_overloads)
                if kind is FailureKind.transient:
                    await client.sleep(backoff(num_transient - 1, client.rng))

    def _refuse(self, error: RequestError) -> Refusal:
        if error.reason == "refused by the service":
            self._count_failure(error)
        return Refusal(error.reason, error.detail)

    def _give_up(self, error: RequestError, attempts: int) -> Refusal:
        self.failed_in_a_row += 1
        self._count_failure(error)
        return Refusal(GIVEN_UP, f"after {attempts} attempts: {error.reason}: {error.detail}")

    async def _attempt(self, key: str, request: Request) -> Completion | Refusal:
        """Send one request, within budget, rate and load. Raises RequestError where it ended without a response."""
        client = self.client
        reserved = client.budget.reserve(request)
        estimated = client.budget.estimated_tokens(request) + request.max_tokens
        window = None
        try:
            await client.rate_limiter.take(estimated)
            window = await client.breaker.enter()
            return await self._send(key, request, window, estimated)
        finally:
            client.budget.release(reserved)
            if window is not None:
                client.breaker.leave(window)

    async def _send(self, key: str, request: Request, window: int, estimated: int) -> Completion | Refusal:
        client, task = self.client, asyncio.current_task()
        self.under_way.add(task)
        client.usage += Usage(calls=1)
        try:
            body = await client.transport.send(request)
        except RequestError as error:
            if error.kind is FailureKind.overload:
                client.breaker.fail(window, error.retry_after)
            elif error.kind is FailureKind.invalid:
                client.breaker.succeed(window)
            raise
        finally:
            self.under_way.discard(task)
        client.breaker.succeed(window)
        result = read_completion(body, request)
        client.rate_limiter.settle(estimated, result.prompt_tokens + result.completion_tokens)
        return self._record(key, request, result)

    def _record(self, key: str, request: Request, result: Completion | Rejected) -> Completion | Refusal:
        """Enter a result into the transcripts. Raises RequestError for one that another attempt may better."""
        client = self.client
        usd = client.budget.cost(result)
        tokens = {"prompt_tokens": result.prompt_tokens, "completion_tokens": result.completion_tokens}
        client.usage += Usage(usd=usd, **tokens)
        if isinstance(result, Rejected):
            client.transcripts.fail(key, result.reason, result.detail, usd=usd, for_good=True)
            if result.reason == "no reply":
                raise RequestError(FailureKind.transient, result.reason, result.detail)
            return Refusal(result.reason, result.detail)
        client.transcripts.add(key, request.to_dict(client.service), result, usd)
        self.num_answered += 1
        self.failed_in_a_row = 0
        return result

    def _count_failure(self, error: RequestError) -> None:
        self.num_failed += 1
        num_done = self.num_failed + self.num_answered
        many = num_done >= MANY_FAILED and self.num_failed >= FAILED_SHARE * num_done
        if many or self.failed_in_a_row >= self.client.max_failed_in_a_row:
            detail = f"{self.num_failed} of {num_done} requests failed, the last with {error.reason}: {error.detail}"
            self._stop(TeacherUnavailableError(_unavailable(self.client, detail)))

    def _stop(self, error: Exception) -> None:
        """Send nothing more; what is on the wire is paid for, and is waited for and kept."""
        if self.stopped is None:
            self.stopped = error
            for task in self.tasks:
                if task not in self.under_way and task is not asyncio.current_task():
                    task.cancel()


class _Loop:
    """An event loop in a thread of its own, so that requests can be sent from a notebook's loop too."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="teacher", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End the tasks that litellm still runs beside the requests, and the thread."""
        with contextlib.suppress(TimeoutError, concurrent.futures.CancelledError):
            asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result(timeout=5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)


@functools.cache
def _loop() -> _Loop:
    """Return the one loop of the process: litellm keeps its connections by loop."""
    loop = _Loop()
    atexit.register(loop.close)
    return loop


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _unavailable(client: ApiClient, detail: str) -> str:
    kept = client.transcripts.num_replies()
    return f"teacher.model {client.service.model}: {detail} ({kept} replies are kept; run again to go on)"


def _not_recorded(request: Request, count: int, transcripts: Transcripts) -> str:
    text = request.text if len(request.text) <= 400 else f"{request.text[:100]} [...] {request.text[-300:]}"
    image = f" with image {request.image}" if request.image else ""
    return (
        f"teacher=replay: {transcripts.folder} holds no reply to {count} requests, the first one{image} "
        f"(max_tokens {request.max_tokens}, temperature {request.temperature}): {text!r}"
    )


def _cost_so_far(usage: Usage) -> str:
    return "" if usage.usd is None else f"{usage.usd:.4f} USD"


def note(line: str) -> None:
    """Print a line for the user, beside the progress bars."""
    print(f"teacher: {line}", file=sys.stderr)
