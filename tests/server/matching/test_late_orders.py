"""Orders that arrive after their postings, in numbers, and postings that a person has undone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from server.db import db
from server.matching.service import POSTINGS_AT_ONCE, match_postings
from server.orders.models import Assignment, Suggestion
from server.orders.service import undo
from tests.factories import make_merchant, make_order, make_posting, make_shop

AT = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)  # the factories' postings are booked by then


def match_all(merchant_id):
    rounds = 0
    while match_postings(merchant_id, AT):
        db.session.commit()
        rounds += 1
        assert rounds < 20, "it comes to an end"
    db.session.commit()


@pytest.mark.feature("S18")
def test_more_postings_than_a_slice_holds_find_the_orders_that_come_later(app):
    merchant = make_merchant()
    shop = make_shop(merchant)
    count = POSTINGS_AT_ONCE + 15
    numbers = [f"AA-{70_000 + n * 37}" for n in range(count)]
    for number in numbers:
        make_posting(merchant, "19.90", f"Bestellung {number}")
    match_all(merchant.id)
    assert db.session.query(Assignment).count() == 0
    orders = [make_order(shop, number=number) for number in numbers]
    match_all(merchant.id)
    assert {order.payment_status for order in orders} == {"paid"}


def test_what_was_undone_does_not_keep_another_posting_from_paying(app):
    merchant = make_merchant()
    order = make_order(make_shop(merchant), number="AA-81234")
    first = make_posting(merchant, "19.90", "Bestellung AA-81234", counterparty_name="Bob")
    match_all(merchant.id)
    undo(merchant.id, db.session.query(Assignment).one().id, actor="anna", at=AT)
    db.session.commit()
    second = make_posting(merchant, "19.90", "Bestellung AA-81234")
    match_all(merchant.id)
    assert order.payment_status == "paid"
    booked = db.session.query(Assignment).order_by(Assignment.id.desc()).first()
    assert booked.posting_id == second.id
    assert first.is_open
    offered = db.session.query(Suggestion).filter_by(posting_id=first.id)
    assert all("undone_by_person" in row.vetoes for row in offered)
