"""Comparing all of a shop's orders, as the agent does twice a day: a shop, its pages, the server.

The shop is the fake one, over HTTP; its time is counted apart. The first time all orders are new,
the second time nothing has changed, the third time one in a hundred has. How many statements a page
costs is counted in this process, through the same application and database.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from flask import Flask
from sqlalchemy import event, text

from bench.house import House, paused
from connectors.woocommerce import WooCommerce
from plugin_sdk.client import Client
from plugin_sdk.schemas import OrderSchema
from plugin_sdk.testing.fake_woocommerce import CONSUMER_KEY, CONSUMER_SECRET, FakeWooCommerce
from plugin_sdk.types import Order
from server.db import db

ORDERS = 20_000
PAGE = 100
DAYS = 20
CHANGED_EVERY = 100
SMALL_PAGE = 10


@dataclass
class Round:
    """One comparison of everything."""

    pages: int = 0
    orders: int = 0
    requests: int = 0
    shop_seconds: float = 0.0
    server_seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    last_full_page: tuple[Order, ...] = ()

    @property
    def rate(self) -> int:
        return round(self.orders / self.server_seconds)


def run(place: House) -> dict[str, object]:
    with FakeWooCommerce() as shop, paused(place):
        _fill(shop)
        connector = _connect(shop)
        client = Client(place.url, place.tenants[0].shop_key)
        new = _compare(shop, connector, client)
        _analyze(place)
        same = _compare(shop, connector, client)
        for key in list(shop.orders)[::CHANGED_EVERY]:
            shop.set_status(str(key), "completed")
        changed = _compare(shop, connector, client)
    raws = OrderSchema(many=True).dump(changed.last_full_page)
    many, few = (_statements(place, raws[:size]) for size in (PAGE, SMALL_PAGE))
    return {
        "orders": same.orders,
        "requests to the shop / pages": f"{same.requests} / {same.pages}",
        "all new: orders/s": new.rate,
        "nothing changed: orders/s": same.rate,
        "one in a hundred changed: orders/s": changed.rate,
        "nothing changed / all new": round(same.rate / new.rate, 2),
        "nothing changed: outcomes": dict(same.outcomes),
        "one in a hundred changed: outcomes": dict(changed.outcomes),
        "the fake shop's own share of the time": f"{_share(same):.0%}",
        f"statements a page of {PAGE}, nothing changed": many,
        f"statements a page of {SMALL_PAGE}, nothing changed": few,
    }


def _fill(shop: FakeWooCommerce) -> None:
    """One order after the other over the last days."""
    begin = datetime.now(UTC).replace(microsecond=0) - timedelta(days=DAYS)
    step = timedelta(days=DAYS) / (ORDERS + 1)
    for n in range(ORDERS):
        shop.freeze(begin + n * step)
        shop.add_order(number=f"AA-{100_000 + n * 7}")
    shop.freeze(None)


def _connect(shop: FakeWooCommerce) -> WooCommerce:
    return WooCommerce(
        {
            "shop_url": shop.url,
            "consumer_key": CONSUMER_KEY,
            "consumer_secret": CONSUMER_SECRET,
            "history_days": DAYS + 1,
        }
    )


def _compare(shop: FakeWooCommerce, connector: WooCommerce, client: Client) -> Round:
    """What ``Agent`` does between ``compare_all`` and its end."""
    made = Round()
    shop.requests.clear()
    cursor: str | None = None
    while True:
        began = time.perf_counter()
        page = connector.list_orders(cursor)
        listed = time.perf_counter()
        results = client.push_orders(page.orders)
        made.server_seconds += time.perf_counter() - listed
        made.shop_seconds += listed - began
        made.pages += 1
        made.orders += len(page.orders)
        made.outcomes.update(result.outcome for result in results)
        if len(page.orders) == PAGE:
            made.last_full_page = page.orders
        cursor = page.cursor
        if not page.has_more:
            break
    made.requests = len(shop.requests)
    return made


def _analyze(place: House) -> None:
    """What Postgres does by itself within a minute of so many new rows."""
    with place.app.app_context():
        db.session.execute(text('analyze "order"'))
        db.session.commit()


def _share(one: Round) -> float:
    return one.shop_seconds / (one.shop_seconds + one.server_seconds)


def _statements(place: House, raws: list[dict[str, object]]) -> int:
    """The second time, so that what is remembered of key and shop does not count."""
    headers = {"Authorization": f"Bearer {place.tenants[0].shop_key}"}
    client = place.app.test_client()
    for _ in range(2):
        with _counted(place.app) as seen:
            answer = client.post("/api/v1/orders/batch", json={"orders": raws}, headers=headers)
        outcomes = {result["outcome"] for result in json.loads(answer.data)["results"]}
        assert outcomes == {"unchanged"}, outcomes
    return len(seen)


@contextlib.contextmanager
def _counted(app: Flask) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(*arguments: object) -> None:
        seen.append(str(arguments[2]))

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)
