"""The student behind an OpenAI-compatible server on loopback, which serves a tiny model's real replies and adapters."""

import base64
import io
import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support.configs import node
from support.fake_service import Server
from support.recipes import RECIPE, tune
from support.tiny_models import save_tiny_llava

from delamo.models.hf.identity import student_digest
from delamo.models.students import served
from delamo.models.students.config import Engine
from delamo.models.students.loading import load_student
from delamo.models.students.local import Student
from delamo.models.students.served import ServedStudent
from delamo.records import Sample

DECODING = {"max_new_tokens": 8, "batch_size": 4, "temperature": 0.0, "seed": 0}
MICRO = node("student", "micro")


class StudentServer:
    """Serves a student and the adapters it is told to load, as vLLM does; `ignores` takes them without effect."""

    def __init__(self, path, folder, *, ignores=False, loads=True, failures=()):
        self.path, self.folder, self.ignores, self.loads = str(path), Path(folder), ignores, loads
        self.config = replace(MICRO, path=self.path)
        self.students = {self.path: Student.load(self.config)}
        self.requests, self.failures = [], list(failures)
        self.turn = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.give(200, {"object": "list", "data": [{"id": name} for name in owner.students]})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with owner.turn:
                    owner.requests.append((self.path, body, self.headers.get("authorization")))
                    self.give(*(owner.failures.pop(0) if owner.failures else owner.answer(self.path, body)))

            def give(self, status, body, headers=()):
                data = json.dumps(body).encode()
                self.send_response(status)
                for name, value in dict(headers).items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.server.server_close()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server.server_port}/v1"

    def answer(self, path, body):
        if path == "/v1/load_lora_adapter":
            if not self.loads:
                return 404, {"detail": "Not Found"}
            adapter = None if self.ignores else Path(body["lora_path"])
            self.students[body["lora_name"]] = Student.load(self.config, adapter=adapter)
            return 200, {}
        student, sample = self.students[body["model"]], self.sample(body["messages"][0]["content"])
        reply = dict(student.replies([sample], **{**DECODING, "max_new_tokens": body["max_tokens"]}))[0]
        if isinstance(reply, Exception):
            return 400, {"error": {"message": str(reply)}}
        choice = {"message": {"content": reply.text}, "finish_reason": "length" if reply.truncated else "stop"}
        if body.get("logprobs"):
            with torch.inference_mode():
                row = student.model(**student._encode([student._read(sample)])).logits[0, -1].log_softmax(-1)
            choice["logprobs"] = {"content": [{"token": str(int(row.argmax())), "logprob": float(row.max())}]}
        return 200, {"choices": [choice], "usage": {"completion_tokens": reply.num_tokens}}

    def sample(self, parts):
        """The request as a sample; its picture comes as a data URL."""
        text, image = next(part["text"] for part in parts if part["type"] == "text"), None
        if parts[0]["type"] == "image_url":
            data = base64.b64decode(parts[0]["image_url"]["url"].partition("base64,")[2])
            image = self.folder / f"{len(self.requests)}.png"
            Image.open(io.BytesIO(data)).save(image)
        return Sample(id="asked", instruction=text, answer="", image=str(image) if image else None)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_tiny_llava(tmp_path_factory.mktemp("student") / "tiny")


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rows = []
    for number in range(4):
        Image.new("RGB", (24, 16), (60 * number, 10, 200)).save(folder / f"{number}.png")
        picture = str(folder / f"{number}.png") if number else None
        rows.append(Sample(id=f"s{number}", instruction=f"Which {number}?", answer="It is.", image=picture))
    return rows


@pytest.fixture(scope="module")
def adapter(base, samples, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuned") / "adapter"
    tune(str(base), samples, folder, seed=0, **RECIPE)
    return folder


def config_of(server, base, **changes):
    fields = {"path": str(base), "engine": Engine.vllm, "api_base": server.address, "concurrency": 3, "timeout_s": 30.0}
    return replace(MICRO, **fields | changes)


def connect(server, base, adapter=None):
    return ServedStudent.connect(config_of(server, base), adapter=adapter)


def texts(student, samples):
    replies = dict(student.replies(samples, **DECODING))
    return [replies[index].text for index in range(len(samples))]


def test_replies_are_those_of_the_same_model_here(base, samples, adapter, tmp_path):
    with StudentServer(base, tmp_path) as server:
        served, local = connect(server, base), Student.load(server.config)
        assert texts(served, samples) == texts(local, samples)
        tuned, here = connect(server, base, adapter=adapter), Student.load(server.config, adapter=adapter)
        assert texts(tuned, samples) == texts(here, samples) != texts(served, samples)
        assert tuned.digest == here.digest == student_digest(str(base), revision=None, prompt="micro", adapter=adapter)
        assert tuned.facts["model"].startswith("delamo-") and list(server.students) == [str(base), tuned.model]
        loads = len([path for path, *_ in server.requests if path.endswith("load_lora_adapter")])
        connect(server, base, adapter=adapter)
        assert len([path for path, *_ in server.requests if path.endswith("load_lora_adapter")]) == loads == 1


def test_unusable_samples_come_back_with_their_reason(base, samples, tmp_path):
    bad = [
        replace(samples[0], id="missing", image=str(tmp_path / "none.png")),
        replace(samples[0], id="long", instruction="word " * 600),
        replace(samples[0], id="empty", instruction=" "),
    ]
    with StudentServer(base, tmp_path) as server:
        found = dict(connect(server, base).replies([*bad, samples[1]], **DECODING))
    assert [found[i].reason for i in range(3)] == ["image missing", "refused by the server", "no text"]
    assert found[3].num_tokens > 0


def test_an_adapter_that_the_server_takes_without_effect_is_an_error(base, adapter, tmp_path):
    with (
        StudentServer(base, tmp_path, ignores=True) as server,
        pytest.raises(ValueError, match="it took the adapter without effect"),
    ):
        connect(server, base, adapter=adapter)


def test_a_server_that_loads_no_adapters_says_how_to_start_it(base, adapter, tmp_path):
    with (
        StudentServer(base, tmp_path, loads=False) as server,
        pytest.raises(ValueError, match=r"--enable-lora --lora-modules delamo-\w{12}="),
    ):
        connect(server, base, adapter=adapter)


def test_an_adapter_with_a_projector_is_not_served(base, adapter, tmp_path):
    from shutil import copytree

    other = copytree(adapter, tmp_path / "other")
    tensors = load_file(other / "adapter_model.safetensors")
    tensors["base_model.model.model.multi_modal_projector.linear_1.weight"] = torch.ones(2, 2)
    save_file(tensors, other / "adapter_model.safetensors")
    with StudentServer(base, tmp_path) as server, pytest.raises(ValueError, match="also holds the projector"):
        connect(server, base, adapter=other)


def test_what_may_pass_is_tried_again_and_the_rest_is_not(base, samples, tmp_path, monkeypatch):
    monkeypatch.setattr(served.time, "sleep", lambda seconds: None)
    with StudentServer(base, tmp_path, failures=[(503, {}), (429, {})]) as server:
        student = connect(server, base)
        assert len(texts(student, samples[:1])) == 1 and len(server.requests) == 3
        server.failures = [(401, {"error": "no key"})]
        with pytest.raises(ValueError, match="answers 401"):
            texts(student, samples[:1])
        assert len(server.requests) == 4


def test_a_server_that_refuses_everything_stops_the_work(base, samples, tmp_path):
    refusal = (400, {"error": {"message": "At most 0 image(s) may be provided in one prompt."}})
    many = [replace(samples[1], id=f"m{number}") for number in range(60)]
    with StudentServer(base, tmp_path, failures=[refusal] * 60) as server:
        with pytest.raises(
            ValueError, match=r"refused all of the first 16 requests for .*At most 0 image.*limit-mm-per-prompt"
        ):
            dict(connect(server, base).replies(many, **DECODING))
        assert len(server.requests) < 30


def test_refusals_after_a_reply_are_the_samples_own(base, samples, tmp_path):
    with StudentServer(base, tmp_path) as server:
        student = connect(server, base)
        texts(student, samples[:1])
        server.failures = [(400, {"error": "too long"})] * 20
        found = dict(student.replies([replace(samples[0], id=f"m{number}") for number in range(20)], **DECODING))
    assert len(found) == 20 and {reply.reason for reply in found.values()} == {"refused by the server"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"api_base": None}, "student.api_base is null"),
        ({"api_key_env": "NO_SUCH_NAME"}, "student.api_key_env is NO_SUCH_NAME: no such environment variable"),
    ],
)
def test_a_connection_needs_its_fields(base, changes, message):
    fields = {"path": str(base), "engine": Engine.vllm, "api_base": "http://127.0.0.1:1/v1", "timeout_s": 1.0}
    with pytest.raises(ValueError, match=message):
        ServedStudent.connect(replace(MICRO, **fields | changes))


def test_another_model_s_server_is_refused_and_the_key_goes_along(base, tmp_path, monkeypatch):
    monkeypatch.setenv("SERVER_KEY", "not-a-key")
    with StudentServer(base, tmp_path) as server:
        config = config_of(server, base, api_key_env="SERVER_KEY", concurrency=1)
        with pytest.raises(ValueError, match=r"it serves .* not student\.path, other/model"):
            ServedStudent.connect(replace(config, path="other/model"))
        student = ServedStudent.connect(config)
        next(student.replies([Sample(id="a", instruction="Hm?", answer="")], **DECODING))
        assert server.requests[-1][2] == "Bearer not-a-key"


def test_the_server_is_asked_where_the_config_says_so(base, samples, adapter, tmp_path):
    with StudentServer(base, tmp_path) as server:
        for folder in (None, adapter):
            student, local = load_student(config_of(server, base), folder), Student.load(server.config, adapter=folder)
            assert isinstance(student, ServedStudent) and texts(student, samples) == texts(local, samples)


def test_a_wish_to_wait_is_granted_and_one_of_hours_is_not(base, samples, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(served.time, "sleep", waits.append)
    with StudentServer(base, tmp_path, failures=[(429, {}, {"retry-after": "7"}), (503, {})]) as server:
        student = connect(server, base)
        assert len(texts(student, samples[:1])) == 1 and waits[0] == 7 and 2 <= waits[1] <= 4
        server.failures = [(429, {}, {"retry-after": "86400"})]
        with pytest.raises(ValueError, match="answers 429"):
            texts(student, samples[:1])
    assert len(waits) == 2
