"""Returned money: the bank took a payment back, so its orders are open again (N18). Never commits.

A file of its own because it joins two postings, where the rest of the ledger joins a posting and
an order. Which payment a return belongs to is decided in ``return_rules.py`` and confirmed by a
person; refunds of our own that come back are found by the same rules.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.dialects.postgresql import insert

from plugin_sdk.schemas import amount_text
from server.banking.models import BankAccount, Posting
from server.db import db
from server.merchants.service import lock_merchant
from server.orders.ledger import (
    ZERO,
    Ledger,
    NotPossible,
    drop_suggestions,
    note,
    orders_now,
    posting_now,
    refresh_posting,
)
from server.orders.merchant_notices import tell_of_order
from server.orders.models import Assignment, Order, OrderKey, Suggestion
from server.orders.return_rules import (
    MAX_AGE,
    MAX_FEE,
    Reason,
    day_of,
    looks_returned,
    reasons,
    telling_end_to_end_id,
    weight_of,
    which_is_sure,
)
from server.orders.rules import REFUND_WAITING, normalise_reference
from server.orders.service import request_match
from server.orders.settlement import cancel_again, settle, withhold_notices

CANDIDATES_AT_ONCE = 200
MAX_TOKENS = 60
MAX_NAMED_ORDERS = 50
OFFERED = 5
NOBODYS_ODDS = 3.0
"""As a power of ten: how much must speak for a payment before it is as likely as none."""
MOST_BOOKED_FEE = Decimal(50)
RETURNED = "payment_returned"
"""Why a repayment is held whose money the bank took back."""
MAY_GO_YET = (*REFUND_WAITING, "in_process", "failed")
"""A repayment that was not executed: a file may be dropped, a failed one tried again."""
_TOKEN = re.compile(r"[^\W_][\w/.-]*\d[\w/.-]*")


@dataclass(frozen=True, slots=True)
class Returned:
    """A payment that a return may belong to, and why. Only one of several ``is_sure``."""

    posting: Posting
    reasons: tuple[Reason, ...]
    is_sure: bool


# --- finding -----------------------------------------------------------------------------------


def find_returned(posting: Posting) -> list[Returned]:
    """Which earlier payments this may have taken back, the likeliest first.

    Empty for what came in, and for what nothing says is a return.
    """
    if posting.amount >= 0 or not looks_returned(posting):
        return []
    candidates = _candidates(posting)
    named = _references(candidates)
    found = [(one, reasons(posting, one, named.get(one.id, ()))) for one in candidates]
    found = [(one, why) for one, why in found if why]
    found.sort(key=lambda pair: (-weight_of(pair[1]), -pair[0].id))
    sure = which_is_sure([weight_of(why) for _, why in found])
    return [Returned(one, why, place == sure) for place, (one, why) in enumerate(found)]


def _candidates(posting: Posting) -> list[Posting]:
    """What came in, of about this amount, and has something else in common; bounded."""
    taken = -posting.amount
    own = select(BankAccount.id).where(BankAccount.merchant_id == posting.merchant_id)
    about = (
        Posting.account_id.in_(own),
        Posting.amount.between(max(taken - MAX_FEE, Decimal("0.001")), taken),
    )
    exactly = (Posting.account_id.in_(own), Posting.amount == taken)
    queries: list[tuple[ColumnElement[bool], ...]] = [exactly]
    end_to_end = telling_end_to_end_id(posting)
    if end_to_end is not None and posting.end_to_end_id:
        queries.append((*about, func.upper(Posting.end_to_end_id) == posting.end_to_end_id.upper()))
    if posting.counterparty_iban:
        queries.append((*about, Posting.counterparty_iban == posting.counterparty_iban))
    named = _paid_by_named(posting)
    if named:
        queries.append((*about, Posting.id.in_(named)))
    found: dict[int, Posting] = {}
    for which in queries:
        rows = db.session.scalars(_earlier(posting).where(*which))
        found.update((row.id, row) for row in rows)
    return list(found.values())


def _earlier(posting: Posting) -> Select[Posting]:
    """Final postings of the merchant that may have gone before, the newest first."""
    query = (
        select(Posting)
        .where(
            Posting.merchant_id == posting.merchant_id,
            Posting.currency == posting.currency,
            Posting.id != posting.id,
            ~Posting.is_returned,
            ~Posting.is_pending,
            ~Posting.is_replaced,
            ~Posting.is_passed_on,
        )
        .order_by(Posting.booking_date.desc().nulls_last(), Posting.id.desc())
        .limit(CANDIDATES_AT_ONCE)
    )
    on = day_of(posting)
    if on is None:
        return query
    day = func.coalesce(Posting.booking_date, Posting.value_date, on)
    return query.where(day.between(on - MAX_AGE, on))


def _paid_by_named(posting: Posting) -> list[int]:
    """Postings that pay an order which the return's text names."""
    tokens = islice(_TOKEN.finditer(posting.remittance_information or ""), MAX_TOKENS)
    keys = {normalise_reference(token[0]) for token in tokens}
    keys = {key for key in keys if 4 <= len(key) <= 35}
    if not keys:
        return []
    orders = (
        select(OrderKey.order_id)
        .where(OrderKey.merchant_id == posting.merchant_id, OrderKey.key.in_(keys))
        .limit(MAX_NAMED_ORDERS)
    )
    paid = select(Assignment.posting_id).where(
        Assignment.order_id.in_(orders), Assignment.posting_id.is_not(None)
    )
    return [row for row in db.session.scalars(paid.distinct()) if row is not None]


def _references(postings: Collection[Posting]) -> dict[int, list[str]]:
    """Posting id to the numbers of the orders that it is assigned to."""
    found: dict[int, list[str]] = {}
    if not postings:
        return found
    query = (
        select(Assignment.posting_id, Order.number, Order.payment_reference)
        .join(Order, Order.id == Assignment.order_id)
        .where(Assignment.posting_id.in_([posting.id for posting in postings]))
        .group_by(Assignment.posting_id, Order.number, Order.payment_reference)
        .having(func.sum(Assignment.amount) > 0)
    )
    for posting_id, number, reference in db.session.execute(query):
        if posting_id is not None:
            found.setdefault(posting_id, []).extend((number, reference))
    return found


def offer_returns(merchant_id: int, postings: Sequence[Posting], at: datetime) -> int:
    """Write what a person is offered for these outgoing postings. Returns for how many.

    The caller holds the merchant's lock. What is decided or off the list gets no offer.
    """
    asked = [one for one in postings if _may_return(one) and one.merchant_id == merchant_id]
    offers = {one.id: find_returned(one)[:OFFERED] for one in asked}
    offers = {posting_id: found for posting_id, found in offers.items() if found}
    drop_suggestions([one.id for one in asked])
    returned_ids = {one.posting.id for found in offers.values() for one in found}
    reopened = _assigned_to(returned_ids)
    rows = [
        {
            "merchant_id": merchant_id,
            "posting_id": posting_id,
            "rank": rank,
            "orders": reopened.get(one.posting.id, []),
            "probability": _probability(one, found),
            "returns_id": one.posting.id,
            "evidence": [reason.stored() for reason in one.reasons],
            "vetoes": [],
            "created_at": at,
        }
        for posting_id, found in offers.items()
        for rank, one in enumerate(found)
    ]
    if rows:
        db.session.execute(insert(Suggestion), rows)
    return len(offers)


def _may_return(posting: Posting) -> bool:
    is_final = not (posting.is_pending or posting.is_replaced or posting.is_passed_on)
    is_free = posting.returns_id is None and posting.ignored_at is None
    return posting.amount < 0 and is_final and is_free


def _probability(one: Returned, found: Sequence[Returned]) -> Decimal:
    odds = [10 ** (weight_of(each.reasons) - NOBODYS_ODDS) for each in found]
    share = 10 ** (weight_of(one.reasons) - NOBODYS_ODDS) / (1 + sum(odds))
    return Decimal(f"{min(share, 0.99999):.5f}")


def _assigned_to(posting_ids: Collection[int]) -> dict[int, list[dict[str, Any]]]:
    """Posting id to what it pays, as suggestions tell it."""
    found: dict[int, list[dict[str, Any]]] = {}
    if not posting_ids:
        return found
    total = func.sum(Assignment.amount)
    query = (
        select(Assignment.posting_id, Assignment.order_id, total)
        .where(Assignment.posting_id.in_(posting_ids))
        .group_by(Assignment.posting_id, Assignment.order_id)
        .having(total > 0)
        .order_by(Assignment.order_id)
    )
    for posting_id, order_id, amount in db.session.execute(query):
        if posting_id is not None:
            part = {"order_id": order_id, "amount": amount_text(amount)}
            found.setdefault(posting_id, []).append(part)
    return found


# --- our own refunds that come back ------------------------------------------------------------


def own_outgoings(merchant_id: int, postings: Sequence[Posting]) -> Mapping[int, Posting]:
    """Incoming posting's id to the transfer of ours that came back with it.

    The bank says that it is a return, or both have the same end-to-end id. One query for all, and
    one more for each that the bank marked.
    """
    incoming = [one for one in postings if one.amount > 0 and one.merchant_id == merchant_id]
    sent = _sent_with_same_id(merchant_id, incoming)
    found: dict[int, Posting] = {}
    for posting in incoming:
        candidates = sent.get(telling_end_to_end_id(posting) or "", [])
        if looks_returned(posting):
            candidates = [*candidates, *_sent(posting)]
        fitting = (one for one in candidates if reasons(posting, one, ()))
        match = next(fitting, None)
        if match is not None:
            found[posting.id] = match
    return found


def _sent_with_same_id(merchant_id: int, postings: Sequence[Posting]) -> dict[str, list[Posting]]:
    """Outgoing postings by end-to-end id, of those ids that these have."""
    printed = {(one.end_to_end_id or "").upper() for one in postings if telling_end_to_end_id(one)}
    found: dict[str, list[Posting]] = {}
    if not printed:
        return found
    own = select(BankAccount.id).where(BankAccount.merchant_id == merchant_id)
    query = (
        select(Posting)
        .where(Posting.merchant_id == merchant_id, Posting.account_id.in_(own), Posting.amount < 0)
        .where(func.upper(Posting.end_to_end_id).in_(printed), ~Posting.is_pending)
        .order_by(Posting.id.desc())
        .limit(CANDIDATES_AT_ONCE)
    )
    for row in db.session.scalars(query):
        found.setdefault(telling_end_to_end_id(row) or "", []).append(row)
    return found


def _sent(posting: Posting) -> list[Posting]:
    """What we sent before, of about this amount: the bank may have kept a fee."""
    own = select(BankAccount.id).where(BankAccount.merchant_id == posting.merchant_id)
    about = Posting.amount.between(-posting.amount - MAX_FEE, -posting.amount)
    return list(db.session.scalars(_earlier(posting).where(Posting.account_id.in_(own), about)))


# --- booking -----------------------------------------------------------------------------------


def book_return(
    merchant_id: int, posting_id: int, returned_id: int, *, actor: str, at: datetime
) -> list[Assignment]:
    """The bank took back what ``returned_id`` had brought: all that it paid is open again.

    ``posting_id`` is the outgoing posting. Returns the reversing rows. Raises NotPossible.
    """
    lock_merchant(merchant_id)
    posting, returned = posting_now(merchant_id, posting_id), posting_now(merchant_id, returned_id)
    _check_return(posting, returned)
    ledger = _ledger_of(returned)
    rows = ledger.standing_of(returned.id)
    orders = orders_now(merchant_id, {row.order_id for row in rows})
    posting.returns_id, returned.is_returned = returned.id, True
    backs = [
        ledger.reverse(orders[row.order_id], row, origin="return", actor=actor, at=at)
        for row in rows
    ]
    refresh_posting(returned, returned.amount - ledger.taken(returned.id))
    drop_suggestions([posting.id])
    _hold_repayments(ledger, at)
    for order in orders.values():
        of_order = [back for back in backs if back.order_id == order.id]
        amount = -sum((back.amount for back in of_order), ZERO)
        note(
            order,
            "payment_returned",
            actor,
            at,
            amount=amount_text(amount),
            posting_id=posting.id,
            reason=posting.return_reason or "",
        )
        order.needs_match = True
        for row in (one for one in rows if one.order_id == order.id):
            cancel_again(order, row, at)
        settle(order, at, ledger, row=of_order[-1])
        db.session.flush()  # the notice says what the ledger has, and what the shop is told
        tell_of_order("payment_returned", order, posting, at)
    if orders:
        request_match(merchant_id, at)
    return backs


def _hold_repayments(ledger: Ledger, at: datetime) -> None:
    """What would go back of this money waits for somebody to look at it (N9, N18): at once, or
    when it comes back from the bank."""
    for refund in ledger.repayments():
        if refund.status not in MAY_GO_YET:
            continue
        if refund.status in REFUND_WAITING:
            refund.status, refund.changed_at = "held", at
        refund.approved_at = refund.approved_by = None
        refund.holds = [*(each for each in refund.holds if each != RETURNED), RETURNED]


def _check_return(posting: Posting, returned: Posting) -> None:
    """Raises NotPossible."""
    if posting.amount >= 0 or returned.amount <= 0:
        raise NotPossible("return_wrong_direction")
    if posting.returns_id is not None or returned.is_returned:
        raise NotPossible("return_already_booked")
    if any(one.is_pending or one.is_replaced or one.is_passed_on for one in (posting, returned)):
        raise NotPossible("assign_posting_not_final")
    if posting.currency != returned.currency:
        raise NotPossible("return_other_currency")
    if not 0 <= -posting.amount - returned.amount <= MOST_BOOKED_FEE:
        raise NotPossible("return_other_amount", amount=amount_text(returned.amount))


def undo_return(merchant_id: int, posting_id: int, *, actor: str, at: datetime) -> list[Assignment]:
    """It was no return, or another's: what it had reversed stands again. Raises NotPossible.

    Returns the rows that were booked again.
    """
    lock_merchant(merchant_id)
    posting = posting_now(merchant_id, posting_id)
    if posting.returns_id is None:
        raise NotPossible("return_unknown")
    returned = posting_now(merchant_id, posting.returns_id)
    ledger = _ledger_of(returned)
    reversed_rows = _reversed_by_return(returned.id)
    orders = orders_now(merchant_id, {row.order_id for row in reversed_rows})
    posting.returns_id, returned.is_returned = None, False
    booked = [_book_again(orders[row.order_id], row, ledger, actor, at) for row in reversed_rows]
    db.session.flush()
    left = returned.amount - ledger.taken(returned.id)
    refresh_posting(returned, left)
    returned.needs_match = returned.is_open
    for order in orders.values():
        of_order = [row for row in booked if row.order_id == order.id]
        amount = sum((row.amount for row in of_order), ZERO)
        note(order, "return_undone", actor, at, amount=amount_text(amount), posting_id=posting.id)
        withhold_notices(order, posting.id)
        settle(order, at, ledger, row=of_order[-1], is_restored=True)
    offer_returns(merchant_id, [posting], at)
    if returned.is_open:
        request_match(merchant_id, at)
    return booked


def _ledger_of(returned: Posting) -> Ledger:
    ids = select(Assignment.order_id).where(Assignment.posting_id == returned.id).distinct()
    return Ledger(list(db.session.scalars(ids)), [returned.id])


def _reversed_by_return(posting_id: int) -> list[Assignment]:
    """What the last return of this posting took off its orders, oldest first.

    After a return nothing of the posting can be booked, so these are the rows whose reversals are
    younger than its last booking.
    """
    rows = db.session.scalars(
        select(Assignment).where(Assignment.posting_id == posting_id).order_by(Assignment.id)
    ).all()
    last = max((row.id for row in rows if row.reverses_id is None), default=0)
    reversed_ids = {row.reverses_id for row in rows if row.origin == "return" and row.id > last}
    return [row for row in rows if row.id in reversed_ids]


def _book_again(
    order: Order, row: Assignment, ledger: Ledger, actor: str, at: datetime
) -> Assignment:
    again = ledger.write(
        order, row.posting_id, row.amount, origin=row.origin, actor=row.decided_by, at=at
    )
    again.probability, again.evidence = row.probability, row.evidence
    for difference in ledger.completing(order.id, row.id, reversed_as="return"):
        copy = ledger.write(order, None, difference.amount, origin="difference", actor=actor, at=at)
        copy.because, copy.completes = difference.because, again
    return again
