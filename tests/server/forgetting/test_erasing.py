"""What hinders an erasure, what is done later, and what of others stays (S86)."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from server import jobs
from server.banking.models import Posting, Statement
from server.banking.service import store_statement
from server.db import db
from server.forgetting import files
from server.forgetting.retention import Forgetting
from server.forgetting.rules import kept_facts
from server.forgetting.service import (
    Erasure,
    asked_orders,
    erase_address,
    erase_customer,
    erase_orders,
    erase_personal_data,
    own_postings,
)
from server.letters.models import Letter
from server.mail.models import Mail, Suppression
from server.mail.suppression import suppress
from server.matching.models import ForgottenPayer
from server.merchants.models import SettingChange
from server.orders import lifecycle
from server.orders.ledger import NotPossible
from server.orders.models import CollectionCase, DeferralRequest, Order, Refund
from server.orders.service import assign, request_match
from server.relay.models import RelayDelivery, RelayMessage
from tests.bank_files import Paid, camt, csv
from tests.factories import make_merchant, make_order, make_posting, make_shop
from tests.server.forgetting.life import EMAIL, NAME, NUMBER, PAYER_IBAN, WANTED, ordered, relayed
from tests.server.life.steps import ANNA, LATER, PAID_AT, events, mails, send_all

LATER_STILL = PAID_AT + timedelta(days=9)


def erase(order: Order, at=PAID_AT) -> Order:
    return erase_personal_data(order.merchant_id, order.id, actor=ANNA, at=at)


def refund(order: Order, status: str) -> Refund:
    row = Refund(
        merchant_id=order.merchant_id,
        order_id=order.id,
        amount=Decimal(5),
        currency="EUR",
        reference=f"RZ-{order.id}",
        payee_name=NAME,
        payee_iban=PAYER_IBAN,
        status=status,
    )
    db.session.add(row)
    db.session.commit()
    return row


def letter(order: Order, status: str) -> Letter:
    row = Letter(
        merchant_id=order.merchant_id,
        order_id=order.id,
        kind="reminder",
        language="de",
        recipient=[NAME],
        once=f"letter:{order.id}:{status}",
        facts={"recipient_name": NAME},
        status=status,
    )
    db.session.add(row)
    db.session.commit()
    return row


# --- what hinders --------------------------------------------------------------------------------


@pytest.mark.feature("S86", "S78")
@pytest.mark.parametrize(
    "status", ["new", "planned", "held", "bank_details_missing", "in_process", "failed"]
)
def test_nobody_is_forgotten_while_his_money_is_on_its_way(shop, status):
    order = ordered(shop)
    row = refund(order, status)
    with pytest.raises(NotPossible, match="erase_refund_is_open"):
        erase(order)
    db.session.rollback()
    row.status = "processed"
    db.session.commit()
    erase(order)
    assert (row.payee_name, row.payee_iban, str(row.amount)) == (None, None, "5.000")


@pytest.mark.feature("S86", "S79")
def test_a_debt_in_a_partners_hands_keeps_its_debtor(merchant, shop):
    order = ordered(shop, payment_method="invoice", invoices=[{"number": "R-1"}])
    lifecycle.hand_to_collection(merchant.id, order.id, actor=ANNA, at=LATER)
    db.session.commit()
    assert db.session.query(CollectionCase).one().ended_at is None
    with pytest.raises(NotPossible, match="erase_case_is_open"):
        erase(order)
    db.session.rollback()
    lifecycle.take_from_collection(merchant.id, order.id, actor=ANNA, at=LATER)
    db.session.commit()
    assert erase(order).erased_at == PAID_AT


@pytest.mark.feature("S86")
def test_what_goes_out_just_now_is_waited_for(shop):
    order = ordered(shop)
    mail = mails(order)[0]
    mail.status = "running"
    db.session.commit()
    with pytest.raises(NotPossible, match="erase_mail_goes_out"):
        erase(order)
    db.session.rollback()
    mail.status = "done"
    row = letter(order, "running")
    with pytest.raises(NotPossible, match="erase_letter_goes_out"):
        erase(order)
    db.session.rollback()
    row.status = "done"
    db.session.commit()
    assert erase(order).erased_at == PAID_AT


@pytest.mark.feature("S86")
def test_a_print_folder_that_cannot_be_changed_changes_nothing(shop, place):
    order = ordered(shop)
    row = letter(order, "done")
    row.service = "folder"
    db.session.commit()
    (place / "var" / "letters").mkdir()
    (place / "var" / "letters" / str(order.merchant_id)).mkdir()
    lock = place / "var" / "letters" / str(order.merchant_id) / ".lock"
    lock.mkdir()  # in the way of the file of that name
    with pytest.raises(NotPossible, match="erase_folder_is_away"):
        erase(order)
    db.session.rollback()
    assert order.customer_email == EMAIL
    lock.rmdir()
    assert erase(order).erased_at == PAID_AT


@pytest.mark.feature("S86", "S73", "N8")
def test_what_waits_is_withdrawn(shop):
    order = ordered(shop)
    row = letter(order, "queued")
    asked = DeferralRequest(
        merchant_id=order.merchant_id, order_id=order.id, until_date=date(2026, 4, 1), message="M"
    )
    db.session.add(asked)
    db.session.commit()
    erase(order)
    db.session.commit()
    db.session.expire_all()
    assert (row.status, row.recipient, row.facts) == ("withheld", [], {})
    assert {mail.status for mail in mails(order)} == {"withheld"}
    assert (asked.status, asked.message) == ("moot", "")


# --- later ---------------------------------------------------------------------------------------


@pytest.mark.feature("S86")
def test_what_cannot_be_erased_now_is_erased_by_night(merchant, shop):
    free, busy = ordered(shop), ordered(shop)
    row = refund(busy, "in_process")
    both = [free.id, busy.id]
    assert erase_orders(merchant.id, both, actor=ANNA, at=PAID_AT) == Erasure([free.id], [busy.id])
    assert erase_orders(merchant.id, both, actor=ANNA, at=PAID_AT) == Erasure([], [busy.id])
    db.session.commit()
    assert events(busy).count("erase_asked") == 1
    assert busy.reminders_blocked_at == PAID_AT
    Forgetting(merchant.id).step(LATER_STILL)
    db.session.commit()
    assert busy.erased_at is None
    row.status = "processed"
    Forgetting(merchant.id).step(LATER_STILL)
    db.session.commit()
    assert (busy.erased_at, asked_orders(merchant.id)) == (LATER_STILL, [])
    assert WANTED.in_database() == {}


@pytest.mark.feature("S86")
def test_a_marketplace_need_not_tell_again(shop):
    order = ordered(shop)
    refund(order, "planned")
    erasure = erase_customer(shop.merchant_id, shop.id, NUMBER, PAID_AT)
    assert erasure == Erasure([], [order.id])


@pytest.mark.real_commits
@pytest.mark.feature("S86")
def test_the_worker_of_the_daily_run_does_it(app):
    merchant = make_merchant()
    order = ordered(make_shop(merchant))
    row = refund(order, "in_process")
    erase_orders(merchant.id, [order.id], actor=ANNA, at=PAID_AT)
    row.status = "processed"
    send_all(order)
    jobs.FORGETTING[merchant.id] = Forgetting(merchant.id)
    assert jobs.drain_dunning_run() is False
    db.session.expire_all()
    assert order.erased_at is not None
    assert not jobs.FORGETTING
    line = db.session.query(SettingChange).filter_by(name="forgotten").one()
    assert (line.value, line.changed_by) == ({"orders": 1}, "")


# --- what of others stays ------------------------------------------------------------------------


@pytest.mark.feature("S86")
def test_a_payout_for_many_keeps_what_the_bank_wrote(merchant, shop):
    his = ordered(shop)
    other = make_order(shop, total="10.00", customer={"email": "bob@example.org"},
                       billing_address={"first_name": "Bob", "last_name": "Baum"})  # fmt: skip
    payout = make_posting(
        merchant, "44.90", "AUSZAHLUNG 4711", counterparty_name="Marktplatz", counterparty_iban=None
    )
    shares = [(his.id, Decimal("34.90")), (other.id, Decimal("10.00"))]
    assign(merchant.id, payout.id, shares, actor=ANNA, at=PAID_AT)
    db.session.commit()
    erase(his)
    db.session.commit()
    assert (payout.counterparty_name, payout.remittance_information) == (
        "Marktplatz",
        "AUSZAHLUNG 4711",
    )
    erase(other)
    assert payout.counterparty_name is None, "nobody else is left"


@pytest.mark.feature("S86")
@pytest.mark.parametrize(
    "his_name", [{"first_name": "Erika", "last_name": "Mustermann"}, {"last_name": "Ott"}]
)
def test_a_payout_is_nobodys_own_also_without_addresses_and_with_short_names(
    merchant, shop, his_name
):
    nobody = {"email": None}
    his = make_order(shop, total="34.90", customer=nobody, billing_address=his_name)
    other = make_order(shop, total="10.00", customer=nobody,
                       billing_address={"first_name": "Bob", "last_name": "Baum"})  # fmt: skip
    payout = make_posting(
        merchant, "44.90", "AUSZAHLUNG 4711", counterparty_name="Marktplatz", counterparty_iban=None
    )
    shares = [(his.id, Decimal("34.90")), (other.id, Decimal("10.00"))]
    assign(merchant.id, payout.id, shares, actor=ANNA, at=PAID_AT)
    db.session.commit()
    assert own_postings(his) == []
    erase(his)
    assert payout.remittance_information == "AUSZAHLUNG 4711"


@pytest.mark.feature("S86")
def test_a_payment_for_two_that_names_him_is_his(merchant, shop):
    his = ordered(shop)
    other = make_order(shop, total="10.00", customer={"email": "bob@example.org"},
                       billing_address={"first_name": "Bob", "last_name": "Baum"})  # fmt: skip
    together = make_posting(merchant, "44.90", "beide", counterparty_name=NAME.upper())
    shares = [(his.id, Decimal("34.90")), (other.id, Decimal("10.00"))]
    assign(merchant.id, together.id, shares, actor=ANNA, at=PAID_AT)
    db.session.commit()
    erase(his)
    assert together.counterparty_name is None


@pytest.mark.feature("S86")
def test_a_second_merchant_keeps_all_of_the_same_customer(merchant, shop):
    order, stranger = ordered(shop), ordered(make_shop(make_merchant("Bobs Laden"), "Bob"))
    erase(order)
    db.session.commit()
    db.session.refresh(stranger)
    assert stranger.customer_email == EMAIL
    assert {mail.recipient for mail in mails(stranger)} == {EMAIL}


@pytest.mark.feature("S86", "C19")
def test_a_payer_stays_forgotten_while_something_of_him_could_be_learned(merchant, shop):
    order, next_one = ordered(shop), ordered(shop)
    for one in (order, next_one):
        posting = make_posting(merchant, "34.90", "", counterparty_name="Onkel Otto")
        assign(merchant.id, posting.id, [(one.id, Decimal("34.90"))], actor=ANNA, at=PAID_AT)
    db.session.add(ForgottenPayer(merchant_id=merchant.id, payer="Onkel Otto"))
    db.session.commit()
    erase(order)
    assert db.session.query(ForgottenPayer).count() == 1
    erase(next_one)
    assert db.session.query(ForgottenPayer).count() == 0


@pytest.mark.feature("S86")
def test_every_file_with_the_payment_is_emptied_and_no_other(merchant, shop, place):
    money = Paid(amount="34.90", text="T", name=NAME, iban=PAYER_IBAN, on=date(2026, 3, 5))
    bob = Paid(amount="1.00", name="Bob", iban="DE02500105170137075030", on=date(2026, 3, 9))
    contents = {
        "day.xml": camt("camt.053", money, days=(date(2026, 3, 5),) * 2),
        "week.xml": camt("camt.053", money, bob, days=(date(2026, 3, 2), date(2026, 3, 9))),
        "table.csv": csv(money, bob),
        "bob.csv": csv(bob),
        "other-day.xml": camt("camt.053", bob, days=(date(2026, 3, 9),) * 2),
    }
    for name, content in contents.items():
        store_statement(merchant.id, name, content, uploaded_by=ANNA)
        db.session.commit()
        jobs.drain_statement()
    order = ordered(shop)
    posting = db.session.query(Posting).filter_by(counterparty_name=NAME).one()
    assign(merchant.id, posting.id, [(order.id, posting.amount)], actor=ANNA, at=PAID_AT)
    db.session.commit()
    erase(order)
    db.session.commit()
    db.session.expire_all()
    kept = {one.filename for one in db.session.query(Statement) if one.content}
    assert kept == {"bob.csv", "other-day.xml"}
    store_statement(merchant.id, "again.xml", contents["day.xml"], uploaded_by=ANNA)
    request_match(merchant.id, LATER_STILL)
    db.session.commit()
    jobs.drain_statement()
    again = db.session.query(Statement).filter_by(filename="again.xml").one()
    assert (again.postings_new, again.postings_known) == (0, 1), "known by its fingerprint"


@pytest.mark.feature("S86")
def test_a_file_outside_the_inbox_is_never_touched(merchant, place):
    """A link in the folder of taken files points at something else."""
    outside = place / "outside.xml"
    outside.write_bytes(b"x")
    taken = place / "inbox" / str(merchant.id) / "taken"
    taken.mkdir(parents=True)
    (taken / "link.xml").symlink_to(outside)
    (place / "inbox" / str(merchant.id) / "elsewhere").symlink_to(place)
    copy = files.StatementCopy(merchant.id, 1, b"")
    assert files.remove_statements([copy]) == 0
    assert files.remove_old_statements(merchant.id, LATER_STILL + timedelta(days=9999), 9) == 0
    assert outside.exists()


# --- words ---------------------------------------------------------------------------------------


@pytest.mark.feature("S86")
def test_an_address_alone_leaves_its_hash(merchant):
    suppress(merchant.id, EMAIL, "manual", at=LATER, evidence=NAME)
    erase_address(merchant.id, EMAIL.upper())
    db.session.commit()
    row = db.session.query(Suppression).one()
    assert (row.address, row.evidence) == ("", "")
    assert WANTED.in_database() == {}


@pytest.mark.feature("S86", "S89")
def test_what_others_are_still_to_get_of_a_relayed_mail_is_kept(merchant):
    relayed(merchant)
    delivery = db.session.query(RelayDelivery).one()
    values = {"merchant_id": merchant.id, "connection_id": delivery.connection_id}
    bobs = RelayDelivery(
        **values, relay_message_id=delivery.relay_message_id, recipient="bob@example.net"
    )
    db.session.add(bobs)
    db.session.commit()
    message = db.session.query(RelayMessage).one()
    erase_address(merchant.id, EMAIL)
    db.session.commit()
    db.session.expire_all()
    assert (delivery.recipient, bool(message.content)) == (f"#{delivery.id}", True)
    bobs.status = "done"
    erase_address(merchant.id, "BOB@example.net")
    db.session.commit()
    db.session.expire_all()
    assert (bobs.recipient, message.content) == (f"#{bobs.id}", None)


def test_the_history_keeps_what_says_nothing_of_the_person():
    assert kept_facts("assigned", {"amount": "1.00", "posting_id": 3}) == {
        "amount": "1.00",
        "posting_id": 3,
    }
    assert kept_facts("new_kind", {"words": NAME, "amount": "1.00"}) == {
        "words": "",
        "amount": "1.00",
    }
    assert kept_facts("additional_set", {"name": NAME, "number": NUMBER}) == {
        "name": "",
        "number": "",
    }


@pytest.mark.feature("S86")
def test_short_words_are_no_traces(merchant, shop):
    """A customer called Li does not empty every notice with a list in it."""
    order = make_order(shop, billing_address={"first_name": "", "last_name": "Li"}, customer={})
    notice = Mail(
        merchant_id=merchant.id,
        kind="postings_need_you",
        language="de",
        recipient=ANNA,
        once="list",
        facts={},
        message_id="<list@example.org>",
        text="Eine lange Liste",
        status="done",
    )
    db.session.add(notice)
    db.session.commit()
    erase(order)
    db.session.commit()
    db.session.refresh(notice)
    assert notice.text == "Eine lange Liste"
