"""A fake shop to build on: a real HTTP server on loopback that misbehaves when it is told to.

Subclass it, say in ``answer`` what your shop says to a request, and it offers everything that the
contract asks of a fake: failures, a clock that can be stopped or set wrong, what was written, and
what was asked with parameters that your shop does not know.

    class FakeMyShop(FakeShop):
        def answer(self, asked): ...
"""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_KEPT = 1000
HANG_SECONDS = 30
ELSEWHERE = "https://elsewhere.example.org/"
NOTICE = b"<br />\n<b>Notice</b>: Undefined index: [key] in <b>/x/{y}.php</b> on line <b>3</b>\n"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. Header names are in lower case; ``body`` is the JSON in it (None: no JSON)."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    raw: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: ``body`` goes out as JSON, bytes go out as they are."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """Raise it inside ``answer`` to end a request with an error."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.reply = Reply(status, {"code": code, "message": message or code})


INSTEAD = {
    "500": Reply(500, {"code": "internal_error", "message": "Oops"}),
    "503": Reply(503, b"<!DOCTYPE html><h1>Maintenance</h1>", {"Retry-After": "600"}),
    "429": Reply(429, {"code": "too_many_requests"}, {"Retry-After": "7"}),
    "html": Reply(200, b"<!DOCTYPE html><title>Just a moment</title>"),
    "type": Reply(200, b"id;number;total\n1;4711;39.90\n", {"Content-Type": "text/csv"}),
    "empty": Reply(200, b""),
    "firewall": Reply(403, b"<html><body>Access denied by firewall</body></html>"),
    "redirect": Reply(301, b"", {"Location": ELSEWHERE}),
}
"""Failures that answer something else. ``cut`` and ``notice`` spoil the answer itself, ``hang``
answers nothing in time, ``drop`` hangs up.
"""
FAILURES = frozenset({*INSTEAD, "cut", "notice", "hang", "drop"})


class FakeShop:
    """Start it, talk to it, look inside, stop it; a context manager does the first and the last.

    ``requests``: every request as "METHOD /path?query". ``writes``: (method, path, body) of every
    request but GET that the shop accepted. ``unexpected``: parameters that ``only`` refused.
    """

    def __init__(self, port: int = 0) -> None:
        self.requests: deque[str] = deque(maxlen=MAX_KEPT)
        self.writes: deque[tuple[str, str, Any]] = deque(maxlen=MAX_KEPT)
        self.unexpected: list[str] = []
        self.lock = threading.RLock()
        self._failures: list[list[Any]] = []
        self._frozen: datetime | None = None
        self._skew_seconds = 0
        self._let_go = threading.Event()
        self._server = _Server(("127.0.0.1", port), _Visit)
        self._server.fake = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="fake shop", daemon=True
        )

    def answer(self, asked: Asked) -> Reply:
        """What the shop says. Called by one request at a time; may raise Refusal."""
        raise NotImplementedError("say what the shop answers")

    def only(self, asked: Asked, *names: str) -> None:
        """The parameters that the shop's documentation has for this request; others are refused.

        Real shops often ignore what they do not know, and then a misspelt filter lists everything.
        """
        unknown = sorted(set(asked.query) - set(names))
        if unknown:
            self.unexpected += [f"{asked.method} {asked.path}: {name}" for name in unknown]
            raise Refusal(400, "unknown_parameter", f"Unknown: {', '.join(unknown)}")

    def is_write(self, asked: Asked) -> bool:
        """Does the request change something? Override it where a search is a POST."""
        return asked.method != "GET"

    def settings(self) -> Mapping[str, str]:
        """The settings of a connector that may come in."""
        raise NotImplementedError("say how to come in")

    def add_order(self) -> str:
        """A customer orders something; returns the order's id."""
        raise NotImplementedError("say how an order is made")

    @property
    def url(self) -> str:
        """The shop's address, without a slash at the end."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> Self:
        """Begin to answer."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop answering and give the port back."""
        self._let_go.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # What the contract asks for

    def now(self) -> datetime:
        """The time in the shop; aware, UTC."""
        return self._frozen or datetime.now(UTC)

    def freeze(self, moment: datetime | None) -> None:
        """Stop the shop's clock at a moment (None: let it run)."""
        self._frozen = moment.astimezone(UTC) if moment else None

    def skew(self, seconds: int) -> None:
        """Set the clock of the shop's server wrong: the Date header of its answers."""
        self._skew_seconds = seconds

    def fail(self, kind: str, times: int = 1) -> None:
        """Spoil the next ``times`` answers; FAILURES has the kinds. Raises ValueError."""
        if kind not in FAILURES:
            raise ValueError(f"{kind} is none of {', '.join(sorted(FAILURES))}")
        self._failures.append([kind, times])

    def heal(self) -> None:
        """Forget the failures that were not met yet."""
        self._failures.clear()

    # For the server

    def respond(self, asked: Asked) -> tuple[str, Reply]:
        """The failure that is due ("" for none), and the reply."""
        with self.lock:
            failure = self._next_failure()
            if failure in INSTEAD:
                return failure, INSTEAD[failure]
            if failure in ("hang", "drop"):
                return failure, Reply()
            try:
                reply = self.answer(asked)
            except Refusal as refusal:
                return failure, refusal.reply
            if self.is_write(asked) and reply.status < 400:
                self.writes.append((asked.method, asked.path, asked.body))
            return failure, reply

    def _next_failure(self) -> str:
        if not self._failures:
            return ""
        first = self._failures[0]
        first[1] -= 1
        if first[1] <= 0:
            self._failures.pop(0)
        return str(first[0])

    def server_date(self) -> str:
        """The Date header of an answer."""
        return formatdate(time.time() + self._skew_seconds, usegmt=True)

    def wait_until_stopped(self) -> None:
        """What a request that hangs does."""
        self._let_go.wait(HANG_SECONDS)


def serve(
    kind: Callable[[int], FakeShop], connector: str, argv: Sequence[str] | None = None
) -> int:
    """Run a fake shop as a process until SIGTERM or SIGINT.

    Its first line is a JSON object: the settings of a connector that may come in. ``connector``
    (module:Class) and the settings can also be written as a kontor.toml, to try the commands with.
    """
    parser = argparse.ArgumentParser(description="A fake shop for demonstrations.")
    parser.add_argument("--port", type=int, default=0, help="0 finds a free one")
    parser.add_argument("--orders", type=int, default=1, help="so many orders to begin with (1)")
    parser.add_argument("--settings", type=Path, metavar="FILE", help="write a kontor.toml")
    arguments = parser.parse_args(argv)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with kind(arguments.port) as fake:
        for _ in range(arguments.orders):
            fake.add_order()
        settings = dict(fake.settings())
        if arguments.settings:
            arguments.settings.write_text(_as_toml(connector, settings), encoding="utf-8")
        sys.stdout.write(f"{json.dumps(settings)}\n")
        sys.stdout.flush()
        while not stop.wait(60):
            pass
    return 0


def _as_toml(connector: str, settings: Mapping[str, Any]) -> str:
    module, _, class_name = connector.partition(":")
    name = getattr(importlib.import_module(module), class_name).name
    values = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    return f"connector = {json.dumps(connector)}\n\n[{name}]\n{values}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    fake: FakeShop

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hangs up is no news."""


class _Visit(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = HANG_SECONDS

    def do_GET(self) -> None:
        self._visit()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def _visit(self) -> None:
        fake = self.server.fake
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            self._send(Reply(413, b"Too large."))
            return
        raw = self.rfile.read(int(length))
        fake.requests.append(f"{self.command} {self.path}")
        failure, reply = fake.respond(self._asked(raw))
        if failure in ("hang", "drop"):
            if failure == "hang":
                fake.wait_until_stopped()
            self.close_connection = True
            return
        self._send(reply, spoilt=failure)

    def _asked(self, raw: bytes) -> Asked:
        parts = urlsplit(self.path)
        try:
            body = json.loads(raw) if raw else None
        except (ValueError, RecursionError):
            body = None
        return Asked(
            method=self.command,
            path=parts.path.rstrip("/") or "/",
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
            raw=raw,
        )

    def _send(self, reply: Reply, spoilt: str = "") -> None:
        is_raw = isinstance(reply.body, bytes)
        content = reply.body if is_raw else json.dumps(reply.body, ensure_ascii=False).encode()
        if reply.body is None:
            content = b""
        if spoilt == "cut":
            content = content[: len(content) // 2] or b"{"
        elif spoilt == "notice":
            content = NOTICE + content
        kind = "text/html; charset=utf-8" if is_raw else "application/json; charset=utf-8"
        self.send_response_only(reply.status)
        headers = {"Date": self.server.fake.server_date(), "Content-Type": kind, **reply.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: what matters is in ``FakeShop.requests``."""
