"""Today: what needs a person, three figures, thirty days of money, what happened last."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from flask import Blueprint, Response, g, url_for

from server.banking.service import payees
from server.dashboard import (
    attention,
    attention_orders,
    attention_refunds,
    callbacks,
    collection,
    order_queries,
    print_service,
    queries,
    relay,
    sending_domains,
    words,
)
from server.dashboard.pages import page
from server.dashboard.queries import DayOfChart
from server.db import now

pages = Blueprint("today", __name__)

AUTOMATIC_OVER = timedelta(days=30)
CHART_WIDTH, CHART_HEIGHT = 720, 160
CHART_LINES = 4


@pages.get("/")
def show() -> Response:
    at, merchant_id = now(), g.merchant_id
    steps = _setup_steps(merchant_id)
    matching = order_queries.matching_orders(
        merchant_id, order_queries.OrderFilter(status="open"), words.zone()
    )
    sums = order_queries.order_sums(merchant_id, matching)
    currency = sums[0].currency if sums else "EUR"
    days = queries.chart(merchant_id, currency, words.today())
    return page(
        "today.html",
        today=words.today(),
        steps=[] if all(step["is_done"] for step in steps) else steps,
        attention=[
            *attention.lines(merchant_id, at),
            *attention_refunds.lines(merchant_id, at),
            *attention_orders.lines(merchant_id, at),
            *collection.lines(merchant_id, at),
            *sending_domains.lines(merchant_id),
            *callbacks.lines(merchant_id, at),
            *relay.lines(merchant_id),
            *print_service.lines(merchant_id, at),
        ],
        sums=sums,
        received=queries.received_since(merchant_id, queries.midnight(words.today(), words.zone())),
        automatic=queries.automatic_share(merchant_id, at - AUTOMATIC_OVER),
        currency=currency,
        days=days,
        chart=_chart(days),
        latest=_latest(merchant_id),
        is_new=not sums and not queries.has_statement(merchant_id),
    )


# --- the first steps --------------------------------------------------------------------------


def _setup_steps(merchant_id: int) -> list[dict[str, Any]]:
    """What a new merchant does, in this order; the first that is open is the one to do now."""
    steps: list[dict[str, Any]] = [
        {
            "key": "account",
            "href": url_for("dashboard.bank.ask_add"),
            "is_done": bool(payees(merchant_id)),
        },
        {
            "key": "shop",
            "href": url_for("dashboard.shops.show_all"),
            "is_done": any(shop.connected_at for shop in queries.shops(merchant_id)),
        },
        {
            "key": "statement",
            "href": url_for("dashboard.statements.show_all"),
            "is_done": queries.has_statement(merchant_id),
        },
    ]
    current = next((step for step in steps if not step["is_done"]), None)
    for step in steps:
        step["is_now"] = step is current
    return steps


# --- what happened last -----------------------------------------------------------------------


def _latest(merchant_id: int) -> list[dict[str, Any]]:
    """Orders that changed their status and statements that were read, the newest first."""
    changed = [
        {"at": event.at, "order": order, "after": event.facts["after"]}
        for event, order in queries.latest_events(merchant_id, ["status_changed"])
    ]
    read = [
        {"at": statement.finished_at, "statement": statement}
        for statement in queries.latest_statements(merchant_id)
    ]
    return sorted([*changed, *read], key=lambda one: one["at"], reverse=True)[
        : queries.EVENTS_SHOWN
    ]


# --- the chart --------------------------------------------------------------------------------


def _chart(days: list[DayOfChart]) -> dict[str, Any]:
    """The bars in the units of the drawing, and the lines behind them with their amounts."""
    highest = max((day.received for day in days), default=Decimal(0))
    top = _round_up(highest)
    step = CHART_WIDTH / len(days)
    bars = [
        {
            "day": day,
            "x": round(number * step + step / 6, 1),
            "width": round(step * 2 / 3, 1),
            "received": _height(day.received, top),
            "assigned": _height(day.assigned, top),
        }
        for number, day in enumerate(days)
        if day.received > 0
    ]
    lines = [top * number / CHART_LINES for number in range(CHART_LINES, -1, -1)]
    return {"bars": bars, "lines": lines, "width": CHART_WIDTH, "height": CHART_HEIGHT}


def _height(amount: Decimal, top: Decimal) -> float:
    return round(float(amount / top * CHART_HEIGHT), 1)


def _round_up(amount: Decimal) -> Decimal:
    """The next of 20, 40, 60, 80, 120, 200 ... that is at least this much: whole lines."""
    if amount <= 0:
        return Decimal(CHART_LINES)
    scale = Decimal(10) ** max(amount.adjusted(), 1)
    return next(factor * scale for factor in (2, 4, 6, 8, 12) if factor * scale >= amount)
