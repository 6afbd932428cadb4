"""Repayments leave for the bank: what goes together, what stays out, what became of it (C15)."""

from __future__ import annotations

import csv
import io
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import sepaxml
from lxml import etree

from server.db import db
from server.merchants.models import Merchant
from server.orders.ledger import NotPossible
from server.refunds import batches, service
from server.refunds.recognition import recognise
from tests.factories import make_account, make_merchant, make_order, make_posting, make_shop
from tests.server.refunds.steps import ANNA, AT, do, hand_in, history, ready, repay, send_back
from tests.server.test_ledger import pay

ISO = {"p": "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"}


def make(merchant, *refunds, **over):
    account = batches.paying_accounts(merchant.id)[0]
    values = {"channel": "pain001", "actor": ANNA, "at": AT} | over
    batch = batches.make_batch(
        merchant.id, account.id, [ready(one).id for one in refunds], **values
    )
    db.session.commit()
    return batch


def two(merchant, **over):
    first = make_posting(merchant, "20.00")
    second = make_posting(merchant, "30.00", booking_date=date(2026, 1, 5))
    return send_back(first, "20.00", **over), send_back(second, "30.00", **over)


@pytest.mark.feature("C15", "S78")
def test_a_batch_is_a_valid_file_with_what_the_bank_needs(merchant, order, posting):
    refunds = [repay(order, "40.00", reason="Größe zu klein"), *two(merchant)]
    batch = make(merchant, *refunds)
    assert (batch.status, batch.count, batch.total) == ("made", 3, 90)
    schema = Path(sepaxml.__file__).parent / "schemas/pain.001.001.09.xsd"
    root = etree.fromstring(batch.content)
    etree.XMLSchema(etree.parse(str(schema))).assertValid(root)
    ids = root.xpath("//p:EndToEndId/text()", namespaces=ISO)
    assert ids == [one.reference for one in refunds]
    assert root.xpath("//p:CtrlSum/text()", namespaces=ISO) == ["90.00", "90.00"]
    assert root.xpath("//p:BtchBookg/text()", namespaces=ISO) == ["true"]
    assert root.xpath("//p:Cdtr/p:Nm/text()", namespaces=ISO)[0] == "Erika Mustermann"
    text = root.xpath("//p:Ustrd/text()", namespaces=ISO)[0]
    assert text == f"{order.number} {refunds[0].reference} Groesse zu klein"
    assert not root.xpath("//p:PstlAdr", namespaces=ISO)
    assert {one.status for one in refunds} == {"in_process"}


def test_a_single_one_says_so(merchant):
    batch = make(merchant, two(merchant)[0])
    assert batch.count == 1 and b"<BtchBookg>false" in batch.content


@pytest.mark.feature("C15")
def test_what_cannot_be_written_stays_out_and_says_why(merchant):
    good, bad = two(merchant)
    bad.payee_name = "Эрика"
    db.session.commit()
    batch = make(merchant, good, bad)
    assert (batch.count, bad.status, bad.batch_id) == (1, "new", None)
    assert bad.error == "payment_refused.name_not_latin"
    with pytest.raises(NotPossible, match="refund_batch_empty"):
        make(merchant, bad)


@pytest.mark.feature("C15")
def test_no_repayment_is_in_two_living_batches(merchant):
    first, second = two(merchant)
    make(merchant, first, second)
    with pytest.raises(NotPossible, match="refund_batch_empty"):
        make(merchant, first, second)


@pytest.mark.feature("C15")
def test_a_dropped_batch_lets_its_repayments_wait_again(merchant):
    refunds = two(merchant)
    batch = make(merchant, *refunds)
    do(batches.drop_batch, batch)
    assert batch.status == "dropped" and {(one.status, one.batch_id) for one in refunds} == {
        ("new", None)
    }
    with pytest.raises(NotPossible, match="refund_batch_over"):
        do(batches.mark_batch_sent, batch)
    db.session.rollback()
    assert make(merchant, *refunds).message_id != batch.message_id


def test_a_sent_batch_is_not_dropped_and_is_sent_once(merchant, order, posting):
    batch = hand_in(repay(order, "40.00"))
    do(batches.mark_batch_sent, batch, at=AT + timedelta(hours=1))
    assert batch.sent_at == AT and history(order).count("refund_sent") == 1
    with pytest.raises(NotPossible, match="refund_batch_over"):
        do(batches.drop_batch, batch)


@pytest.mark.feature("C15")
def test_what_stands_in_a_file_that_nobody_handed_in_is_neither_executed_nor_failed(merchant):
    refund = two(merchant)[0]
    batch = make(merchant, refund)
    for act in (
        lambda: do(service.mark_processed, refund),
        lambda: service.mark_failed(refund, "closed", actor=ANNA, at=AT),
    ):
        with pytest.raises(NotPossible, match="refund_in_unsent_batch"):
            act()
        db.session.rollback()
    make_posting(merchant, "-20.00", end_to_end_id=refund.reference, needs_match=True)
    recognise(merchant.id, AT)
    db.session.commit()
    assert (refund.status, batch.status) == ("processed", "sent"), "the bank has it all the same"


@pytest.mark.feature("C15", "K10")
def test_a_refused_batch_fails_what_is_in_it_with_the_reason(merchant):
    refunds = two(merchant)
    batch = hand_in(*refunds)
    batches.fail_batch(batch, "limit exceeded", actor=ANNA, at=AT)
    db.session.commit()
    assert {(one.status, one.error) for one in refunds} == {("failed", "limit exceeded")}
    do(service.try_again, refunds[0])
    assert refunds[0].status == "new" and make(merchant, refunds[0]).count == 1


def test_a_list_for_banks_without_files_holds_no_formula(merchant):
    row = two(merchant)[0]
    row.payee_name = "=cmd|Erika Mustermann"
    db.session.commit()
    batch = make(merchant, row, channel="csv")
    lines = list(csv.reader(io.StringIO(batch.content.decode("utf-8-sig")), delimiter=";"))
    assert lines[0] == batches.CSV_COLUMNS
    assert lines[1][:2] == [row.reference, "'=cmd|Erika Mustermann"] and lines[1][4] == "20.00"


@pytest.mark.parametrize(
    ("over", "why"),
    [
        ({"channel": "post"}, "refund_channel_unknown"),
        ({"execution_date": date(2026, 3, 1)}, "refund_day_impossible"),
        ({"execution_date": date(2026, 3, 14)}, "refund_day_impossible"),
        ({"execution_date": date(2028, 3, 14)}, "refund_day_impossible"),
    ],
)
def test_what_is_no_batch(merchant, over, why):
    row = two(merchant)[0]
    with pytest.raises(NotPossible, match=why):
        make(merchant, row, **over)


def test_an_account_whose_holder_no_file_can_name_pays_nothing(merchant):
    refund = two(merchant)[0]
    (account,) = batches.paying_accounts(merchant.id)
    account.creditor_name = "Магазин"
    db.session.commit()
    with pytest.raises(NotPossible, match="refund_account_cannot_pay"):
        make(merchant, refund)
    db.session.rollback()
    assert refund.status == "new"


def test_only_an_account_of_ones_own_with_a_holder_pays(merchant):
    row = two(merchant)[0]
    stranger = make_merchant("Bob")
    nameless = make_account(merchant, "AT611904300234573201")
    nameless.creditor_name = None
    db.session.commit()
    for account in (batches.paying_accounts(stranger.id)[0], nameless):
        with pytest.raises(NotPossible, match="refund_account_cannot_pay"):
            batches.make_batch(
                merchant.id, account.id, [row.id], channel="pain001", actor=ANNA, at=AT
            )
    assert batches.batch_of(stranger.id, make(merchant, row).id) is None


def test_what_waits_is_proposed_from_the_account_that_its_money_came_to(merchant):
    first_row = two(merchant)[0]
    second = make_account(merchant, "AT611904300234573201")
    posting = make_posting(merchant, "12.00", account_id=second.id)
    other = send_back(posting, "12.00")
    found = {one.account.iban: (one.refunds, one.total) for one in batches.payable(merchant.id)}
    assert found[second.iban] == ([other], 12)
    assert first_row in found["DE02120300000000202051"][0]


def test_planned_and_held_ones_do_not_go(merchant, order, posting):
    repay(order, "40.00")
    assert batches.payable(merchant.id) == []


def test_a_strangers_repayments_stay_out(merchant):
    row = two(merchant)[0]
    stranger = db.session.get_one(Merchant, make_merchant("Bob").id)
    theirs = make_order(make_shop(stranger), total="9.00")
    pay(make_posting(stranger, "9.00"), (theirs, "9.00"))
    foreign = ready(repay(theirs, "9.00"))
    account = batches.paying_accounts(merchant.id)[0]
    batch = batches.make_batch(
        merchant.id, account.id, [row.id, foreign.id], channel="pain001", actor=ANNA, at=AT
    )
    assert (batch.count, batch.total, foreign.status) == (1, Decimal(20), "new")
