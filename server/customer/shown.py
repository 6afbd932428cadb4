"""What the page of one order shows, as facts for its template.

A file of its own because reading is one matter and answering forms (``answers``) another. Nothing
here says more of a person than the mail that carried the link: no name, no address, of an account
the first and last digits only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import bindparam, exists, func, select

from server.customer import rules
from server.customer.looks import look_of
from server.customer.rules import State
from server.customer.words import group_texts
from server.db import db
from server.mail.kinds import KINDS
from server.mail.languages import day, language_of, money
from server.mail.models import Mail
from server.merchants.models import Merchant
from server.merchants.settings import MerchantSettings
from server.orders.asking import request_for
from server.orders.claims import MAX_MESSAGE, MAX_PROOF_BYTES, claims_of
from server.orders.deferrals import MAX_REQUESTS, may_ask, requests_of
from server.orders.ledger import ZERO, Ledger
from server.orders.links import help_url, unsubscribe_url
from server.orders.models import (
    Assignment,
    CollectionCase,
    DeferralRequest,
    Invoice,
    Order,
    OrderEvent,
    PaymentClaim,
    Refund,
)
from server.orders.notices import Request, facts_of_request
from server.orders.told import zone_of
from server.refunds.notices import masked
from server.refunds.service import refunds_of_order, waiting_for_customer

SHOWN_REFUNDS = ("new", "planned", "in_process", "processed")
"""And those that the customer has confirmed, whatever the merchant still has to look at."""
GONE = ("cancelled", "failed")
EURO = "EUR"
SENT_MAILS = ("done", "unknown")


_HAS = select(
    *(
        exists().where(table.order_id == bindparam("order_id"))
        for table in (Assignment, Refund, Invoice, PaymentClaim, DeferralRequest)
    )
)


class Has(NamedTuple):
    """What there is of an order that most orders have none of: nobody asks for it in vain."""

    assignment: bool
    refund: bool
    invoice: bool
    claim: bool
    request: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """One look at an order: its state, and the values that most parts of the page need."""

    order: Order
    merchant: Merchant
    state: State
    edition: str
    today: date
    settings: MerchantSettings
    has: Has
    refunds: Sequence[Refund] = ()
    waiting: Sequence[Refund] = ()

    def money(self, amount: Decimal) -> str:
        return money(amount, self.order.currency, self.edition)

    def day(self, on: date) -> str:
        return day(on, self.edition)

    def last_day(self) -> str:
        """The latest until which he may ask for time."""
        return self.day(self.today + timedelta(days=self.settings.page_more_days))


def look_at(order: Order, edition: str, settings: MerchantSettings, at: datetime) -> Shown:
    """The order as its customer may see it now; ``settings`` are those of its shop."""
    merchant = db.session.get_one(Merchant, order.merchant_id)
    state = rules.state_of(
        order.payment_status, order.payment_code, is_erased=order.erased_at is not None
    )
    zone = ZoneInfo(merchant.timezone)
    today = at.astimezone(zone).date()
    has = _has(order)
    refunds = refunds_of_order(order) if has.refund and state != "over" else ()
    waiting = waiting_for_customer(order) if refunds else ()
    if state not in ("owing", "over") and not waiting:
        closed_at = _closed_at(order)
        closed_on = closed_at.astimezone(zone).date() if closed_at else None
        if rules.has_faded(state, closed_on, today):
            state = "over"
    return Shown(order, merchant, state, edition, today, settings, has, refunds, waiting)


def _has(order: Order) -> Has:
    return Has._make(db.session.execute(_HAS, {"order_id": order.id}).one())


def _closed_at(order: Order) -> datetime | None:
    return db.session.scalar(
        select(func.max(OrderEvent.at)).where(
            OrderEvent.order_id == order.id, OrderEvent.kind == "status_changed"
        )
    )


def facts_of(shown: Shown, token: str) -> dict[str, Any]:
    """Everything that the template shows; of an order that is over nothing but that."""
    order = shown.order
    facts: dict[str, Any] = {"state": shown.state, "token": token, "edition": shown.edition}
    if shown.state == "over":
        return facts
    ledger = _ledger(shown)
    facts |= {
        "shop": order.shop.name,
        "number": order.number,
        "look": look_of(order.shop),
        "status": rules.status_word(order.payment_status, order.payment_code),
        "today": shown.today.isoformat(),
        "help_url": help_url(order.shop_id, shown.edition),
        "stops": _stops(shown),
        "invoices": _invoices(order) if shown.has.invoice else [],
        "refunds": _refunds(shown),
        "waiting": _waiting(shown),
    }
    if shown.state == "owing":
        facts |= _owed(shown, ledger)
    if shown.state in ("owing", "ended", "collection"):
        facts |= _claimed(shown)
    if shown.state == "collection":
        facts["partner"] = _partner(order)
    return facts | {"more": _more_time(shown)}


# --- what is owed -------------------------------------------------------------------------------


def transfer_of(shown: Shown) -> dict[str, str]:
    """The facts of the transfer that is asked for; {} where there is none."""
    if shown.state != "owing":
        return {}
    asked = _request(shown, _ledger(shown).rest(shown.order))
    return facts_of_request(asked, shown.order.shop, shown.edition) if asked else {}


def _ledger(shown: Shown) -> Ledger:
    has = shown.has
    return Ledger([shown.order.id], is_empty=not (has.assignment or has.refund))


def _request(shown: Shown, rest: Decimal) -> Request | None:
    """Cash is paid at the door."""
    if rest <= ZERO or shown.order.payment_code == "cash_on_delivery":
        return None
    return request_for(shown.order, shown.settings, rest)


def _owed(shown: Shown, ledger: Ledger) -> dict[str, Any]:
    order, rest = shown.order, ledger.rest(shown.order)
    paid = ledger.paid(order.id)
    facts: dict[str, Any] = {
        "open": shown.money(max(rest, ZERO)),
        "is_cash": order.payment_code == "cash_on_delivery",
        "paid_part": shown.money(paid) if paid > ZERO else "",
        "total": shown.money(ledger.owed(order)),
    }
    asked = _request(shown, rest)
    if asked is None:
        return facts
    transfer = facts_of_request(asked, order.shop, shown.edition)
    return facts | {
        "transfer": transfer,
        "copied_values": {
            "iban": transfer["iban"].replace(" ", ""),
            "amount": rules.copied_amount(rest, shown.edition),
        },
        "apps": _apps(transfer, rest, order.currency),
    }


def _apps(transfer: dict[str, str], amount: Decimal, currency: str) -> dict[str, str]:
    """Links that may open a banking app; of SEPA transfers in euros only."""
    if currency != EURO or not transfer["girocode"]:
        return {}
    creditor, iban = transfer["creditor"], transfer["iban"]
    reference = transfer["payment_reference"]
    return {
        "payto": rules.payto_link(
            creditor=creditor, iban=iban, amount=amount, currency=currency, reference=reference
        ),
        "bezahlcode": rules.bezahlcode_link(
            creditor=creditor, iban=iban, bic=transfer["bic"], amount=amount, reference=reference
        ),
    }


def _claimed(shown: Shown) -> dict[str, Any]:
    order = shown.order
    claims = claims_of(order.id) if shown.has.claim else []
    waits = next((one for one in claims if one.settled_at is None), None)
    zone = zone_of(order.merchant_id)
    until = order.paused_until
    return {
        "would_rest": shown.settings.claim_pause_days > 0,
        "rests": until is not None and until >= shown.today,
        "claimed": shown.day(waits.claimed_at.astimezone(zone).date()) if waits else "",
        "max_message": MAX_MESSAGE,
        "max_mb": MAX_PROOF_BYTES // 1024**2,
    }


def _partner(order: Order) -> str:
    """Whom to ask; "" where nobody is named."""
    query = select(CollectionCase.partner_name).where(CollectionCase.order_id == order.id)
    return db.session.scalar(query.order_by(CollectionCase.id.desc()).limit(1)) or ""


# --- more time ----------------------------------------------------------------------------------


def _more_time(shown: Shown) -> dict[str, Any]:
    """The last question with its answer, and whether another may be asked."""
    order, days = shown.order, shown.settings.page_more_days
    if not may_ask(order):
        return {}
    requests = requests_of(order.id) if shown.has.request else []
    last = requests[0] if requests else None
    said, until = "", None
    if last is not None and last.status == "open":
        said, until = "more_open", last.until_date
    elif last is not None and last.granted_until is not None and last.granted_until >= shown.today:
        said, until = "more_granted", last.granted_until
    elif last is not None and last.status == "refused":
        said = "more_refused"
    return {
        "said": said,
        "until": shown.day(until) if until else "",
        "may_ask": bool(days) and said != "more_open" and len(requests) < MAX_REQUESTS,
        "first": (shown.today + timedelta(days=1)).isoformat(),
        "last": (shown.today + timedelta(days=days)).isoformat(),
        "latest": shown.last_day(),
    }


# --- repayments ---------------------------------------------------------------------------------


def _refunds(shown: Shown) -> list[dict[str, Any]]:
    """What goes back or went, without what still waits for the customer."""
    waiting = {one.id for one in shown.waiting}
    zone = zone_of(shown.order.merchant_id)
    found = []
    for refund in shown.refunds:
        is_seen = refund.status in SHOWN_REFUNDS or refund.confirmed_at is not None
        if not is_seen or refund.status in GONE or refund.amount <= ZERO or refund.id in waiting:
            continue
        processed = refund.processed_at.astimezone(zone).date() if refund.processed_at else None
        on = processed or refund.planned_for
        found.append(
            {
                "key": "refund_sent"
                if processed
                else "refund_coming_on"
                if on
                else "refund_coming",
                "amount": money(refund.amount, refund.currency, shown.edition),
                "date": shown.day(on) if on else "",
                "iban": masked(refund.payee_iban or ""),
                "is_confirmed": refund.confirmed_at is not None and not processed,
            }
        )
    return found


def _waiting(shown: Shown) -> list[dict[str, Any]]:
    """Repayments that ask for an account, or whose account may still be changed."""

    def one(refund: Refund) -> dict[str, Any]:
        until = refund.planned_for
        return {
            "id": refund.id,
            "amount": money(refund.amount, refund.currency, shown.edition),
            "iban": masked(refund.payee_iban or ""),
            "until": shown.day(until) if until else "",
        }

    return [one(refund) for refund in shown.waiting]


# --- papers and mails ---------------------------------------------------------------------------


def _invoices(order: Order) -> Sequence[Invoice]:
    """Those that a mail to the customer has named, as far as their PDF is here.

    An invoice bears a name and an address; who has the link has read no more than the mail.
    """
    have = select(Invoice).where(Invoice.order_id == order.id, Invoice.pdf_size_bytes.is_not(None))
    invoices = list(db.session.scalars(have.order_by(Invoice.id)))
    if not invoices:
        return []
    named = set(
        db.session.scalars(
            select(Mail.facts["invoice_number"].as_string())
            .where(Mail.order_id == order.id, Mail.status.in_(SENT_MAILS))
            .distinct()
        )
    )
    return [one for one in invoices if one.number in named]


def invoice_of(order: Order, invoice_id: int) -> Invoice | None:
    """One that the page offers."""
    return next((one for one in _invoices(order) if one.id == invoice_id), None)


def _stops(shown: Shown) -> list[tuple[str, str]]:
    """(what, link) of the optional mails that this merchant sends (S11)."""
    order = shown.order
    if not order.customer_email:
        return []
    words = group_texts("choices", language_of(shown.edition))
    return [
        (words[kind], unsubscribe_url(order.id, order.customer_email, kind))
        for kind, known in KINDS.items()
        if known.is_optional and shown.settings.sends(kind)
    ]
