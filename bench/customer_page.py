"""The customer's page at a steady pace, and how much of it goes over the line.

Requests come at fixed moments, whether the answers before are there or not; a latency counts from
the moment that its request was due. Each looks at another order than the one before. What the web
processes have used of the processor says the same on a busy machine as on a quiet one (Linux).
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import select

from bench.house import House, order
from bench.load import Connection, Result, request_bytes
from plugin_sdk.client import Client
from plugin_sdk.schemas import OrderSchema
from server.db import db
from server.orders.links import page_url
from server.orders.models import Order

ORDERS = 400
REQUESTS_A_SECOND = 50
SECONDS = 20
CONNECTIONS = 16
WARM_UP = 100


def run(place: House) -> dict[str, object]:
    paths = _paths(place)
    for path in paths[:WARM_UP]:
        _get(place.url + path)
    used = _processor_seconds(place)
    result = _at_pace(place, paths)
    used = _processor_seconds(place) - used
    sizes = _sizes(place.url, paths[0])
    return {
        "requests a second, as sent": round(result.rate, 1),
        "not answered with 200": result.failed,
        "median ms": round(result.percentile(0.5) * 1000, 1),
        "p95 ms": round(result.percentile(0.95) * 1000, 1),
        "longest ms": round(result.percentile(1.0) * 1000, 1),
        "processor ms of the web process a page": round(used * 1000 / len(result.latencies), 1),
        "bytes of the first visit, all that it loads": sum(sizes.values()),
        **{f"bytes of {name}": size for name, size in sizes.items()},
    }


def _paths(place: House) -> list[str]:
    tenant = place.tenants[0]
    rows = [OrderSchema().load(order(f"P{n}", f"PAGE{n:05}7")) for n in range(ORDERS)]
    client = Client(place.url, tenant.shop_key)
    for first in range(0, ORDERS, 100):
        client.push_orders(rows[first : first + 100])
    with place.app.app_context():
        found = db.session.scalars(select(Order).where(Order.merchant_id == tenant.merchant_id))
        return [urlsplit(page_url(one)).path for one in found]


def _at_pace(place: House, paths: list[str]) -> Result:
    """``REQUESTS_A_SECOND`` over ``CONNECTIONS``, each in turn."""
    total = REQUESTS_A_SECOND * SECONDS
    requests = [request_bytes(place.url + path, b"", {}, "GET") for path in paths]
    result, lock = Result(), threading.Lock()
    begin = time.monotonic() + 0.5

    def work(index: int) -> None:
        connection = Connection(place.url)
        for number in range(index, total, CONNECTIONS):
            due = begin + number / REQUESTS_A_SECOND
            time.sleep(max(due - time.monotonic(), 0))
            status, _ = connection.send(requests[number % len(requests)])
            with lock:
                result.latencies.append(time.monotonic() - due)
                result.done += status == 200
                result.failed += status != 200

    threads = [threading.Thread(target=work, args=(index,)) for index in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    result.seconds = time.monotonic() - begin
    return result


def _processor_seconds(place: House) -> float:
    """Of gunicorn and its workers so far; proc(5), fields 4, 14 and 15 of ``stat``."""
    running = json.loads((place.var / "ready.json").read_text())["processes"]
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if running["web"] in (int(stat.parent.name), int(fields[1])):
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def _sizes(url: str, path: str) -> dict[str, int]:
    """The page and everything that it loads, uncompressed, without headers."""
    page = _get(url + path)
    loaded = re.findall(rb'<(?:link|script|img)[^>]+(?:href|src)="([^"]+)"', page)
    names = {"/qr.png": "the code", ".css": "style sheets", ".js": "the script", ".svg": "the icon"}
    sizes = {"the page": len(page)}
    for each in loaded:
        address = each.decode()
        name = next((word for mark, word in names.items() if mark in address), "pictures")
        sizes[name] = sizes.get(name, 0) + len(_get(url + address))
    return sizes


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:
        content: bytes = answer.read()
    return content
