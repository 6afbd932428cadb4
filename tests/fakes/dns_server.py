"""A DNS server on loopback, UDP and TCP on one port, that answers as it is told.

It answers like a resolver of a provider: with whole CNAME chains, NXDOMAIN for names that are not
there and an empty answer for names that are. It can be out of order for a name in several ways.
"""

from __future__ import annotations

import socketserver
import struct
import threading
from contextlib import suppress
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

PORTS_TRIED = 20
TTL = 60
UDP_BYTES = 512
STRING_LENGTH = 255


class FakeDns:
    """Start with ``with``; ``server`` is its address and port. May be changed while it runs.

    ``faults`` maps a name to what happens to questions for it: `SERVFAIL`, `REFUSED`, `silence`,
    `garbage`, `truncated` (over UDP). ``asked`` are the questions that came, (name, kind).
    """

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.faults: dict[str, str] = {}
        self.asked: list[tuple[str, str]] = []

    def __enter__(self) -> FakeDns:
        self._bind()
        self.server = f"127.0.0.1:{self._udp.server_address[1]}"
        self._threads = [
            threading.Thread(target=one.serve_forever, args=(0.02,), daemon=True)
            for one in (self._udp, self._tcp)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def _bind(self) -> None:
        """One port for both; of another test's server it may be taken for one of them."""
        handler = {"fake": self}
        for _ in range(PORTS_TRIED):
            self._udp = _Udp(("127.0.0.1", 0), type("OverUdp", (_OverUdp,), handler))
            address: Any = self._udp.server_address
            try:
                self._tcp = _Tcp(address, type("OverTcp", (_OverTcp,), handler))
            except OSError:
                self._udp.server_close()
            else:
                return
        raise OSError("no port is free for both")

    def __exit__(self, *_: object) -> None:
        for server in (self._udp, self._tcp):
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join(5)

    def put(self, name: str, kind: str, *values: str) -> None:
        """All records of a name and kind: texts plain, ``"10 mx.example"`` for MX."""
        self.records[(name.lower(), kind)] = list(values)

    def remove(self, name: str, kind: str) -> None:
        self.records.pop((name.lower(), kind), None)

    def answer(self, raw: bytes, *, over_udp: bool) -> bytes | None:
        """The answer to one question as it goes over the wire; None is silence."""
        query = dns.message.from_wire(raw)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        response = dns.message.make_response(query, recursion_available=True)
        fault = self.faults.get(name)
        if fault == "silence":
            return None
        if fault == "garbage":
            return raw[:2] + b"\xff" * 30
        if fault in ("SERVFAIL", "REFUSED"):
            response.set_rcode(dns.rcode.from_text(fault))
            return response.to_wire()
        if fault == "truncated" and over_udp:
            return self._truncated(query)
        self._fill(response, name, kind)
        wire = response.to_wire(max_size=65_535)
        room = max(UDP_BYTES, query.payload) if query.edns >= 0 else UDP_BYTES
        return self._truncated(query) if over_udp and len(wire) > room else wire

    def _truncated(self, query: dns.message.Message) -> bytes:
        response = dns.message.make_response(query)
        response.flags |= dns.flags.TC
        return response.to_wire()

    def _fill(self, response: dns.message.Message, name: str, kind: str) -> None:
        for _ in range(10):
            target = self.records.get((name, "CNAME"))
            if target is None or kind == "CNAME":
                break
            response.answer.append(_rrset(name, "CNAME", target))
            name = target[0].rstrip(".").lower()
        values = self.records.get((name, kind))
        if values:
            response.answer.append(_rrset(name, kind, values))
        elif not self._exists(name):
            response.set_rcode(dns.rcode.NXDOMAIN)

    def _exists(self, name: str) -> bool:
        return any(known == name or known.endswith(f".{name}") for known, _ in self.records)


def _rrset(name: str, kind: str, values: list[str]) -> dns.rrset.RRset:
    texts = [_quoted(value) if kind == "TXT" else _absolute(value) for value in values]
    return dns.rrset.from_text(dns.name.from_text(name), TTL, dns.rdataclass.IN, kind, *texts)


def _absolute(value: str) -> str:
    """Names end with a dot, addresses do not."""
    return value if value[-1] in ".:" or value[-1].isdigit() or ":" in value else f"{value}."


def _quoted(text: str) -> str:
    parts = [text[at : at + STRING_LENGTH] for at in range(0, len(text) or 1, STRING_LENGTH)]
    return " ".join('"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"' for part in parts)


class _Udp(socketserver.ThreadingUDPServer):
    daemon_threads = True


class _Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


class _OverUdp(socketserver.BaseRequestHandler):
    fake: FakeDns

    def handle(self) -> None:
        raw, socket = self.request
        answer = self.fake.answer(raw, over_udp=True)
        if answer is not None:
            socket.sendto(answer, self.client_address)


class _OverTcp(socketserver.BaseRequestHandler):
    fake: FakeDns

    def handle(self) -> None:
        with suppress(OSError, struct.error):
            length = struct.unpack("!H", self.request.recv(2))[0]
            answer = self.fake.answer(self.request.recv(length), over_udp=False)
            if answer is not None:
                self.request.sendall(struct.pack("!H", len(answer)) + answer)
