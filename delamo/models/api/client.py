"""The engine: many requests at once, each answered once, paid once and kept."""

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
from delamo.models.api.budget import Budget, BudgetExhausted
from delamo.models.api.limits import Bucket, Gate, backoff
from delamo.models.api.requests import Rejected, Reply, Request, Service, read_reply
from delamo.models.api.transcripts import Transcripts
from delamo.models.api.transport import AllRefused, Failure, TeacherUnavailable, Transport
from delamo.models.teachers.base import Refusal
from delamo.models.usage import Spent

MANY_FAILED, FAILED_SHARE = 100, 0.5  # of so many requests or more, this share failing is the service's fault
OVERLOADS = 4  # times as often as other failures one request may be turned away while others pass
GIVEN_UP = "given up"


class NotRecorded(ValueError):
    """A request that the transcripts hold no reply to, and nobody may be asked."""


@dataclass(slots=True)
class Engine:
    """Asks one service; see `ask`."""

    service: Service
    transcripts: Transcripts
    transport: Transport
    budget: Budget
    concurrency: int = 16
    bucket: Bucket = field(default_factory=Bucket)
    gate: Gate = field(default_factory=Gate)
    max_attempts: int = 6
    """Of one request after failures that pass; of all together while the service is overloaded."""
    max_failed_in_a_row: int = 5
    """Requests given up one after the other before the service counts as down."""
    replay: bool = False
    """Answer from the transcripts alone."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    rng: random.Random = field(default_factory=random.Random)
    spent: Spent = field(default_factory=Spent)

    def ask(self, requests: Sequence[Request], *, label: str, keep_refusals: bool = False) -> list[Reply | Refusal]:
        """One result for each request, in order. Equal requests are sent once; what is in the transcripts is not sent.

        Args:
            label: of the progress bar.
            keep_refusals: a request that failed for good stays refused; else it is sent again.

        Raises:
            TeacherUnavailable: the service refuses everything, or stays down. What came until then is kept.
            BudgetExhausted: the next call could pass the cap.
            NotRecorded: a request is not in the transcripts, and this engine only replays.
        """
        keys, found, missing = self._looked_up(requests, keep_refusals)
        if missing and self.replay:
            raise NotRecorded(_not_recorded(next(iter(missing.values())), len(missing), self.transcripts))
        if missing:
            found |= _loop().run(_Round(self, missing, label).run())
        return [found[key] for key in keys]

    def _looked_up(
        self, requests: Sequence[Request], keep_refusals: bool
    ) -> tuple[list[str], dict[str, Reply | Refusal], dict[str, Request]]:
        """The key of each request, what is known by key, and what has to be asked."""
        keys: list[str] = []
        found: dict[str, Reply | Refusal] = {}
        missing: dict[str, Request] = {}
        for number, request in enumerate(requests):
            try:
                keys.append(request.key(self.service))
            except ImageError as error:
                keys.append(f"unreadable picture {number}")
                found[keys[-1]] = Refusal(error.reason, error.detail)
            if keys[-1] in found or keys[-1] in missing:
                continue
            if (reply := self.transcripts.get(keys[-1])) is not None:
                found[keys[-1]] = reply
                self.spent += Spent(cached=1)
            elif keep_refusals and (known := self.transcripts.refusal(keys[-1])):
                found[keys[-1]] = Refusal(*known)
            else:
                missing[keys[-1]] = request
        return keys, found, missing


class _Round:
    """One call of `Engine.ask`: the requests under way together."""

    def __init__(self, engine: Engine, requests: dict[str, Request], label: str) -> None:
        self.engine, self.requests = engine, requests
        self.slots = asyncio.Semaphore(engine.concurrency)
        self.tasks: dict[asyncio.Task, str] = {}
        self.under_way: set[asyncio.Task] = set()
        self.results: dict[str, Reply | Refusal] = {}
        self.answered = self.failed = self.failed_in_a_row = 0
        self.stopped: Exception | None = None
        self.bar = tqdm(total=len(requests), desc=label, delay=5, unit="call")

    async def run(self) -> dict[str, Reply | Refusal]:
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
        if not self.answered and self.failed and self.failed == len(refusals):
            kind = AllRefused if all(one.reason != GIVEN_UP for one in refusals) else TeacherUnavailable
            raise kind(_unavailable(self.engine, refusals[0].detail))
        return self.results

    async def _answer(self, key: str, request: Request) -> None:
        async with self.slots:
            if self.stopped is None:
                try:
                    result = await self._attempts(key, request)
                except Exception as error:  # noqa: BLE001 - say a full disk: send nothing that could not be kept
                    result = self._stop(error)
                if result is not None:
                    self.results[key] = result
                    self.bar.set_postfix_str(_so_far(self.engine.spent), refresh=False)
                    self.bar.update()

    async def _attempts(self, key: str, request: Request) -> Reply | Refusal | None:
        """The result, or None where the round was stopped before there was one."""
        engine, passing, overloads = self.engine, 0, 0
        while True:
            try:
                return await self._attempt(key, request)
            except BudgetExhausted as error:
                return self._stop(error)
            except ImageError as error:
                return Refusal(error.reason, error.detail)
            except Failure as failure:
                engine.transcripts.fail(key, failure.reason, failure.detail, for_good=failure.kind == "row")
                passing += failure.kind == "passing"
                overloads += failure.kind == "overload"
                down = failure.kind == "overload" and engine.gate.failed_windows >= engine.max_attempts
                if failure.kind == "fatal" or down:
                    return self._stop(TeacherUnavailable(_unavailable(engine, f"{failure.reason}: {failure.detail}")))
                if failure.kind == "row":
                    return self._refused(failure)
                if passing == engine.max_attempts or overloads == OVERLOADS * engine.max_attempts:
                    return self._given_up(failure, passing + overloads)
                if failure.kind == "passing":
                    await engine.sleep(backoff(passing - 1, engine.rng))

    def _refused(self, failure: Failure) -> Refusal:
        if failure.reason == "refused by the service":
            self._count_failure(failure)
        return Refusal(failure.reason, failure.detail)

    def _given_up(self, failure: Failure, attempts: int) -> Refusal:
        self.failed_in_a_row += 1
        self._count_failure(failure)
        return Refusal(GIVEN_UP, f"after {attempts} attempts: {failure.reason}: {failure.detail}")

    async def _attempt(self, key: str, request: Request) -> Reply | Refusal:
        """One request on the wire. Raises what it ended with instead of a response."""
        engine = self.engine
        reserved = engine.budget.reserve(request)
        estimated = engine.budget.estimated_tokens(request) + request.max_tokens
        window = None
        try:
            await engine.bucket.take(estimated)
            window = await engine.gate.enter()
            return await self._sent(key, request, window, estimated)
        finally:
            engine.budget.release(reserved)
            if window is not None:
                engine.gate.leave(window)

    async def _sent(self, key: str, request: Request, window: int, estimated: int) -> Reply | Refusal:
        engine, task = self.engine, asyncio.current_task()
        self.under_way.add(task)
        engine.spent += Spent(calls=1)
        try:
            body = await engine.transport.send(request)
        except Failure as failure:
            if failure.kind == "overload":
                engine.gate.close(window, failure.retry_after)
            elif failure.kind == "row":
                engine.gate.open(window)
            raise
        finally:
            self.under_way.discard(task)
        engine.gate.open(window)
        result = read_reply(body, request)
        engine.bucket.settle(estimated, result.prompt_tokens + result.completion_tokens)
        return self._kept(key, request, result)

    def _kept(self, key: str, request: Request, result: Reply | Rejected) -> Reply | Refusal:
        engine = self.engine
        usd = engine.budget.cost(result)
        engine.spent += Spent(prompt_tokens=result.prompt_tokens, completion_tokens=result.completion_tokens, usd=usd)
        if isinstance(result, Rejected):
            engine.transcripts.fail(key, result.reason, result.detail, usd=usd, for_good=True)
            if result.reason == "no reply":
                raise Failure("passing", result.reason, result.detail)
            return Refusal(result.reason, result.detail)
        engine.transcripts.add(key, request.to_dict(engine.service), result, usd)
        self.answered += 1
        self.failed_in_a_row = 0
        return result

    def _count_failure(self, failure: Failure) -> None:
        self.failed += 1
        many = self.failed + self.answered >= MANY_FAILED and self.failed >= FAILED_SHARE * (
            self.failed + self.answered
        )
        if many or self.failed_in_a_row >= self.engine.max_failed_in_a_row:
            count = f"{self.failed} of {self.failed + self.answered} requests failed, the last with"
            self._stop(TeacherUnavailable(_unavailable(self.engine, f"{count} {failure.reason}: {failure.detail}")))

    def _stop(self, error: Exception) -> None:
        """Send nothing more; what is on the wire is paid for, and is waited for and kept."""
        if self.stopped is None:
            self.stopped = error
            for task in self.tasks:
                if task not in self.under_way and task is not asyncio.current_task():
                    task.cancel()


class _Loop:
    """An event loop in a thread of its own, so that questions can be asked from a notebook's loop too."""

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
        """End what litellm still runs beside the requests, and the thread."""
        with contextlib.suppress(TimeoutError, concurrent.futures.CancelledError):
            asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result(timeout=5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)


@functools.cache
def _loop() -> _Loop:
    """One for the process: litellm keeps its connections by loop."""
    loop = _Loop()
    atexit.register(loop.close)
    return loop


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _unavailable(engine: Engine, detail: str) -> str:
    kept = engine.transcripts.num_replies()
    return f"teacher.model {engine.service.model}: {detail} ({kept} replies are kept; run again to go on)"


def _not_recorded(request: Request, count: int, transcripts: Transcripts) -> str:
    text = request.text if len(request.text) <= 400 else f"{request.text[:100]} [...] {request.text[-300:]}"
    picture = f" with picture {request.image}" if request.image else ""
    return (
        f"teacher=replay: {transcripts.folder} holds no reply to {count} requests, the first one{picture} "
        f"(max_tokens {request.max_tokens}, temperature {request.temperature}): {text!r}"
    )


def _so_far(spent: Spent) -> str:
    return "" if spent.usd is None else f"{spent.usd:.4f} USD"


def note(line: str) -> None:
    """A line for the user, beside the progress bars."""
    print(f"teacher: {line}", file=sys.stderr)
