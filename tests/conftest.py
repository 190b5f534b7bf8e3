"""A judge on this machine that speaks the OpenAI chat completions protocol, over real HTTP."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

Answer = tuple[int, str, dict[str, str]]
"""HTTP status, text (the judge's, or the error's message), headers"""


class JudgeServer:
    """Records what it is asked; ``reply`` says what it answers to a prompt, given how many it was asked so far."""

    def __init__(self, reply: Callable[[str, int], str | Answer], delay_s: float = 0.0) -> None:
        self.reply, self.delay_s = reply, delay_s
        self.requests: list[dict] = []
        self.keys: list[str | None] = []
        self.most_at_once = 0
        self._open = 0
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def prompts(self) -> list[str]:
        return [request["messages"][0]["content"] for request in self.requests]

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def answer(self, path: str, key: str | None, body: dict) -> Answer:
        if path != "/v1/chat/completions":
            return 404, "no such path", {}
        with self._lock:
            self.requests.append(body)
            self.keys.append(key)
            self._open += 1
            self.most_at_once = max(self.most_at_once, self._open)
            number = len(self.requests)
        time.sleep(self.delay_s)
        told = self.reply(body["messages"][0]["content"], number)
        with self._lock:
            self._open -= 1
        return told if isinstance(told, tuple) else (200, told, {})

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, text, headers = server.answer(self.path, self.headers.get("Authorization"), body)
                choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
                done = {"id": "1", "object": "chat.completion", "created": 1, "model": body["model"]}
                told = {**done, "choices": [choice]} if status == 200 else {"error": {"message": text}}
                data = json.dumps(told).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler


@pytest.fixture
def judge_server():
    """Start judges; they end with the test."""
    servers: list[JudgeServer] = []

    def start(reply: Callable[[str, int], str | Answer], delay_s: float = 0.0) -> JudgeServer:
        servers.append(JudgeServer(reply, delay_s))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
