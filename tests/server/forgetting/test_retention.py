"""What grew old is forgotten by night, and what is open never is (S86, N20)."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from server import jobs
from server.banking.models import BankAccount, Posting, Statement
from server.db import db, now
from server.dunning.models import DunningRun
from server.forgetting import retention
from server.forgetting.retention import Forgetting
from server.forgetting.rules import months_before
from server.letters.models import Letter
from server.mail.models import Mail, MailReport, Suppression
from server.mail.suppression import suppress
from server.merchants.models import IdempotencyKey, SettingChange
from server.merchants.settings import MerchantSettings
from server.orders.models import Credit, DeferralRequest, Order, PaymentClaim, Proof, Refund
from server.orders.service import assign, mark_as_paid
from server.refunds.models import RefundBatch
from server.relay.models import RelayDelivery
from tests.factories import AT, make_key, make_merchant, make_posting, make_shop, make_user
from tests.server.forgetting.life import EMAIL, NAME, PAYER_IBAN, lived, ordered
from tests.server.life.steps import ANNA, PAID_AT, mails, send_all, wishes

YEARS = timedelta(days=366)
KEEPS_ALL = {
    f"keep_{kind}": "0" for kind in ("mails", "letters", "proofs", "bank_files", "customers")
}


def nights(merchant, at: datetime) -> int:
    """All slices of one night; how many there were."""
    turn, count = Forgetting(merchant.id), 1
    while turn.step(at):
        count += 1
        assert count < 100, "it comes to an end"
        db.session.commit()
    db.session.commit()
    db.session.expire_all()
    return count


def told(merchant) -> dict[str, int]:
    rows = db.session.query(SettingChange).filter_by(merchant_id=merchant.id, name="forgotten")
    return {kind: n for row in rows for kind, n in row.value.items()}


@pytest.fixture
def order(merchant, shop, place):
    return lived(merchant, shop, place / "inbox")


@pytest.mark.parametrize(
    ("at", "months", "first"),
    [
        (datetime(2026, 3, 31, 12, tzinfo=UTC), 1, "2026-02-27T23:00:00+00:00"),
        (datetime(2026, 1, 15, 12, tzinfo=UTC), 12, "2025-01-14T23:00:00+00:00"),
        (datetime(2026, 7, 1, 23, tzinfo=UTC), 36, "2023-07-01T22:00:00+00:00"),
        (datetime(2026, 7, 1, 12, tzinfo=UTC), 240, "2006-06-30T22:00:00+00:00"),
    ],
)
def test_months_are_the_merchants(at, months, first):
    assert months_before(at, months, "Europe/Berlin").isoformat() == first


@pytest.mark.feature("S86")
def test_nothing_goes_before_its_time(merchant, order):
    settings = MerchantSettings()
    kept = (settings.keep_mails, settings.keep_letters, settings.keep_bank_files)
    assert (*kept, settings.keep_proofs, settings.keep_customers) == (36, 36, 120, 12, 120)
    nights(merchant, PAID_AT + timedelta(days=300))
    assert told(merchant) == {}
    assert db.session.query(Proof).count() == 1
    assert mails(order)[0].text


@pytest.mark.feature("S86", "S61")
def test_proofs_and_what_was_written_beside_them(merchant, order):
    db.session.query(Proof).update({"received_at": AT})
    db.session.query(PaymentClaim).update({"claimed_at": AT})
    db.session.query(DeferralRequest).update({"asked_at": AT})
    db.session.commit()
    nights(merchant, AT + YEARS)
    assert db.session.query(Proof).count() == 0
    assert db.session.query(PaymentClaim).one().message == ""
    assert db.session.query(DeferralRequest).one().message == ""
    assert told(merchant) == {"proofs": 1}
    assert order.customer_email == EMAIL


@pytest.mark.feature("S86")
def test_mails_lose_text_and_address_and_stay_in_the_log(merchant, order, place):
    before = len(mails(order))
    db.session.query(Mail).update({"created_at": AT})
    db.session.query(RelayDelivery).update({"created_at": AT})
    db.session.commit()
    nights(merchant, AT + 4 * YEARS)
    after = mails(order)
    assert len(after) == before >= 2
    assert {(mail.recipient, mail.html, str(mail.facts)) for mail in after} == {("", None, "{}")}
    of_mails = db.session.query(MailReport).filter(MailReport.mail_id.is_not(None))
    assert {(row.kind, row.raw, row.words) for row in of_mails} == {("bounced", b"", "")}
    notice = db.session.query(Mail).filter_by(once="notice").one()
    assert (notice.recipient, notice.text) == ("", None)
    relayed = db.session.query(RelayDelivery).one()
    assert (relayed.recipient, relayed.smtp_response) == (f"#{relayed.id}", None)
    assert told(merchant)["mails"] == before + 2
    assert order.customer_email == EMAIL


@pytest.mark.feature("S86", "S47")
def test_letters_lose_content_and_address(merchant, order, place):
    nights(merchant, AT + 4 * YEARS)
    row = db.session.query(Letter).one()
    assert (row.recipient, row.facts, row.pdf, row.enclosed) == ([], {}, None, None)
    assert (row.kind, row.status, row.pages) == ("reminder", "done", 1)
    assert told(merchant)["letters"] == 1
    folder = place / "var" / "letters" / str(merchant.id)
    assert [one.name for one in folder.iterdir() if one.is_dir()] == []


@pytest.mark.feature("S86", "C3")
def test_bank_files_keep_what_was_read_and_how_they_are_known(merchant, order, place):
    wishes(merchant, keep_customers="0")
    db.session.query(Statement).update({"created_at": AT})
    db.session.query(RefundBatch).update({"created_at": AT})
    db.session.commit()
    taken = place / "inbox" / str(merchant.id) / "taken"
    assert len(list(taken.iterdir())) == 3
    for path in taken.iterdir():
        os.utime(path, (AT.timestamp(),) * 2)
    nights(merchant, AT + 11 * YEARS)
    files = db.session.query(Statement).all()
    assert {(one.content, str(one.problems)) for one in files} == {(b"", "[]")}
    assert all(one.content_hash for one in files)
    assert list(taken.iterdir()) == []
    assert db.session.query(RefundBatch).one().content == b""
    assert told(merchant)["bank_files"] == 4
    money = db.session.query(Posting).filter(Posting.amount == order.total).one()
    assert money.counterparty_iban == PAYER_IBAN


@pytest.mark.feature("S86", "C2")
def test_a_file_that_waits_for_a_person_is_kept(merchant, order):
    waiting = db.session.query(Statement).first()
    db.session.query(Statement).update({"created_at": AT})
    waiting.status, waiting.asks_columns = "failed", True
    db.session.commit()
    nights(merchant, AT + 11 * YEARS)
    assert db.session.query(Statement).filter(Statement.content != b"").one().id == waiting.id


def aged(order: Order) -> None:
    order.ordered_at = order.changed_at = AT
    db.session.commit()


@pytest.mark.feature("S86", "N20")
def test_an_old_order_becomes_anonymous(merchant, order):
    db.session.query(Credit).delete()
    aged(order)
    nights(merchant, AT + 11 * YEARS)
    assert (order.customer_name, order.customer_email, order.sync) == ("", None, "erased")
    assert str(order.total) == "34.900"
    assert told(merchant)["orders"] == 1


@pytest.mark.feature("S86")
@pytest.mark.parametrize("what", ["owes", "credit", "refund", "collection", "changed"])
def test_what_is_still_open_is_never_forgotten(merchant, shop, what):
    order = ordered(shop)
    if what != "owes":
        mark_as_paid(merchant.id, order.id, actor=ANNA, at=AT)
    if what == "collection":
        order.payment_status = "collection"
    if what == "refund":
        values = {"amount": Decimal(1), "currency": "EUR", "reference": "R", "status": "held"}
        db.session.add(Refund(merchant_id=merchant.id, order_id=order.id, **values))
    if what == "credit":
        posting = make_posting(merchant, "3.00", "")
        values = {"merchant_id": merchant.id, "posting_id": posting.id}
        db.session.add(Credit(**values, from_order_id=order.id))
    send_all(order)
    aged(order)
    if what == "changed":
        order.changed_at = AT + 10 * YEARS
        db.session.commit()
    for mail in mails(order):
        mail.created_at = AT
    db.session.commit()
    nights(merchant, AT + 11 * YEARS)
    assert order.customer_email == EMAIL
    is_over = what in ("credit", "changed")
    assert bool(mails(order)[0].recipient) is not is_over


@pytest.mark.feature("S86")
def test_a_mail_on_its_way_is_kept(merchant, shop):
    order = ordered(shop)
    mark_as_paid(merchant.id, order.id, actor=ANNA, at=AT)
    db.session.query(Mail).update({"status": "queued", "created_at": AT})
    db.session.commit()
    nights(merchant, AT + 4 * YEARS)
    assert {mail.recipient for mail in mails(order)} == {EMAIL}


@pytest.mark.feature("S86")
def test_payments_of_no_order_lose_the_payer_but_not_open_ones(merchant):
    old = {"booking_date": date(2014, 1, 1), "counterparty_name": NAME}
    supplier = make_posting(merchant, "-9.00", "Miete", **old)
    waits = make_posting(merchant, "9.00", "?", **old)
    young = make_posting(merchant, "-8.00", "Miete", counterparty_name=NAME)
    nights(merchant, datetime(2026, 3, 2, tzinfo=UTC))
    assert [one.counterparty_name for one in (supplier, waits, young)] == [None, NAME, NAME]
    assert str(supplier.amount) == "-9.000"
    assert told(merchant) == {"postings": 1}


@pytest.mark.feature("S86")
def test_a_payment_of_a_kept_order_keeps_its_payer(merchant, shop):
    order = ordered(shop)
    posting = make_posting(merchant, "34.90", "", booking_date=date(2014, 1, 1))
    assign(merchant.id, posting.id, [(order.id, posting.amount)], actor=ANNA, at=AT)
    db.session.commit()
    nights(merchant, datetime(2026, 3, 2, tzinfo=UTC))
    assert posting.counterparty_iban == PAYER_IBAN


@pytest.mark.feature("S86")
def test_nothing_is_forgotten_where_the_merchant_keeps_all(merchant, order):
    wishes(merchant, **KEEPS_ALL)
    db.session.query(Mail).update({"created_at": AT})
    aged(order)
    nights(merchant, AT + 20 * YEARS)
    assert told(merchant) == {}
    assert order.customer_email == EMAIL
    assert mails(order)[0].text


@pytest.mark.feature("S86")
def test_twice_is_once_and_large_heaps_go_in_slices(merchant, shop, monkeypatch):
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    monkeypatch.setattr(retention, "ORDERS_AT_ONCE", 2)
    orders = [ordered(shop) for _ in range(5)]
    for one in orders:
        mark_as_paid(merchant.id, one.id, actor=ANNA, at=AT)
        send_all(one)
        aged(one)
    db.session.query(Mail).update({"created_at": AT})
    db.session.commit()
    assert nights(merchant, AT + 11 * YEARS) >= 3
    assert all(one.erased_at for one in orders)
    before = told(merchant)
    assert before["orders"] == 5
    assert nights(merchant, AT + 11 * YEARS) == 1
    assert told(merchant) == before


@pytest.mark.feature("S86")
def test_one_that_cannot_go_holds_up_no_other(merchant, shop, monkeypatch):
    monkeypatch.setattr(retention, "ORDERS_AT_ONCE", 1)
    stuck, free = ordered(shop), ordered(shop)
    for one in (stuck, free):
        mark_as_paid(merchant.id, one.id, actor=ANNA, at=AT)
        send_all(one)
        aged(one)
    mails(stuck)[0].status = "running"
    db.session.commit()
    nights(merchant, AT + 11 * YEARS)
    assert (stuck.erased_at is None, free.erased_at is None) == (True, False)


@pytest.mark.feature("S86")
def test_others_keep_theirs(merchant, order):
    bob = make_merchant("Bobs Laden")
    make_user(bob, "bob@example.org")
    other = ordered(make_shop(bob, "Bob"))
    send_all(other)
    db.session.query(Mail).update({"created_at": AT})
    db.session.commit()
    nights(merchant, AT + 4 * YEARS)
    assert {mail.recipient for mail in mails(other)} == {EMAIL}


@pytest.mark.feature("S86", "S10")
def test_a_block_stays_a_block(merchant):
    row = suppress(merchant.id, EMAIL, "complaint", at=AT, evidence=NAME)
    db.session.commit()
    nights(merchant, AT + 11 * YEARS)
    assert (row.address, row.evidence, row.ended_at) == ("", "", None)
    assert db.session.query(Suppression).count() == 1


def test_old_answers_of_the_api_are_dropped(merchant, shop):
    key, _ = make_key(merchant, "shop", shop)
    for name, age in (("old", 3), ("new", 1)):
        created_at = PAID_AT - timedelta(days=age)
        values = {"request_hash": bytes(32), "status_code": 200, "body": b"{}"}
        db.session.add(IdempotencyKey(api_key_id=key.id, key=name, created_at=created_at, **values))
    db.session.commit()
    nights(merchant, PAID_AT)
    assert [row.key for row in db.session.query(IdempotencyKey)] == ["new"]


@pytest.mark.real_commits
@pytest.mark.feature("S86", "S84")
def test_it_follows_the_daily_run_and_never_goes_before_one(app):
    """A merchant whose run waits for a click is looked after as well."""
    merchant = make_merchant()
    shop = make_shop(merchant)
    order = ordered(shop)
    mark_as_paid(merchant.id, order.id, actor=ANNA, at=AT)
    send_all(order)
    aged(order)
    order.ordered_at = order.changed_at = now() - 11 * YEARS
    db.session.query(BankAccount).update({"created_at": now()})
    db.session.add(DunningRun(merchant_id=merchant.id, run_date=now().date()))
    db.session.commit()
    assert jobs.drain_dunning_run() is False
    db.session.expire_all()
    assert db.session.query(DunningRun).one().status == "done"
    assert order.erased_at is not None
    assert not jobs.FORGETTING
