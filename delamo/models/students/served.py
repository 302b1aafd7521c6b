"""The student behind an OpenAI-compatible server, vLLM's above all: answers at scale; tuning stays in this process.

Start the server in an environment of its own: `vllm serve HUB_ID --enable-lora --max-lora-rank 128`, with
VLLM_ALLOW_RUNTIME_LORA_UPDATING=True where adapters are to be loaded while it runs. Chat template and image processor
are then the server's. A server that takes an adapter whose names do not fit answers with the base model and reports no
error (vLLM issue 34186): here every adapter is probed before it is used.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from delamo.data.quarantine import UnusableError
from delamo.models import prompts
from delamo.models.api.retries import LONGEST_REQUESTED_WAIT_S, OVERLOADED, TRANSIENT, backoff, requested_wait
from delamo.models.hf.adapter import WEIGHTS, check_adapter, holds_full_weights
from delamo.models.hf.chat import SampleError
from delamo.models.hf.identity import folder_digest, student_digest
from delamo.models.images import data_url, load_image
from delamo.models.students.config import HuggingFaceStudentConfig
from delamo.models.students.local import Reply
from delamo.records import Sample

MAX_ATTEMPTS = 5
MAX_FIRST_REFUSED = 16
"""Refusals before the first reply that stop the work: the cause is the server's set-up, not the samples."""
REFUSED = "refused by the server"
PROBE = "Describe the number seven in one sentence."
NUM_PROBE_TOKENS = 8


@dataclass(slots=True)
class ServedStudent:
    """A connection. Make one with `ServedStudent.connect`."""

    client: Any
    config: HuggingFaceStudentConfig
    model: str
    """As the server names it: the student, or its adapter."""
    digest: str
    num_replies: int = 0
    """Since the connection was made."""
    num_refused: int = 0
    """Since the connection was made."""

    @classmethod
    def connect(cls, config: HuggingFaceStudentConfig, adapter: Path | None = None) -> ServedStudent:
        """Find the model at the server, and an adapter as `delamo-DIGEST`, which is loaded there if need be.

        Args:
            config: of the student.
            adapter: folder in PEFT's format; None is the untuned student.

        Raises:
            ValueError: no address, a model or adapter that is not served, an adapter that changes nothing.
        """
        client, prompt = _client(config), config.prompt.value
        digest = student_digest(config.path, revision=config.revision, prompt=prompt, adapter=adapter)
        student = cls(client, config, config.path, digest)
        served = student._served()
        if config.path not in served:
            raise ValueError(
                f"student.api_base is {config.api_base}: it serves {served}, not student.path, {config.path}"
            )
        if adapter is not None:
            student.model = _adapter_name(adapter)
            if student.model not in served:
                student._load(adapter)
            student._check_differs()
        return student

    @property
    def facts(self) -> dict[str, str]:
        """Server and model, for the manifest."""
        return {"engine": "vllm", "server": str(self.client.base_url), "model": self.model}

    def prompt(self, sample: Sample) -> str:
        """Return the user turn of a task's sample: question and options by the prompt template."""
        return prompts.question(self.config.prompt.value, sample)

    def replies(
        self, samples: Sequence[Sample], *, max_new_tokens: int, batch_size: int, temperature: float, seed: int
    ) -> Iterator[tuple[int, Reply | UnusableError]]:
        """Yield (index into samples, reply or what made the sample unusable) as they come.

        Args:
            samples: to answer.
            max_new_tokens: of a reply.
            batch_size: not used, as the server makes the batches.
            temperature: 0 is greedy.
            seed: of sampled replies, with the sample's id.

        Raises:
            ValueError: the server cannot be reached, refuses a request for a reason that is not the sample's, or
                refuses the first MAX_FIRST_REFUSED of this connection.
        """
        del batch_size

        def answer(sample: Sample) -> Reply | UnusableError:
            try:
                content = self._content(sample)
            except UnusableError as error:
                return error
            sampling = {"seed": _sample_seed(seed, sample.id)} if temperature > 0 else {}
            return self._complete(content, max_tokens=max_new_tokens, temperature=temperature, **sampling)

        with ThreadPoolExecutor(self.config.concurrency) as pool:
            futures = {pool.submit(answer, sample): index for index, sample in enumerate(samples)}
            try:
                for future in as_completed(futures):
                    self._count(future.result())
                    yield futures[future], future.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _count(self, reply: Reply | UnusableError) -> None:
        """Stop at a server that takes no request at all, which would quarantine all samples, one by one."""
        self.num_replies += isinstance(reply, Reply)
        self.num_refused += getattr(reply, "reason", None) == REFUSED
        if not self.num_replies and self.num_refused >= MAX_FIRST_REFUSED:
            raise ValueError(
                f"{self.client.base_url} refused all of the first {self.num_refused} requests for {self.model}, the "
                f"last: {reply.detail}; check that it serves images (--limit-mm-per-prompt), has a chat template, and "
                "that its context (--max-model-len) holds an image and student.max_new_tokens"
            )

    def _content(self, sample: Sample) -> list[dict[str, Any]]:
        text = self.prompt(sample)
        if not text.strip():
            raise SampleError("no text", "the instruction is empty")
        parts = [{"type": "text", "text": text}]
        image = load_image(sample.image, self.config.max_image_pixels)
        if image is not None:  # PNG is without loss: the pixels are those that a local student sees
            parts.insert(0, {"type": "image_url", "image_url": {"url": data_url(image, "PNG")}})
        return parts

    def _complete(self, content: Any, **options: Any) -> Reply | SampleError:
        messages = [{"role": "user", "content": content}]
        response = self._post("chat/completions", {"model": self.model, "messages": messages, **options})
        if response.status_code in (400, 413, 422):
            return SampleError(REFUSED, f"{response.status_code}: {_message(response)}")
        choice, usage = _body(response)["choices"][0], response.json().get("usage") or {}
        text, reason = choice["message"].get("content"), choice.get("finish_reason")
        if text is None or reason not in ("stop", "length"):
            return SampleError("no reply", f"the server ended with {reason}")
        return Reply(text.strip(), int(usage.get("completion_tokens", 0)), reason == "length")

    def _served(self) -> list[str]:
        return [row["id"] for row in _body(self._send("GET", "models"))["data"]]

    def _load(self, adapter: Path) -> None:
        """Have the server load an adapter from a folder that it can see."""
        if holds_full_weights(adapter):
            raise ValueError(
                "student.engine is vllm: weights of full tuning cannot be served over the base; use transformers"
            )
        check_adapter(adapter)
        if _holds_other_modules(adapter):
            raise ValueError(
                "student.engine is vllm: this adapter also holds the projector, which vLLM would leave out in silence; "
                "tune with tuning.projector_learning_rate=null, or use student.engine=transformers"
            )
        body = {"lora_name": self.model, "lora_path": str(adapter.absolute())}
        response = self._post("load_lora_adapter", body)
        if response.status_code != 200 or self.model not in self._served():
            raise ValueError(
                f"{self.client.base_url} does not serve {self.model} ({response.status_code}: {_message(response)}): "
                f"start it with --enable-lora --lora-modules {self.model}={adapter.absolute()}, or set "
                "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"
            )

    def _check_differs(self) -> None:
        """Raise ValueError where the adapter's log-probabilities on a fixed prompt are the base's."""
        base = self.config.path
        if self._probe(self.model) == self._probe(base):
            raise ValueError(
                f"{self.client.base_url} answers for {self.model} exactly as for {base}: it took the adapter without "
                "effect"
            )

    def _probe(self, model: str) -> list[tuple[str, float]]:
        body = {
            "model": model,
            "messages": [{"role": "user", "content": [{"type": "text", "text": PROBE}]}],
            "max_tokens": NUM_PROBE_TOKENS,
            "temperature": 0,
            "logprobs": True,
        }
        rows = (_body(self._post("chat/completions", body))["choices"][0].get("logprobs") or {}).get("content")
        if not rows:
            raise ValueError(f"{self.client.base_url} gives no logprobs, so that no adapter can be told from its base")
        return [(row["token"], row["logprob"]) for row in rows]

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._send("POST", path, json=body)

    def _send(self, method: str, path: str, **options: Any) -> Any:
        """Return a response, whatever its status; failures that may pass are retried."""
        import httpx

        for attempt in itertools.count():
            last, wait = attempt == MAX_ATTEMPTS - 1, None
            try:
                response = self.client.request(method, path, **options)
            except httpx.TransportError as error:
                if last:
                    raise ValueError(f"student.api_base is {self.client.base_url}: {error!r}") from error
            else:
                wait = requested_wait(response.headers)
                out_of_reach = wait is not None and wait > LONGEST_REQUESTED_WAIT_S
                if last or out_of_reach or response.status_code not in OVERLOADED | TRANSIENT:
                    return response
            time.sleep(backoff(attempt, random.Random()) if wait is None else wait)


def _client(config: HuggingFaceStudentConfig) -> Any:
    import httpx

    if not config.api_base:
        raise ValueError(
            "student.api_base is null: student.engine=vllm needs the server's, as in http://localhost:8000/v1"
        )
    key_env = config.api_key_env
    if key_env and key_env not in os.environ:
        raise ValueError(f"student.api_key_env is {key_env}: no such environment variable")
    headers = {"Authorization": f"Bearer {os.environ[key_env]}"} if key_env else {}
    return httpx.Client(base_url=config.api_base.rstrip("/") + "/", headers=headers, timeout=config.timeout_s)


def _adapter_name(adapter: Path) -> str:
    return f"delamo-{folder_digest(adapter)[:12]}"


def _holds_other_modules(adapter: Path) -> bool:
    """Return whether an adapter holds more than LoRA's matrices."""
    from safetensors import safe_open

    with safe_open(adapter / WEIGHTS, framework="pt") as file:
        return any("lora_" not in key for key in file.keys())


def _body(response: Any) -> dict[str, Any]:
    if response.status_code != 200:
        raise ValueError(f"{response.url} answers {response.status_code}: {_message(response)}")
    return response.json()


def _message(response: Any) -> str:
    return " ".join(response.text.split())[:300]


def _sample_seed(seed: int, id: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}\0{id}".encode()).digest()[:4]) >> 1
