"""What a person sees of the fake Shopware: its orders with their payments, and a way to order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from plugin_sdk.testing.woocommerce_page import MAX_ROWS, REFRESH_SECONDS, STYLE

COLOURS = """
.paid{background:#d8f0df;color:#12482a;border-color:#9fd3b0}
.open,.reminded,.paid_partially,.in_progress{background:#fbeccb;color:#5b4108;border-color:#e4c983}
.refunded_partially,.chargeback{background:#ecebef;color:#4a4553}
"""


def page(shop_name: str, orders: Iterable[Mapping[str, Any]]) -> str:
    """The shop's front page, newest order first. Everything that came from outside is escaped."""
    rows = "".join(_row(order) for order in list(orders)[:MAX_ROWS])
    table = (
        "<table><thead><tr><th scope=col>Order<th scope=col>Payment<th scope=col>State"
        "<th scope=col class=sum>Total<th scope=col>Customer<th scope=col>Date</thead>"
        f"<tbody>{rows}</tbody></table>"
        if rows
        else "<div class=empty>No orders yet.</div>"
    )
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<meta http-equiv=refresh content={REFRESH_SECONDS}>"
        f"<title>{escape(shop_name)}</title><style>{STYLE}{COLOURS}</style></head><body><main>"
        f"<h1>{escape(shop_name)}</h1>"
        "<p>A stand-in for a Shopware 6 shop: it answers as a real one does.</p>"
        "<form method=post action=/_demo/orders><button>Order something as a customer</button>"
        f"</form><div class=box>{table}</div></main></body></html>"
    )


def _row(order: Mapping[str, Any]) -> str:
    customer = order["orderCustomer"]
    name = customer["company"] or f"{customer['firstName']} {customer['lastName']}".strip()
    payments = order["transactions"]
    state = payments[-1]["stateMachineState"]["technicalName"] if payments else "none"
    method = payments[-1]["paymentMethod"]["name"] if payments else "none"
    total = f"{order['amountTotal']:.2f} {order['currency']['isoCode']}"
    date = str(order["orderDateTime"])[:16].replace("T", " ")
    return (
        f"<tr><td>{escape(str(order['orderNumber']))}"
        f"<td><span class='mark {escape(state)}'>{escape(state)}</span>"
        f"<td>{escape(str(order['stateMachineState']['technicalName']))}"
        f"<td class=sum>{escape(total)}<td>{escape(name or 'unknown')}, {escape(str(method))}"
        f"<td>{escape(date)}"
    )
