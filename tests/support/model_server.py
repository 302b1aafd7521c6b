"""An OpenAI-compatible server on loopback that serves the embedded teacher's own weights, log-probabilities and all.

It knows /v1/models, /v1/completions, /v1/chat/completions (the chat template is the bare text) and vLLM's /tokenize; of
vLLM's
own fields `logprob_token_ids` and `return_tokens_as_token_ids`. Decoding is greedy, one request at a time.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch


class Server(ThreadingHTTPServer):
    """Takes many connections at once: with the library's queue of five some would be reset, and sent again."""

    request_queue_size = 128
    daemon_threads = True


class ModelServer:
    """`with ModelServer(model, tokenizer) as server:` serves at `server.address`."""

    def __init__(self, model, tokenizer, *, takes_token_ids=True, shutdown_date=None):
        self.model, self.tokenizer = model, tokenizer
        self.takes_token_ids, self.shutdown_date = takes_token_ids, shutdown_date
        self.requests: list[tuple[str, dict]] = []
        self._turn = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                listed = [{"id": "micro", "object": "model", "shutdown_date": owner.shutdown_date}]
                self.give({"object": "list", "data": listed})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with owner._turn:
                    owner.requests.append((self.path, body))
                    self.give(owner.answer(self.path, body))

            def give(self, body):
                data = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                pass

        self._server = Server(("127.0.0.1", 0), Handler)

    @property
    def address(self):
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path, body):
        if path == "/tokenize":
            ids = self.tokenizer(body["prompt"], add_special_tokens=body["add_special_tokens"]).input_ids
            return {"tokens": ids, "count": len(ids)}
        chat = path.endswith("/chat/completions")
        prompt = body["messages"][0]["content"] if chat else body["prompt"]
        if not isinstance(prompt, str):
            prompt = next(part["text"] for part in prompt if part["type"] == "text")
        tokens, rows, finish = self.decode(prompt, body)
        text = self.tokenizer.decode(tokens, skip_special_tokens=True)
        for stop in body.get("stop") or []:
            text, found, _ = text.partition(stop)
            finish = "stop" if found else finish
        choice = {"index": 0, "finish_reason": finish, "logprobs": self.listed(tokens, rows, body, chat)}
        choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        num_prompt = len(self.tokenizer(prompt).input_ids)
        usage = {
            "prompt_tokens": num_prompt,
            "completion_tokens": len(tokens),
            "total_tokens": num_prompt + len(tokens),
        }
        kind = "chat.completion" if chat else "text_completion"
        return {"id": "1", "object": kind, "created": 0, "model": "micro", "choices": [choice], "usage": usage}

    def decode(self, prompt, body):
        ids = self.tokenizer(prompt).input_ids
        tokens, rows = [], []
        for _ in range(body["max_tokens"]):
            with torch.inference_mode():
                logits = self.model(torch.tensor([ids + tokens])).logits[0, -1].double()
            rows.append(logits.log_softmax(-1))
            tokens.append(int(logits.argmax()))
            if tokens[-1] == self.tokenizer.eos_token_id:
                return tokens, rows, "stop"
            if any(stop in self.tokenizer.decode(tokens) for stop in body.get("stop") or []):
                return tokens, rows, "stop"
        return tokens, rows, "length"

    def listed(self, tokens, rows, body, chat):
        if not body.get("logprobs"):
            return None
        wanted = body.get("logprob_token_ids") if self.takes_token_ids else None
        by_id = self.takes_token_ids and body.get("return_tokens_as_token_ids")

        def name(token):
            return f"token_id:{token}" if by_id else self.tokenizer.decode([token])

        count = body["top_logprobs"] if chat else body["logprobs"]
        tops = []
        for token, row in zip(tokens, rows, strict=True):
            ids = [token, *wanted] if wanted else row.topk(count).indices.tolist()
            tops.append([(name(i), float(row[i])) for i in dict.fromkeys(ids)])
        named = [(name(token), float(row[token])) for token, row in zip(tokens, rows, strict=True)]
        if chat:

            def entry(token, value):
                return {"token": token, "logprob": value, "bytes": None}

            both = zip(named, tops, strict=True)
            return {"content": [entry(*one) | {"top_logprobs": [entry(*pair) for pair in top]} for one, top in both]}
        return {
            "tokens": [t for t, _ in named],
            "token_logprobs": [v for _, v in named],
            "top_logprobs": [*map(dict, tops)],
        }
