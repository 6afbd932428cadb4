"""Order pushes: single ones against a bare INSERT route, and batches of 100."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator

from sqlalchemy import text

from bench.house import House, order
from bench.load import Connection, Result, drive, request_bytes
from server.config import read_runtime
from server.db import db
from server.supervisor import answers, free_port

CONNECTIONS = 8
RUN_SECONDS = 5.0
RUNS = 5
BATCHES = 60
QUIET_SECONDS = 60


def run(place: House) -> dict[str, object]:
    with _bare(place) as bare:
        single = _singles(place, bare)
    return {**single, **_batches(place)}


def _singles(place: House, bare: str) -> dict[str, object]:
    key = place.tenants[0].shop_key
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    ours: list[Result] = []
    theirs: list[Result] = []
    for _ in range(RUNS):
        mark = uuid.uuid4().hex[:8]

        def make(connection: int, n: int, mark: str = mark) -> bytes:
            made = order(f"{mark}-{connection}-{n}", f"B{mark[:4]}{connection}{n:05}")
            body = json.dumps(made).encode()
            return request_bytes(f"{place.url}/api/v1/orders", body, headers)

        def make_bare(connection: int, n: int, mark: str = mark) -> bytes:
            made = order(f"{mark}-{connection}-{n}", f"B{mark[:4]}{connection}{n:05}")
            plain = {"Content-Type": "application/json"}
            return request_bytes(f"{bare}/bare", json.dumps(made).encode(), plain)

        theirs.append(drive(bare, make_bare, CONNECTIONS, RUN_SECONDS))
        ours.append(drive(place.url, make, CONNECTIONS, RUN_SECONDS))
        _until_quiet(place)
    ratios = [mine.rate / other.rate for mine, other in zip(ours, theirs, strict=True)]
    latencies = [latency for one in ours for latency in one.latencies]
    return {
        "push: requests/s": _spread([one.rate for one in ours]),
        "bare route: requests/s": _spread([one.rate for one in theirs]),
        "push / bare": round(statistics.median(ratios), 3),
        "push / bare, spread": _spread(ratios, 3),
        "push p95 ms": round(Result(latencies=latencies).percentile(0.95) * 1000, 1),
        "failed pushes": sum(one.failed for one in ours),
    }


def _batches(place: House) -> dict[str, object]:
    key = place.tenants[0].shop_key
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    mark = uuid.uuid4().hex[:8]
    requests = [
        request_bytes(
            f"{place.url}/api/v1/orders/batch",
            json.dumps(
                {
                    "orders": [
                        order(f"{mark}-{b}-{n}", f"C{mark[:3]}{b:03}{n:03}") for n in range(100)
                    ]
                }
            ).encode(),
            headers,
        )
        for b in range(BATCHES)
    ]
    connection = Connection(place.url)
    connection.send(requests[0])
    began = time.perf_counter()
    for request in requests[1:]:
        status, body = connection.send(request)
        assert status == 200, body
    seconds = time.perf_counter() - began
    _until_quiet(place)
    return {"batches of 100: orders/s, one connection": round((BATCHES - 1) * 100 / seconds)}


def _until_quiet(place: House) -> None:
    """Mails and matching of the run before are no load on the next one."""
    until = time.monotonic() + QUIET_SECONDS
    waiting = text("select count(*) from mail where status in ('queued', 'running')")
    with place.app.app_context():
        while db.session.scalar(waiting) and time.monotonic() < until:
            db.session.rollback()
            time.sleep(0.3)
        db.session.rollback()


@contextlib.contextmanager
def _bare(place: House) -> Iterator[str]:
    with place.app.app_context():
        db.session.execute(text("create table bench_body (id bigserial primary key, body text)"))
        db.session.commit()
    bind = f"127.0.0.1:{free_port('127.0.0.1', 0)}"
    env = {**os.environ, **read_runtime(place.var), "KONTOR_BIND": bind}
    process = subprocess.Popen([sys.executable, "-m", "bench.bare"], env=env)
    try:
        until = time.monotonic() + 30
        while not _listens(bind) and time.monotonic() < until:
            time.sleep(0.1)
        yield f"http://{bind}"
    finally:
        process.terminate()
        process.wait(10)


def _listens(bind: str) -> bool:
    try:
        Connection(f"http://{bind}").socket.close()
    except OSError:
        return False
    return not answers(f"http://{bind}/nothing")


def _spread(values: list[float], digits: int = 0) -> str:
    shown = [f"{value:.{digits}f}" for value in sorted(values)]
    return f"{statistics.median(values):.{digits}f} ({shown[0]} to {shown[-1]})"
