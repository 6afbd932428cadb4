"""A customer asks for more time, and a person answers him (N8).

A file of its own because the customer's page asks, the merchant answers, and the ledger ends what
money has answered. Whether to give time is never decided here. Never commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import func, select, update

from server.db import db
from server.mail.kinds import KINDS
from server.mail.languages import day, money
from server.mail.service import insert_mail
from server.merchants.service import lock_merchant, settings_of
from server.orders.asking import MORE_TIME, request_for
from server.orders.identity import identity_of
from server.orders.ledger import ZERO, Ledger, NotPossible, note, order_now
from server.orders.links import help_url, page_url
from server.orders.merchant_notices import tell_of_question
from server.orders.models import OWING_STATUSES, DeferralRequest, Order
from server.orders.notices import ASKS_FOR_MONEY, facts_of_request, mail_to_customer
from server.orders.pauses import pause_reminders
from server.orders.rules import LATE_CODES
from server.orders.told import zone_of
from server.shops.models import Shop

MAX_REQUESTS: Final = 3
"""An order; with the days that one may ask for, nobody puts his debt off for good."""
MAX_MESSAGE: Final = 1000
LATEST_GRANTED: Final = timedelta(days=366)


# --- asked by the customer ----------------------------------------------------------------------


def may_ask(order: Order) -> bool:
    """There is something to transfer, and time to give."""
    if order.payment_code not in {one.value for one in ASKS_FOR_MONEY}:
        return False
    return order.payment_status in OWING_STATUSES or (
        order.payment_status == "cancelled" and order.payment_code in LATE_CODES
    )


def ask_for_time(
    order: Order, *, until: date | None, message: str, at: datetime
) -> DeferralRequest:
    """Note the wish and tell the merchant; reminders rest for ``pauses.ASKED``.

    Raises NotPossible: nothing is owed, the merchant does not offer it, a day that is none of the
    next ``page_more_days``, a request that waits already, or too many.
    """
    lock_merchant(order.merchant_id)
    row = order_now(order.merchant_id, order.id)
    days = settings_of(row.merchant_id, row.shop_id).page_more_days
    if not days or not may_ask(row):
        raise NotPossible("more_not_offered")
    today = at.astimezone(zone_of(row.merchant_id)).date()
    if until is None or not today < until <= today + timedelta(days=days):
        raise NotPossible("more_date_impossible")
    if open_request(row.id) is not None:
        raise NotPossible("more_waits")
    if requests_left(row.id) <= 0:
        raise NotPossible("more_too_many")
    request = DeferralRequest(
        merchant_id=row.merchant_id,
        order_id=row.id,
        asked_at=at,
        until_date=until,
        message=message.replace("\x00", "").strip()[:MAX_MESSAGE],
    )
    db.session.add(request)
    db.session.flush()
    pause_reminders(row, today)
    note(row, "more_time_asked", "", at, day=until.isoformat())
    tell_of_question(row, request, at=at)
    return request


def requests_of(order_id: int) -> Sequence[DeferralRequest]:
    """The newest first."""
    query = select(DeferralRequest).where(DeferralRequest.order_id == order_id)
    return list(db.session.scalars(query.order_by(DeferralRequest.id.desc())))


def open_request(order_id: int) -> DeferralRequest | None:
    """The one that waits for an answer."""
    return db.session.scalar(
        select(DeferralRequest)
        .where(DeferralRequest.order_id == order_id, DeferralRequest.status == "open")
        .limit(1)
    )


def requests_left(order_id: int) -> int:
    """How often the customer may still ask."""
    query = select(func.count()).where(DeferralRequest.order_id == order_id)
    return MAX_REQUESTS - (db.session.scalar(query) or 0)


# --- answered by a person -----------------------------------------------------------------------


def grant(
    merchant_id: int, order_id: int, request_id: int, *, until: date, actor: str, at: datetime
) -> DeferralRequest:
    """Reminders rest until that day, which need not be the one that was asked for.

    Raises NotPossible: no such request, answered already, or a day that lies behind or too far.
    """
    order, request = _open(merchant_id, order_id, request_id)
    today = at.astimezone(zone_of(merchant_id)).date()
    if not today <= until <= today + LATEST_GRANTED:
        raise NotPossible("date_out_of_range")
    _decide(request, "accepted", actor, at)
    request.granted_until = until
    db.session.flush()
    pause_reminders(order, today)
    note(order, "more_time_granted", actor, at, day=until.isoformat())
    _answer(order, request, at)
    return request


def refuse(
    merchant_id: int, order_id: int, request_id: int, *, actor: str, at: datetime
) -> DeferralRequest:
    """Reminders go on. Raises NotPossible as ``grant``."""
    order, request = _open(merchant_id, order_id, request_id)
    _decide(request, "refused", actor, at)
    db.session.flush()
    pause_reminders(order, at.astimezone(zone_of(merchant_id)).date())
    note(order, "more_time_refused", actor, at)
    _answer(order, request, at)
    return request


def end_requests(order: Order, at: datetime) -> None:
    """What was asked is moot if there is nothing to put off any more. The caller has the lock."""
    if may_ask(order):
        return
    db.session.execute(
        update(DeferralRequest)
        .where(DeferralRequest.order_id == order.id, DeferralRequest.status == "open")
        .values(status="moot", decided_at=at)
    )


def _open(merchant_id: int, order_id: int, request_id: int) -> tuple[Order, DeferralRequest]:
    lock_merchant(merchant_id)
    order = order_now(merchant_id, order_id)
    query = select(DeferralRequest).where(
        DeferralRequest.order_id == order.id, DeferralRequest.id == request_id
    )
    request = db.session.scalar(query.execution_options(populate_existing=True))
    if request is None:
        raise NotPossible("more_unknown")
    if request.status != "open":
        raise NotPossible("more_answered")
    return order, request


def _decide(request: DeferralRequest, status: str, actor: str, at: datetime) -> None:
    request.status, request.decided_at, request.decided_by = status, at, actor


def _answer(order: Order, request: DeferralRequest, at: datetime) -> None:
    """What the customer is told, with all that he needs to pay."""
    settings = settings_of(order.merchant_id, order.shop_id)
    rest = max(Ledger([order.id]).rest(order), ZERO)
    asked = request_for(order, settings, rest) if rest else None
    ordered_on = order.ordered_at.astimezone(zone_of(order.merchant_id)).date()

    def facts(shop: Shop, language: str) -> dict[str, Any]:
        granted = request.granted_until
        said: dict[str, Any] = {
            "shop_name": shop.name,
            "order_number": order.number,
            "order_date": day(ordered_on, language),
            "recipient_name": order.customer_name,
            "amount_due": money(rest, order.currency, language),
            "help_url": help_url(shop.id, language),
            "legal_line": identity_of(shop).legal_line,
            **(facts_of_request(asked, shop, language) if asked else {}),
            "page_url": page_url(order),
            "granted_until": day(granted, language) if granted else "",
            "payable_until": day(granted, language) if granted else "",
            "is_refused": "" if granted else "yes",
        }
        return {name: value for name, value in said.items() if name in KINDS[MORE_TIME].facts}

    shop = db.session.get_one(Shop, order.shop_id)
    mail = mail_to_customer(MORE_TIME, order, shop, settings, facts)
    if mail is not None:
        once = f"order:{order.id}:more_time:{request.id}"
        insert_mail(mail | {"once": once, "created_at": at, "due_at": at})
