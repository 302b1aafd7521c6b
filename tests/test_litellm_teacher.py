"""The API teacher against a server on loopback: what it reads, what it sends again, what it refuses."""

import json
import math
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from delamo.models.litellm_teacher import LiteLLMTeacher, TeacherUnavailable, read_options
from delamo.models.teacher import PrefixPrompt, Refusal


def reply(content="B", finish="stop", top=(("A", -1.0), (" B", -0.7))):
    entry = {"token": content, "logprob": -0.1, "bytes": None}
    listed = [{"token": token, "logprob": logprob, "bytes": None} for token, logprob in top]
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content}}
    choice["logprobs"] = {"content": [{**entry, "top_logprobs": listed}]} if top else None
    usage = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
    body = {"id": "x", "object": "chat.completion", "created": 0, "model": "fake", "choices": [choice], "usage": usage}
    return 200, {}, body


def failure(status, message="no", code=None, **headers):
    return status, headers, {"error": {"message": message, "type": "invalid_request_error", "code": code}}


class Service:
    """Answers from a script; the last answer repeats."""

    def __init__(self):
        self.script, self.requests = [reply()], []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                service.requests.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                status, headers, body = service.script.pop(0) if len(service.script) > 1 else service.script[0]
                data = json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"content-type": "application/json", "content-length": len(data), **headers}.items():
                    self.send_header(name.replace("_", "-"), str(value))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server.server_port}/v1"


@pytest.fixture
def service():
    made = Service()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def teacher(service, monkeypatch):
    monkeypatch.setenv("FAKE_KEY", "not-a-key")
    waits = []
    made = LiteLLMTeacher(
        "openai/fake",
        api_base=service.address,
        api_key_env="FAKE_KEY",
        prompts="paper",
        wait=waits.append,
        timeout_s=10,
    )
    return made, waits


PROMPT = PrefixPrompt("Q", (" One.",), "\nThe answer is", 2)


def test_spellings_count_together_and_a_missing_letter_is_unlikely_not_impossible():
    row, outside = read_options(
        [("A", math.log(0.5)), (" A", math.log(0.2)), ("(B", math.log(0.1)), ("The", math.log(0.1))], 3
    )
    assert row[0] / row[1] == pytest.approx(7)
    assert 0 < row[2] <= row[1] and sum(row) == pytest.approx(1)
    assert outside == pytest.approx(0.1)
    assert all(p > 0 for p in read_options([("A", 0.0), (" (B)", -9999.0)], 3)[0])  # nothing is left to share out


def test_probabilities_after_every_prefix(service, teacher):
    service.script = [reply(finish="length")]  # one token was asked for, so this is how it ends
    (result,) = teacher[0].option_probabilities([PROMPT])
    expected = math.exp(-1) / (math.exp(-1) + math.exp(-0.7))
    assert [row[0] for row in result.probabilities] == pytest.approx([expected] * 2)
    assert [r["messages"][0]["content"] for r in service.requests] == ["Q\nThe answer is", "Q One.\nThe answer is"]
    assert all(r["logprobs"] and r["top_logprobs"] == 20 and r["temperature"] == 0 for r in service.requests)


def test_equal_prompts_are_sent_once(service, teacher):
    service.script = [reply("read a scale", top=())]
    assert teacher[0].complete(["one", "two", "one"], max_new_tokens=9) == ["read a scale"] * 3
    assert len(service.requests) == 2


def test_the_service_says_how_long_to_wait(service, teacher):
    service.script = [failure(429, retry_after=7), failure(500), reply("skill", top=())]
    made, waits = teacher
    assert made.complete(["one"], max_new_tokens=9) == ["skill"]
    assert waits[0] == 7 and 1 <= waits[1] <= 4 and len(service.requests) == 3


@pytest.mark.parametrize("unusable", ["-1", "nan", "soon"])
def test_an_unusable_wish_to_wait_is_replaced_by_our_own(service, teacher, unusable):
    service.script = [failure(429, retry_after=unusable), reply("skill", top=())]
    assert teacher[0].complete(["one"], max_new_tokens=9) == ["skill"]
    assert 1 <= teacher[1][0] <= 2


def test_a_service_that_stays_down_is_given_up(service, teacher):
    made, waits = teacher
    made.max_attempts, service.script = 3, [failure(503)]
    with pytest.raises(TeacherUnavailable, match="503"):
        made.complete(["one"], max_new_tokens=9)
    assert len(service.requests) == 3 and len(waits) == 2


@pytest.mark.parametrize(
    "failing",
    [
        failure(400),
        failure(401),
        failure(404),
        failure(429, "You exceeded your current quota, please check your plan.", "insufficient_quota"),
        failure(429, retry_after=86_400),
    ],
)
def test_what_will_not_pass_is_not_sent_again(service, teacher, failing):
    service.script = [failing]
    with pytest.raises(TeacherUnavailable, match="openai/fake"):
        teacher[0].complete(["one"], max_new_tokens=9)
    assert len(service.requests) == 1 and teacher[1] == []


@pytest.mark.parametrize(
    ("failing", "reason"),
    [
        (failure(400, "This model's maximum context length is 8 tokens.", "context_length_exceeded"), "too long"),
        (failure(400, "Rejected by our safety system: content_policy_violation"), "content filter"),
    ],
)
def test_a_prompt_that_the_service_will_not_take_is_refused_alone(service, teacher, failing, reason):
    service.script = [failing, reply("skill", top=())]
    refused, skill = teacher[0].complete(["one", "two"], max_new_tokens=9)
    assert isinstance(refused, Refusal) and (refused.reason, skill) == (reason, "skill")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(reply("", top=()), "empty reply"), (reply("half a sk", finish="length", top=()), "reply cut off")],
)
def test_half_replies_are_refused(service, teacher, answer, reason):
    service.script = [answer]
    (result,) = teacher[0].complete(["one"], max_new_tokens=9)
    assert isinstance(result, Refusal) and result.reason == reason


def test_a_reply_without_log_probabilities_is_refused(service, teacher):
    service.script = [reply(top=())]
    (result,) = teacher[0].option_probabilities([PROMPT])
    assert isinstance(result, Refusal) and result.reason == "no log-probabilities"


def test_an_empty_key_variable_is_named(teacher, monkeypatch):
    monkeypatch.delenv("FAKE_KEY")
    with pytest.raises(TeacherUnavailable, match="FAKE_KEY"):
        teacher[0].complete(["one"], max_new_tokens=9)
