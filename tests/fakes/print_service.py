"""A print and mail service on loopback, as LetterXpress documents its interface (LXP API 3.0).

Credentials stand in the body of every request, questions too. It reads what it is sent, answers as
the documentation shows, and breaks wherever it is told to.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PRICE, TAX = 0.93, 0.18


class FakePrintService:
    """Start with ``with``. ``faults`` are what happens to the next requests instead of an answer.

    `500`, `503`, `429`, `422`, `402`, `302`: that status; `nonsense`: no JSON; `hang`: the request
    is done and never answered; `no number`: done, and the answer names no job.
    """

    def __init__(self, username: str = "anna", apikey: str = "key-of-anna") -> None:
        self.username, self.apikey = username, apikey
        self.balance = 50.0
        self.jobs: dict[int, dict[str, Any]] = {}
        self.letters: dict[int, dict[str, Any]] = {}
        self.requests: list[tuple[str, str]] = []
        self.faults: deque[str] = deque()
        self.is_over = threading.Event()
        handler = type("Desk", (_Desk,), {"service": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v3"

    def __enter__(self) -> FakePrintService:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()

    def pdf(self, job: int) -> bytes:
        return base64.b64decode(self.letters[job]["base64_file"])

    def advance(self, job: int, status: str, tracking: str = "") -> None:
        """The life of a job: queue or hold, then done or canceled."""
        item = self.jobs[job]["items"][0]
        self.jobs[job]["status"] = status
        item["status"] = "sent" if status == "done" else status
        if tracking:
            item["tracking_status"] = tracking

    def take(self, letter: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        file = letter.get("base64_file", "")
        if hashlib.md5(file.encode()).hexdigest() != letter.get("base64_file_checksum"):
            return 422, {"message": "The checksum is wrong."}
        number = 6_035_143 + len(self.jobs)
        status = "queue" if self.balance > 0 else "hold"
        self.letters[number] = letter
        self.jobs[number] = {
            "id": number,
            **letter["specification"],
            "status": status,
            "items": [{"pages": 1, "amount": PRICE, "vat": TAX, "status": status}],
        }
        return 200, {"status": 200, "message": "OK", "data": self.jobs[number]}

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        auth = body.get("auth", {})
        if (auth.get("username"), auth.get("apikey")) != (self.username, self.apikey):
            return 401, {"message": "Unauthorized."}
        if (method, path) == ("POST", "/v3/printjobs"):
            return self.take(body["letter"])
        if (method, path) == ("GET", "/v3/balance"):
            found = {"balance": self.balance, "currency": "EUR"}
            return 200, {"status": 200, "message": "OK", "data": found}
        number = path.removeprefix("/v3/printjobs/")
        if method == "GET" and number.isdecimal() and int(number) in self.jobs:
            return 200, {"status": 200, "message": "OK", "data": self.jobs[int(number)]}
        return 404, {"message": "Not found."}


class _Desk(BaseHTTPRequestHandler):
    service: FakePrintService
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self._serve("POST")

    def do_GET(self) -> None:
        self._serve("GET")

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def _serve(self, method: str) -> None:
        service = self.service
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        service.requests.append((method, self.path))
        if self.headers.get("Content-Type") != "application/json":
            self._say(400, {"message": "The content type must be application/json."})
            return
        fault = service.faults.popleft() if service.faults else ""
        if fault.isdecimal():
            self._say(int(fault), {"message": f"Told to say {fault} to {service.apikey}."})
            return
        if fault == "nonsense":
            self._send(200, b"<html>")
            return
        status, answer = service.answer(method, self.path, json.loads(raw))
        if fault == "hang":
            service.is_over.wait(30)
            self.close_connection = True
            return
        if fault == "no number":
            answer = {"status": 200, "data": {}}
        self._say(status, answer)

    def _say(self, status: int, answer: dict[str, Any]) -> None:
        self._send(status, json.dumps(answer).encode())

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
