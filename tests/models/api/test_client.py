"""The client against a service on loopback: how often it asks, when, what it pays, and what it keeps."""

import asyncio
import json
import sqlite3
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from support.fake_service import FREE, RESET, Clock, FakeService, ask, failure, make_client, reply

from delamo.models.api.budget import BudgetExhaustedError, Prices
from delamo.models.api.client import NotRecordedError
from delamo.models.api.requests import Completion
from delamo.models.api.transcripts import DATABASE, LOG, Transcripts
from delamo.models.api.transport import TeacherUnavailableError
from delamo.models.teachers.base import Refusal

CANARY = "sk-canary0123456789abcdefgh"


@pytest.fixture
def service(monkeypatch):
    monkeypatch.setenv("FAKE_KEY", CANARY)
    made = FakeService()
    yield made
    made.close()


@pytest.fixture
def clock():
    return Clock()


TRANSIENT = {
    "a limit": failure(429, retry_after=7),
    "overload": failure(503),
    "an error": failure(500),
    "a gateway": failure(502),
    "no JSON": (200, {}, b"<html>"),
    "a reset": RESET,
    "no choice": reply(choices=0),
}


@pytest.mark.parametrize("what", TRANSIENT)
def test_what_passes_is_sent_again_once_for_each_failure(service, tmp_path, clock, what):
    service.script = [TRANSIENT[what], TRANSIENT[what], reply("skill")]
    (result,) = ask(make_client(service, tmp_path, clock=clock), "one")
    assert result.text == "skill" and len(service.requests) == 3
    waits = [wait for wait in clock.waits if wait > 0]
    if what == "a limit":
        assert waits == [7, 7]
    elif what != "no choice" or waits:
        assert 1 <= waits[0] <= 2 and 2 <= waits[1] <= 4


@pytest.mark.parametrize("unusable", ["-1", "nan", "soon", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_an_unusable_wish_to_wait_is_replaced_by_our_own(service, tmp_path, clock, unusable):
    service.script = [failure(429, retry_after=unusable), reply("skill")]
    ask(make_client(service, tmp_path, clock=clock), "one")
    assert len(service.requests) == 2 and 1 <= max(clock.waits) <= 2


def test_a_wish_to_wait_may_be_a_date(service, tmp_path, clock):
    from email.utils import format_datetime

    def in_five_minutes():
        return failure(429, retry_after=format_datetime(datetime.now(UTC) + timedelta(minutes=5), usegmt=True))

    service.script = [in_five_minutes, reply("skill")]
    ask(make_client(service, tmp_path, clock=clock), "one")
    assert 240 <= max(clock.waits) <= 300


def test_a_reply_that_does_not_come_in_time_is_asked_for_again(service, tmp_path, clock):
    """The second reply comes at once, and has three seconds for it: a busy machine does not make it a third."""
    service.script = [8.0, reply("skill")]
    (result,) = ask(make_client(service, tmp_path, clock=clock, timeout_s=3), "one")
    assert result.text == "skill" and len(service.requests) == 2


@pytest.mark.parametrize(
    "answer",
    [
        failure(400),
        failure(401),
        failure(402),
        failure(403),
        failure(404),
        failure(429, "You exceeded your current quota, please check your plan.", "insufficient_quota"),
        failure(429, retry_after=86_400),
    ],
)
def test_what_will_not_pass_is_sent_once(service, tmp_path, clock, answer):
    service.script = [answer]
    with pytest.raises(TeacherUnavailableError, match="openai/fake"):
        ask(make_client(service, tmp_path, clock=clock), "one")
    assert len(service.requests) == 1 and not any(clock.waits)


def test_a_service_that_stays_down_is_given_up(service, tmp_path, clock):
    service.script = [failure(503)]
    with pytest.raises(TeacherUnavailableError, match="503"):
        ask(make_client(service, tmp_path, clock=clock, max_attempts=3), "one")
    assert len(service.requests) == 3


def test_the_breaker_stops_after_so_many_requests_given_up_in_a_row(service, tmp_path, clock):
    service.script = [failure(500)]
    client = make_client(service, tmp_path, clock=clock, concurrency=1, max_attempts=2, max_failed_in_a_row=3)
    with pytest.raises(TeacherUnavailableError, match="3 of 3"):
        ask(client, *map(str, range(50)))
    assert len(service.requests) == 6


def test_overload_is_nobodys_fault(service, tmp_path, clock):
    """Two of three requests are turned away: they wait, and each is answered in the end."""
    service.script = lambda number, body: failure(429) if number % 3 else reply()
    client = make_client(service, tmp_path, clock=clock, concurrency=4)
    assert all(isinstance(result, Completion) for result in ask(client, *map(str, range(20))))


def test_a_request_that_alone_passes_the_limit_is_refused_alone(service, tmp_path, clock):
    large = failure(429, "Request too large for gpt-4o on tokens per min (TPM): Limit 30000", "rate_limit_exceeded")
    always = failure(429)
    service.script = lambda number, body: (
        large if "large" in str(body["messages"]) else always if "always" in str(body["messages"]) else reply()
    )
    client = make_client(service, tmp_path, clock=clock, concurrency=1, max_attempts=2)
    results = ask(client, "one", "large", "three")
    assert [getattr(one, "reason", None) for one in results] == [None, "too long", None]
    assert len(service.requests) == 3


def test_one_bad_row_ends_no_job(service, tmp_path, clock):
    service.script = lambda number, body: failure(400) if "bad" in str(body["messages"]) else reply("good")
    results = ask(make_client(service, tmp_path, clock=clock), "one", "bad", "three")
    assert [isinstance(one, Refusal) for one in results] == [False, True, False]
    assert results[1].reason == "refused by the service" and len(service.requests) == 3


def test_a_wish_to_wait_is_granted_to_ten_percent_and_one_probe_goes_ahead(service, tmp_path):
    """Eight workers, all turned away at first; the service is busy for three windows of 0.4 s.

    Never early, in any attempt. Late by a tenth at most in the best of six: what a busy machine adds is not the
    client's.
    """
    client = make_client(service, tmp_path, concurrency=8)
    ask(client, *(f"warm {i}" for i in range(8)))  # connections and imports take their time once
    latest = []
    while len(latest) < 6 and min(latest, default=1) > 0.44:
        service.requests.clear(), service.times.clear()
        together = threading.Barrier(8)

        def turned_away(number, body, together=together):
            busy = failure(429, retry_after=0.4)
            if number < 8:
                return lambda: (together.wait(30), busy)[1]
            return busy if number < 8 + 2 else reply()

        service.script = turned_away
        results = ask(client, *(f"{len(latest)} {i}" for i in range(20)))
        assert all(isinstance(result, Completion) for result in results)
        assert len(service.requests) == 20 + 8 + 2
        last_of_burst, probes = service.times[7], service.times[8:11]
        gaps = [b - a for a, b in zip([last_of_burst, *probes], probes, strict=False)]
        assert min(gaps) >= 0.4, gaps
        latest.append(max(gaps[1:]))  # reading eight replies at once takes a while; it lies in the first gap
    assert min(latest) <= 0.44, latest
    assert client.usage.calls == 8 + 30 * len(latest)


def test_equal_requests_are_sent_once_and_never_again(service, tmp_path):
    client = make_client(service, tmp_path)
    assert len({id(one) for one in ask(client, "one", "two", "one")}) == 2
    assert len(service.requests) == 2
    ask(make_client(service, tmp_path), "two", "one")
    again = make_client(service, tmp_path)
    ask(again, "one")
    assert len(service.requests) == 2 and (again.usage.calls, again.usage.cached) == (0, 1)


def test_workers_share_the_semaphore(service, tmp_path):
    """No answer is given before four requests are there: so four go out together, and never a fifth."""
    four, lock, there, most = threading.Barrier(4), threading.Lock(), [0], [0]

    def together():
        with lock:
            there[0] += 1
            most[0] = max(most[0], there[0])
        four.wait(30)
        time.sleep(0.05)  # a fifth would come now
        with lock:
            there[0] -= 1
        return reply()

    service.script = [together]
    ask(make_client(service, tmp_path, concurrency=4, timeout_s=60), *map(str, range(12)))
    assert most == [4] and len(service.requests) == 12


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (reply(""), "empty reply"),
        (reply("half a sk", finish="length"), "reply cut off"),
        (reply("x", finish="content_filter"), "content filter"),
        (reply("x", finish="tool_calls"), "reply cut off"),
    ],
)
def test_a_reply_that_is_not_whole_is_a_failed_attempt_and_no_hit(service, tmp_path, answer, reason):
    service.script = [answer]
    client = make_client(service, tmp_path, prices=Prices(0.1, 1.0))
    for count in (1, 2):
        (result,) = ask(client, "one")
        assert isinstance(result, Refusal) and result.reason == reason and len(service.requests) == count
    rows = sqlite3.connect(tmp_path / DATABASE).execute("SELECT reason, usd FROM attempts").fetchall()
    assert rows == [(reason, 1.5)] * 2 and client.transcripts.paid == client.usage.usd == 3.0


def test_a_reply_without_log_probabilities_is_no_reply_where_they_were_asked_for(service, tmp_path):
    (result,) = ask(make_client(service, tmp_path), "one", top_logprobs=20)
    assert result.reason == "no log-probabilities"


def test_the_cap_is_not_passed(service, tmp_path):
    """A call may cost 3 prompt tokens at most (one a byte) and 2 of the reply, and costs 2 + 1: at 1 USD each."""
    service.script = [reply("skill", tokens=(2, 1))]
    client = make_client(service, tmp_path, prices=Prices(1.0, 1.0), max_usd=11.0, concurrency=4)
    with pytest.raises(BudgetExhaustedError, match="max_usd is 11"):
        ask(client, *(f"r{i:02}" for i in range(10)), max_tokens=2)
    assert client.transcripts.paid == 3 * len(service.requests) <= 11.0 and len(service.requests) >= 2
    before = len(service.requests)
    ask(make_client(service, tmp_path, prices=Prices(1.0, 1.0), max_usd=11.0), "r00", max_tokens=2)
    assert len(service.requests) == before  # what is there costs nothing


def test_a_cap_needs_a_known_price(service, tmp_path):
    with pytest.raises(ValueError, match="input_usd_per_million"):
        make_client(service, tmp_path, prices=None, max_usd=1.0)
    client = make_client(service, tmp_path, prices=None)
    ask(client, "one")
    assert client.usage.usd is None


def test_a_damaged_store_is_set_aside_and_rebuilt(service, tmp_path):
    client = make_client(service, tmp_path)
    ask(client, *map(str, range(30)))
    client.transcripts.close()
    data = bytearray((tmp_path / DATABASE).read_bytes())
    data[5000:9000] = b"\0" * 4000
    (tmp_path / DATABASE).write_bytes(data)
    with pytest.warns(UserWarning, match="damaged"):
        client = make_client(service, tmp_path)
    assert all(isinstance(result, Completion) for result in ask(client, *map(str, range(30))))
    assert len(service.requests) == 30 and list(tmp_path.glob("*damaged*"))


def test_a_row_that_a_kill_left_in_the_log_alone_is_entered_and_a_torn_one_is_cut(service, tmp_path):
    client = make_client(service, tmp_path)
    ask(client, "one", "two")
    client.transcripts.close()
    log = (tmp_path / LOG).read_bytes()
    (tmp_path / DATABASE).unlink()
    (tmp_path / LOG).write_bytes(log + b'{"key": "torn", "rep')
    again = make_client(service, tmp_path)
    ask(again, "one", "two")
    assert len(service.requests) == 2 and (tmp_path / LOG).read_bytes() == log
    ask(again, "three")
    assert len((tmp_path / LOG).read_bytes().splitlines()) == 3


def test_a_log_damaged_in_the_middle_is_an_error(service, tmp_path):
    client = make_client(service, tmp_path)
    ask(client, "one")
    client.transcripts.close()
    (tmp_path / DATABASE).unlink()
    (tmp_path / LOG).write_bytes(b"{torn\n" + (tmp_path / LOG).read_bytes())
    with pytest.raises(ValueError, match="damaged line"):
        Transcripts(tmp_path)


def test_on_a_full_disk_nothing_more_is_sent_and_the_store_stays_whole(service, tmp_path, monkeypatch):
    from delamo.models.api import transcripts

    append, written = transcripts._append, []

    def full(log, line):
        written.append(line)
        if len(written) > 3:
            log.write(line[: len(line) // 2])
            log.truncate(log.seek(0, 2) - len(line) // 2)
            raise OSError(28, "No space left on device")
        append(log, line)

    monkeypatch.setattr(transcripts, "_append", full)
    client = make_client(service, tmp_path, concurrency=2)
    with pytest.raises(OSError, match="No space left"):
        ask(client, *map(str, range(50)))
    assert len(service.requests) <= 3 + 2
    monkeypatch.setattr(transcripts, "_append", append)
    before = len(service.requests)
    assert all(isinstance(result, Completion) for result in ask(make_client(service, tmp_path), *map(str, range(10))))
    assert len(service.requests) == before + 7


def test_two_processes_may_write(service, tmp_path):
    one, other = make_client(service, tmp_path), make_client(service, tmp_path)
    ask(one, "one")
    ask(other, "two")
    ask(one, "two", "three")
    assert len(service.requests) == 3 and len((tmp_path / LOG).read_text().splitlines()) == 3


def test_the_key_is_sent_and_stands_in_no_file_and_no_message(service, tmp_path):
    service.script = [failure(401, f"Incorrect API key provided: {CANARY}")]
    with pytest.raises(TeacherUnavailableError, match="FAKE_KEY") as caught:
        ask(make_client(service, tmp_path), "one")
    assert {name.lower(): value for name, value in service.headers[0].items()}["authorization"] == f"Bearer {CANARY}"
    assert CANARY not in str(caught.value)
    assert all(CANARY.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_an_empty_key_variable_is_named(service, tmp_path, monkeypatch):
    monkeypatch.delenv("FAKE_KEY")
    with pytest.raises(TeacherUnavailableError, match="FAKE_KEY"):
        ask(make_client(service, tmp_path), "one")
    assert service.requests == []


def test_it_works_inside_a_running_loop(service, tmp_path):
    async def notebook():
        return ask(make_client(service, tmp_path), "one")

    assert isinstance(asyncio.run(notebook())[0], Completion)


def test_what_was_not_recorded_is_named_and_nothing_is_sent(service, tmp_path):
    ask(make_client(service, tmp_path), "one")
    replay = make_client(service, tmp_path, replay=True)
    assert ask(replay, "one")[0].text == "B"
    with pytest.raises(NotRecordedError, match=r"no reply to 1 requests.*'two'"):
        ask(replay, "one", "two")
    assert len(service.requests) == 1


def test_a_log_line_holds_the_request_in_full(service, tmp_path):
    ask(make_client(service, tmp_path, prices=FREE), "one")
    (row,) = map(json.loads, (tmp_path / LOG).read_text().splitlines())
    assert row["request"]["text"] == "one" and row["request"]["service"]["model"] == "openai/fake"
    assert row["reply"]["text"] == "B" and row["usd"] == 0
