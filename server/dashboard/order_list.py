"""The list of orders with its filter in the URL (K63)."""

from __future__ import annotations

from flask import Response, g, url_for

from plugin_sdk.types import PaymentCode
from server.dashboard import (
    order_bulk,
    order_customer,
    order_filter,
    order_queries,
    order_steps,
    queries,
    status,
)
from server.dashboard.order_filter import kept_arguments, page_url
from server.dashboard.pages import asked_cursor, page
from server.db import now


def show_all() -> Response:
    return list_page()


def list_page(problem: str | None = None) -> Response:
    """The filtered list; 422 with a problem where something of it cannot be done."""
    wanted, period = order_filter.asked_filter()
    matching = order_filter.asked_orders(wanted)
    before, after = asked_cursor("before"), asked_cursor("after")
    rows, has_newer, has_older = order_queries.order_page(
        g.merchant_id, matching, before=before, after=None if before else after
    )
    orders = [row.order for row in rows]
    return page(
        "orders.html",
        422 if problem else 200,
        wanted=wanted,
        period=period,
        periods=[*order_filter.PERIODS, "all", "range"],
        words=["open", *status.ORDER_WORDS],
        codes=list(PaymentCode),
        shops=queries.shops(g.merchant_id),
        rows=rows,
        sums=order_queries.order_sums(g.merchant_id, matching),
        newer=page_url("after", orders[0]) if rows and has_newer else None,
        older=page_url("before", orders[-1]) if rows and has_older else None,
        is_filtered=bool(kept_arguments()),
        first_page=url_for(".show_all"),
        kept=kept_arguments(),
        upcoming=order_steps.next_steps(g.merchant_id, orders, now()),
        said=order_customer.waiting_words(g.merchant_id, orders),
        acts=[act for act in order_bulk.ACTS if any(order_bulk.fits(act, one) for one in orders)],
        fits=order_bulk.fits,
        most_at_once=order_bulk.MOST_AT_ONCE,
        left_out=order_bulk.failed_before(),
        problem=problem,
    )
