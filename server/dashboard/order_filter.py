"""What the URL of the list of orders asks for (K63).

A file of its own because the list, its export and what is done to many at once read it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import g, request, url_for
from sqlalchemy import Select

from plugin_sdk.types import PaymentCode
from server.dashboard import order_queries, status, words
from server.dashboard.order_queries import Cursor, OrderFilter
from server.dashboard.pages import asked_day, cursor_text, plain
from server.orders.models import Order

PERIODS = {"today": 0, "7": 6, "30": 29, "365": 364}
DEFAULT_PERIOD = "365"
KEPT = ("q", "code", "shop", "status", "period", "from", "to")


def asked_filter() -> tuple[OrderFilter, str]:
    """What the URL asks for, and its period; what makes no sense is left out, never an error."""
    period = request.args.get("period", DEFAULT_PERIOD)
    first, last = asked_day("from"), asked_day("to")
    if first or last:
        period = "range"
    elif period in PERIODS:
        first = words.today() - timedelta(days=PERIODS[period])
    elif period not in {"all", "range"}:
        period, first = DEFAULT_PERIOD, words.today() - timedelta(days=PERIODS[DEFAULT_PERIOD])
    shop = request.args.get("shop", "")
    wanted_status = request.args.get("status", "")
    code = request.args.get("code", "")
    wanted = OrderFilter(
        text=plain(request.args.get("q", "")),
        code=code if code in set(PaymentCode) else "",
        shop_id=int(shop) if shop.isdecimal() and len(shop) < 19 else None,
        status=wanted_status if wanted_status in {"open", *status.ORDER_WORDS} else "",
        first_date=first,
        last_date=last,
    )
    return wanted, period


def asked_orders(wanted: OrderFilter | None = None) -> Select[Any]:
    """The orders that the URL asks for, unordered."""
    wanted = wanted or asked_filter()[0]
    return order_queries.matching_orders(g.merchant_id, wanted, words.zone())


def kept_arguments() -> dict[str, Any]:
    """The filter, to go on with."""
    return {name: request.args[name] for name in KEPT if request.args.get(name)}


def cursor_of(order: Order) -> Cursor:
    """Where the next page goes on."""
    return order.ordered_at, order.id


def page_url(name: str, order: Order) -> str:
    """The page that begins before or after this order, with the same filter."""
    arguments: dict[str, Any] = kept_arguments() | {name: cursor_text(order.ordered_at, order.id)}
    return url_for("dashboard.orders.show_all", **arguments)
