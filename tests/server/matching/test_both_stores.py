"""A generated shop in Postgres and in memory: the same candidates, so the same decisions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select

from bench.matching.generate import Set, set_of
from plugin_sdk.schemas import OrderSchema
from server.db import db
from server.match import read_posting
from server.matching.payers import memory_of
from server.matching.rules import Decision, MemoryStore, PostingFacts, decide
from server.matching.store import DatabaseStore
from server.orders.intake import Arrival, receive_orders
from server.orders.models import Order, OrderKey
from server.orders.receiver import receiver_of
from server.orders.service import mark_as_paid
from tests.factories import make_merchant, make_posting, make_shop
from tests.server.matching.steps import ANNA, ARRIVED, assign_by_hand

ORDERS, POSTINGS, CONFIRMED = 300, 200, 40
WEBERS = 40
"""More than are looked at by their name alone."""
ASKED = ("find", "named", "owing", "of_customers", "payers", "crowd", "load")
WIRE = set(OrderSchema().fields) - {"payment_code", "payment_status", "paid_total"}


def arrival(line: Mapping[str, Any]) -> Arrival:
    told = {name: value for name, value in line.items() if name in WIRE and value is not None}
    raw = told | {"payment_method": "bacs", "shop_status": "on-hold"}
    return Arrival(OrderSchema().load(raw), raw)


def receive(shop, lines):
    """The orders as they are stored, by number."""
    receive_orders(receiver_of(shop.id), [arrival(line) for line in lines], ARRIVED)
    db.session.commit()
    rows = db.session.scalars(select(Order).where(Order.shop_id == shop.id))
    return {row.number: row for row in rows}


def bring_about(merchant, rows, lines):
    """Pay and cancel what the set says is paid and cancelled."""
    for line in lines:
        row, paid = rows[line["number"]], line["paid_total"]
        if line["payment_status"] == "paid":
            mark_as_paid(merchant.id, row.id, actor=ANNA, at=ARRIVED)
        elif line["payment_status"] == "cancelled":
            row.cancelled_at, row.payment_status = ARRIVED, "cancelled"
        elif Decimal(paid) > 0:
            part = make_posting(merchant, paid, currency=row.currency, needs_match=False)
            assign_by_hand(part, (row, paid))
    db.session.commit()


def confirm(merchant, shop, history):
    """What people assigned before: one paid order a line, of that customer."""
    lines = [
        {
            "external_id": f"earlier-{n}",
            "number": f"EARLIER-{n:05}",
            "ordered_at": "2026-05-01T10:00:00+00:00",
            "currency": "EUR",
            "total": "5.00",
            "customer": {"number": line["customer_number"], "email": line["customer_email"]},
        }
        for n, line in enumerate(history)
    ]
    rows = receive(shop, lines)
    for line, told in zip(lines, history, strict=True):
        payer = {name: told[name] for name in ("counterparty_iban", "counterparty_name")}
        posting = make_posting(merchant, "5.00", needs_match=False, **payer)
        assign_by_hand(posting, (rows[line["number"]], "5.00"))


def webers() -> list[dict[str, Any]]:
    return [
        {
            "external_id": f"weber-{n}",
            "number": f"WEBER-{n * 37:05}",
            "ordered_at": "2026-11-01T10:00:00+00:00",
            "currency": "EUR",
            "total": f"{40 + n // 3}.17",
            "paid_total": "0.00",
            "payment_status": "unpaid",
            "customer": {"email": f"weber{n}@example.org"},
            "billing_address": {"first_name": f"Eva{chr(97 + n % 26)}", "last_name": "Weber"},
        }
        for n in range(WEBERS)
    ]


def webers_money() -> list[PostingFacts]:
    return [
        PostingFacts(
            id=1000 + n,
            amount=Decimal(f"{40 + n}.17"),
            currency="EUR",
            booking_date=date(2026, 11, 10),
            counterparty_name=f"Eva{chr(97 + n)} Weber",
            remittance_information="Danke",
        )
        for n in range(12)
    ]


def stored(merchant, shop, one: Set) -> None:
    lines = [*one.orders, *webers()]
    bring_about(merchant, receive(shop, lines), lines)
    confirm(merchant, shop, one.history[:CONFIRMED])


def in_memory(merchant) -> MemoryStore:
    """What stands in the tables, with the keys that the orders have there."""
    keys = defaultdict(list)
    mine = select(OrderKey.order_id, OrderKey.key, OrderKey.kind).where(
        OrderKey.merchant_id == merchant.id
    )
    for order_id, key, kind in db.session.execute(mine):
        keys[order_id].append((key, kind))
    ids = db.session.scalars(select(Order.id).where(Order.merchant_id == merchant.id))
    loaded = DatabaseStore([merchant.id]).load(set(ids))
    return MemoryStore(
        [replace(order, keys=tuple(keys[id])) for id, order in loaded.items()],
        memory_of([merchant.id]),
    )


class Recorded:
    """A store that remembers what it was asked and what it answered."""

    def __init__(self, store: DatabaseStore) -> None:
        self.store = store
        self.asked: list[tuple[str, tuple[Any, ...], Any]] = []

    def __getattr__(self, name: str) -> Any:
        ask = getattr(self.store, name)
        if name not in ASKED:
            return ask

        def asking(*args: Iterable[Any]) -> Any:
            sets = tuple(frozenset(each) for each in args)
            answer = ask(*sets)
            self.asked.append((name, sets, answer))
            return answer

        return asking


def comparable(name: str, args: tuple[Any, ...], answer: Any) -> Any:
    """Without the order within an answer, and without what only one of them carries."""
    if name == "load":
        return {id: replace(order, keys=()) for id, order in answer.items()}
    if name in ("find", "named", "owing", "of_customers"):
        return {key: set(found) for key, found in answer.items() if found}
    if name == "crowd":
        totals, names = args
        owing = {total: answer.owing.get(total, 0) for total in totals}
        named = {each: answer.named.get(each, 0) for each in names}
        return answer.open_orders, answer.orders, owing, named
    return answer


def told(decision: Decision) -> tuple[object, ...]:
    return (
        decision.posting.id,
        decision.choice,
        [(share.order.number, share.amount, share.because) for share in decision.shares],
        decision.probability,
        decision.evidence,
        decision.vetoes,
        [[share.order.number for share in proposal.shares] for proposal in decision.proposals],
    )


@pytest.fixture(params=["families", "b2b", "two_currencies"])
def one(request):
    return set_of(request.param, 3, ORDERS, POSTINGS)


def facts_of(one: Set) -> list[PostingFacts]:
    return [*(read_posting(line, n) for n, line in enumerate(one.postings)), *webers_money()]


@pytest.mark.feature("N2", "C19")
def test_both_stores_give_the_same_candidates_and_decisions(merchant, shop, one):
    stored(merchant, shop, one)
    database, memory = Recorded(DatabaseStore([merchant.id])), in_memory(merchant)
    postings, today = facts_of(one), date.fromisoformat(one.today)
    decisions = decide(postings, database, today=today)
    assert {name for name, _, answer in database.asked if answer} == set(ASKED)
    for name, args, answer in database.asked:
        expected = comparable(name, args, getattr(memory, name)(*args))
        assert comparable(name, args, answer) == expected, name
    others = decide(postings, memory, today=today)
    for decision, other in zip(decisions, others, strict=True):
        assert told(decision) == told(other)
    booked = sum(decision.choice == "auto" for decision in decisions)
    assert booked > POSTINGS / 2


def test_a_stranger_with_the_same_numbers_changes_nothing(merchant, shop):
    one = set_of("families", 3, 100, 60)
    stored(merchant, shop, one)
    postings, today = facts_of(one), date.fromisoformat(one.today)
    before = decide(postings, DatabaseStore([merchant.id]), today=today)
    stranger = make_merchant("Bobs Laden")
    stored(stranger, make_shop(stranger), one)
    after = decide(postings, DatabaseStore([merchant.id]), today=today)
    assert [told(each) for each in after] == [told(each) for each in before]
    theirs = decide(postings, DatabaseStore([stranger.id]), today=today)
    assert [each.choice for each in theirs] == [each.choice for each in before]
    own = set(db.session.scalars(select(Order.id).where(Order.merchant_id == merchant.id)))
    assert {share.order.id for each in after for share in each.shares} <= own
