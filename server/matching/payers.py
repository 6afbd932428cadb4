"""What is known of payers: read from the assignments that people made, forgotten on demand (C19).

Nothing is learned from what the matcher booked by itself: it would only confirm its own errors.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, func, select
from sqlalchemy.orm import aliased

from server.banking.models import Posting
from server.db import db
from server.matching.models import ForgottenPayer
from server.matching.rules.facts import PaidFor, payer_key
from server.matching.rules.memory import Confirmed, customer_names, remembered
from server.matching.rules.weights import MOST_CUSTOMERS
from server.orders.ledger import is_any, is_standing
from server.orders.models import Assignment, Order, OrderKey

REMEMBERED = 5_000
"""So many of the newest confirmations count."""


@dataclass(frozen=True, slots=True)
class CustomerPaid:
    """A customer for whom the payer paid, as confirmed by people."""

    customer_name: str
    customer_email: str | None
    times: int
    last_at: datetime
    order_id: int


@dataclass(frozen=True, slots=True)
class KnownPayer:
    """An account, or a name, and for whom it paid. ``is_shared``: too many to tell anything."""

    payer: str
    is_iban: bool
    customers: tuple[CustomerPaid, ...]
    is_shared: bool


def memory_of(merchant_ids: Sequence[int]) -> Mapping[str, Sequence[PaidFor]]:
    """Payer to the customers he paid for, as the rules ask for it."""
    confirmed = []
    forgotten = _forgotten(merchant_ids)
    for row, posting, order in db.session.execute(_confirmed(merchant_ids)):
        number = (order.wire.get("customer") or {}).get("number")
        iban, name = _still_known(row, posting, forgotten)
        confirmed.append(
            Confirmed(
                order=order.number,
                counterparty_iban=iban,
                counterparty_name=name,
                customer=customer_names(order.customer_email, number, order.shop_id),
                booked_date=posting.booking_date,
            )
        )
    return remembered(confirmed)


def accounts_of_customers(merchant_id: int, order_ids: Collection[int]) -> list[str]:
    """The accounts from which people confirmed payments for the customers of these orders.

    What was undone or is forgotten is among them: this only says at which postings to look.
    """
    own, paid, key, own_key = aliased(Order), aliased(Order), aliased(OrderKey), aliased(OrderKey)
    by_address = (
        select(paid.id)
        .join(own, func.lower(own.customer_email) == func.lower(paid.customer_email))
        .where(is_any(own.id, order_ids), paid.merchant_id == merchant_id)
    )
    by_number = (
        select(key.order_id)
        .join(own_key, (own_key.key == key.key) & (own_key.kind == key.kind))
        .where(is_any(own_key.order_id, order_ids), own_key.kind == "customer_number")
        .where(key.merchant_id == merchant_id)
    )
    query = (
        select(Posting.counterparty_iban)
        .join(Assignment, Assignment.posting_id == Posting.id)
        .where(Assignment.merchant_id == merchant_id, Assignment.origin == "person")
        .where(Assignment.order_id.in_(by_address.union(by_number)))
        .where(Posting.counterparty_iban.is_not(None))
    )
    return [iban for iban in db.session.scalars(query.distinct()) if iban]


def known_payers(merchant_id: int) -> list[KnownPayer]:
    """All that is known, accounts first, for people to see."""
    forgotten = _forgotten([merchant_id])
    found: dict[tuple[bool, str], dict[str, CustomerPaid]] = defaultdict(dict)
    for row, posting, order in db.session.execute(_confirmed([merchant_id])):
        iban, name = _still_known(row, posting, forgotten)
        for is_iban, payer in ((True, iban), (False, name)):
            if payer:
                _count(found[is_iban, payer], row, order)
    return [
        KnownPayer(
            payer,
            is_iban,
            tuple(sorted(paid.values(), key=lambda one: (-one.times, one.customer_name))),
            len(paid) > MOST_CUSTOMERS,
        )
        for (is_iban, payer), paid in sorted(found.items(), key=lambda pair: (not pair[0][0], pair))
    ]


def forget(merchant_id: int, payer: str, *, actor: str, at: datetime) -> None:
    """What was confirmed about this IBAN or name until now counts no more."""
    db.session.add(
        ForgottenPayer(merchant_id=merchant_id, payer=payer, forgotten_at=at, forgotten_by=actor)
    )
    db.session.flush()


def _confirmed(merchant_ids: Sequence[int]) -> Select[Assignment, Posting, Order]:
    """What people assigned and did not undo, the newest first."""
    return (
        select(Assignment, Posting, Order)
        .join(Posting, Posting.id == Assignment.posting_id)
        .join(Order, Order.id == Assignment.order_id)
        .where(
            Assignment.merchant_id.in_(merchant_ids),
            Assignment.origin == "person",
            Assignment.amount > 0,
            is_standing(),
        )
        .order_by(Assignment.id.desc())
        .limit(REMEMBERED)
    )


def _forgotten(merchant_ids: Sequence[int]) -> Mapping[tuple[int, str], datetime]:
    newest = func.max(ForgottenPayer.forgotten_at)
    query = (
        select(ForgottenPayer.merchant_id, ForgottenPayer.payer, newest)
        .where(ForgottenPayer.merchant_id.in_(merchant_ids))
        .group_by(ForgottenPayer.merchant_id, ForgottenPayer.payer)
    )
    return {(row[0], row[1]): row[2] for row in db.session.execute(query)}


def _still_known(
    row: Assignment, posting: Posting, forgotten: Mapping[tuple[int, str], datetime]
) -> tuple[str | None, str | None]:
    """IBAN and name of the payer, where nobody wished them forgotten since."""
    iban, name = posting.counterparty_iban, posting.counterparty_name
    until = forgotten.get((row.merchant_id, iban or ""))
    if until is not None and row.created_at <= until:
        iban = None
    ends = [day for (of, key), day in forgotten.items() if of == row.merchant_id and _is(key, name)]
    if ends and row.created_at <= max(ends):
        name = None
    return iban, name


def _is(forgotten: str, name: str | None) -> bool:
    return name is not None and payer_key(forgotten) == payer_key(name)


def _count(paid: dict[str, CustomerPaid], row: Assignment, order: Order) -> None:
    who = order.customer_email or order.customer_name
    known = paid.get(who)
    paid[who] = CustomerPaid(
        order.customer_name,
        order.customer_email,
        1 + (known.times if known else 0),
        max(row.created_at, known.last_at) if known else row.created_at,
        order.id,
    )
