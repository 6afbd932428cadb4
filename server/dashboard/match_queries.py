"""What the pages read about decisions, differences, credit and returned money.

Every query takes the merchant and finds nothing of anybody else's. A file of its own beside
``queries`` because it reads what the matcher and the ledger keep beside orders and postings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from sqlalchemy import Select, and_, func, select
from sqlalchemy.orm import aliased

from server.banking.models import Posting
from server.dashboard.order_queries import OrderFilter, OrderRow, matching_orders, paid, rows_of
from server.db import db
from server.orders.models import OWING_STATUSES, Assignment, Order, Suggestion

PROPOSALS_SHOWN = 200


def differences_of(merchant_id: int, assignment_ids: Sequence[int]) -> dict[int, list[Assignment]]:
    """Assignment id to the rows that forgive what it lacks; undone ones are left out (C7)."""
    found: dict[int, list[Assignment]] = defaultdict(list)
    if not assignment_ids:
        return found
    undo = aliased(Assignment)
    rows = db.session.scalars(
        select(Assignment)
        .outerjoin(undo, undo.reverses_id == Assignment.id)
        .where(
            Assignment.merchant_id == merchant_id,
            Assignment.completes_id.in_(assignment_ids),
            Assignment.reverses_id.is_(None),
            undo.id.is_(None),
        )
        .order_by(Assignment.id)
    )
    for row in rows:
        found[row.completes_id or 0].append(row)
    return found


# --- returned money ---------------------------------------------------------------------------


def return_of(merchant_id: int, posting_id: int) -> Posting | None:
    """The posting by which the bank took this one back (N18)."""
    return db.session.scalar(
        select(Posting).where(Posting.merchant_id == merchant_id, Posting.returns_id == posting_id)
    )


# --- proposals of the review mode ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Proposal:
    """What Kontor would book, if the merchant had not wished to look first (C5)."""

    suggestion: Suggestion
    posting: Posting
    orders: Sequence[Order]


def _proposed(merchant_id: int) -> Select[Suggestion, Posting]:
    """Without those that something speaks against: they are looked at one by one."""
    return (
        select(Suggestion, Posting)
        .join(Posting, Posting.id == Suggestion.posting_id)
        .where(
            Suggestion.merchant_id == merchant_id,
            Suggestion.is_proposed,
            Suggestion.rank == 0,
            Suggestion.returns_id.is_(None),
            func.json_array_length(Suggestion.vetoes) == 0,
            Posting.is_open,
        )
    )


def proposal_count(merchant_id: int) -> int:
    found = _proposed(merchant_id).with_only_columns(func.count())
    return int(db.session.scalar(found) or 0)


def proposals(merchant_id: int) -> list[Proposal]:
    """At most PROPOSALS_SHOWN, the least certain first: they are worth a look most."""
    query = _proposed(merchant_id).order_by(Suggestion.probability, Suggestion.id)
    rows = db.session.execute(query.limit(PROPOSALS_SHOWN)).all()
    ids = {int(part["order_id"]) for suggestion, _ in rows for part in suggestion.orders}
    orders = {
        order.id: order
        for order in db.session.scalars(
            select(Order).where(Order.merchant_id == merchant_id, Order.id.in_(ids))
        )
    }
    return [
        Proposal(
            suggestion,
            posting,
            [orders[i] for part in suggestion.orders if (i := int(part["order_id"])) in orders],
        )
        for suggestion, posting in rows
    ]


# --- paid too much ------------------------------------------------------------------------------


def overpaid_orders(merchant_id: int, most: int) -> list[OrderRow]:
    """Orders with a surplus, the newest first (C13)."""
    wanted = OrderFilter(status="overpaid")
    matching = matching_orders(merchant_id, wanted, ZoneInfo("UTC")).add_columns(paid())
    rows = db.session.execute(
        matching.order_by(Order.ordered_at.desc(), Order.id.desc()).limit(most)
    )
    return rows_of(merchant_id, [(order, amount) for order, amount in rows])


def surplus_targets(merchant_id: int, order: Order, most: int = 5) -> list[OrderRow]:
    """Orders of the same customer and currency that still owe, the oldest first."""
    same = Order.customer_email == order.customer_email
    if not order.customer_email:
        same = and_(Order.customer_name == order.customer_name, Order.customer_name != "")
    found = db.session.execute(
        select(Order, paid())
        .where(
            Order.merchant_id == merchant_id,
            Order.currency == order.currency,
            Order.payment_status.in_(OWING_STATUSES),
            Order.id != order.id,
            same,
        )
        .order_by(Order.ordered_at, Order.id)
        .limit(most)
    )
    return [OrderRow(*row) for row in found]


def surplus_posting(merchant_id: int, order_id: int) -> int | None:
    """The newest payment that stands on the order: its surplus is what came last."""
    undo = aliased(Assignment)
    return db.session.scalar(
        select(Assignment.posting_id)
        .outerjoin(undo, undo.reverses_id == Assignment.id)
        .where(
            Assignment.merchant_id == merchant_id,
            Assignment.order_id == order_id,
            Assignment.posting_id.is_not(None),
            Assignment.amount > 0,
            undo.id.is_(None),
        )
        .order_by(Assignment.id.desc())
        .limit(1)
    )
