"""A partner for collection: a real HTTP server that keeps to docs/collection.md, or breaks it.

It shares no code with the client. ``faults`` are what happens to the next requests: a status, or
`hang`, `drop`, `nonsense`.
"""

from __future__ import annotations

import email
import email.policy
import http.server
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

TOKEN = "a-token-of-the-partner"


@dataclass
class Case:
    reference: str
    case: dict[str, Any]
    dossier: bytes
    filename: str
    state: str = "received"
    events: list[dict[str, Any]] = field(default_factory=list)
    payments: list[dict[str, Any]] = field(default_factory=list)


class _Desk(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _take(self) -> None:
        partner: FakePartner = self.server.partner  # type: ignore[attr-defined]
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = partner.next_fault()
        if fault in ("hang", "drop"):
            if fault == "hang":
                partner.released.wait(30)
            self.close_connection = True
            return
        status, body = partner.answer(self.command, self.path, self.headers, raw)
        if isinstance(fault, int):
            status, body = fault, {"code": "fault", "message": f"fault {fault}"}
        said = b"<html>busy</html>" if fault == "nonsense" else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_POST = do_DELETE = _take

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Who hung up has hung up."""


class FakePartner:
    def __init__(self) -> None:
        self.cases: dict[str, Case] = {}
        self.keys: dict[str, str] = {}
        self.asked: list[tuple[str, str]] = []
        self.faults: list[int | str] = []
        self.on_request: Callable[[], None] = lambda: None
        self.link = "https://partner.example.com/cases/{reference}"
        self.released = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Desk)
        self._server.partner = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}/api"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def next_fault(self) -> int | str | None:
        with self._lock:
            return self.faults.pop(0) if self.faults else None

    @property
    def only(self) -> Case:
        (case,) = self.cases.values()
        return case

    def becomes(self, state: str, words: str = "", amount: str | None = None) -> None:
        """Something happens to the only case."""
        case = self.only
        case.state = state
        case.events.append(
            {
                "id": f"{case.reference}-{len(case.events) + 1}",
                "at": "2026-03-20T10:00:00+01:00",
                "state": state,
                "words": words,
                "amount": amount,
            }
        )

    # --- the contract

    def answer(self, method: str, path: str, headers: Any, raw: bytes) -> tuple[int, Any]:
        self.on_request()
        with self._lock:
            self.asked.append((method, path))
            if headers.get("Authorization") != f"Bearer {TOKEN}":
                return 401, {"code": "unauthorized", "message": "no such token"}
            if path == "/api/status":
                return 200, {"name": "Partner"}
            if path == "/api/cases" and method == "POST":
                return self._open(headers, raw)
            reference, _, rest = path.removeprefix("/api/cases/").partition("/")
            case = self.cases.get(reference)
            if case is None:
                return 404, {"code": "case_unknown", "message": "no such case"}
            return self._about(case, method, rest, headers, raw)

    def _open(self, headers: Any, raw: bytes) -> tuple[int, Any]:
        key = headers["Idempotency-Key"]
        if key in self.keys:
            return 200, self._told(self.cases[self.keys[key]])
        head = f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode()
        form = email.message_from_bytes(head + raw, policy=email.policy.HTTP)
        parts = {
            part.get_param("name", header="content-disposition"): part for part in form.iter_parts()
        }
        case = Case(
            reference=f"PF-{len(self.cases) + 1}",
            case=json.loads(parts["case"].get_payload(decode=True)),
            dossier=parts["dossier"].get_payload(decode=True),
            filename=parts["dossier"].get_filename(),
        )
        self.cases[case.reference] = case
        self.keys[key] = case.reference
        return 201, self._told(case)

    def _about(
        self, case: Case, method: str, rest: str, headers: Any, raw: bytes
    ) -> tuple[int, Any]:
        if method == "GET" and not rest:
            return 200, self._told(case)
        if headers["Idempotency-Key"] in self.keys:
            return 200, self._told(case)
        if case.state in ("closed", "paid", "withdrawn"):
            return 409, {"code": "case_closed", "message": "the case is closed already"}
        self.keys[headers["Idempotency-Key"]] = case.reference
        if method == "POST" and rest == "payments":
            case.payments.append(json.loads(raw))
        elif method == "DELETE" and not rest:
            case.state = "withdrawn"
        else:
            return 405, {"code": "no_such_method", "message": "no"}
        return 200, self._told(case)

    def _told(self, case: Case) -> dict[str, Any]:
        return {
            "reference": case.reference,
            "url": self.link.format(reference=case.reference),
            "state": case.state,
            "events": case.events,
        }
