"""What a person sees of the fake shop: its orders with their status, and a way to order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

MAX_ROWS = 200
REFRESH_SECONDS = 5  # so that one sees a payment arrive
STYLE = """
:root{color-scheme:light dark;
--line:#d8d5e0;--ink:#26222e;--quiet:#6b6577;--paper:#fff;--back:#f6f4f9}
@media(prefers-color-scheme:dark){:root{--line:#3a3545;--ink:#eee9f6;--quiet:#a49db2;--paper:#1d1a24;
--back:#141118}}
*{box-sizing:border-box}body{margin:0;font:16px/1.5 system-ui,sans-serif;color:var(--ink);
background:var(--back)}main{max-width:60rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.4rem;margin:0}p{color:var(--quiet);margin:.25rem 0 1.25rem}
.box{background:var(--paper);border:1px solid var(--line);border-radius:.6rem;overflow-x:auto}
table{border-collapse:collapse;width:100%}th,td{padding:.6rem .9rem;text-align:left;
border-bottom:1px solid var(--line);white-space:nowrap}th{font-weight:600;font-size:.85rem;
color:var(--quiet)}tr:last-child td{border-bottom:0}.sum{text-align:right;
font-variant-numeric:tabular-nums}.mark{border-radius:1rem;padding:.1rem .6rem;font-size:.85rem;
border:1px solid var(--line)}.processing,.completed{
background:#d8f0df;color:#12482a;border-color:#9fd3b0}
.on-hold,.pending{background:#fbeccb;color:#5b4108;border-color:#e4c983}
.cancelled,.failed,.refunded,.trash{background:#ecebef;color:#4a4553}
button{font:inherit;padding:.5rem 1rem;border-radius:.5rem;border:1px solid #5b3f8c;
background:#6b4aa3;color:#fff;cursor:pointer}
button:focus-visible{outline:3px solid #b79be8;outline-offset:2px}
form{margin:1.25rem 0}.empty{padding:2rem;color:var(--quiet)}
"""


def page(shop_name: str, orders: Iterable[Mapping[str, Any]]) -> str:
    """The shop's front page, newest order first. Everything that came from outside is escaped."""
    rows = "".join(_row(order) for order in list(orders)[:MAX_ROWS])
    table = (
        "<table><thead><tr><th scope=col>Order<th scope=col>Status<th scope=col class=sum>Total"
        "<th scope=col>Customer<th scope=col>Payment<th scope=col>Date</thead>"
        f"<tbody>{rows}</tbody></table>"
        if rows
        else "<div class=empty>No orders yet.</div>"
    )
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<meta http-equiv=refresh content={REFRESH_SECONDS}>"
        f"<title>{escape(shop_name)}</title><style>{STYLE}</style></head><body><main>"
        f"<h1>{escape(shop_name)}</h1>"
        "<p>A stand-in for a WooCommerce shop: it answers as a real one does.</p>"
        "<form method=post action=/_demo/orders><button>Order something as a customer</button>"
        f"</form><div class=box>{table}</div></main></body></html>"
    )


def _row(order: Mapping[str, Any]) -> str:
    billing = order["billing"]
    customer = billing["company"] or f"{billing['first_name']} {billing['last_name']}".strip()
    status = escape(str(order["status"]))
    total = f"{escape(str(order['total']))} {escape(str(order['currency']))}"
    payment = escape(str(order["payment_method_title"] or order["payment_method"]))
    date = escape(str(order["date_created"]).replace("T", " "))
    return (
        f"<tr><td>{escape(str(order['number']))}"
        f"<td><span class='mark {status}'>{status}</span><td class=sum>{total}"
        f"<td>{escape(customer or 'unknown')}<td>{payment}<td>{date}"
    )
