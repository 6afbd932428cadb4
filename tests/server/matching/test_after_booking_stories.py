"""What stands when the matcher has booked: the reasons, and the way back."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from plugin_sdk.types import Acknowledgement, Outcome
from server.db import db
from server.mail.models import Mail
from server.matching.rules import RULE_VERSION
from server.orders.credit import keep_as_credit
from server.orders.models import Assignment, OrderEvent, Suggestion
from server.orders.returns import book_return
from server.orders.service import acknowledge_update, move_surplus
from server.shops.service import lease_updates
from tests.factories import make_merchant, make_order, make_posting
from tests.server.matching.steps import (
    ANNA,
    AT,
    BOB,
    assign_by_hand,
    best_offer,
    booked,
    decisions,
    look_at_all_again,
    match_all,
    offers,
    only_assignment,
    person,
    queued,
    settle_on,
    status,
    take_back,
    updates,
    vetoes,
)


def pay(merchant, amount, text, **over):
    posting = make_posting(merchant, amount, text, **over)
    match_all(merchant)
    return posting


def apply_updates(shop):
    """The agent writes into the shop what is due."""
    for row in lease_updates(shop, 100, AT):
        acknowledge_update(shop, row.id, Acknowledgement(Outcome.APPLIED), AT)
    db.session.commit()


# --- why ---------------------------------------------------------------------------------------


@pytest.mark.feature("N2")
def test_a_decision_is_kept_with_its_evidence_and_where_it_stands(merchant, shop):
    order = make_order(shop, number="AA-70017", total="38.47")
    text = "Vielen Dank! Bestellung aa - 70017 vom 01.03."
    posting = pay(merchant, "38.47", text)
    (row,) = decisions(posting)
    assert (row.choice, row.rule_version, row.decided_at) == ("auto", RULE_VERSION, AT)
    assert (row.level, row.mode, row.vetoes, row.runner_up) == ("normal", "auto", [], None)
    assert row.shares == [{"order_id": order.id, "amount": "38.47"}]
    assert row.probability > Decimal("0.999")
    assert [each["kind"] for each in row.evidence] == ["number", "amount_exact", "name_full"]
    field, start, end = row.evidence[0]["span"]
    assert (field, text[start:end]) == ("remittance_information", "aa - 70017")
    assert only_assignment(order).evidence == row.evidence


@pytest.mark.feature("N2")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("IBAN DE89370400440532013000 ÄÖÜ AA\n70017", "AA\n70017"),
        ("Überweisung\nfür AA-70071!", "70071"),
        ("Straße 12, RE 2026-0815", "RE 2026-0815"),
    ],
)
def test_the_words_are_shown_as_the_bank_wrote_them(merchant, shop, text, words):
    make_order(
        shop,
        number="AA-70017",
        total="38.47",
        invoices=[{"number": "RE-2026-0815", "date": "2026-03-01"}],
    )
    (row,) = decisions(pay(merchant, "38.47", text))
    field, start, end = row.evidence[0]["span"]
    assert (field, text[start:end]) == ("remittance_information", words)


@pytest.mark.feature("N2")
def test_the_next_best_answer_is_kept_too(merchant, shop):
    make_order(shop, number="AA-70071", total="38.47", **person("Max", "Beispiel"))
    meant = make_order(shop, number="AA-70017", total="38.47")
    posting = pay(merchant, "38.47", "AA-70071")
    (row,) = decisions(posting)
    assert row.runner_up is not None
    assert {row.shares[0]["order_id"], *row.runner_up["orders"]} >= {meant.id}
    assert 0 < row.runner_up["probability"] <= row.probability


@pytest.mark.feature("N2")
def test_only_another_answer_adds_a_row(merchant, shop):
    posting = pay(merchant, "38.47", "AA-70017")
    assert [row.choice for row in decisions(posting)] == ["none"]
    look_at_all_again(merchant)
    assert len(decisions(posting)) == 1
    order = make_order(shop, number="AA-70017", total="38.47")
    match_all(merchant)
    assert [row.choice for row in decisions(posting)] == ["none", "auto"]
    take_back(only_assignment(order))
    match_all(merchant)
    look_at_all_again(merchant)
    assert [row.choice for row in decisions(posting)] == ["none", "auto"]


# --- undone ------------------------------------------------------------------------------------


def everything(order, posting):
    """What must be as before; what is queued stands for what will leave the house."""
    db.session.expire_all()
    waits = [update for update in updates(order) if update[1] == "queued"]
    return status(order), booked(posting), queued(order), waits, posting.is_open


@pytest.mark.feature("N4")
def test_an_undo_puts_order_shop_and_mails_back_and_is_kept(merchant, shop):
    order = make_order(shop, total="38.47")
    posting = make_posting(merchant, "38.47", order.number)
    before = everything(order, posting)
    match_all(merchant)
    assert everything(order, posting)[:3] == (
        "paid",
        {order.number: "38.47"},
        ["payment_received"],
    )
    take_back(only_assignment(order))
    assert everything(order, posting) == before
    match_all(merchant)  # it is not booked by itself again
    assert everything(order, posting) == before
    assert (offers(posting), best_offer(posting).vetoes) == (
        [[order.number]],
        ["undone_by_person"],
    )
    rows = db.session.query(Assignment).filter_by(order_id=order.id).order_by(Assignment.id)
    assert [(row.amount, row.origin) for row in rows] == [
        (Decimal("38.47"), "auto"),
        (Decimal("-38.47"), "person"),
    ]
    kinds = [event.kind for event in db.session.query(OrderEvent).filter_by(order_id=order.id)]
    assert kinds == ["assigned", "status_changed", "assignment_undone", "status_changed"]


@pytest.mark.feature("N4")
def test_a_shop_that_has_heard_of_the_payment_hears_of_the_undo(merchant, shop):
    order = make_order(shop, total="38.47")
    pay(merchant, "38.47", order.number)
    apply_updates(shop)
    take_back(only_assignment(order))
    assert updates(order) == [("paid", "done"), ("unpaid", "queued")]


@pytest.mark.feature("N4", "N16")
def test_an_undo_takes_the_written_off_rest_with_it(merchant, shop):
    settle_on(merchant, tolerance_cents="5")
    order = make_order(shop, total="38.47")
    posting = make_posting(merchant, "38.44", order.number)
    before = everything(order, posting)
    match_all(merchant)
    assert status(order) == "paid"
    take_back(db.session.query(Assignment).filter_by(order_id=order.id, because=None).one())
    assert everything(order, posting) == before


# --- too much ----------------------------------------------------------------------------------


@pytest.mark.feature("C12")
def test_what_came_too_much_pays_the_customers_next_order_when_it_comes(merchant, shop):
    settle_on(merchant, credit_mode="automatic")
    first = make_order(shop, total="38.47")
    posting = pay(merchant, "50.00", first.number)
    assert (booked(posting), posting.is_open) == ({first.number: "38.47"}, True)
    keep_as_credit(merchant.id, posting.id, first.id, actor=ANNA, at=AT)
    db.session.commit()
    other = make_order(shop, total="11.00", **person("Max", "Beispiel"))
    following = make_order(shop, total="11.00")
    match_all(merchant)
    assert (status(other), status(following)) == ("unpaid", "paid")
    assert booked(posting) == {first.number: "38.47", following.number: "11.00"}
    assert only_assignment(following).origin == "credit"


@pytest.mark.feature("C12")
def test_in_manual_mode_credit_waits_for_a_person(merchant, shop):
    first = make_order(shop, total="38.47")
    posting = pay(merchant, "50.00", first.number)
    keep_as_credit(merchant.id, posting.id, first.id, actor=ANNA, at=AT)
    db.session.commit()
    following = make_order(shop, total="11.00")
    match_all(merchant)
    assert (status(following), posting.is_open) == ("unpaid", False)


@pytest.mark.feature("C12")
def test_kept_money_is_not_matched_to_others(merchant, shop):
    first = make_order(shop, total="38.47")
    posting = pay(merchant, "49.47", f"{first.number} AA-90909")
    assert posting.is_open
    keep_as_credit(merchant.id, posting.id, first.id, actor=ANNA, at=AT)
    db.session.commit()
    make_order(shop, number="AA-90909", total="11.00", **person("Max", "Beispiel"))
    match_all(merchant)
    assert look_at_all_again(merchant) == 0
    assert "AA-90909" not in booked(posting)


@pytest.mark.feature("C13")
def test_an_overpayment_is_moved_to_another_order_and_both_tell_it(merchant, shop):
    paid = make_order(shop, total="38.47")
    posting = make_posting(merchant, "39.00")
    assign_by_hand(posting, (paid, "39.00"))
    assert booked(posting) == {paid.number: "39.00"}
    other = make_order(shop, total="20.00", **person("Max", "Beispiel"))
    move_surplus(merchant.id, paid.id, other.id, actor=ANNA, at=AT)
    db.session.commit()
    assert booked(posting) == {paid.number: "38.47", other.number: "0.53"}
    assert (status(paid), status(other)) == ("paid", "partially_paid")
    rest = pay(merchant, "19.47", other.number)
    assert (status(other), booked(rest)) == ("paid", {other.number: "19.47"})


# --- taken back by the bank ----------------------------------------------------------------------


@pytest.mark.feature("C16", "N18")
@pytest.mark.parametrize(
    "over",
    [
        {"end_to_end_id": "E2E-4711", "counterparty_iban": None, "counterparty_name": None},
        {"text": "Retoure {} Konto erloschen"},
        {},  # account, name and amount
    ],
)
def test_a_returned_payment_is_offered_and_one_click_reopens_the_order(merchant, shop, over):
    order = make_order(shop, total="38.47")
    paid = pay(merchant, "38.47", order.number, end_to_end_id="E2E-4711")
    apply_updates(shop)
    told = {"text": ""} | over
    told["text"] = told["text"].format(order.number)
    back = make_posting(
        merchant,
        "-38.47",
        is_return=True,
        return_reason="AC04",
        booking_date=date(2026, 3, 9),
        needs_match=True,
        **told,
    )
    match_all(merchant)
    offer = db.session.query(Suggestion).filter_by(posting_id=back.id, rank=0).one()
    assert (offer.returns_id, status(order)) == (paid.id, "paid")
    assert offer.orders == [{"order_id": order.id, "amount": "38.47"}]
    book_return(merchant.id, back.id, offer.returns_id, actor=ANNA, at=AT)
    db.session.commit()
    assert (status(order), booked(paid), paid.is_open) == ("unpaid", {}, False)
    assert updates(order) == [("paid", "done"), ("unpaid", "queued")]
    told_of = db.session.query(Mail).filter_by(order_id=order.id, kind="payment_returned").one()
    assert told_of.recipient == ANNA


@pytest.mark.feature("C16", "N18")
@pytest.mark.parametrize(
    ("over", "veto"),
    [
        ({"is_return": True}, "return"),
        ({"text": "RETOURE {} Konto erloschen"}, "return"),
        ({"end_to_end_id": "REFUND-17"}, "own_refund"),
    ],
)
def test_our_own_refund_that_comes_back_is_no_payment(merchant, shop, over, veto):
    order = make_order(shop, total="38.47")
    make_posting(
        merchant,
        "-38.47",
        f"Erstattung {order.number}",
        end_to_end_id="REFUND-17",
        booking_date=date(2026, 3, 4),
        needs_match=True,
    )
    told = {"text": "{}", **over}
    told["text"] = told["text"].format(order.number)
    back = pay(merchant, "38.47", booking_date=date(2026, 3, 6), **told)
    assert (status(order), booked(back)) == ("unpaid", {})
    assert veto in vetoes(back)


@pytest.mark.feature("N18")
def test_a_strangers_return_is_not_offered(merchant, shop):
    order = make_order(shop, total="38.47")
    pay(merchant, "38.47", order.number)
    bob = make_merchant("Bobs Laden")
    back = make_posting(bob, "-38.47", order.number, is_return=True, needs_match=True)
    match_all(bob, AT + timedelta(days=5))
    assert offers(back) == []
    other = make_posting(merchant, "-12.00", "Miete", needs_match=True, **BOB)
    match_all(merchant)
    assert offers(other) == []
