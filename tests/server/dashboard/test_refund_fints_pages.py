"""Repayments sent to the bank from their page, with a bank that answers (FinTS over loopback)."""

from __future__ import annotations

import dataclasses
import html
import re

import pytest

from server import config
from server.banking import fetching
from server.banking.fints.banks import Bank
from server.db import db, now
from server.refunds.models import RefundBatch
from tests.factories import IBAN, make_merchant, make_order, make_posting, make_shop
from tests.fakes.fints_bank import FakeAccount, FakeFintsBank
from tests.fakes.fints_payments import FakePayments
from tests.server.dashboard.visitor import member
from tests.server.refunds.steps import PAYER, ready, repay
from tests.server.test_ledger import pay

PRODUCT = "A1B2C3D4E5F6A7B8C9D0E1F2A"


@pytest.fixture
def bank(app):
    before = config.installed()
    config.install(
        dataclasses.replace(before, fints_product_id=PRODUCT, allow_private_addresses=True)
    )
    account = FakeAccount(IBAN, "202051", allowed=("HKCAZ", "HKSPA", "HKCCS", "HKCCM"))
    payments = FakePayments(names="inline")
    with FakeFintsBank(accounts=(account,), payments=payments, sca_days=None) as running:
        yield running
    config.install(before)
    assert running.complaints == []


@pytest.fixture
def merchant(bank):
    return make_merchant()


@pytest.fixture
def access(merchant, bank):
    row = fetching.add_connection(
        merchant.id,
        Bank("Musterbank", "12030000", "BYLADEM1001", ()),
        url=bank.url,
        user=bank.user,
        pin=bank.pin,
        at=now(),
    )
    fetching.begin(row, now())
    fetching.choose_accounts(row, [IBAN], now())
    db.session.commit()
    return row


@pytest.fixture
def refund(merchant, access):
    order = make_order(make_shop(merchant), total="40.00")
    pay(make_posting(merchant, "40.00"), (order, "40.00"))
    return ready(repay(order, "40.00", at=now()))


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


def words(answer) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


def make(anna, refund) -> str:
    """The batch, by the button of the page."""
    shown = anna.get("/repayments/bank")
    account = re.search(r'name="group" value="(\d+)"', shown.text)
    assert account is not None and 'name="channel" value="fints"' in shown.text
    form = {"refund": str(refund.id), "account": account[1], "channel": "fints"}
    answer = anna.post("/repayments/bank", form)
    assert answer.status_code == 303
    return answer.location.partition("?")[0]


def the_batch() -> RefundBatch:
    db.session.expire_all()
    return db.session.query(RefundBatch).one()


@pytest.mark.feature("S78", "C15")
def test_from_the_button_to_the_bank(bank, refund, anna):
    bank.payments.results = {PAYER.iban: ("RVMC", "Erika M. Muster")}
    address = make(anna, refund)
    assert anna.post(f"{address}/begin").status_code == 303
    shown = words(anna.get(address))
    assert "Das Konto gehört: Erika M. Muster" in shown and PAYER.name in shown
    assert bank.payments.paid == []
    assert anna.post(f"{address}/accept").status_code == 303
    assert anna.get(f"{address}/picture").mimetype == "image/png"
    assert anna.post(f"{address}/answer", {"tan": bank.tan}).status_code == 303
    assert (the_batch().status, len(bank.payments.paid)) == ("sent", 1)
    assert anna.post(f"{address}/begin").status_code == 409
    assert len(bank.payments.paid) == 1


@pytest.mark.feature("C15")
def test_what_the_bank_said_is_on_the_page_in_its_words(bank, refund, anna):
    address = make(anna, refund)
    bank.payments.refusal = "9380::Konto nicht gedeckt"
    anna.post(f"{address}/begin")
    assert the_batch().status == "failed"
    shown = words(anna.get(address))
    assert "Die Bank hat die Anfrage abgelehnt. Sie sagt: 9380 Konto nicht gedeckt" in shown


@pytest.mark.feature("C15")
def test_a_lost_answer_is_a_question_to_a_person(bank, refund, anna):
    address = make(anna, refund)
    anna.post(f"{address}/begin")
    bank.payments.loses = "tan"
    anna.post(f"{address}/answer", {"tan": bank.tan})
    assert "Kontor schickt ihn nicht von selbst noch einmal" in words(anna.get(address))
    assert anna.post(f"{address}/begin").status_code == 409
    assert anna.post(f"{address}/drop").status_code == 409
    assert len(bank.payments.paid) == 1
    assert anna.post(f"{address}/settle", {"carried_out": "yes"}).status_code == 303
    assert the_batch().status == "sent"


def test_an_access_that_ended_meanwhile_is_said_in_words(bank, refund, anna, access):
    address = make(anna, refund)
    anna.post(f"{address}/begin")
    fetching.disconnect(fetching.connection_of(access.merchant_id, access.id))
    db.session.commit()
    anna.post(f"{address}/answer", {"tan": bank.tan})
    assert "Verbinden Sie die Bank neu" in words(anna.get(address))
    assert bank.payments.paid == []
