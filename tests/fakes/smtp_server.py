"""A mail server on loopback that breaks the rules wherever it is told to.

The sinks of other tests keep to RFC 5321 and refuse politely. This one drops, hangs, drips single
bytes, talks nonsense and talks without end. It speaks in threads, one for each connection.
"""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

GOOD = {
    "CONNECT": "220 fake.example.org ESMTP",
    "EHLO": "250 fake.example.org",
    "HELO": "250 fake.example.org",
    "STARTTLS": "220 Go ahead",
    "MAIL": "250 2.1.0 Ok",
    "RCPT": "250 2.1.5 Ok",
    "DATA": "354 End with a dot",
    "DOT": "250 2.0.0 Ok: queued as {count}",
    "RSET": "250 2.0.0 Ok",
    "QUIT": "221 2.0.0 Bye",
}
MAX_CONTENT_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class Received:
    sender: str
    recipients: tuple[str, ...]
    content: bytes


class FakeSmtp:
    """Start with ``with``. ``faults[verb]`` are what happens the next times instead of the answer.

    A verb is a command, ``CONNECT`` or ``DOT``. What happens is an answer such as
    ``"450 4.2.0 later"``, or `drop` (closes), `keep and drop` (takes the mail first), `silence`,
    `drip` (a byte now and then, no line end), `endless line`, `endless lines`, `twice` (two
    answers to one command), `nonsense` or, for STARTTLS, `no tls` (says yes and cannot).
    ``always`` holds for every time.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tls: ssl.SSLContext | None = None,
        max_content_bytes: int = MAX_CONTENT_BYTES,
    ) -> None:
        self.max_content_bytes = max_content_bytes
        self.faults: defaultdict[str, list[str]] = defaultdict(list)
        self.always: dict[str, str] = {}
        self.received: list[Received] = []
        self.verbs: list[str] = []
        self.arguments: list[str] = []
        self.connections = 0
        self.tls = tls
        self.offers_tls = tls is not None
        self.is_over = threading.Event()
        self._lock = threading.Lock()
        handler = type("Dialogue", (_Dialogue,), {"fake": self})
        self._server = _Server((host, port), handler)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> FakeSmtp:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()

    def next(self, verb: str) -> str:
        """What happens now; noted."""
        with self._lock:
            self.verbs.append(verb)
            if self.faults[verb]:
                return self.faults[verb].pop(0)
        return self.always.get(verb, "")

    def keep(self, mail: Received) -> int:
        with self._lock:
            self.received.append(mail)
            return len(self.received)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False


class _Over(Exception):
    """This connection has ended."""


class _Dialogue(socketserver.BaseRequestHandler):
    fake: FakeSmtp

    def setup(self) -> None:
        self.fake.connections += 1
        self.unread = bytearray()
        self.sender, self.recipients = "", []

    def handle(self) -> None:
        with suppress(_Over, OSError, ssl.SSLError):
            self.say("CONNECT")
            while True:
                self.command(self.line())

    def finish(self) -> None:
        with suppress(OSError):
            self.request.close()

    def command(self, line: str) -> None:
        verb, _, argument = line.partition(" ")
        verb = verb.upper()
        if verb not in GOOD:
            self.send(b"500 5.5.2 what?\r\n")
            return
        self.fake.arguments.append(line)
        if verb == "EHLO" and self.fake.offers_tls:
            self.fake.next("EHLO")
            self.send(b"250-fake.example.org\r\n250 STARTTLS\r\n")
            return
        happened = self.say(verb)
        if not happened.startswith(GOOD[verb][0]):
            return
        if verb == "MAIL":
            self.sender, self.recipients = _address(argument), []
        elif verb == "RCPT":
            self.recipients.append(_address(argument))
        elif verb == "DATA":
            self.content()
        elif verb == "STARTTLS":
            assert self.fake.tls is not None
            self.request = self.fake.tls.wrap_socket(self.request, server_side=True)
            self.fake.offers_tls = False
        elif verb == "QUIT":
            raise _Over

    def content(self) -> None:
        seen = 0
        while (end := self.unread.find(b"\r\n.\r\n", seen)) < 0:
            if len(self.unread) > self.fake.max_content_bytes:
                raise _Over
            seen = max(0, len(self.unread) - 4)
            self.read()
        stuffed = bytes(self.unread[:end])
        del self.unread[: end + 5]
        content = stuffed.replace(b"\r\n..", b"\r\n.") + b"\r\n"
        mail = Received(self.sender, tuple(self.recipients), content)
        happened = self.fake.next("DOT")
        count = self.fake.keep(mail) if happened in ("", "keep and drop") else 0
        self.do("DOT", happened.removeprefix("keep and "), count)

    def say(self, verb: str) -> str:
        return self.do(verb, self.fake.next(verb))

    def do(self, verb: str, happens: str, count: int = 0) -> str:
        """The answer that was given."""
        answer = GOOD[verb].format(count=count)
        if happens == "drop":
            raise _Over
        if happens == "no tls":
            self.send(b"220 Go ahead\r\nthis is no handshake\r\n")
            raise _Over
        if happens in _WITHOUT_END:
            self.without_end(happens)
        if happens == "twice":
            self.send(f"{answer}\r\n{answer}\r\n".encode())
            return answer
        if happens:
            answer = "\x00\xff lorem ipsum" if happens == "nonsense" else happens
        self.send(answer.encode("latin-1") + b"\r\n")
        return answer

    def without_end(self, how: str) -> None:
        piece, pause = _WITHOUT_END[how]
        while not self.fake.is_over.wait(pause):
            self.send(piece)
        raise _Over

    def line(self) -> str:
        while b"\r\n" not in self.unread:
            self.read()
        line, _, self.unread = self.unread.partition(b"\r\n")
        return line.decode("utf-8", "replace")

    def read(self) -> None:
        part = self.request.recv(65_536)
        if not part:
            raise _Over
        self.unread += part

    def send(self, raw: bytes) -> None:
        self.request.sendall(raw)


_WITHOUT_END: dict[str, tuple[bytes, float]] = {
    "silence": (b"", 0.05),
    "drip": (b"2", 0.02),
    "endless line": (b"250 " + b"x" * 1000, 0.0001),
    "endless lines": (b"250-and another thing\r\n" * 50, 0.0001),
}


def _address(argument: str) -> str:
    return argument.partition("<")[2].partition(">")[0]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: Any = probe.getsockname()[1]
    return int(port)
