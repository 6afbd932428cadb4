"""Cases of collection, as far as orders write them: begun, woken, ended (S79, K6, K62).

A file of its own because the order's life begins and ends a case and a change of its ledger wakes
it, while what is said to the partner is the room of collection. Never commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from sqlalchemy import select, update

from server.db import db
from server.orders.charges import reminders_of
from server.orders.ledger import ZERO, Ledger
from server.orders.models import CollectionCase, CollectionEvent, Order
from server.work import announce

HAND_OVER_WAIT: Final = timedelta(minutes=15)
"""So long after the click the partner is told: until then taking it back tells nobody."""
TAKEN_BACK: Final = "taken back before it was handed over"
UNDER_WAY: Final = ("handed_over", "accepted")
"""States of a case in which somebody works on it; all others are the end of it."""


def cases_of(order_id: int) -> Sequence[CollectionCase]:
    """The newest first; an order that was taken back may be handed over once more."""
    query = select(CollectionCase).where(CollectionCase.order_id == order_id)
    return list(db.session.scalars(query.order_by(CollectionCase.id.desc())))


def open_case(order: Order, at: datetime, *, actor: str, ledger: Ledger) -> CollectionCase:
    """What is owed now, to be handed over after HAND_OVER_WAIT.

    What was paid beyond the total has paid fees first, then interest.
    """
    levels, rest = reminders_of(order.id), order.total - ledger.paid(order.id)
    too_much = max(-rest, ZERO)
    fees = max(levels.fees - too_much, ZERO)
    interest = max(levels.interest - max(too_much - levels.fees, ZERO), ZERO)
    case = CollectionCase(
        merchant_id=order.merchant_id,
        order_id=order.id,
        shop_id=order.shop_id,
        currency=order.currency,
        principal=max(rest, ZERO),
        fees=fees,
        interest=interest,
        handed_over_at=at,
        handed_over_by=actor,
        created_at=at,
        due_at=at + HAND_OVER_WAIT,
    )
    db.session.add(case)
    db.session.flush()
    note_event(case, "handed_over", actor=actor, at=at, state="handed_over")
    return case


def note_event(
    case: CollectionCase,
    kind: str,
    *,
    actor: str,
    at: datetime,
    state: str | None = None,
    words: str = "",
    amount: Decimal | None = None,
    partner_event: str | None = None,
) -> None:
    """A line of the case's history."""
    db.session.add(
        CollectionEvent(
            merchant_id=case.merchant_id,
            case_id=case.id,
            kind=kind,
            state=state,
            words=words,
            amount=amount,
            partner_event=partner_event,
            actor=actor,
            at=at,
        )
    )


def wake_case(order_id: int, at: datetime) -> None:
    """The order's ledger has changed: what the partner knows is compared with it at once.

    Also a case that nobody has got and that waits for a person: paid it is over, and one that was
    over because it was paid goes on when that is undone. Not what was taken back or erased.
    """
    is_known = CollectionCase.is_opened & ~CollectionCase.is_withdrawn
    is_left = (
        ~CollectionCase.is_opened
        & CollectionCase.status.in_(("withheld", "failed"))
        & (CollectionCase.error != TAKEN_BACK)
    )
    woken = (
        update(CollectionCase)
        .where(
            CollectionCase.order_id == order_id,
            CollectionCase.status != "running",
            is_known | is_left,
        )
        .values(status="queued", due_at=at, attempts=0, error=None)
    )
    if db.session.execute(woken).rowcount:  # type: ignore[attr-defined]
        announce(CollectionCase)


def end_case(order: Order, at: datetime, *, actor: str) -> None:
    """Taken back. Who has not got the papers yet is told nothing; the others hear of it next."""
    rows = select(CollectionCase).where(
        CollectionCase.order_id == order.id, CollectionCase.state.in_(UNDER_WAY)
    )
    fresh = rows.with_for_update().execution_options(populate_existing=True)
    for case in db.session.scalars(fresh):
        case.state, case.ended_at = "cancelled", at
        note_event(case, "taken_back", actor=actor, at=at, state="cancelled")
        if case.status == "running":
            continue  # who has it at hand finds out when he is done
        if case.is_opened:
            case.status, case.due_at, case.attempts = "queued", at, 0
            announce(CollectionCase)
        else:
            case.withhold(TAKEN_BACK)
