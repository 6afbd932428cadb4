"""Shops that Kontor talks to itself: a first import, and 200 shops of which some hang.

The import is set against its two halves, each alone and in this run: the shop's pages fetched and
thrown away, and the same orders pushed in batches by a client. What is told to the shops that
answer is timed from the payment to the shop's word, as the rows say.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select, text

from bench.house import House, Tenant
from connectors.woocommerce import WooCommerce
from plugin_sdk.client import Client
from plugin_sdk.http import Answer, HttpSession
from plugin_sdk.testing.fake_woocommerce import CONSUMER_KEY, CONSUMER_SECRET
from plugin_sdk.types import Order as WireOrder
from server.db import db, now
from server.orders.models import Order
from server.orders.service import mark_as_paid
from server.shops.connections import add_connection, switch_on
from server.shops.models import PaymentUpdate, Shop
from server.shops.service import add_shop

ENV = {"KONTOR_ALLOWED_NETWORKS": "127.0.0.0/8", "KONTOR_ALLOW_HTTP": "yes"}
ORDERS = 10_000
SHOPS = 200
HUNG = 10
LONGEST_SECONDS = 300
ROOT = Path(__file__).parent.parent


def run(place: House) -> dict[str, object]:
    with _fake_shops(0, [ORDERS]) as (url,):
        figures = _import(place, url)
    with _fake_shops(HUNG, [1] * SHOPS) as urls:
        return figures | _tell(place, urls)


# --- a first import -----------------------------------------------------------------------------


def _import(place: House, url: str) -> dict[str, object]:
    served, orders = _serve_alone(url)
    pushed = _push_alone(place, orders)
    with place.app.app_context():
        shop_id = _connect(place.tenants[1], url)
        began = time.perf_counter()
        while _count(shop_id) < ORDERS and time.perf_counter() - began < LONGEST_SECONDS:
            time.sleep(0.1)
        took, count = time.perf_counter() - began, _count(shop_id)
    return {
        "orders imported": f"{count} of {ORDERS}",
        "the shop's pages alone, s": round(served, 1),
        "the same orders pushed alone, s": round(pushed, 1),
        "imported by a visit, s": round(took, 1),
        "ratio to the sum of both": round(took / (served + pushed), 2),
    }


class _TimedSession(HttpSession):
    seconds = 0.0

    def request(self, *arguments: Any, **named: Any) -> Answer:
        began = time.perf_counter()
        try:
            return super().request(*arguments, **named)
        finally:
            type(self).seconds += time.perf_counter() - began


class _TimedWooCommerce(WooCommerce):
    def http_session(self, peer: str = "the shop", **named: Any) -> HttpSession:
        return _TimedSession(peer, user_agent="bench", rules=named["rules"])


def _serve_alone(url: str) -> tuple[float, list[WireOrder]]:
    """The requests only, as JSON; what the connector makes of them is not counted."""
    connector = _TimedWooCommerce(_settings(url))
    orders: list[WireOrder] = []
    cursor, more = None, True
    while more:
        page = connector.list_orders(cursor)
        orders += page.orders
        cursor, more = page.cursor, page.has_more
    return _TimedSession.seconds, orders


def _push_alone(place: House, orders: list[WireOrder]) -> float:
    client = Client(place.url, place.tenants[0].shop_key)
    began = time.perf_counter()
    for start in range(0, len(orders), 100):
        client.push_orders([replace(one, number=f"P{one.number}") for one in orders[start:][:100]])
    return time.perf_counter() - began


# --- many shops ---------------------------------------------------------------------------------


def _tell(place: House, urls: list[str]) -> dict[str, object]:
    with place.app.app_context():
        shop_ids = [_connect(place.tenants[0], url) for url in urls][HUNG:]
        began = time.perf_counter()
        while len(_orders(shop_ids)) < len(shop_ids):
            if time.perf_counter() - began > LONGEST_SECONDS:
                break
            time.sleep(0.5)
        came = time.perf_counter() - began
        orders = _orders(shop_ids)
        for merchant_id, order_id in orders:
            mark_as_paid(merchant_id, order_id, actor="bench", at=now())
            db.session.commit()
            time.sleep(0.05)
        while _waiting(shop_ids) and time.perf_counter() - began < LONGEST_SECONDS:
            time.sleep(0.2)
        seconds = sorted(_told_after(shop_ids))
    return {
        f"orders of {SHOPS} shops, {HUNG} of them hung": f"{len(orders)} of {len(shop_ids)}",
        "all there after, s": round(came, 1),
        "payments told": f"{len(seconds)} of {len(orders)}",
        "told after, s, median": round(seconds[len(seconds) // 2], 2),
        "told after, s, p95": round(seconds[int(len(seconds) * 0.95)], 2),
        "told after, s, worst": round(seconds[-1], 2),
    }


def _orders(shop_ids: list[int]) -> list[tuple[int, int]]:
    rows = db.session.execute(
        select(Order.merchant_id, Order.id).where(Order.shop_id.in_(shop_ids))
    ).all()
    db.session.rollback()
    return [(merchant_id, order_id) for merchant_id, order_id in rows]


def _waiting(shop_ids: list[int]) -> bool:
    found = db.session.scalar(
        select(PaymentUpdate.id)
        .where(PaymentUpdate.shop_id.in_(shop_ids), PaymentUpdate.finished_at.is_(None))
        .limit(1)
    )
    db.session.rollback()
    return found is not None


def _told_after(shop_ids: list[int]) -> list[float]:
    rows = db.session.execute(
        select(PaymentUpdate.created_at, PaymentUpdate.finished_at).where(
            PaymentUpdate.shop_id.in_(shop_ids), PaymentUpdate.status == "done"
        )
    ).all()
    db.session.rollback()
    return [(finished - created).total_seconds() for created, finished in rows if finished]


# --- both ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def _fake_shops(hung: int, orders: list[int]) -> Iterator[list[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.fake_shops", str(hung), *map(str, orders)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _settings(url: str) -> dict[str, str]:
    return {"shop_url": url, "consumer_key": CONSUMER_KEY, "consumer_secret": CONSUMER_SECRET}


def _connect(tenant: Tenant, url: str) -> int:
    shop: Shop = add_shop(tenant.merchant_id, name=url, system="woocommerce", url=url)
    row = add_connection(shop, "woocommerce", _settings(url), now())
    switch_on(row, now())
    shop.connected_at = row.created_at - timedelta(days=365)  # none is too old
    db.session.commit()
    return shop.id


def _count(shop_id: int) -> int:
    found = db.session.scalar(
        text('select count(*) from "order" where shop_id = :id'), {"id": shop_id}
    )
    db.session.rollback()
    return int(found or 0)
