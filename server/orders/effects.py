"""What a changed setting does at once to orders and mails that are there already.

A file of its own because settings know nothing of orders. Whoever changes settings calls it before
the commit. Never commits.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final

from sqlalchemy import select, update

from server.db import db
from server.letters.models import Letter
from server.mail.models import Mail
from server.merchants.service import lock_merchant, settings_of
from server.orders.asking import ASKING, RETROACTIVE, ask_waiting, withhold_mails
from server.orders.brakes import is_waiting, release_stopped
from server.orders.ledger import note
from server.orders.letters import ASKING_LETTERS
from server.orders.letters import is_waiting as letter_is_waiting
from server.orders.models import Order
from server.orders.settlement import settle
from server.shops.service import DEREGISTERED

ASKS: Final = {f"{code}.ask_when": code for code in ("prepayment", "invoice")}
RECOUNTS: Final = frozenset({"invoice.claim_fees"})
RECOUNTED_AT_ONCE: Final = 5_000
SETTLED: Final = ("paid", "refunded", "partially_refunded")


def settings_changed(
    merchant_id: int, shop_id: int | None, names: Collection[str], *, actor: str, at: datetime
) -> None:
    """``names`` were changed and are in force now, for the merchant or for one shop.

    Asking at once, no longer by the invoice or the shop, also asks for the orders of the last six
    hours (K22). Mails that were stopped go out. Claimed fees change who has paid (K28).
    """
    for name in sorted(ASKS.keys() & set(names)):
        ask_waiting(merchant_id, at, shop_id=shop_id, code=ASKS[name], since=at - RETROACTIVE)
    if "stop_mails" in names and not settings_of(merchant_id).stop_mails:
        release_stopped(merchant_id, at)
    if RECOUNTS & set(names):
        _recount(merchant_id, shop_id, actor, at)


def mapping_changed(merchant_id: int, shop_id: int) -> None:
    """A shop's methods and statuses mean something else now (S22, S38).

    Its orders are judged anew when it next sends them, even those that look the same as before;
    what is paid stays paid.
    """
    db.session.execute(
        update(Order)
        .where(Order.merchant_id == merchant_id, Order.shop_id == shop_id)
        .where(Order.payment_status.not_in(SETTLED))
        .values(content_hash=b"")
    )


def shop_deregistered(merchant_id: int, shop_id: int) -> None:
    """Nobody is asked any more for the money of its orders, unless a person asks (K12).

    Thanks and what else is no request still go out. No limit: one that is left would go out.
    """
    lock_merchant(merchant_id)
    asked = select(Mail.order_id).where(
        Mail.merchant_id == merchant_id,
        Mail.shop_id == shop_id,
        Mail.kind.in_(ASKING),
        is_waiting(),
    )
    by_letter = select(Letter.order_id).where(
        Letter.merchant_id == merchant_id,
        Letter.shop_id == shop_id,
        Letter.kind.in_(ASKING_LETTERS),
        letter_is_waiting(),
    )
    is_asked = Order.id.in_(asked) | Order.id.in_(by_letter)
    orders = select(Order).where(Order.merchant_id == merchant_id, is_asked)
    for order in db.session.scalars(orders.order_by(Order.id)):
        withhold_mails(order, ASKING, DEREGISTERED)


def _recount(merchant_id: int, shop_id: int | None, actor: str, at: datetime) -> None:
    """The status of every order that was charged a fee, the newest first."""
    lock_merchant(merchant_id)
    charged = select(Order).where(Order.merchant_id == merchant_id, Order.fee_total > 0)
    if shop_id is not None:
        charged = charged.where(Order.shop_id == shop_id)
    newest = charged.order_by(Order.id.desc()).limit(RECOUNTED_AT_ONCE)
    for order in db.session.scalars(newest.execution_options(populate_existing=True)):
        before = order.payment_status
        settle(order, at)
        if order.payment_status != before:
            note(order, "fees_counted_anew", actor, at)
