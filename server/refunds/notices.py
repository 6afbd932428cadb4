"""What customers read about repayments, each once, and only what the merchant wants (K31, K37).

A file of its own because facts are finished strings in the reader's language. Never commits.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import select

from server.banking.models import Posting
from server.db import db
from server.mail.languages import day, money
from server.mail.models import Mail
from server.mail.service import insert_mail
from server.merchants.service import settings_of
from server.orders.brakes import is_waiting
from server.orders.identity import identity_of
from server.orders.links import help_url, page_url, unsubscribe_url
from server.orders.models import Order, Refund
from server.orders.notices import mail_to_customer
from server.orders.told import zone_of
from server.refunds.rules import next_bank_day
from server.shops.models import Shop

OVER: Final = "the repayment was changed or cancelled before it was sent"
SHOWN_DIGITS: Final = 4


def announce(refund: Refund, order: Order | None, until: date | None, at: datetime) -> bool:
    """Money comes back to this account; ``until`` then the customer may change it (K33, K56)."""
    if order is None:
        return False

    def facts(language: str) -> dict[str, str]:
        link = page_url(order) if until is not None else ""
        days = [one for one in (refund.planned_for, until) if one is not None]
        on = next_bank_day(max(days, default=at.astimezone(_zone(order)).date()))
        return {
            "refund_iban": masked(refund.payee_iban or ""),
            "refund_holder": refund.payee_name or "",
            "refund_on": day(on, language),
            "reason": refund.reason,
            "confirm_url": link,
            "change_url": link,
            "answer_until": day(until, language) if until is not None else "",
            "page_url": page_url(order),
        }

    return _write("refund_announced", refund, order, facts, at)


def ask_for_details(refund: Refund, order: Order | None, at: datetime) -> bool:
    """Where shall it go? (K31) False if nobody can be asked, or the merchant asks himself."""
    if order is None or not settings_of(order.merchant_id, order.shop_id).refund_ask_customer:
        return False

    def facts(language: str) -> dict[str, str]:
        return {"page_url": page_url(order), "reason": refund.reason}

    return _write("bank_details_request", refund, order, facts, at)


def tell_executed(refund: Refund, order: Order | None, at: datetime) -> bool:
    """It has left the account."""
    if order is None:
        return False
    posting = db.session.get(Posting, refund.sent_posting_id) if refund.sent_posting_id else None
    booked_on = posting.booking_date if posting is not None else None
    on = booked_on or at.astimezone(_zone(order)).date()

    def facts(language: str) -> dict[str, str]:
        return {
            "refunded_on": day(on, language),
            "page_url": page_url(order),
            "refund_iban": masked(refund.payee_iban or ""),
            "refund_holder": refund.payee_name or "",
            "reason": refund.reason,
        }

    return _write("refund_executed", refund, order, facts, at)


def withhold(refund: Refund) -> None:
    """What is not so any more, or was overtaken, is not sent."""
    if refund.order_id is None:
        return
    begins = f"refund:{refund.id}:"
    waiting = select(Mail).where(
        Mail.order_id == refund.order_id,
        is_waiting(),
        Mail.once.startswith(begins, autoescape=True),
    )
    for mail in db.session.scalars(waiting.with_for_update(skip_locked=True)):
        mail.withhold(OVER)
        mail.once = f"{mail.once}:{mail.id}"  # another of its kind may be said later


def masked(iban: str) -> str:
    """``DE02 •••• 2051``: enough to know one's own account, too little to learn another's."""
    if len(iban) <= 2 * SHOWN_DIGITS:
        return ""
    return f"{iban[:SHOWN_DIGITS]} •••• {iban[-SHOWN_DIGITS:]}"


def _write(
    kind: str,
    refund: Refund,
    order: Order,
    facts: Callable[[str], dict[str, str]],
    at: datetime,
) -> bool:
    shop = db.session.get_one(Shop, order.shop_id)
    ordered_on = order.ordered_at.astimezone(_zone(order)).date()

    def all_facts(shop: Shop, language: str) -> dict[str, Any]:
        found = {
            "shop_name": shop.name,
            "order_number": order.number,
            "order_date": day(ordered_on, language),
            "recipient_name": order.customer_name,
            "refund_amount": money(refund.amount, refund.currency, language),
            "help_url": help_url(shop.id, language),
            "legal_line": identity_of(shop).legal_line,
            **facts(language),
        }
        if kind != "bank_details_request" and order.customer_email:
            found["unsubscribe_url"] = unsubscribe_url(order.id, order.customer_email, kind)
        return found

    settings = settings_of(order.merchant_id, order.shop_id)
    mail = mail_to_customer(kind, order, shop, settings, all_facts)
    if mail is None:
        return False
    once = f"refund:{refund.id}:{kind}:{refund.reference}"
    if kind == "refund_announced" and refund.details_at is not None:
        once += f":{refund.details_at:%Y%m%d%H%M%S%f}"  # another account is news
    return insert_mail(mail | {"once": once, "created_at": at, "due_at": at})


def _zone(order: Order) -> ZoneInfo:
    return zone_of(order.merchant_id)
