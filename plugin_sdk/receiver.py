"""Receives a shop's webhooks: verify, write down, answer; the looking-up comes later.

Answers fast, because shops count a slow receiver as a dead one and switch the webhook off.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from plugin_sdk.errors import ConnectorError, Rejected

MAX_BODY_BYTES = 10 * 1024 * 1024
SOCKET_TIMEOUT_SECONDS = 10
MAX_AT_ONCE = 32

Receive = Callable[[Mapping[str, str], bytes], None]


class Receiver:
    """A small HTTP server in a thread. ``receive`` raises Rejected for what is not genuine."""

    def __init__(self, host: str, port: int, receive: Receive) -> None:
        self._server = _Server((host, port), _Delivery)
        self._server.receive = receive
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="receiver", daemon=True
        )

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that are listened on (the port found for port 0)."""
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering and give the port back."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    receive: Receive

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.seats = threading.BoundedSemaphore(MAX_AT_ONCE)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hangs up is no news."""


class _Delivery(BaseHTTPRequestHandler):
    timeout = SOCKET_TIMEOUT_SECONDS
    server: _Server

    def do_GET(self) -> None:
        self._answer(200, "Kontor listens for webhooks here.\n")

    def do_POST(self) -> None:
        if not self.server.seats.acquire(blocking=False):
            self._answer(503, "Busy.\n")
            return
        try:
            self._receive()
        finally:
            self.server.seats.release()

    def _receive(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or not length.isascii():
            self._answer(411, "A Content-Length is needed.\n")
            return
        if len(length) > 9 or int(length) > MAX_BODY_BYTES:
            self._answer(413, "Too large.\n")
            return
        body = self.rfile.read(int(length))
        try:
            self.server.receive(dict(self.headers.items()), body)
        except Rejected:
            self._answer(401, "Not genuine.\n")
        except (ConnectorError, OSError):
            self._answer(503, "Not now.\n")
        else:
            self._answer(200, "Thank you.\n")

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Addresses and paths are nobody's business here."""
