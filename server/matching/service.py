"""Matching on the database: load, decide, book. Never commits.

Two things make a posting worth a look: it is new, or an order came that it may name. The second
is found through ``Posting.keys``, what its text may mean, kept as long as it is open.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Select, String, cast, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import undefer

from plugin_sdk.schemas import amount_text
from server.banking import sharing
from server.banking.models import Posting
from server.db import db
from server.matching.rules import (
    Decision,
    Discount,
    KeyHit,
    OpenOrder,
    Payer,
    PostingFacts,
    decide,
)
from server.matching.rules.text import clean, readings
from server.merchants.service import lock_merchant
from server.orders.models import Order, OrderKey, Suggestion
from server.orders.service import (
    Ledger,
    assigned_totals,
    book_payment,
    drop_suggestions,
    paid_totals,
    request_match,
)
from server.shops.models import Shop

POSTINGS_AT_ONCE = 100
ORDERS_AT_ONCE = 500
SUGGESTIONS_KEPT = 5
KEYS_KEPT = 200
KEYS_ASKED_AT_ONCE = 2_000
KEYS_READ = 50_000
LIKELY = 0.5
ACTOR = "Kontor"


def match_postings(merchant_id: int, at: datetime) -> bool:
    """One slice of what this merchant's matcher has to look at. True if more is waiting."""
    merchant = lock_merchant(merchant_id)
    newcomers = _newcomers(merchant_id)
    _look_again_at_those_named_by(merchant_id, newcomers, at)
    fresh = _fresh(merchant_id)
    today = at.astimezone(ZoneInfo(merchant.timezone)).date()
    postings = _pass_on(merchant_id, fresh, today, at) if merchant.is_operator else fresh
    if postings:
        totals = assigned_totals([posting.id for posting in postings])
        store = DatabaseStore([merchant_id])
        # What a person undid is decided apart: it must not use up an order that others may pay.
        free = [posting for posting in postings if not posting.is_blocked]
        blocked = [posting for posting in postings if posting.is_blocked]
        decisions = [
            decision
            for part in (free, blocked)
            for decision in decide([_facts(p, totals[p.id]) for p in part], store, today=today)
        ]
        _carry_out(merchant_id, [*free, *blocked], decisions, at)
    _mark_looked_at(fresh, newcomers)
    return len(fresh) == POSTINGS_AT_ONCE or len(newcomers) == ORDERS_AT_ONCE


class DatabaseStore:
    """A CandidateStore over the tables order_key and order, for one batch.

    Of one merchant; of all that share an account only to tell whose money it is.

    Few keys are asked for. Where many are (the neighbours of a number with a slip are hundreds),
    the merchant's own keys are read once, if they are not too many themselves.
    """

    def __init__(self, merchant_ids: Sequence[int]) -> None:
        self.merchant_ids = merchant_ids
        self._all: dict[str, list[KeyHit]] | None = None
        self._has_too_many = False

    def find(self, keys: Set[str]) -> Mapping[str, Sequence[KeyHit]]:
        """See CandidateStore."""
        if len(keys) > KEYS_ASKED_AT_ONCE and self._all is None and not self._has_too_many:
            self._read_all()
        if self._all is not None:
            return {key: self._all[key] for key in keys & self._all.keys()}
        found: dict[str, list[KeyHit]] = {}
        wanted = sorted(key for key in keys if len(key) <= 64)
        for start in range(0, len(wanted), KEYS_ASKED_AT_ONCE):
            part = cast(wanted[start : start + KEYS_ASKED_AT_ONCE], ARRAY(String))
            self._add(found, self._keys().where(OrderKey.key == func.any(part)))
        return found

    def _read_all(self) -> None:
        count = select(func.count()).select_from(self._keys().limit(KEYS_READ + 1).subquery())
        self._has_too_many = (db.session.scalar(count) or 0) > KEYS_READ
        if not self._has_too_many:
            self._all = {}
            self._add(self._all, self._keys())

    def _keys(self) -> Select[str, str, int]:
        return (
            select(OrderKey.key, OrderKey.kind, OrderKey.order_id)
            .where(OrderKey.merchant_id.in_(self.merchant_ids))
            .order_by(OrderKey.order_id)
        )

    def _add(self, found: dict[str, list[KeyHit]], query: Select[str, str, int]) -> None:
        for row in db.session.execute(query):
            found.setdefault(row.key, []).append(KeyHit(row.key, row.kind, row.order_id))

    def load(self, order_ids: Set[int]) -> Mapping[int, OpenOrder]:
        """See CandidateStore."""
        if not order_ids:
            return {}
        query = select(Order).where(
            Order.merchant_id.in_(self.merchant_ids), Order.id.in_(order_ids)
        )
        paid = paid_totals(order_ids)
        return {row.id: _open_order(row, paid[row.id]) for row in db.session.scalars(query)}


def _fresh(merchant_id: int) -> list[Posting]:
    query = (
        select(Posting)
        .where(Posting.merchant_id == merchant_id, Posting.needs_match)
        .order_by(Posting.id)
        .limit(POSTINGS_AT_ONCE)
        .options(undefer(Posting.keys))
    )
    return list(db.session.scalars(query))


def _newcomers(merchant_id: int) -> list[int]:
    query = (
        select(Order.id)
        .where(Order.merchant_id == merchant_id, Order.needs_match)
        .order_by(Order.id)
        .limit(ORDERS_AT_ONCE)
    )
    return list(db.session.scalars(query))


def _look_again_at_those_named_by(merchant_id: int, order_ids: Sequence[int], at: datetime) -> None:
    """Open postings whose text may mean one of these orders (S18), however many they are.

    The merchant's own, and those on shared accounts that are nobody's yet.
    """
    if not order_ids:
        return
    keys = list(
        db.session.scalars(
            select(OrderKey.key).where(
                OrderKey.merchant_id == merchant_id, OrderKey.order_id.in_(order_ids)
            )
        )
    )
    named = Posting.is_open & Posting.keys.overlap(cast(keys, ARRAY(String(64))))
    again = update(Posting).values(needs_match=True)
    db.session.execute(again.where(Posting.merchant_id == merchant_id, named))
    shared = sharing.operators_of(merchant_id)
    if shared:
        db.session.execute(again.where(Posting.account_id.in_(shared), named))
        for operator_id in set(shared.values()):
            request_match(operator_id, at)


def _mark_looked_at(postings: Iterable[Posting], order_ids: Sequence[int]) -> None:
    for posting in postings:
        posting.needs_match = False
    if order_ids:
        db.session.execute(update(Order).where(Order.id.in_(order_ids)).values(needs_match=False))


# --- shared accounts ---------------------------------------------------------------------------


def _pass_on(
    operator_id: int, postings: Sequence[Posting], today: date, at: datetime
) -> list[Posting]:
    """Postings on shared accounts go to the merchant whose order they surely pay; his own
    matcher books them. Returns the others that are the operator's own."""
    shared = sharing.member_ids(operator_id)
    for account_id, member_ids in shared.items():
        mine = [p for p in postings if p.account_id == account_id and not p.is_blocked]
        for posting, decision in zip(mine, _whose(mine, member_ids, today), strict=True):
            owners = {order.merchant_id for order in _ordered(decision)}
            if decision.choice == "auto" and len(owners) == 1:
                drop_suggestions([posting.id])
                sharing.pass_on(posting, owners.pop())
            elif posting.is_open and posting.keys is None:
                posting.keys = sorted(posting_keys(_facts(posting, Decimal(0))))[:KEYS_KEPT]
        for member_id in {p.merchant_id for p in _copies(mine)}:
            request_match(member_id, at)
    return [posting for posting in postings if posting.account_id not in shared]


def _whose(
    postings: Sequence[Posting], member_ids: Sequence[int], today: date
) -> Sequence[Decision]:
    totals = assigned_totals([posting.id for posting in postings])
    facts = [_facts(posting, totals[posting.id]) for posting in postings]
    return decide(facts, DatabaseStore(member_ids), today=today)


def _ordered(decision: Decision) -> list[Order]:
    ids = {share.order.id for share in decision.shares}
    return list(db.session.scalars(select(Order).where(Order.id.in_(ids)))) if ids else []


def _copies(postings: Sequence[Posting]) -> list[Posting]:
    ids = [posting.id for posting in postings if posting.is_passed_on]
    query = select(Posting).where(Posting.passed_on_from_id.in_(ids))
    return list(db.session.scalars(query)) if ids else []


def likely_members(operator_id: int, postings: Sequence[Posting], today: date) -> dict[int, int]:
    """Posting id to the merchant whose order it most likely pays, for the operator to decide."""
    likely: dict[int, int] = {}
    for account_id, member_ids in sharing.member_ids(operator_id).items():
        mine = [posting for posting in postings if posting.account_id == account_id]
        for posting, decision in zip(mine, _whose(mine, member_ids, today), strict=True):
            best = [p.shares for p in decision.proposals if p.probability > LIKELY] or [
                decision.shares
            ]
            ids = [share.order.id for shares in best for share in shares]
            owners = set(db.session.scalars(select(Order.merchant_id).where(Order.id.in_(ids))))
            if len(owners) == 1:
                likely[posting.id] = owners.pop()
    return likely


# --- carrying out ------------------------------------------------------------------------------


def _carry_out(
    merchant_id: int, postings: Sequence[Posting], decisions: Sequence[Decision], at: datetime
) -> None:
    drop_suggestions([posting.id for posting in postings])
    rows: list[dict[str, Any]] = []
    booked = {share.order.id for d in decisions if d.choice == "auto" for share in d.shares}
    orders = _orders(merchant_id, booked)
    ledger = Ledger(booked, [posting.id for posting in postings])
    shops = _shops(orders.values())
    for posting, decision in zip(postings, decisions, strict=True):
        if decision.choice == "auto" and not posting.is_blocked:
            with db.session.no_autoflush:  # written together, at the end
                _book(posting, decision, orders, ledger, at)
        elif decision.choice != "none":
            rows += _suggestions(posting, decision, at)
        if posting.is_open and posting.keys is None:
            posting.keys = sorted(posting_keys(_facts(posting, Decimal(0))))[:KEYS_KEPT]
    if rows:
        db.session.execute(insert(Suggestion), rows)
    del shops  # the session finds them again only as long as somebody holds them


def _orders(merchant_id: int, ids: Set[int]) -> dict[int, Order]:
    if not ids:
        return {}
    query = select(Order).where(Order.merchant_id == merchant_id, Order.id.in_(ids))
    return {row.id: row for row in db.session.scalars(query)}


def _shops(orders: Iterable[Order]) -> list[Shop]:
    """Read once; what is booked asks for them order by order."""
    ids = {order.shop_id for order in orders}
    return list(db.session.scalars(select(Shop).where(Shop.id.in_(ids)))) if ids else []


def _book(
    posting: Posting,
    decision: Decision,
    orders: Mapping[int, Order],
    ledger: Ledger,
    at: datetime,
) -> None:
    for share in decision.shares:
        book_payment(
            orders[share.order.id],
            posting,
            share.amount,
            ledger,
            origin="auto",
            actor=ACTOR,
            at=at,
            probability=decision.probability,
            evidence=decision.evidence,
        )


def _suggestions(posting: Posting, decision: Decision, at: datetime) -> list[dict[str, Any]]:
    vetoes = [*decision.vetoes, *(["undone_by_person"] if posting.is_blocked else [])]
    offers = [(p.shares, p.probability, p.evidence) for p in decision.proposals]
    if not offers:
        offers = [(decision.shares, decision.probability, decision.evidence)]
    return [
        {
            "merchant_id": posting.merchant_id,
            "posting_id": posting.id,
            "rank": rank,
            "orders": [
                {"order_id": share.order.id, "amount": amount_text(share.amount)}
                for share in shares
            ],
            "probability": Decimal(f"{probability:.5f}"),
            "evidence": list(evidence),
            "vetoes": vetoes,
            "created_at": at,
        }
        for rank, (shares, probability, evidence) in enumerate(offers[:SUGGESTIONS_KEPT])
    ]


# --- facts -------------------------------------------------------------------------------------


def posting_keys(facts: PostingFacts) -> set[str]:
    """What a posting's texts may mean, as keys of orders."""
    texts = (facts.remittance_information, facts.creditor_reference, facts.end_to_end_id)
    return {
        reading.key
        for number, text in enumerate(text for text in texts if text)
        for reading in readings(clean(text), number)
        if len(reading.key) <= 64
    }


def _facts(posting: Posting, assigned: Decimal) -> PostingFacts:
    return PostingFacts(
        id=posting.id,
        amount=posting.amount,
        currency=posting.currency,
        booking_date=posting.booking_date,
        value_date=posting.value_date,
        counterparty_name=posting.counterparty_name,
        counterparty_iban=posting.counterparty_iban,
        remittance_information=posting.remittance_information,
        creditor_reference=posting.creditor_reference,
        end_to_end_id=posting.end_to_end_id,
        is_return=posting.is_return,
        is_batch_total=posting.is_batch_total,
        is_possible_duplicate=posting.duplicate_of_id is not None,
        remaining=posting.amount - assigned,
    )


def _open_order(row: Order, paid: Decimal) -> OpenOrder:
    terms = row.wire.get("payment_terms") or {}
    percent, days = terms.get("discount_percent"), terms.get("discount_days")
    discount = Discount(Decimal(percent), int(days)) if percent and days is not None else None
    addresses = [row.wire.get(name) for name in ("billing_address", "shipping_address")]
    return OpenOrder(
        id=row.id,
        number=row.number,
        currency=row.currency,
        total=row.total,
        outstanding=max(row.total - paid, Decimal(0)),
        payment_status=row.payment_status,
        ordered_date=row.ordered_at.date(),
        payers=tuple(
            Payer(
                address.get("first_name") or "",
                address.get("last_name") or "",
                address.get("company") or "",
            )
            for address in addresses
            if address
        ),
        discount=discount,
    )
