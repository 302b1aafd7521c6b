"""Batch files in OpenAI's format: half the price, within a day.

Requests are written for upload, completions read from the service's output.

    batches/in/000001.jsonl     {"custom_id", "method", "url", "body"}, at most 50,000 requests and 200 MB a file
    batches/out/*.jsonl         output and error files of the service, under any name:
                                {"id", "custom_id", "response": {"status_code", "request_id", "body"}, "error"}

A request is in one file at a time. Expired and overloaded ones go into a new file; one that would fail again is
refused. Deleting an input file takes its requests back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from delamo.config.secrets import redact
from delamo.data.images import ImageError
from delamo.models.api.budget import BudgetExhaustedError
from delamo.models.api.client import ApiClient
from delamo.models.api.requests import Rejected, Request, read_completion
from delamo.models.api.retries import OVERLOADED, TRANSIENT
from delamo.models.api.transcripts import Transcripts
from delamo.models.teachers.config import Api
from delamo.models.usage import Usage
from delamo.store import file_digest

MAX_REQUESTS, MAX_BYTES = 50_000, 200_000_000  # of one file, by OpenAI and Azure
URLS = {Api.chat: "/v1/chat/completions", Api.completions: "/v1/completions"}
RETRIED_STATUSES = OVERLOADED | TRANSIENT | {200}  # 200 with an error
RETRIED_CODES = frozenset({"batch_expired", "batch_cancelled"})
PLAIN = Request(text="", max_tokens=1)  # only plain completions go into batches: an answer is read as one


class BatchPendingError(ValueError):
    """Batch files wait for upload, or for their output."""


@dataclass(slots=True)
class Batches:
    """The batch files of one service."""

    client: ApiClient
    max_requests: int = MAX_REQUESTS
    max_bytes: int = MAX_BYTES
    _folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self._folder = self.transcripts.folder / "batches"
        for name in ("in", "out"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)

    @property
    def transcripts(self) -> Transcripts:
        """Where completions are kept, and which request waits in which file."""
        return self.client.transcripts

    @property
    def url(self) -> str:
        """The endpoint that a batch is made for."""
        return URLS[self.client.service.api]

    def fetch(self, requests: Iterable[Request], *, total: int | None = None) -> None:
        """Return when every request is answered or refused for good; until then, say which files to upload.

        Args:
            requests: to answer.
            total: how many there are, for the progress bar.

        Raises:
            BatchPendingError: some are not answered yet; new requests have been written to files.
            BudgetExhaustedError: the next file would cost more than the cap allows.
        """
        self._take_back_deleted()
        self._read_back()
        self._write(self._unanswered(requests, total))
        if waiting := self.transcripts.queued_files():
            raise BatchPendingError(_advice(self._folder, waiting, self.url))

    def _take_back_deleted(self) -> None:
        for file in self.transcripts.queued_files():
            if not (self._folder / "in" / file).is_file():
                self.transcripts.unqueue(file)

    def _read_back(self) -> None:
        """Enter the output files; one that was read before is known by its bytes."""
        for file in sorted((self._folder / "out").glob("*.jsonl")):
            digest = file_digest(file)
            if self.transcripts.fact(f"batch output {file.name}") == digest:
                continue
            with (
                file.open("rb") as stream,
                tqdm(total=file.stat().st_size, desc=f"read {file.name}", delay=5, unit="B", unit_scale=True) as bar,
            ):
                for number, line in enumerate(stream, start=1):
                    if line.strip():
                        self._enter(_parsed(line, file, number))
                    bar.update(len(line))
            self.transcripts.set_fact(f"batch output {file.name}", digest)

    def _enter(self, row: dict[str, Any]) -> None:
        """Enter the output of one request. A failure counts for a request that is waited for, and once."""
        key, response, error = row["custom_id"], row.get("response") or {}, row.get("error") or {}
        status, body = response.get("status_code"), response.get("body") or {}
        file = self.transcripts.queued(key)
        if error or status != 200:
            if file is not None:
                detail = redact(json.dumps(error or body, ensure_ascii=False))[:300]
                again = error.get("code") in RETRIED_CODES or status in RETRIED_STATUSES
                reason = error.get("code") or _reason(body) or f"status {status}"
                self.transcripts.fail(key, reason, detail, for_good=not again)
            return
        result = read_completion(body, PLAIN)
        usd = self.client.budget.cost(result, batch=True)
        if self.transcripts.get(key) is not None:
            return
        tokens = {"prompt_tokens": result.prompt_tokens, "completion_tokens": result.completion_tokens}
        self.client.usage += Usage(calls=1, usd=usd, **tokens)
        if isinstance(result, Rejected):
            self.transcripts.fail(key, result.reason, result.detail, usd=usd, for_good=True)
        else:
            self.transcripts.add(key, {"batch": file}, result, usd)

    def _unanswered(self, requests: Iterable[Request], total: int | None) -> Iterator[tuple[str, Request]]:
        """Yield the requests that have neither a completion nor a refusal, and wait in no file."""
        with tqdm(total=total, desc="look up replies", delay=5, unit="request") as bar:
            for request in requests:
                bar.update()
                try:
                    key = request.key(self.client.service)
                except ImageError:
                    continue  # refused when it is asked
                transcripts = self.transcripts
                if not (transcripts.get(key) or transcripts.refusal(key) or transcripts.queued(key)):
                    yield key, request

    def _write(self, unanswered: Iterable[tuple[str, Request]]) -> None:
        """Write new input files.

        A request is recorded as queued before its file is there, so that a kill leaves none in two files.
        """
        names = self._names()
        lines: dict[str, bytes] = {}
        size, most_usd = 0, 0.0
        for key, request in unanswered:
            if key in lines:
                continue
            line = self._line(key, request)
            if lines and (len(lines) == self.max_requests or size + len(line) > self.max_bytes):
                self._write_file(next(names), lines)
                lines, size = {}, 0
            most_usd += self._most_usd(request)
            self._check_budget(most_usd)
            lines[key] = line
            size += len(line)
        if lines:
            self._write_file(next(names), lines)

    def _line(self, key: str, request: Request) -> bytes:
        row = {"custom_id": key, "method": "POST", "url": self.url, "body": self.client.transport.body(request)}
        return (json.dumps(row, ensure_ascii=False) + "\n").encode()

    def _names(self) -> Iterator[str]:
        taken = [int(file.stem) for file in (self._folder / "in").glob("[0-9]*.jsonl")]
        taken += [int(Path(file).stem) for file in self.transcripts.queued_files()]
        number = max(taken, default=0)
        while True:
            number += 1
            yield f"{number:06d}.jsonl"

    def _write_file(self, name: str, lines: dict[str, bytes]) -> None:
        self.transcripts.queue(lines, name)
        path = self._folder / "in" / name
        draft = path.with_name(f".{name}.tmp")
        with draft.open("wb") as file:
            file.writelines(lines.values())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)

    def _most_usd(self, request: Request) -> float:
        prices, tokens = self.client.budget.prices, self.client.budget.estimated_tokens(request)
        return prices.cost(tokens, request.max_tokens, batch=True) if prices else 0.0

    def _check_budget(self, most_usd: float) -> None:
        paid, cap = self.client.budget.paid(), self.client.budget.max_usd
        if cap is not None and paid + most_usd > cap:
            raise BudgetExhaustedError(
                f"teacher.max_usd is {cap:g}: {paid:.2f} USD are spent, and the new batch files would cost about "
                f"{most_usd:.2f} or more. Those in {self._folder / 'in'} are within the cap; raise teacher.max_usd to "
                "go on"
            )


def _parsed(line: bytes, file: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
        row["custom_id"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file}:{number} is no line of a batch output ({error}): download the file again") from error
    return row


def _reason(body: dict[str, Any]) -> str | None:
    code = (body.get("error") or {}).get("code")
    return {"context_length_exceeded": "too long", "content_policy_violation": "content filter"}.get(code, code)


def _advice(folder: Path, waiting: dict[str, int], url: str) -> str:
    files = "".join(f"\n  {folder / 'in' / name}  ({count} requests)" for name, count in waiting.items())
    return (
        f"teacher.mode is batch, and {sum(waiting.values())} requests have no answer yet. Upload these files as "
        f"batches (purpose `batch`, endpoint {url}, completion window 24h):{files}\n"
        f"then put the output and error files into {folder / 'out'} under any name ending in .jsonl, and run the same "
        "command again"
    )
