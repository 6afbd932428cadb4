"""The database and the memory hold the same candidates, so the rules decide alike on both."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from server.db import db
from server.matching.rules import MemoryStore, PostingFacts, decide
from server.matching.service import DatabaseStore
from server.orders.models import Order, OrderKey
from tests.factories import make_merchant, make_order, make_shop

NUMBERS = ("AA-20017", "AA-20071", "AA-20047", "2026-00815", "RE/4711", "LENWB")


@pytest.fixture
def merchant(app):
    merchant = make_merchant()
    shop = make_shop(merchant)
    for place, number in enumerate(NUMBERS):
        make_order(
            shop,
            number=number,
            total=f"{20 + place}.35",
            invoices=[{"number": f"INV-300{place}", "date": "2026-03-02"}],
            payment_terms={"discount_percent": "2", "discount_days": 14, "net_days": 30},
        )
    stranger = make_merchant("Bobs Laden", account=False)
    make_order(make_shop(stranger), number="AA-20017", total="20.35")
    return merchant


def stores(merchant):
    rows = db.session.query(Order).filter_by(merchant_id=merchant.id).all()
    database = DatabaseStore([merchant.id])
    loaded = database.load({row.id for row in rows})
    keys = {id: [] for id in loaded}
    for row in db.session.query(OrderKey).filter_by(merchant_id=merchant.id):
        keys[row.order_id].append((row.key, row.kind))
    memory = MemoryStore(replace(order, keys=tuple(keys[id])) for id, order in loaded.items())
    return database, memory


def facts(text, amount):
    return PostingFacts(
        id=text,
        amount=Decimal(amount),
        currency="EUR",
        booking_date=date(2026, 3, 5),
        counterparty_name="Erika Mustermann",
        remittance_information=text,
    )


def test_both_stores_find_the_same(merchant):
    database, memory = stores(merchant)
    keys = {key for (key,) in db.session.query(OrderKey.key)} | {"NOTHING", "4"}
    found = database.find(keys)
    assert {key: set(hits) for key, hits in found.items()} == {
        key: set(hits) for key, hits in memory.find(keys).items()
    }
    assert {"AA20017", "20017", "INV3000", "00815"} <= found.keys()
    assert all(len({hit.order_id for hit in hits}) == 1 for hits in found.values())  # no stranger's


def test_the_rules_decide_alike_on_both(merchant):
    references = [key for (key,) in db.session.query(Order.payment_reference)]
    postings = [
        facts("AA-20017", "20.35"),
        facts("AA-20074", "21.35"),  # a slip
        facts("Rechnung INV-3003", "22.83"),  # with discount
        facts("AA-20047 RE/4711", "46.70"),  # two orders
        facts(references[5], "25.35"),
        facts("nothing", "1.00"),
    ]
    database, memory = stores(merchant)

    def told(store):
        return [
            (
                decision.choice,
                [(share.order.number, share.amount) for share in decision.shares],
                decision.evidence,
                decision.vetoes,
            )
            for decision in decide(postings, store)
        ]

    assert told(database) == told(memory)
    assert [choice for choice, *_ in told(memory)] == ["auto"] * 5 + ["none"]
