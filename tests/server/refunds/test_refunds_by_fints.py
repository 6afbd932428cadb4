"""Batches handed in by FinTS: step by step with a person, and never twice by itself."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from plugin_sdk.errors import Temporary
from server import config
from server.banking import fetching
from server.banking.fints.banks import Bank
from server.banking.fints.steps import Transferred
from server.db import db
from server.orders.ledger import NotPossible
from server.orders.returns import book_return
from server.refunds import batches, fints, service
from server.vault import Vault
from server.vault import installed as vault
from tests.factories import IBAN, make_order, make_posting
from tests.fakes.fints_bank import PUSH_TAN, FakeAccount, FakeFintsBank
from tests.fakes.fints_payments import FakePayments
from tests.server.refunds.steps import ANNA, AT, BERT, PAYER, hand_in, repay
from tests.server.test_ledger import pay

KINDS = ("HKCAZ", "HKKAZ", "HKSPA", "HKCCS", "HKCCM")
PRODUCT = "A1B2C3D4E5F6A7B8C9D0E1F2A"


@pytest.fixture
def bank(app):
    before = config.installed()
    config.install(
        dataclasses.replace(before, fints_product_id=PRODUCT, allow_private_addresses=True)
    )
    account = FakeAccount(IBAN, "202051", allowed=KINDS)
    with FakeFintsBank(accounts=(account,), payments=FakePayments(), sca_days=None) as running:
        yield running
    config.install(before)
    assert running.complaints == []


@pytest.fixture
def account(merchant, bank):
    row = fetching.add_connection(
        merchant.id,
        Bank("Musterbank", "12030000", "BYLADEM1001", ()),
        url=bank.url,
        user=bank.user,
        pin=bank.pin,
        at=AT,
    )
    fetching.begin(row, AT)
    (account,) = fetching.choose_accounts(row, [IBAN], AT)
    db.session.commit()
    return account


@pytest.fixture
def refund(order, posting):
    return repay(order, "40.00")


@pytest.fixture
def batch(account, refund):
    return hand_in(refund, channel="fints", is_sent=False)


def access(account):
    row = fetching.connection_of(account.merchant_id, account.connection_id)
    db.session.refresh(row)
    return row


def learn(account):
    """Connected again, after the bank has changed what it offers."""
    fetching.begin(access(account), AT)
    db.session.commit()


def do(act, batch, at=AT, actor=ANNA, **over):
    act(batch, actor=actor, at=at, **over)
    db.session.commit()
    db.session.expire_all()
    return fints.stands(batch, at)


def said(call, batch, **over):
    with pytest.raises(NotPossible) as refused:
        do(call, batch, **over)
    db.session.rollback()
    return refused.value.args[0]


@pytest.mark.feature("S78", "C15")
def test_a_batch_is_sent_with_a_tan(bank, batch, refund):
    assert fints.stands(batch, AT) == "idle"
    assert do(fints.begin, batch) == "tan"
    assert (batch.step["by"], batch.step["is_decoupled"]) == (ANNA, False)
    assert batch.step["picture_mime"] == "image/png"
    assert bank.payments.paid == []
    assert do(fints.answer_step, batch, tan=f" {bank.tan} ") == "over"
    assert (batch.status, batch.sent_by, batch.step) == ("sent", ANNA, None)
    (paid,) = bank.payments.paid
    assert (paid.end_to_end_id, paid.iban) == (refund.reference, PAYER.iban)
    assert (refund.status, refund.sent_at) == ("in_process", AT)


@pytest.mark.feature("S78", "C15")
def test_an_app_is_asked_until_it_was_used(bank, batch, account):
    bank.methods = (PUSH_TAN,)
    bank.payments.names = "polled"
    learn(account)
    assert do(fints.begin, batch) == "wait"
    assert batch.step["poll_after_seconds"] == 2
    asked = 0
    while (stands := do(fints.answer_step, batch)) in ("wait", "tan"):
        asked += 1
    assert (stands, batch.status, len(bank.payments.paid)) == ("over", "sent", 1)
    assert asked >= 2


@pytest.mark.feature("S78")
def test_two_repayments_are_one_order(bank, account, merchant, shop, refund):
    other = make_order(shop, total="15.00")
    pay(make_posting(merchant, "15.00"), (other, "15.00"))
    made = hand_in(refund, repay(other, "15.00"), channel="fints", is_sent=False)
    do(fints.begin, made)
    do(fints.answer_step, made, tan=bank.tan)
    assert len(bank.payments.paid) == 2
    assert [one.kind for one in bank.payments.submitted] == ["HKCCM"]


@pytest.mark.feature("S78")
@pytest.mark.parametrize("names", ["inline", "report"])
def test_names_that_differ_are_shown_and_a_person_decides(bank, account, batch, refund, names):
    bank.payments.names, bank.payments.results = names, {PAYER.iban: ("RVMC", "Erika M.")}
    learn(account)
    assert do(fints.begin, batch) == "payees"
    (check,) = batch.step["checks"]
    assert (check["refund_id"], check["reference"]) == (refund.id, refund.reference)
    assert (check["result"], check["name"]) == ("close_match", "Erika M.")
    assert (check["payee_name"], check["iban"]) == (PAYER.name, PAYER.iban)
    assert said(fints.answer_step, batch, tan=bank.tan) == "refund_batch_at_bank"
    assert said(fints.begin, batch) == "refund_batch_at_bank"
    assert do(fints.accept, batch) == "tan"
    assert do(fints.answer_step, batch, tan=bank.tan) == "over"
    assert len(bank.payments.paid) == 1


@pytest.mark.feature("S78")
def test_who_refuses_has_the_repayments_back(bank, account, batch, refund):
    bank.payments.names, bank.payments.results = "inline", {PAYER.iban: ("RVNM", "")}
    bank.payments.asks_along = False
    learn(account)
    do(fints.begin, batch)
    assert do(fints.refuse, batch) == "over"
    assert (batch.status, refund.status, refund.batch_id) == ("dropped", "new", None)
    assert bank.payments.paid == []


def test_who_gives_up_while_an_app_may_be_used_must_look_at_the_account(bank, batch, account):
    bank.methods = (PUSH_TAN,)
    learn(account)
    do(fints.begin, batch)
    assert do(fints.refuse, batch) == "doubt"
    assert batch.status == "made"
    assert do(fints.settle_doubt, batch, was_carried_out=False) == "idle"


@pytest.mark.feature("C15")
def test_a_refusal_of_the_bank_fails_the_batch_with_its_words(bank, batch, refund):
    bank.payments.refusal = "9380::Konto nicht gedeckt"
    assert do(fints.begin, batch) == "over"
    assert (batch.status, refund.status) == ("failed", "failed")
    assert "9380 Konto nicht gedeckt" in batch.error
    assert "9380 Konto nicht gedeckt" in refund.error


@pytest.mark.feature("C15")
@pytest.mark.parametrize("at", ["order", "tan"])
def test_an_answer_that_never_came_is_looked_after_by_a_person(bank, batch, refund, at):
    bank.payments.loses, bank.payments.wants_tan = at, at == "tan"
    do(fints.begin, batch)
    if at == "tan":
        do(fints.answer_step, batch, tan=bank.tan)
    assert fints.stands(batch, AT) == "doubt"
    assert batch.status == "made" and "cannot be reached" in batch.error
    assert said(fints.begin, batch) == "refund_batch_at_bank"
    assert said(batches.drop_batch, batch) == "refund_batch_at_bank"
    with pytest.raises(NotPossible, match="refund_batch_at_bank"):
        batches.fail_batch(batch, "by hand", actor=ANNA, at=AT)
    db.session.rollback()
    assert len(bank.payments.paid) == 1
    assert do(fints.settle_doubt, batch, was_carried_out=True) == "over"
    assert (batch.status, batch.error, refund.status) == ("sent", None, "in_process")


@pytest.mark.feature("C15")
def test_what_was_not_carried_out_may_be_begun_again(bank, batch):
    do(fints.begin, batch)
    assert do(fints.answer_step, batch, tan="000000") == "idle"
    assert batch.status == "made" and "TAN was wrong" in batch.error
    do(fints.begin, batch)
    assert batch.error is None
    do(fints.answer_step, batch, tan=bank.tan)
    assert (batch.status, len(bank.payments.paid)) == ("sent", 1)


def test_a_process_that_died_while_sending_leaves_a_doubt(batch):
    batch.step = {"asks": "sending", "since": AT.isoformat(), "by": ANNA}
    db.session.commit()
    later = AT + fints.SENDING_LASTS
    assert (fints.stands(batch, later), said(fints.begin, batch, at=later)) == (
        "sending",
        "refund_batch_at_bank",
    )
    after = later + timedelta(seconds=1)
    assert fints.stands(batch, after) == "doubt"
    assert do(fints.settle_doubt, batch, at=after, was_carried_out=False) == "idle"


@pytest.mark.feature("C15")
def test_what_was_paid_meanwhile_is_not_sent_again(bank, batch, refund):
    """A posting or a person closed it: while it waits for the TAN, and while it is in doubt."""
    do(fints.begin, batch)
    service.mark_processed(refund, actor=BERT, at=AT)
    db.session.commit()
    assert said(fints.answer_step, batch, tan=bank.tan) == "refund_batch_changed"
    assert bank.payments.paid == []
    batch.step = {"asks": "doubt", "since": AT.isoformat(), "by": ANNA}
    db.session.commit()
    assert said(fints.settle_doubt, batch, was_carried_out=False) == "refund_batch_changed"
    assert do(fints.settle_doubt, batch, was_carried_out=True) == "over"
    assert (batch.status, refund.status) == ("sent", "processed")


@pytest.mark.feature("N9", "N18")
def test_money_that_the_bank_took_back_is_not_sent(bank, batch, merchant, posting, refund):
    back = make_posting(merchant, "-40.00", is_return=True)
    book_return(merchant.id, back.id, posting.id, actor=BERT, at=AT)
    db.session.commit()
    assert said(fints.begin, batch) == "refund_batch_changed"
    assert bank.payments.submitted == []
    do(batches.drop_batch, batch)
    assert refund.status == "held"


@pytest.mark.feature("C15")
@pytest.mark.parametrize("asks", ["tan", "wait", "sending", "doubt"])
def test_what_the_bank_may_be_carrying_out_has_not_failed(batch, refund, asks):
    """It could be tried again, and the order that an app confirms would pay it a second time."""
    batch.step = {"asks": asks, "since": AT.isoformat(), "by": ANNA, "is_decoupled": True}
    db.session.commit()
    with pytest.raises(NotPossible, match="refund_batch_at_bank"):
        service.mark_failed(refund, "nothing on the account", actor=BERT, at=AT)
    db.session.rollback()
    assert refund.status == "in_process"


def test_two_at_once_hand_it_in_once(bank, batch, monkeypatch):
    """The second comes while the first one's bank is thinking."""
    refused = []

    def bank_thinks(self, request, *rest):
        db.session.rollback()
        refused.append(said(fints.begin, batch, actor=BERT))
        return answer(self, request, *rest)

    answer = fints.transfers.fints.transfer
    monkeypatch.setattr(fints.transfers.fints, "transfer", bank_thinks)
    assert do(fints.begin, batch) == "tan"
    assert (refused, len(bank.payments.submitted)) == (["refund_batch_at_bank"], 1)


@pytest.mark.feature("S78", "C15")
@pytest.mark.parametrize("late", ["says no", "says yes"])
def test_an_answer_that_comes_after_somebody_has_looked(bank, batch, monkeypatch, late):
    """Of what was begun anew meanwhile a late "no" says nothing; a late "yes" is money."""
    answer, later = fints.transfers.fints.transfer, AT + fints.SENDING_LASTS * 2
    stood = []

    def bank_thinks(*asked):
        db.session.rollback()
        monkeypatch.setattr(fints.transfers.fints, "transfer", answer)
        fints.settle_doubt(batch, was_carried_out=False, actor=BERT, at=later)
        db.session.commit()
        stood.append(do(fints.begin, batch, at=later, actor=BERT))
        if late == "says no":
            raise Temporary("nobody answers")
        return Transferred(b"", "0020 taken")

    monkeypatch.setattr(fints.transfers.fints, "transfer", bank_thinks)
    do(fints.begin, batch)
    assert stood == ["tan"]
    if late == "says no":
        assert (fints.stands(batch, later), batch.step["by"]) == ("tan", BERT)
    else:
        assert (batch.status, batch.step) == ("sent", None)


@pytest.mark.parametrize("tan", [None, "", "  ", "9" * 100, "12\N{EURO SIGN}"])
def test_no_tan_no_question_to_the_bank(bank, batch, tan):
    do(fints.begin, batch)
    asked = list(bank.asked)
    assert said(fints.answer_step, batch, tan=tan) == "refund_tan_missing"
    assert (bank.asked, fints.stands(batch, AT)) == (asked, "tan")


def test_a_wrong_pin_is_not_tried_again(bank, batch, account):
    bank.pin = "another"
    assert do(fints.begin, batch) == "idle"
    assert "refused the log-in" in batch.error
    assert (access(account).health, bank.wrong_pins) == ("refused", 1)
    assert fints.may_send(account) is False
    assert said(fints.begin, batch) == "refund_not_by_fints"
    assert bank.wrong_pins == 1


def test_an_access_that_ended_meanwhile(bank, batch, account):
    do(fints.begin, batch)
    fetching.disconnect(access(account))
    assert do(fints.answer_step, batch, tan=bank.tan) == "idle"
    assert batch.error == "bank_access_missing"
    assert bank.payments.paid == []


def test_what_cannot_be_sent_by_fints(bank, account, merchant, shop, refund):
    assert fints.may_send(account) and fints.most_payments(account) == 100
    by_file = hand_in(refund, is_sent=False)
    assert said(fints.begin, by_file) == "refund_not_by_fints"
    batches.drop_batch(by_file, actor=ANNA, at=AT)
    other = make_order(shop, total="15.00")
    pay(make_posting(merchant, "15.00"), (other, "15.00"))
    made = hand_in(refund, repay(other, "15.00"), channel="fints", is_sent=False)
    bank.payments.kinds = ("HKCCS",)
    learn(account)
    assert said(fints.begin, made) == "refund_batch_too_many"
    made.execution_date += timedelta(days=30)
    db.session.commit()
    assert said(fints.begin, made) == "refund_batch_too_early"
    assert bank.payments.submitted == []
    assert do(batches.drop_batch, made) == "over"
    assert said(fints.begin, made) == "refund_batch_over"


def test_an_account_without_an_access_sends_nothing(merchant, refund):
    (account,) = batches.paying_accounts(merchant.id)
    assert fints.may_send(account) is False


def test_the_dialog_is_sealed_and_sealed_anew(bank, batch):
    do(fints.begin, batch)
    assert bank.pin.encode() not in bytes(batch.dialog)
    assert fints.reseal_all(vault()) == 1
    db.session.commit()
    with pytest.raises(ValueError, match="No key"):
        Vault(["MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA="]).open_bytes(bytes(batch.dialog))
    do(fints.answer_step, batch, tan=bank.tan)
    assert batch.status == "sent"
