"""getOrders and getOrder of a fake eBay, with the grammar and the errors of the published ones."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from plugin_sdk.testing.ebay_answers import EbayProblem
from plugin_sdk.testing.ebay_seller import Json, Seller
from plugin_sdk.testing.fake_shop import Asked, Reply

DEFAULT_LIMIT, MAX_LIMIT, MAX_IDS = 50, 200, 50
DEFAULT_DAYS = 90
YEARS = timedelta(days=731)
FUTURE = timedelta(seconds=1)
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z")
DATES = {"creationdate": "creationDate", "lastmodifieddate": "lastModifiedDate"}
FULFILLMENT = ({"NOT_STARTED", "IN_PROGRESS"}, {"FULFILLED", "IN_PROGRESS"})


def one_order(seller: Seller, order_id: str) -> Reply:
    """GET /order/{orderId}."""
    if not re.fullmatch(r"[0-9A-Za-z!|_-]+", order_id):
        raise EbayProblem(400, 32_100, f"Invalid order ID: {order_id}")
    order = seller.orders.get(order_id)
    if order is None:
        raise EbayProblem(404, 32_100, f"Invalid order ID: {order_id}")
    return Reply(200, seller.visible(order, in_list=False))


def list_orders(seller: Seller, asked: Asked, href: str) -> Reply:
    """GET /order. With orderIds everything else is ignored."""
    groups = asked.query.get("fieldGroups", "TAX_BREAKDOWN")
    if groups != "TAX_BREAKDOWN":
        raise EbayProblem(400, 32_800, f"Invalid field group: {groups}")
    if "orderIds" in asked.query:
        ids = asked.query["orderIds"].split(",")
        if len(ids) > MAX_IDS:
            words = f"Exceeded maximum number of order IDs (the current limit is {MAX_IDS})"
            raise EbayProblem(400, 30_900, words)
        rows = [seller.orders[each] for each in dict.fromkeys(ids) if each in seller.orders]
        return _page(seller, rows, href, (MAX_IDS, 0))
    limit = _number(asked, "limit", DEFAULT_LIMIT, 31_100, "Invalid limit")
    offset = _number(asked, "offset", 0, 31_000, "Invalid offset")
    if not 1 <= limit <= MAX_LIMIT:
        raise EbayProblem(400, 31_100, f"Invalid limit: {limit}")
    rows = _filtered(seller, asked.query.get("filter", ""))
    return _page(seller, rows, href, (limit, offset))


def _number(asked: Asked, name: str, default: int, error_id: int, words: str) -> int:
    text = asked.query.get(name, str(default))
    if not text.isdecimal() or len(text) > 9:
        raise EbayProblem(400, error_id, f"{words}: {text}")
    return int(text)


def _page(seller: Seller, rows: list[Json], href: str, window: tuple[int, int]) -> Reply:
    limit, offset = window
    shown = [seller.visible(order, in_list=True) for order in rows[offset : offset + limit]]
    body: Json = {
        "href": href,
        "total": len(rows),
        "limit": limit,
        "offset": offset,
        "orders": shown,
    }
    if offset + limit < len(rows):
        body["next"] = f"{href.partition('?')[0]}?limit={limit}&offset={offset + limit}"
    return Reply(200, body)


def _filtered(seller: Seller, text: str) -> list[Json]:
    wanted = _criteria(text)
    if "creationdate" in wanted:
        wanted.pop("lastmodifieddate", None)
    rows = list(seller.orders.values())
    if not set(DATES) & set(wanted):
        start = seller.now() - timedelta(days=DEFAULT_DAYS)
        rows = [order for order in rows if _time(order["creationDate"]) >= start]
    by = "creationDate"
    for name, value in wanted.items():
        if name in DATES:
            by = DATES[name]
            start, end = _range(value, seller.now())
            rows = [order for order in rows if start <= _time(order[by]) <= end]
        else:
            words = _words(name, value)
            rows = [order for order in rows if order["orderFulfillmentStatus"] in words]
    return sorted(rows, key=lambda order: str(order[by]))


def _criteria(text: str) -> dict[str, str]:
    """``name:[a..b],name:{A|B}``; commas inside of brackets and braces do not part."""
    found: dict[str, str] = {}
    for part in re.findall(r"[^,\[{]+(?:\[[^\]]*\]|\{[^}]*\})?[^,]*", text):
        name, colon, value = part.partition(":")
        if name not in (*DATES, "orderfulfillmentstatus"):
            raise EbayProblem(400, 30_700, f"Invalid filter name: {name}")
        if not colon:
            raise EbayProblem(400, 30_800, f"Invalid filter value {value} for filter {name}")
        found[name] = value
    return found


def _range(value: str, now: datetime) -> tuple[datetime, datetime]:
    shape = re.fullmatch(r"\[(.*?)(\.\.(.*))?\]", value)
    if shape is None:
        raise EbayProblem(400, 30_800, f"Invalid filter value {value} for filter date")
    if not shape[1]:
        raise EbayProblem(400, 30_820, "Start date is missing")
    start = _moment(shape[1])
    end = _moment(shape[3]) if shape[3] else max(now, start)
    if max(start, end if shape[3] else start) > now + FUTURE:
        raise EbayProblem(400, 30_850, "Start and end dates can't be in the future")
    if start > end:
        raise EbayProblem(400, 30_840, "Start date should be before end date")
    if end - start > YEARS:
        words = "Time range between start date and end date must be within '2' years."
        raise EbayProblem(400, 30_830, words)
    return start, end


def _moment(text: str) -> datetime:
    if not MOMENT.fullmatch(text):
        raise EbayProblem(400, 30_810, "Invalid date format")
    try:
        return _time(text)
    except ValueError:
        raise EbayProblem(400, 30_810, "Invalid date format") from None


def _time(text: Any) -> datetime:
    return datetime.fromisoformat(str(text)).astimezone(UTC)


def _words(name: str, value: str) -> set[str]:
    words = set(value[1:-1].split("|")) if re.fullmatch(r"\{.*\}", value) else set()
    if words not in FULFILLMENT:
        raise EbayProblem(400, 30_800, f"Invalid filter value {value} for filter {name}")
    return words
