"""getPayouts and getTransactions of a fake eBay."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from plugin_sdk.testing.ebay_answers import EbayProblem
from plugin_sdk.testing.ebay_seller import Json, Seller
from plugin_sdk.testing.fake_shop import Asked, Reply

MAX_PAYOUTS, MAX_TRANSACTIONS, DEFAULT_LIMIT = 200, 1000, 20
DAYS = timedelta(days=90)
DATES = re.compile(r"payoutDate:\[([^\].]+\.\d{3}Z)\.\.([^\]]*)\]")
STATUSES = {"INITIATED", "SUCCEEDED", "RETRYABLE_FAILED", "TERMINAL_FAILED", "REVERSED"}


def list_payouts(seller: Seller, asked: Asked, href: str) -> Reply:
    """GET /payout; without anything to tell 204 and no body."""
    rows = sorted(seller.payouts.values(), key=lambda each: str(each["payoutDate"]))
    wanted = asked.query.get("filter", "")
    dates, status = DATES.match(wanted), re.search(r"payoutStatus:\{(\w+)\}", wanted)
    if wanted and not dates and not status:
        raise _problem(135_004, "The value of payout date filter is invalid.")
    if status:
        if status[1] not in STATUSES:
            raise _problem(135_002, "The value of payout status filter is invalid.")
        rows = [each for each in rows if each["payoutStatus"] == status[1]]
    if dates:
        try:
            start = datetime.fromisoformat(dates[1])
            end = datetime.fromisoformat(dates[2]) if dates[2] else start + DAYS
        except ValueError:
            raise _problem(135_004, "The value of payout date filter is invalid.") from None
        if not start <= end <= start + DAYS:
            raise _problem(135_004, "The value of payout date filter is invalid.")
        rows = [each for each in rows if start <= _time(each["payoutDate"]) <= end]
    return _page(asked, rows, "payouts", href, MAX_PAYOUTS)


def list_transactions(seller: Seller, asked: Asked, href: str) -> Reply:
    """GET /transaction, newest first."""
    wanted = re.fullmatch(r"payoutId:\{(\w+)\}", asked.query.get("filter", ""))
    if wanted is None:
        raise _problem(135_006, "This filter is none that the fake knows.")
    rows = [each for each in reversed(seller.bookings) if each.get("payoutId") == wanted[1]]
    return _page(asked, rows, "transactions", href, MAX_TRANSACTIONS)


def _page(asked: Asked, rows: list[Json], name: str, href: str, most: int) -> Reply:
    limit, offset = (
        asked.query.get(each, str(default))
        for each, default in (("limit", DEFAULT_LIMIT), ("offset", 0))
    )
    if not limit.isdecimal() or not offset.isdecimal() or not 1 <= int(limit) <= most:
        raise _problem(135_003, "The value of pagination is invalid.")
    start, size = int(offset), int(limit)
    if not rows:
        return Reply(204)
    body: Json = {
        "href": href,
        "total": len(rows),
        "limit": size,
        "offset": start,
        name: rows[start : start + size],
    }
    if start + size < len(rows):
        more = urlencode({**asked.query, "offset": start + size})
        body["next"] = f"{href.partition('?')[0]}?{more}"
    return Reply(200, body)


def _time(text: object) -> datetime:
    return datetime.fromisoformat(str(text)).astimezone(UTC)


def _problem(error_id: int, message: str) -> EbayProblem:
    return EbayProblem(400, error_id, message, domain="API_FINANCES")
