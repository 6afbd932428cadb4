"""One account, many merchants: each sees only his own postings, and what is owed to him."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from lxml import etree

from server.banking.intake import StatementImport
from server.banking.models import BankAccount, Posting
from server.banking.service import AccountTerms, change_account, store_statement
from server.banking.sharing import (
    add_member,
    add_movement,
    members,
    movements,
    pay_out,
    remove_member,
    set_payout,
    share_account,
    take_back,
)
from server.db import db, now
from server.jobs import drain_match_request, drain_statement
from server.mail.models import Mail
from server.matching.service import likely_members
from server.orders.models import Order
from tests.bank_files import Paid, camt
from tests.factories import AT, IBAN, bearer, make_key, make_merchant, make_order, make_shop

TODAY = date(2026, 3, 6)


@pytest.fixture
def operator(app):
    row = make_merchant("Betreiber GmbH")
    row.is_operator = True
    db.session.commit()
    return row


@pytest.fixture
def shared(operator):
    account = db.session.query(BankAccount).filter_by(merchant_id=operator.id).one()
    share_account(operator, account.id)
    db.session.commit()
    return account


@pytest.fixture
def anna(operator, shared):
    return joined(operator, shared, "Annas Antiquariat")


@pytest.fixture
def bob(operator, shared):
    return joined(operator, shared, "Bobs Bohrer")


def joined(operator, shared, name):
    merchant = make_merchant(name, account=False)
    add_member(operator, shared.id, merchant.id)
    db.session.commit()
    return merchant


@pytest.fixture
def bring(operator):
    def bring(*paid):
        content = camt("camt.053", *paid)
        statement = store_statement(operator.id, "f", content, uploaded_by="Operator")
        importing = StatementImport(statement)
        while importing.step():
            pass
        db.session.commit()
        from server.orders.service import request_match

        request_match(operator.id, now())
        db.session.commit()
        match_all()

    return bring


def match_all():
    for _ in range(3):
        drain_match_request()
    db.session.expire_all()


def postings(merchant):
    return db.session.query(Posting).filter_by(merchant_id=merchant.id).order_by(Posting.id).all()


def status(order):
    return db.session.get(Order, order.id).payment_status


@pytest.mark.feature("S20", "K50")
def test_a_posting_goes_to_the_merchant_whose_order_it_pays(anna, bob, operator, bring):
    mine = make_order(make_shop(anna), number="AA-1001", at=AT)
    other = make_order(make_shop(bob), number="BB-7007", at=AT)
    bring(Paid(text="AA-1001"), Paid("5.00", "ganz etwas anderes"))
    assert (status(mine), status(other)) == ("paid", "unpaid")
    (copy,) = postings(anna)
    assert (copy.amount, copy.is_open, postings(bob)) == (Decimal("19.90"), False, [])
    first, second = postings(operator)
    assert (first.is_passed_on, first.is_open, copy.passed_on_from_id) == (True, False, first.id)
    assert (second.is_passed_on, second.is_open) == (False, True)


@pytest.mark.feature("S20")
def test_customers_of_a_member_are_asked_to_pay_to_the_shared_account(anna):
    order = make_order(make_shop(anna))
    mail = db.session.query(Mail).filter_by(order_id=order.id).one()
    assert mail.facts["iban"].replace(" ", "") == IBAN
    assert mail.facts["creditor"] == "Betreiber GmbH"


@pytest.mark.feature("S18", "K50")
def test_the_order_may_come_after_the_posting(anna, bring):
    bring(Paid(text="AA-1001"))
    assert postings(anna) == []
    order = make_order(make_shop(anna), number="AA-1001", at=AT)
    match_all()
    assert status(order) == "paid"


@pytest.mark.feature("K50")
def test_a_number_that_two_merchants_have_is_left_to_the_operator(anna, bob, operator, bring):
    for merchant in (anna, bob):
        make_order(make_shop(merchant), number="1001", at=AT)
    bring(Paid(text="1001"))
    assert (postings(anna), postings(bob)) == ([], [])
    assert likely_members(operator.id, postings(operator), TODAY) == {}


def test_the_same_file_again_and_a_take_back_add_nothing(anna, bob, operator, bring, shared):
    make_order(make_shop(anna), number="AA-1001", at=AT, payment_method="bacs", total="30.00")
    bring(Paid("30.00", "AA-1001"))
    bring(Paid("30.00", "AA-1001"))
    assert (len(postings(operator)), len(postings(anna))) == (1, 1)
    with pytest.raises(ValueError, match="posting_taken"):
        take_back(postings(operator)[0])
    assert take_back(postings(anna)[0]) is None


@pytest.mark.feature("K52")
def test_what_was_given_to_the_wrong_merchant_is_taken_back(anna, bob, operator, bring, shared):
    from server.banking.sharing import pass_on

    bring(Paid("40.00", "ohne Nummer"))
    (posting,) = postings(operator)
    pass_on(posting, anna.id)
    db.session.commit()
    assert [one.balance for one in members(operator, shared.id)] == [Decimal(40), 0]
    with pytest.raises(ValueError, match="posting_taken"):
        pass_on(posting, bob.id)
    assert take_back(posting) is not None
    pass_on(posting, bob.id)
    db.session.commit()
    assert [one.balance for one in members(operator, shared.id)] == [0, Decimal(40)]


@pytest.mark.feature("K52")
def test_a_balance_is_paid_out_by_a_file_and_listed(anna, bob, operator, bring, shared):
    from server.banking.sharing import pass_on

    bring(Paid("40.00", "eins"), Paid("60.50", "zwei"), Paid("7.00", "drei"))
    first, second, third = postings(operator)
    for posting, merchant in ((first, anna), (second, anna), (third, bob)):
        pass_on(posting, merchant.id)
    fee = {"kind": "fee", "reference": "Gebühr März", "on": TODAY, "actor": "op"}
    add_movement(operator, shared.id, anna.id, amount=Decimal("-0.50"), **fee)
    account = db.session.query(BankAccount).filter_by(merchant_id=anna.id).one()
    set_payout(anna.id, account.id, "DE02 1203 0000 0000 2020 51", "Anna Beispiel")
    content = pay_out(operator, shared.id, at=now(), on=TODAY, actor="op")
    db.session.commit()
    tree = etree.fromstring(content)
    texts = {e.tag.rpartition("}")[2]: e.text for e in tree.iter() if e.text and e.text.strip()}
    assert (texts["InstdAmt"], texts["CtrlSum"], texts["NbOfTxs"]) == ("100.00", "100.00", "1")
    assert [one.balance for one in members(operator, shared.id)] == [0, Decimal(7)]
    listed = movements(anna.id, account, limit=10)
    assert sorted((one.kind, one.amount) for one in listed) == [
        ("fee", Decimal("-0.50")),
        ("payout", Decimal(-100)),
        ("posting", Decimal(40)),
        ("posting", Decimal("60.50")),
    ]
    only = movements(anna.id, account, kinds=["fee"], text="märz", limit=10)
    assert [one.text for one in only] == ["Gebühr März"]
    with pytest.raises(ValueError, match="no_payments"):
        pay_out(operator, shared.id, at=now(), on=TODAY, actor="op")


@pytest.mark.feature("K50")
def test_a_member_cannot_bring_postings_of_the_shared_account(anna, client):
    key = bearer(make_key(anna, "bank")[1])
    made = client.post("/api/v1/statements", data=camt("camt.053", Paid("999.00")), headers=key)
    drain_statement()
    answer = client.get(f"/api/v1/statements/{made.json['id']}", headers=key).json
    assert (answer["state"], "operator" in answer["error"]) == ("failed", True)
    posted = {
        "account_iban": IBAN,
        "booking_date": "2026-03-05",
        "amount": "999.00",
        "currency": "EUR",
    }
    answer = client.post("/api/v1/postings", json={"postings": [posted]}, headers=key)
    assert (answer.status_code, "operator" in answer.json["detail"]) == (422, True)
    assert postings(anna) == []


def test_who_is_paid_on_a_shared_account_is_the_operators_word(anna):
    account = db.session.query(BankAccount).filter_by(merchant_id=anna.id).one()
    change_account(anna.id, account.id, AccountTerms("", "", "Anna", for_countries=["AT"]))
    assert (account.creditor_name, account.for_countries) == ("Betreiber GmbH", ["AT"])


def test_only_operators_share_and_only_what_is_theirs(anna, bob, operator, shared):
    for wrong in (anna, make_merchant("Fremd")):
        with pytest.raises(ValueError, match="not_operator"):
            add_member(wrong, shared.id, bob.id)
    with pytest.raises(ValueError, match="merchant_unknown"):
        add_member(operator, shared.id, operator.id)
    fee = {"kind": "fee", "reference": "", "on": TODAY, "actor": "op"}
    for amount in ("1.00", "0", "-0.001"):
        with pytest.raises(ValueError, match="movement_amount_invalid"):
            add_movement(operator, shared.id, anna.id, amount=Decimal(amount), **fee)
    remove_member(operator, shared.id, anna.id)
    account = db.session.query(BankAccount).filter_by(merchant_id=anna.id).one()
    assert account.is_payee is False


def test_a_second_equal_payment_is_passed_on_too(anna, operator, bring):
    shop = make_shop(anna)
    make_order(shop, number="AA-1001", at=AT)
    make_order(shop, number="AA-1002", at=AT)
    paid = Paid(text="AA-1001")
    bring(paid, replace(paid, text="AA-1002"))
    assert len(postings(anna)) == 2


def test_a_merchant_who_was_removed_does_not_come_back_by_himself(anna, operator, shared):
    remove_member(operator, shared.id, anna.id)
    account = db.session.query(BankAccount).filter_by(merchant_id=anna.id).one()
    change_account(anna.id, account.id, AccountTerms("", "", "Anna", is_payee=True))
    assert account.is_payee is False
