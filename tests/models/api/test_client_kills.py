"""Killed at random, again and again: no completion is lost, and none but those on the wire is paid for twice."""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from support.fake_service import service_named

from delamo.models.api.requests import Completion, Request
from delamo.models.api.transcripts import LOG, Transcripts

CALLS, AT_ONCE, KILLS = 300, 8, 12
SERVICE = service_named("m")
AT_MOST = 24  # replies of a process that will be killed: so there is always something left for the next one
WORKER = """
import asyncio, json, sys
from pathlib import Path
from delamo.models.api.budget import Budget, Prices
from delamo.models.api.client import ApiClient
from delamo.models.api.limits import RateLimiter
from delamo.models.api.requests import Request, Service
from delamo.models.api.transcripts import Transcripts

folder, bill = Path(sys.argv[1]), open(sys.argv[2], "a", buffering=1)
calls, at_once, at_most = map(int, sys.argv[3:6])
service = Service.from_dict(json.loads(sys.argv[6]))

class Paid:
    sent = 0

    async def send(self, request):
        bill.write(request.text + "\\n")
        self.sent += 1
        await asyncio.sleep(0.02 if self.sent <= at_most else 3600)
        choice = {"finish_reason": "stop", "message": {"content": "reply to " + request.text}}
        return {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}

transcripts, budget = Transcripts(folder), Budget(Prices(1, 1), None, lambda: 0.0, tokens_per_image=0)
options = {"concurrency": at_once, "max_attempts": 6}
client = ApiClient(service, transcripts, Paid(), budget, RateLimiter(None, None), **options)
print("open", flush=True)
client.ask([Request(text=str(i), max_tokens=9) for i in range(calls)], label="ask")
"""


def start(tmp_path, at_most):
    """A process that asks for all replies, and waits for ever after `at_most` of them."""
    arguments = [tmp_path / "t", tmp_path / "bill", CALLS, AT_ONCE, at_most, json.dumps(SERVICE.to_dict())]
    command = [sys.executable, "-c", WORKER, *map(str, arguments)]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])
    assert worker.stdout.readline() == "open\n"
    return worker


def test_kills_lose_nothing_and_cost_what_was_on_the_wire(tmp_path):
    rng = random.Random(0)
    for _ in range(KILLS):
        worker = start(tmp_path, AT_MOST)
        time.sleep(rng.uniform(0.0, 0.12))
        worker.send_signal(signal.SIGKILL)
        assert worker.wait() == -signal.SIGKILL
    assert 0 < Transcripts(tmp_path / "t").num_replies() <= KILLS * AT_MOST < CALLS
    assert start(tmp_path, CALLS).wait() == 0
    bill = Counter((tmp_path / "bill").read_text().split())
    assert set(bill) == {str(i) for i in range(CALLS)}
    assert sum(bill.values()) - CALLS <= KILLS * AT_ONCE
    transcripts = Transcripts(tmp_path / "t")
    assert transcripts.num_replies() == CALLS == len((tmp_path / "t" / LOG).read_bytes().splitlines())
    for i in range(CALLS):
        completion = transcripts.get(Request(text=str(i), max_tokens=9).key(SERVICE))
        assert isinstance(completion, Completion) and completion.text == f"reply to {i}"
    assert transcripts.paid == 2 * CALLS
