"""A whole life is erased, and nothing that is stored tells any more whose it was (S86)."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from sqlalchemy import JSON, LargeBinary, String
from sqlalchemy.dialects.postgresql import ARRAY

from server.banking.models import Posting, Statement
from server.db import Base, db
from server.forgetting.rules import TABLES
from server.forgetting.service import erase_personal_data
from server.letters.models import Letter
from server.mail.models import Mail, Suppression
from server.mail.suppression import address_hash
from server.orders.models import Assignment, CollectionCase, OrderEvent, Refund
from server.refunds.models import RefundBatch
from tests.server.forgetting.life import AT_NIGHT, EMAIL, TOTAL, WANTED, WORDS, lived
from tests.server.life.steps import ANNA

HOLDS_WORDS = (String, JSON, LargeBinary, ARRAY)
DERIVED = {
    ("order", "content_hash"),  # of the JSON that names him
    ("order_key", "key"),  # his name and number, as the matcher writes them
    ("suggestion", "orders"),  # ids
}
"""Goes with the customer and cannot be read as one."""


def top(place, path):
    """The folder it is in: `inbox`, or what the server writes itself."""
    first, second = Path(path).relative_to(place).parts[:2]
    return first if first == "inbox" else f"{first}/{second}"


def test_every_column_has_a_rule():
    """A new table or column needs one before anything is stored in it."""
    there = {
        table.name: {one.name for one in table.columns if isinstance(one.type, HOLDS_WORDS)}
        for table in Base.metadata.sorted_tables
    }
    ruled = {name: set(rule.goes | rule.stays) for name, rule in TABLES.items()}
    assert there == ruled
    assert not [name for name, rule in TABLES.items() if rule.goes & rule.stays]


@pytest.mark.feature("S86", "N20")
def test_nothing_tells_any_more_whose_order_it_was(merchant, shop, place, caplog):
    caplog.set_level(logging.INFO)
    order = lived(merchant, shop, place / "inbox")
    before = WANTED.in_database()
    goes = {(name, column) for name, rule in TABLES.items() for column in rule.goes}
    payee_bic = {("refund", "payee_bic")}
    assert set(before) == goes - DERIVED - payee_bic, "he stands wherever somebody can stand"
    assert set().union(*before.values()) == set(WORDS)
    assert sorted(top(place, path) for path in WANTED.in_files(place)) == [
        *["inbox"] * 3, *["var/collection"], *["var/letters"] * 2,
    ]  # fmt: skip

    erase_personal_data(merchant.id, order.id, actor=ANNA, at=AT_NIGHT)
    db.session.commit()
    assert WANTED.in_database() == {}
    assert WANTED.in_files(place) == {}
    assert WANTED.in_text(caplog.text) == []
    left = [path.name for path in place.rglob("*") if path.is_file() and path.name != ".lock"]
    of_others = (db.session.query(Letter).one().id + 1, db.session.query(CollectionCase).one().id)
    letter, dossier = f"0002-letter-{of_others[0]}.pdf", f"K-{of_others[1]}0-others.zip"
    assert sorted(left) == [letter, dossier, "addresses.csv", "all.pdf"]
    db.session.refresh(order)
    assert order.erased_at == AT_NIGHT


@pytest.mark.feature("S86", "N20")
def test_the_books_stay(merchant, shop, place):
    order = lived(merchant, shop, place / "inbox")
    bought = (order.number, order.ordered_at, order.total, order.payment_status)
    events = db.session.query(OrderEvent).filter_by(order_id=order.id).count()
    erase_personal_data(merchant.id, order.id, actor=ANNA, at=AT_NIGHT)
    db.session.commit()
    db.session.expire_all()
    assert bought == (order.number, order.ordered_at, order.total, order.payment_status)
    assert order.payment_status == "paid"
    assert [str(row.amount) for row in db.session.query(Assignment)] == [f"{TOTAL}0"]
    money = db.session.query(Posting).filter(Posting.amount == order.total).one()
    assert (money.booking_date.isoformat(), len(money.fingerprint) > 8) == ("2026-03-05", True)
    files = db.session.query(Statement).order_by(Statement.id).all()
    assert [(len(one.content_hash), one.postings_new) for one in files] == [
        (32, 1),
        (32, 0),
        (32, 0),
    ]
    refund, batch = db.session.query(Refund).one(), db.session.query(RefundBatch).one()
    assert (str(refund.amount), refund.reference, str(batch.total)) == ("4.900", "RZ-1", "4.900")
    letter = db.session.query(Letter).one()
    assert (letter.kind, letter.status, letter.pages) == ("reminder", "done", 1)
    assert db.session.query(Mail).filter_by(order_id=order.id).count() >= 2
    assert db.session.query(OrderEvent).filter_by(order_id=order.id).count() == events + 1


@pytest.mark.feature("S86", "S10")
def test_of_a_block_only_the_hash_stays(merchant, shop, place):
    order = lived(merchant, shop, place / "inbox")
    erase_personal_data(merchant.id, order.id, actor=ANNA, at=AT_NIGHT)
    db.session.commit()
    block = db.session.query(Suppression).one()
    assert (block.address, block.evidence, block.ended_at) == ("", "", None)
    assert block.address_hash == address_hash(EMAIL)
