"""A load generator that costs little: prepared requests over keep-alive sockets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Result:
    """Requests answered with 2xx, seconds it took, and each one's latency in seconds."""

    done: int = 0
    failed: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return self.done / self.seconds

    def percentile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def request_bytes(url: str, body: bytes, headers: dict[str, str], method: str = "POST") -> bytes:
    parts = urlsplit(url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {path} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


class Connection:
    """One keep-alive connection; reads just enough HTTP to find the end of an answer."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname and parts.port
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request: bytes) -> tuple[int, bytes]:
        self.socket.sendall(request)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._more()
        head, _, body = received.partition(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length")
        )
        while len(body) < length:
            body += self._more()
        return int(head.split()[1]), body

    def _more(self) -> bytes:
        part = self.socket.recv(65_536)
        if not part:
            raise ConnectionError("the server closed the connection")
        return part


def drive(url: str, make: Callable[[int, int], bytes], connections: int, seconds: float) -> Result:
    """``make(connection, n)`` gives the n-th request of a connection."""
    results = [Result() for _ in range(connections)]
    start = threading.Barrier(connections + 1)
    prepared = [[make(index, n) for n in range(4000)] for index in range(connections)]

    def work(index: int) -> None:
        connection = Connection(url)
        mine = results[index]
        start.wait()
        until = time.perf_counter() + seconds
        for request in prepared[index]:
            began = time.perf_counter()
            if began >= until:
                return
            status, _ = connection.send(request)
            mine.latencies.append(time.perf_counter() - began)
            if 200 <= status < 300:
                mine.done += 1
            else:
                mine.failed += 1

    threads = [threading.Thread(target=work, args=(index,)) for index in range(connections)]
    for thread in threads:
        thread.start()
    start.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    return merged(results, took)


def merged(results: Sequence[Result], seconds: float) -> Result:
    whole = Result(seconds=seconds)
    for one in results:
        whole.done += one.done
        whole.failed += one.failed
        whole.latencies += one.latencies
    return whole
