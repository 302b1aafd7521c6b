"""A service on loopback that answers from a script and notes every request and its time, and a client that asks it."""

import asyncio
import json
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from delamo.models.api.budget import Budget, Prices
from delamo.models.api.client import ApiClient
from delamo.models.api.limits import CircuitBreaker, RateLimiter
from delamo.models.api.requests import Request, Service
from delamo.models.api.transcripts import Transcripts
from delamo.models.api.transport import Transport
from delamo.models.teachers.config import Api

RESET = "reset"
FREE = Prices(0.0, 0.0)


def reply(content="B", finish="stop", top=(), tokens=(5, 1), choices=1):
    """(status, headers, body) of a chat completion; `top` are the listed (token, log-probability) pairs."""
    entry = {"token": content, "logprob": -0.1, "bytes": None}
    listed = [{"token": token, "logprob": logprob, "bytes": None} for token, logprob in top]
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content}}
    choice["logprobs"] = {"content": [{**entry, "top_logprobs": listed}]} if top else None
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    body = {"id": "x", "object": "chat.completion", "created": 0, "model": "fake", "choices": [choice] * choices}
    return 200, {}, {**body, "usage": usage}


def failure(status, message="no", code=None, **headers):
    return status, headers, {"error": {"message": message, "type": "invalid_request_error", "code": code}}


class Server(ThreadingHTTPServer):
    """Takes many connections at once: with the library's queue of five some would be reset, and sent again."""

    request_queue_size = 128
    daemon_threads = True


class FakeService:
    """`script` is a list of answers, of which the last repeats, or a function of (request number, body).

    An answer is (status, headers, body), a function that makes one, `RESET`, or the seconds that a good one takes.
    """

    def __init__(self):
        self.script = [reply()]
        self.requests, self.times, self.headers = [], [], []
        self.models = []
        self._lock = threading.Lock()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.give(200, {}, {"object": "list", "data": service.models})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with service._lock:
                    number = len(service.requests)
                    service.requests.append(body)
                    service.times.append(time.monotonic())
                    service.headers.append(dict(self.headers))
                    answer = service.next_answer(number, body)
                if answer == RESET:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                elif isinstance(answer, float):
                    time.sleep(answer)
                    self.give(*reply())
                else:
                    self.give(*(answer() if callable(answer) else answer))

            def give(self, status, headers, body):
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"content-type": "application/json", "content-length": len(data), **headers}.items():
                    self.send_header(name.replace("_", "-"), str(value))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def next_answer(self, number, body):
        if callable(self.script):
            return self.script(number, body)
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server.server_port}/v1"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Clock:
    """Time that passes only in sleep; `waits` are the sleeps."""

    def __init__(self):
        self.now, self.waits = 0.0, []

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.waits.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def service_named(model, **fields):
    """A service with nothing set but its model and some fields."""
    unset = dict.fromkeys(("revision", "api_base", "reasoning_effort", "image_detail", "max_image_pixels"))
    return Service(**{"model": model, "api": Api.chat, **unset, **fields})


def make_client(service, folder, *, clock=None, prices=FREE, max_usd=None, key_env="FAKE_KEY", timeout_s=10, **options):
    """A client that asks the fake service; with a `clock`, waits take no time."""
    transcripts = Transcripts(folder)
    common = service_named(options.pop("model", "openai/fake"), api_base=service.address, max_image_pixels=4096)
    options = {"rate_limiter": RateLimiter(None, None), "concurrency": 16, "max_attempts": 6, **options}
    if clock is not None:
        options["rate_limiter"] = RateLimiter(None, None, clock, clock.sleep)
        options = {"breaker": CircuitBreaker(clock, clock.sleep), "sleep": clock.sleep, **options}
    budget = Budget(prices, max_usd, lambda: transcripts.paid, tokens_per_image=0)
    return ApiClient(common, transcripts, Transport(common, key_env, timeout_s), budget, **options)


def ask(client, *texts, max_tokens=9, **fields):
    return client.ask([Request(text=text, max_tokens=max_tokens, **fields) for text in texts], label="ask")
