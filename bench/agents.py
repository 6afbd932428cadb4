"""The dashboard while 50 idle agents poll, against the same pages without them."""

from __future__ import annotations

import itertools
import threading
import time

from bench.house import PASSWORD, House, Tenant, order
from bench.load import Connection, Result, request_bytes
from plugin_sdk.client import Client
from plugin_sdk.errors import ConnectorError
from plugin_sdk.schemas import OrderSchema
from server.db import db, now
from server.merchants.service import log_in

AGENTS = 50
SECONDS = 15.0
ORDERS = 300
PAGES = ("/", "/orders", "/postings", "/statements", "/shops")


def run(place: House) -> dict[str, object]:
    tenant = place.tenants[0]
    client = Client(place.url, tenant.shop_key)
    made = [OrderSchema().load(order(f"A{n}", f"AGENT{n:05}7")) for n in range(ORDERS)]
    client.push_orders(made)
    with place.app.app_context():
        session = log_in(tenant.email, PASSWORD, "bench", now())
        db.session.commit()
    assert session
    time.sleep(5)
    alone = _look(place, session)
    stop = threading.Event()
    agents = [
        threading.Thread(target=_poll, args=(place, tenant, stop), daemon=True)
        for _ in range(AGENTS)
    ]
    for agent in agents:
        agent.start()
    time.sleep(3)
    among = _look(place, session)
    stop.set()
    for agent in agents:
        agent.join(25)
    return {
        "pages p95 ms, alone": round(alone.percentile(0.95) * 1000),
        f"pages p95 ms, {AGENTS} agents polling": round(among.percentile(0.95) * 1000),
        "ratio": round(among.percentile(0.95) / alone.percentile(0.95), 2),
        "pages looked at": f"{alone.done} and {among.done}, failed {alone.failed + among.failed}",
    }


def _look(place: House, session: str) -> Result:
    """One person who clicks as fast as pages come."""
    result = Result()
    connection = Connection(place.url)
    headers = {"Cookie": f"kontor={session}", "Accept": "text/html"}
    until = time.perf_counter() + SECONDS
    for path in itertools.cycle(PAGES):
        began = time.perf_counter()
        if began >= until:
            return result
        status, _ = connection.send(request_bytes(f"{place.url}{path}", b"", headers, "GET"))
        result.latencies.append(time.perf_counter() - began)
        if status == 200:
            result.done += 1
        else:
            result.failed += 1
    raise AssertionError("the cycle has no end")


def _poll(place: House, tenant: Tenant, stop: threading.Event) -> None:
    client = Client(place.url, tenant.shop_key, stop=stop)
    while not stop.is_set():
        try:
            found = client.payment_updates(wait_seconds=20)
        except ConnectorError:
            continue
        stop.wait(found.retry_after_seconds or 0)
