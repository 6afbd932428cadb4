"""Orders that their shop does not wait for any more: removed externally (S38 to S41).

A file of its own because a changed status, a deletion and a person all end here. Too many at once
look more like a mistake in the shop or its mapping than like customers: then a person is asked.
Never commits.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, select

from server.db import db
from server.mail.models import Mail
from server.merchants.service import lock_merchant
from server.orders.asking import ASKING, withhold_mails
from server.orders.ledger import note
from server.orders.merchant_notices import tell_of_removals
from server.orders.models import Order, OrderKey
from server.orders.settlement import settle
from server.shops.models import Shop
from server.shops.service import withhold_updates

NOT_OPEN = "not_open"
LOST_IF_CLOSED = frozenset({"unpaid", "partially_paid", "cancelled"})
"""What becomes "removed externally" when the shop no longer waits for the money."""
ASKS_AND_THANKS = (*ASKING, "partially_paid")
AT_ONCE = timedelta(hours=1)
FREE_REMOVALS = 5
LARGEST_SHARE = 10
"""More than a tenth of the open orders within the hour, and more than ``FREE_REMOVALS``, asks."""


def remove(row: Order, why: str, at: datetime, **facts: Any) -> bool:
    """Removed externally, or held until a person has looked. True if it is removed now."""
    if row.held_removal is not None:
        return False
    if _are_too_many(row, at):
        row.held_removal = why
        note(row, "removal_held", "", at, **facts)
        db.session.flush()
        tell_of_removals(db.session.get_one(Shop, row.shop_id), *counts(row.shop_id), at)
        return False
    _remove(row, why, "", at, **facts)
    return True


def _remove(row: Order, why: str, actor: str, at: datetime, **facts: Any) -> None:
    row.removed_at, row.held_removal = at, None
    note(row, "removed", actor, at, **facts)
    withhold_updates(row.id)  # nothing is written to a shop that has decided otherwise (S40)
    words = "no longer open" if why == NOT_OPEN else "deleted"
    withhold_mails(row, ASKS_AND_THANKS, f"the order is {words} in the shop")
    settle(row, at)


def _are_too_many(row: Order, at: datetime) -> bool:
    """Would this one be too many? While others are held, so is this one."""
    held = select(Order.id).where(Order.shop_id == row.shop_id, Order.held_removal.is_not(None))
    if db.session.scalar(held.limit(1)) is not None:
        return True
    lately = select(func.count()).where(
        Order.merchant_id == row.merchant_id,
        Order.shop_id == row.shop_id,
        Order.payment_status == "removed",
        Order.removed_at > at - AT_ONCE,
    )
    removed = (db.session.scalar(lately) or 0) + 1
    if removed <= FREE_REMOVALS:
        return False
    waiting = select(func.count()).where(
        Order.merchant_id == row.merchant_id,
        Order.shop_id == row.shop_id,
        Order.payment_status.in_(LOST_IF_CLOSED - {"cancelled"}),
    )
    return removed * LARGEST_SHARE > (db.session.scalar(waiting) or 0) + removed - 1


def counts(shop_id: int) -> tuple[int, int]:
    """(Orders whose removal is held, orders that are open) of a shop."""
    of_shop = select(func.count()).where(Order.shop_id == shop_id)
    held = db.session.scalar(of_shop.where(Order.held_removal.is_not(None))) or 0
    waiting = of_shop.where(Order.payment_status.in_(LOST_IF_CLOSED - {"cancelled"}))
    return held, db.session.scalar(waiting) or 0


def held_orders(merchant_id: int, shop_id: int, limit: int) -> list[Order]:
    """Those that wait for ``decide_removals``, the newest first."""
    query = select(Order).where(
        Order.merchant_id == merchant_id,
        Order.shop_id == shop_id,
        Order.held_removal.is_not(None),
    )
    return list(db.session.scalars(query.order_by(Order.id.desc()).limit(limit)))


def decide_removals(
    merchant_id: int, shop_id: int, *, removes: bool, actor: str, at: datetime
) -> int:
    """A person has looked: remove all that are held, or keep them. Returns how many.

    Those that are kept stay open until the shop says something else of them.
    """
    lock_merchant(merchant_id)
    held = select(Order).where(
        Order.merchant_id == merchant_id,
        Order.shop_id == shop_id,
        Order.held_removal.is_not(None),
    )
    rows = list(db.session.scalars(held.with_for_update()))
    for row in rows:
        if removes and row.payment_status in LOST_IF_CLOSED:
            _remove(row, row.held_removal or NOT_OPEN, actor, at)
        else:
            row.held_removal = row.gone_evidence = None
            note(row, "removal_refused", actor, at)
    return len(rows)


def forget_order(row: Order) -> None:
    """An order that never counted as imported leaves nothing behind; it must have no money."""
    db.session.execute(delete(OrderKey).where(OrderKey.order_id == row.id))
    db.session.execute(delete(Mail).where(Mail.order_id == row.id))
    db.session.delete(row)
    db.session.flush()
