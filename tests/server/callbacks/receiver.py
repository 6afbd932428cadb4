"""A merchant's own program: a real HTTP server that checks signatures as the specification says.

It shares no code with the sender.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import threading
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Received:
    headers: dict[str, str]
    raw: bytes
    path: str

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def message(self) -> dict[str, Any]:
        return json.loads(self.raw)

    def is_signed_with(self, secret: str) -> bool:
        """Standard Webhooks 1.0.0, "Signature scheme", with the secret as the merchant has it."""
        key = base64.b64decode(secret[len("whsec_") :])
        content = f"{self.id}.{self.headers['webhook-timestamp']}.".encode() + self.raw
        expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        versions = [one.split(",") for one in self.headers["webhook-signature"].split(" ")]
        return any(hmac.compare_digest(value, expected) for name, value in versions if name == "v1")


class _Hook(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        receiver: Receiver = self.server.receiver  # type: ignore[attr-defined]
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        names = {name.lower(): value for name, value in self.headers.items()}
        status, words, headers = receiver.take(Received(names, raw, self.path))
        if status is None:
            receiver.released.wait(30)
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(words)))
        self.end_headers()
        self.wfile.write(words)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Who hung up has hung up."""


class Receiver:
    """Answers 200 unless ``answers`` holds something else: (status, words, headers), in turn; the
    last one stays. Status None hangs until ``released``.
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answers: list[tuple[int | None, bytes, dict[str, str]]] = [(200, b"thank you", {})]
        self.released = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Hook)
        self._server.receiver = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}/kontor"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def answer(self, *statuses: int | None, words: bytes = b"", **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers = [(status, words, named) for status in statuses]

    def take(self, received: Received) -> tuple[int | None, bytes, dict[str, str]]:
        with self._lock:
            self.received.append(received)
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    @property
    def numbers(self) -> list[tuple[str, str]]:
        """Number and status of the orders that it heard of, as they came."""
        told = [one.message["data"] for one in self.received]
        return [(data["number"], data["payment_status"]) for data in told if "number" in data]

    def stop(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
