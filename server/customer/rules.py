"""What is decided about the customer's page: pure."""

from __future__ import annotations

import re
from datetime import date, timedelta
from decimal import Decimal
from typing import Final, Literal
from urllib.parse import quote, urlencode

from server.mail.languages import is_swiss, language_of
from server.orders.rules import LATE_CODES, OWING_STATUSES

State = Literal["owing", "ended", "collection", "paid", "refunded", "over"]

KEPT_AFTER: Final = timedelta(days=90)
"""So long after its end a page still says what became of the order."""
MAX_TYPED_DATE: Final = 10
MAX_TYPED_IBAN: Final = 60
REFUNDED: Final = ("refunded", "partially_refunded")

_LOCAL_DATE = re.compile(r"(\d{1,2})[./-](\d{1,2})[./-](\d{4})", re.ASCII)
_ISO_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})", re.ASCII)


def state_of(payment_status: str, payment_code: str, *, is_erased: bool) -> State:
    """What a page shows of an order.

    ``owing``: what to pay and how. ``ended`` (cancelled) and ``collection``: nothing is asked for
    here, but "I have paid" is heard. ``paid`` and ``refunded`` say what became of the money;
    ``over`` says nothing else.
    """
    if is_erased:
        return "over"
    if payment_status in OWING_STATUSES:
        return "owing"
    if payment_status == "cancelled":
        return "owing" if payment_code in LATE_CODES else "ended"
    if payment_status in REFUNDED:
        return "refunded"
    found: dict[str, State] = {"collection": "collection", "paid": "paid"}
    return found.get(payment_status, "over")


def has_faded(state: State, closed_on: date | None, today: date) -> bool:
    """Nobody needs a page any more whose order ended long ago; an old mail shows nothing then."""
    return state != "owing" and closed_on is not None and closed_on + KEPT_AFTER < today


def status_word(payment_status: str, payment_code: str) -> str:
    """The key of the word for where an order stands."""
    if payment_status in REFUNDED:
        return "status_refunded"
    if payment_status == "cancelled" and payment_code in LATE_CODES:
        return "status_overdue"
    return f"status_{payment_status}"


# --- what customers type ------------------------------------------------------------------------


def typed_date(typed: str) -> date | None:
    """``2026-11-22``, as browsers send it, or ``22.11.2026`` and the like; None for nothing.

    Raises ValueError with a message key.
    """
    typed = typed.strip()
    if not typed:
        return None
    iso, local = _ISO_DATE.fullmatch(typed), _LOCAL_DATE.fullmatch(typed)
    parts = iso.groups() if iso else local.groups()[::-1] if local else None
    try:
        if parts is not None and len(typed) <= MAX_TYPED_DATE:
            return date(int(parts[0]), int(parts[1]), int(parts[2]))
    except ValueError:
        pass
    raise ValueError("date_unreadable")


# --- links that open a banking app --------------------------------------------------------------


def payto_link(*, creditor: str, iban: str, amount: Decimal, currency: str, reference: str) -> str:
    """RFC 8905, payment target type ``iban``.

    >>> payto_link(creditor="A", iban="DE02 1", amount=Decimal("1"), currency="EUR", reference="R")
    'payto://iban/DE021?amount=EUR%3A1.00&receiver-name=A&message=R'
    """
    options = {
        "amount": f"{currency}:{amount:.2f}",
        "receiver-name": creditor,
        "message": reference,
    }
    return f"payto://iban/{_compact(iban)}?{urlencode(options, quote_via=quote, safe='')}"


def bezahlcode_link(*, creditor: str, iban: str, bic: str, amount: Decimal, reference: str) -> str:
    """BezahlCode 1.x, ``singlepaymentsepa``: SEPA transfers in euros."""
    options = {
        "name": creditor,
        "reason": reference,
        "iban": _compact(iban),
        **({"bic": bic} if bic else {}),
        "amount": f"{amount:.2f}".replace(".", ","),
        "currency": "EUR",
    }
    return f"bank://singlepaymentsepa?{urlencode(options, quote_via=quote, safe='')}"


def copied_amount(amount: Decimal, edition: str) -> str:
    """As the banking forms of a country take it: without currency and thousands."""
    written = f"{amount:.2f}"
    has_point = language_of(edition) == "en" or is_swiss(edition)
    return written if has_point else written.replace(".", ",")


def _compact(iban: str) -> str:
    return "".join(iban.split()).upper()
