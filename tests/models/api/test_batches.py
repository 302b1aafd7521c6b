"""Batch files in the format that OpenAI documents: what is written, what is read back, and what is asked again."""

import json
from dataclasses import replace

import pytest
from support.configs import experiment_config
from support.fake_service import FakeService, make_client

from delamo.models.api.batches import Batches, BatchPendingError
from delamo.models.api.budget import BudgetExhaustedError, Prices
from delamo.models.teachers.config import TeacherMode
from delamo.models.teachers.litellm import LiteLLMTeacher
from delamo.models.usage import UsageMeter
from delamo.records import Sample
from delamo.stages.skills import annotate_pool, prepare_pool

PRICES = Prices(0.01, 0.1)
CONFIG = experiment_config("teacher=litellm", "teacher.model=openai/fake", "teacher.prompts=micro").teacher
BATCH = replace(CONFIG, mode=TeacherMode.batch)


class ListPool(list):
    """A pool of a few samples."""

    def ids(self):
        return [sample.id for sample in self]

    def get(self, id):
        return next(sample for sample in self if sample.id == id)


def pool(size=5):
    return ListPool(
        Sample(id=f"p{i}", instruction=f"Look {i}.", answer="Yes.", image="micro:pool/0/1") for i in range(size)
    )


@pytest.fixture
def service(monkeypatch):
    monkeypatch.setenv("FAKE_KEY", "not-a-key")
    made = FakeService()
    yield made
    made.close()


@pytest.fixture
def teacher(service, tmp_path):
    return LiteLLMTeacher(make_client(service, tmp_path, prices=PRICES), BATCH)


def prepare(teacher, samples):
    prepare_pool(samples, teacher, max_new_tokens=16)


def written(tmp_path):
    return {
        file.name: [*map(json.loads, file.read_text().splitlines())]
        for file in sorted((tmp_path / "batches/in").glob("*"))
    }


def succeeded(custom_id, text="count things; read a sign", finish="stop", tokens=(20, 8)):
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    choice = {"index": 0, "message": {"role": "assistant", "content": text, "refusal": None}, "logprobs": None}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "fake", "usage": usage}
    body["choices"] = [{**choice, "finish_reason": finish}]
    response = {"status_code": 200, "request_id": "req_1", "body": body}
    return {"id": "batch_req_1", "custom_id": custom_id, "response": response, "error": None}


def failed(custom_id, status, code):
    body = {"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": code}}
    response = {"status_code": status, "request_id": "req_2", "body": body}
    return {"id": "batch_req_2", "custom_id": custom_id, "response": response, "error": None}


def expired(custom_id):
    error = {
        "code": "batch_expired",
        "message": "This request could not be executed before the completion window expired.",
    }
    return {"id": "batch_req_3", "custom_id": custom_id, "response": None, "error": error}


def give_back(tmp_path, name, rows):
    (tmp_path / "batches/out" / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_first_run_writes_requests_and_says_what_to_do(service, teacher, tmp_path, capsys):
    with pytest.raises(
        BatchPendingError, match=r"(?s)5 requests have no answer.*000001\.jsonl  \(5 requests\).*batches/out"
    ):
        prepare(teacher, pool())
    (rows,) = written(tmp_path).values()
    first = rows[0]
    assert set(first) == {"custom_id", "method", "url", "body"} and len({row["custom_id"] for row in rows}) == 5
    assert (first["method"], first["url"], len(first["custom_id"])) == ("POST", "/v1/chat/completions", 64)
    prompt = "Instruction: Look 0.\nResponse: Yes.\nSkills:"
    assert first["body"] == {
        "model": "fake", "messages": [{"role": "user", "content": prompt}], "max_tokens": 16, "temperature": 0.0,
    }  # fmt: skip
    told = capsys.readouterr().err
    assert "5 calls" in told and "USD by batch" in told and service.requests == []


def test_an_early_second_run_writes_nothing_twice(teacher, tmp_path):
    for _ in range(2):
        with pytest.raises(BatchPendingError):
            prepare(teacher, pool())
    assert list(written(tmp_path)) == ["000001.jsonl"]


def test_the_run_after_the_output_goes_on_at_half_the_price(service, teacher, tmp_path):
    with pytest.raises(BatchPendingError):
        prepare(teacher, pool())
    meter = UsageMeter(teacher)
    give_back(
        tmp_path, "batch_1_output.jsonl", [succeeded(row["custom_id"]) for row in written(tmp_path)["000001.jsonl"]]
    )
    prepare(teacher, pool())
    rows, bad = annotate_pool(pool(), teacher, max_new_tokens=16)
    assert [row.skills for row in rows] == [("count things", "read a sign")] * 5 and bad == []
    assert service.requests == []
    assert meter.total() == {
        "calls": 5, "prompt_tokens": 100, "completion_tokens": 40, "usd": pytest.approx(2.5), "cached": 5,
    }  # fmt: skip
    prepare(teacher, pool())
    assert teacher.usage.calls == 5  # the same output is not paid for twice


def test_failures_are_refused_expired_requests_go_into_the_next_file(service, teacher, tmp_path):
    with pytest.raises(BatchPendingError):
        prepare(teacher, pool())
    ids = [row["custom_id"] for row in written(tmp_path)["000001.jsonl"]]
    give_back(tmp_path, "output.jsonl", [succeeded(ids[0]), succeeded(ids[1], text="half a", finish="length")])
    give_back(
        tmp_path,
        "error.jsonl",
        [failed(ids[2], 400, "content_policy_violation"), failed(ids[3], 500, None), expired(ids[4])],
    )
    for _ in range(2):
        with pytest.raises(BatchPendingError, match=r"2 requests have no answer"):
            prepare(teacher, pool())
    assert [row["custom_id"] for row in written(tmp_path)["000002.jsonl"]] == ids[3:]
    give_back(tmp_path, "output 2.jsonl", [succeeded(id) for id in ids[3:]])
    prepare(teacher, pool())
    rows, bad = annotate_pool(pool(), teacher, max_new_tokens=16)
    assert [row.id for row in rows] == ["p0", "p3", "p4"]
    assert [(row.id, row.reason) for row in bad] == [("p1", "reply cut off"), ("p2", "content filter")]
    assert service.requests == []


def test_files_keep_to_the_limits_of_the_service(teacher, tmp_path):
    teacher.client.transcripts.set_fact("probe", "{}")
    asked = [teacher._completion(f"text {i}", None, 16) for i in range(7)]
    with pytest.raises(BatchPendingError):
        Batches(teacher.client, max_requests=3).fetch(asked)
    assert [len(rows) for rows in written(tmp_path).values()] == [3, 3, 1]
    line = len((tmp_path / "batches/in/000003.jsonl").read_bytes())
    more = [teacher._completion(f"more {i}", None, 16) for i in range(5)]
    with pytest.raises(BatchPendingError):
        Batches(teacher.client, max_bytes=2 * line).fetch(more)
    sizes = [file.stat().st_size for file in sorted((tmp_path / "batches/in").glob("*"))[3:]]
    assert len(sizes) == 3 and max(sizes) <= 2 * line


def test_equal_samples_are_asked_once(teacher, tmp_path):
    with pytest.raises(BatchPendingError, match="1 requests"):
        Batches(teacher.client).fetch([teacher._completion("same", None, 16)] * 3)


def test_a_deleted_file_takes_its_requests_back(teacher, tmp_path):
    with pytest.raises(BatchPendingError):
        prepare(teacher, pool())
    (tmp_path / "batches/in/000001.jsonl").unlink()
    with pytest.raises(BatchPendingError, match=r"000001\.jsonl  \(4 requests\)"):
        prepare(teacher, pool(4))


def test_a_damaged_output_names_the_line(teacher, tmp_path):
    with pytest.raises(BatchPendingError):
        prepare(teacher, pool())
    (tmp_path / "batches/out/output.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match=r"output\.jsonl:1 is no line of a batch output"):
        prepare(teacher, pool())


def test_pictures_go_along_as_data_urls(service, tmp_path):
    teacher = LiteLLMTeacher(make_client(service, tmp_path), replace(BATCH, sees_images=True))
    with pytest.raises(BatchPendingError):
        prepare(teacher, pool(2))
    for row in written(tmp_path)["000001.jsonl"]:
        picture, text = row["body"]["messages"][0]["content"]
        assert picture["image_url"]["url"].startswith("data:image/jpeg;base64,") and text["text"].endswith("Skills:")


def test_the_cap_holds_for_files_too(service, tmp_path):
    client = make_client(service, tmp_path, prices=PRICES, max_usd=1.0)
    with pytest.raises(BudgetExhaustedError, match="max_usd is 1"):
        prepare(LiteLLMTeacher(client, BATCH), pool())
    assert written(tmp_path) == {}


def test_call_by_call_the_price_is_said_before_the_first_call(service, tmp_path, capsys):
    from support.fake_service import reply

    service.script = [reply("count things")]
    teacher = LiteLLMTeacher(make_client(service, tmp_path, prices=PRICES), CONFIG)
    prepare(teacher, pool())
    # 43 characters are about 10 tokens of prompt; 16 of the reply at most
    assert "5 calls" in (told := capsys.readouterr().err) and "about 8.50 USD, 4.25 with teacher.mode=batch" in told
    assert service.requests == []
    rows, _ = annotate_pool(pool(), teacher, max_new_tokens=16)
    assert len(rows) == len(service.requests) == 5
