"""What is decided about the customer's page: pure."""

from __future__ import annotations

import re
from datetime import date
from typing import Literal

from server.orders.rules import LATE_CODES, OWING_STATUSES

State = Literal["owing", "ended", "paid", "over"]

MAX_TYPED_DATE = 10
_GERMAN_DATE = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})", re.ASCII)
_ISO_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})", re.ASCII)


def state_of(payment_status: str, payment_code: str, *, is_erased: bool) -> State:
    """What a page shows of an order.

    ``owing``: what to pay and how. ``ended``: cancelled or with a collector, so nothing is asked
    for here, but "I have paid" is heard. ``paid`` and ``over`` say so and nothing else.
    """
    if is_erased:
        return "over"
    if payment_status in OWING_STATUSES:
        return "owing"
    if payment_status == "cancelled":
        return "owing" if payment_code in LATE_CODES else "ended"
    if payment_status == "collection":
        return "ended"
    return "paid" if payment_status == "paid" else "over"


def typed_date(typed: str) -> date | None:
    """``2026-11-22``, as browsers send it, or ``22.11.2026``; None for nothing.

    Raises ValueError with a message key.
    """
    typed = typed.strip()
    if not typed:
        return None
    iso, german = _ISO_DATE.fullmatch(typed), _GERMAN_DATE.fullmatch(typed)
    parts = iso.groups() if iso else german.groups()[::-1] if german else None
    try:
        if parts is not None and len(typed) <= MAX_TYPED_DATE:
            return date(int(parts[0]), int(parts[1]), int(parts[2]))
    except ValueError:
        pass
    raise ValueError("claim_date_unreadable")
