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
from collections.abc import Callable, Iterator

from sqlalchemy import text

from bench.house import House, order, paused
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
        with paused(place):
            alone = _singles(place, bare)
        _until_quiet(place)
        beside = _singles(place, bare)
    with paused(place):
        batches = _batches(place)
    _until_quiet(place)
    return {
        **{f"{what}, workers paused": figure for what, figure in alone.items()},
        **{f"{what}, workers at work": figure for what, figure in beside.items()},
        "batches of 100: orders/s, workers paused": batches,
        "batches of 100: orders/s, workers at work": _batches(place),
    }


def _singles(place: House, bare: str) -> dict[str, object]:
    ours: list[Result] = []
    theirs: list[Result] = []
    for _ in range(RUNS):
        theirs.append(drive(bare, _bare_requests(bare), CONNECTIONS, RUN_SECONDS))
        ours.append(drive(place.url, _requests(place), CONNECTIONS, RUN_SECONDS))
    ratios = [mine.rate / other.rate for mine, other in zip(ours, theirs, strict=True)]
    latencies = [latency for one in ours for latency in one.latencies]
    return {
        "pushes/s": _spread([one.rate for one in ours]),
        "bare route, requests/s": _spread([one.rate for one in theirs]),
        "push / bare": _spread(ratios, 3),
        "push p95 ms": round(Result(latencies=latencies).percentile(0.95) * 1000, 1),
        "failed pushes": sum(one.failed for one in ours),
    }


def _requests(place: House) -> Callable[[int, int], bytes]:
    mark = uuid.uuid4().hex[:8]
    headers = _headers(place)

    def make(connection: int, n: int) -> bytes:
        made = order(f"{mark}-{connection}-{n}", f"B{mark[:4]}{connection}{n:05}")
        return request_bytes(f"{place.url}/api/v1/orders", json.dumps(made).encode(), headers)

    return make


def _bare_requests(bare: str) -> Callable[[int, int], bytes]:
    headers = {"Content-Type": "application/json"}

    def make(connection: int, n: int) -> bytes:
        made = order(f"bare-{connection}-{n}", f"Bbare{connection}{n:05}")
        return request_bytes(f"{bare}/bare", json.dumps(made).encode(), headers)

    return make


def _headers(place: House) -> dict[str, str]:
    key = place.tenants[0].shop_key
    return {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}


def _batches(place: House) -> int:
    mark = uuid.uuid4().hex[:8]
    url = f"{place.url}/api/v1/orders/batch"
    requests = []
    for b in range(BATCHES):
        orders = [order(f"{mark}-{b}-{n}", f"C{mark[:3]}{b:03}{n:03}") for n in range(100)]
        body = json.dumps({"orders": orders}).encode()
        requests.append(request_bytes(url, body, _headers(place)))
    connection = Connection(place.url)
    connection.send(requests[0])
    began = time.perf_counter()
    for request in requests[1:]:
        status, body = connection.send(request)
        assert status == 200, body
    return round((BATCHES - 1) * 100 / (time.perf_counter() - began))


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
