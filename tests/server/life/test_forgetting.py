"""Removing personal data (S86): a search through everything that is stored finds nothing."""

from __future__ import annotations

import base64
import json

import pytest
from sqlalchemy import text

from server.banking.models import Statement
from server.db import Base, db
from server.forgetting.service import Erasure, erase_customer, erase_personal_data
from server.mail.service import preview_mail
from server.matching.service import match_postings
from server.orders.claims import ProofFile, claim_paid
from server.orders.failed_mails import tell_of_failed_mails
from server.orders.ledger import NotPossible
from server.orders.lifecycle import mark_as_unpaid
from server.orders.models import Order
from server.orders.service import set_additional, store_invoice
from tests.factories import bearer, make_key, make_merchant, make_posting, make_shop
from tests.server.life.steps import (
    ANNA,
    LATER,
    PAID_AT,
    events,
    mails,
    order_of,
    push,
    pushed,
    send_all,
)

IBAN = "DE89370400440532013000"
TRACES = (
    "Mustermänn",
    "erika@example.org",
    IBAN,
    "Heidestraße",
    "0221-4711",
    "K-0815",
    "Patin Ute",
)
CUSTOMER = {"email": "erika@example.org", "number": "K-0815", "language": "de"}
ADDRESS = {
    "first_name": "Erika",
    "last_name": "Mustermänn",
    "street": "Heidestraße 17",
    "postcode": "51147",
    "city": "Köln",
    "country": "DE",
    "phone": "0221-4711",
}


def everything_stored() -> str:
    """All rows of all tables as text; bytes and escaped JSON are made readable."""
    parts = []
    for table in Base.metadata.sorted_tables:
        rows = db.session.execute(text(f'SELECT to_jsonb(t)::text FROM "{table.name}" t'))
        for (row,) in rows:
            parts.append(row)
            parts += _inside(json.loads(row))
    return "\n".join(parts)


def _inside(value) -> list[str]:
    if isinstance(value, dict):
        return [one for each in value.values() for one in _inside(each)]
    if isinstance(value, list):
        return [one for each in value for one in _inside(each)]
    if not isinstance(value, str):
        return []
    found = [value]
    if value.startswith("\\x"):
        raw = bytes.fromhex(value[2:])
        found += [raw.decode("utf-8", "replace"), raw.decode("latin-1")]
    return found


def found_traces() -> list[str]:
    stored = everything_stored().lower()
    return [trace for trace in TRACES if trace.lower() in stored]


@pytest.fixture
def told(merchant, shop):
    """An order about which everything there is was stored, and its raw JSON."""
    raw, order = pushed(shop, customer=CUSTOMER, billing_address=ADDRESS)
    set_additional(merchant.id, order.id, name="Patin Ute", number=None, actor=ANNA, at=LATER)
    for mail in mails(order):
        message = preview_mail(mail)
        mail.subject, mail.html, mail.text = message.subject, message.html, message.text
    proof = ProofFile("erika@example.org.pdf", b"%PDF- Mustermaenn " + TRACES[0].encode())
    claim_paid(order, paid_on=None, message="Ihre Erika Mustermänn", proof=proof, at=LATER)
    store_invoice(order, "R-1", b"%PDF-1.4 Heidestra\xc3\x9fe " + IBAN.encode(), LATER)
    statement = Statement(
        merchant_id=merchant.id,
        filename="auszug.sta",
        content=f":86:{IBAN} Erika Mustermänn".encode(),
        size_bytes=30,
        content_hash=bytes(32),
        status="done",
    )
    db.session.add(statement)
    db.session.commit()
    make_posting(
        merchant,
        "19.90",
        f"{order.number} Erika Mustermänn",
        counterparty_name="Erika Mustermänn",
        counterparty_iban=IBAN,
        statement_id=statement.id,
    )
    match_postings(merchant.id, PAID_AT)
    db.session.commit()
    assert order.payment_status == "paid"
    return raw, order


@pytest.mark.feature("S86")
def test_nothing_tells_any_more_whose_order_it_was(merchant, shop, told):
    raw, order = told
    assert found_traces() == list(TRACES), "all of it is there before"
    erase_personal_data(merchant.id, order.id, actor=ANNA, at=PAID_AT)
    db.session.commit()
    assert found_traces() == []
    order = order_of(shop, raw)
    assert (order.number, str(order.total), order.payment_status) == (
        raw["number"],
        "19.900",
        "paid",
    )
    assert order.ordered_at.isoformat() == raw["ordered_at"]
    assert events(order)[-1] == "erased"
    assert base64.b64encode(order.content_hash)


@pytest.mark.feature("S86", "S60", "S85")
def test_nobody_brings_back_a_file_or_a_name(client, merchant, shop, told):
    """It could not be removed a second time."""
    raw, order = told
    erase_personal_data(merchant.id, order.id, actor=ANNA, at=PAID_AT)
    mark_as_unpaid(merchant.id, order.id, actor=ANNA, at=PAID_AT)
    db.session.commit()
    answer = client.put(
        f"/api/v1/orders/{raw['external_id']}/invoices/R-1",
        data=b"%PDF-1.4 " + TRACES[0].encode(),
        content_type="application/pdf",
        headers=bearer(make_key(merchant, "shop", shop)[1]),
    )
    assert (answer.status_code, "personal data" in answer.json["detail"]) == (422, True)
    with pytest.raises(NotPossible, match="action_does_not_fit"):
        set_additional(merchant.id, order.id, name="Ute", number=None, actor=ANNA, at=PAID_AT)
    db.session.rollback()
    assert found_traces() == []


@pytest.mark.feature("S86")
def test_the_shop_does_not_bring_it_back(merchant, shop, told):
    raw, order = told
    erase_personal_data(merchant.id, order.id, actor=ANNA, at=PAID_AT)
    db.session.commit()
    assert push(shop, {**raw, "total": "25.00"}, PAID_AT) == "unchanged"
    assert found_traces() == []


@pytest.mark.feature("S86")
def test_mails_to_an_address_that_he_had_before_are_his_too(merchant, shop):
    raw, order = pushed(shop)
    send_all(order)
    push(shop, {**raw, "customer": {"email": "mustermann@example.com"}}, LATER)
    erase_personal_data(merchant.id, order.id, actor=ANNA, at=PAID_AT)
    db.session.commit()
    db.session.expire_all()
    assert [mail.recipient for mail in mails(order)] == ["", ""]


@pytest.mark.feature("S86", "K41")
def test_a_digest_does_not_keep_the_address_that_he_had_before(merchant, shop):
    raw, order = pushed(shop)
    for mail in mails(order):
        mail.status, mail.finished_at, mail.failure = "failed", LATER, "no_such_domain"
    db.session.commit()
    assert tell_of_failed_mails(merchant.id, LATER)
    push(shop, {**raw, "customer": {"email": "mustermann@example.com"}}, LATER)
    assert "erika@example.org" in everything_stored()
    erase_personal_data(merchant.id, order.id, actor=ANNA, at=PAID_AT)
    db.session.commit()
    assert "erika@example.org" not in everything_stored()


@pytest.mark.feature("S86")
def test_others_keep_what_is_theirs(merchant, shop, told):
    _, order = told
    _, other = pushed(shop)
    erase_personal_data(merchant.id, order.id, actor=ANNA, at=PAID_AT)
    db.session.commit()
    db.session.refresh(other)
    assert (other.customer_name, mails(other)[0].recipient) == (
        "Erika Mustermann",
        "erika@example.org",
    )


@pytest.mark.feature("S86")
def test_it_happens_once_and_not_while_a_bank_file_is_read(merchant, told):
    _, order = told
    statement = db.session.query(Statement).one()
    statement.status = "running"
    db.session.commit()
    with pytest.raises(NotPossible, match="erase_statement_is_read"):
        erase_personal_data(merchant.id, order.id, actor=ANNA, at=PAID_AT)
    db.session.rollback()
    db.session.query(Statement).one().status = "done"
    erase_personal_data(merchant.id, order.id, actor=ANNA, at=PAID_AT)
    with pytest.raises(NotPossible, match="erased_already"):
        erase_personal_data(merchant.id, order.id, actor=ANNA, at=PAID_AT)


@pytest.mark.feature("S86")
def test_an_open_order_is_asked_for_nothing_afterwards(merchant, shop):
    _, order = pushed(shop)
    erase_personal_data(merchant.id, order.id, actor=ANNA, at=LATER)
    db.session.commit()
    db.session.refresh(order)
    assert order.reminders_blocked_at == LATER
    assert db.session.query(Order).filter_by(customer_email="erika@example.org").count() == 0


@pytest.mark.feature("S86")
def test_a_customer_whose_account_was_deleted_is_erased_from_all_his_orders(merchant, shop):
    him = {"number": "erika-4711", "email": "erika@example.org"}
    his = [pushed(shop, customer=him)[1] for _ in range(2)]
    other = pushed(shop, customer={"number": "bob-4711", "email": "bob@example.org"})[1]
    stranger = make_shop(make_merchant("Bobs Laden"), "Bob")
    of_stranger = pushed(stranger, customer=him)[1]
    erasure = erase_customer(merchant.id, shop.id, "erika-4711", PAID_AT)
    assert sorted(erasure.done) == sorted(order.id for order in his)
    db.session.commit()
    assert all(order.erased_at is not None for order in his)
    assert other.erased_at is None
    assert of_stranger.erased_at is None
    assert erase_customer(merchant.id, shop.id, "erika-4711", PAID_AT) == Erasure([], [])
