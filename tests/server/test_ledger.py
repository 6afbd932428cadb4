"""The ledger: what is booked, what stands, and what follows for shop and customer."""

from __future__ import annotations

import random
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from plugin_sdk.schemas import OrderSchema
from plugin_sdk.types import Acknowledgement, Outcome
from server.banking.models import BankAccount, Posting
from server.db import db
from server.mail.models import Mail
from server.merchants.service import change_setting
from server.orders import rules
from server.orders.intake import Arrival, receive_orders
from server.orders.lifecycle import edit_order
from server.orders.models import (
    Assignment,
    MatchRequest,
    Order,
    OrderEvent,
    OrderKey,
    Suggestion,
)
from server.orders.receiver import StaleReceiver, receiver_of
from server.orders.service import (
    Ledger,
    NotPossible,
    acknowledge_update,
    assign,
    confirm_suggestion,
    decide_duplicate,
    ignore_posting,
    mark_as_paid,
    paid_totals,
    set_additional,
    start_assignment,
    taken_totals,
    undo,
    unignore_posting,
)
from server.shops.models import PaymentUpdate, Shop
from server.shops.service import lease_updates
from tests.factories import (
    AT,
    make_merchant,
    make_order,
    make_posting,
    make_shop,
    make_user,
    wire_order,
)

ACTOR = "anna@example.org"
LATER = AT + timedelta(days=3)


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


def pay(posting, *parts, at=LATER):
    """Assign ``parts`` (order, amount) and commit."""
    named = [(order.id, Decimal(amount)) for order, amount in parts]
    rows = assign(posting.merchant_id, posting.id, named, actor=ACTOR, at=at)
    db.session.commit()
    return rows


def take_back(row, at=LATER):
    back = undo(row.merchant_id, row.id, actor=ACTOR, at=at)
    db.session.commit()
    return back


def push(shop, raw, at=LATER):
    """The shop sends the order (again)."""
    outcome = receive_orders(receiver_of(shop.id), [Arrival(OrderSchema().load(raw), raw)], at)[0]
    db.session.commit()
    return outcome


def status(order):
    return db.session.scalar(select(Order.payment_status).where(Order.id == order.id))


def left(posting):
    return posting.amount - taken_totals([posting.id])[posting.id]


def mail(order, kind):
    return db.session.scalar(select(Mail).where(Mail.order_id == order.id, Mail.kind == kind))


def waiting(order):
    """(kind, sum received) of the mails of the order that will be sent."""
    db.session.expire_all()
    rows = db.session.query(Mail).filter_by(order_id=order.id, status="queued").order_by(Mail.id)
    return [(row.kind, row.facts.get("received_total")) for row in rows]


def updates(order):
    """(intent, row status) of every update of the order, oldest first."""
    rows = db.session.query(PaymentUpdate).filter_by(order_id=order.id).order_by(PaymentUpdate.id)
    return [(row.intent, row.status) for row in rows]


def apply_updates(shop, at=LATER):
    """The agent fetches what is due and writes it into the shop."""
    for row in lease_updates(shop, 100, at):
        acknowledge_update(shop, row.id, Acknowledgement(Outcome.APPLIED), at)
    db.session.commit()


# --- booking -----------------------------------------------------------------------------------


@pytest.mark.feature("K1", "K2", "S56")
def test_an_exact_payment_settles_order_and_posting(shop, merchant):
    order = make_order(shop, total="87.40")
    assert status(order) == "unpaid"
    posting = make_posting(merchant, "87.40")
    pay(posting, (order, "87.40"))
    assert (status(order), left(posting)) == ("paid", 0)
    assert not posting.is_open
    assert updates(order) == [("paid", "queued")]
    kinds = [e.kind for e in db.session.query(OrderEvent).filter_by(order_id=order.id)]
    assert kinds == ["assigned", "status_changed"]


@pytest.mark.feature("K2")
def test_an_overpayment_is_paid_and_leaves_a_remainder(shop, merchant):
    order, posting = make_order(shop, total="20.00"), make_posting(merchant, "25.50")
    pay(posting, (order, "20.00"))
    assert (status(order), left(posting), posting.is_open) == ("paid", Decimal("5.50"), True)
    second = make_order(shop, total="15.00")
    pay(posting, (second, "5.50"))
    assert (status(second), left(posting), posting.is_open) == ("partially_paid", 0, False)


@pytest.mark.feature("K2")
def test_more_than_the_total_on_one_order_is_paid(shop, merchant):
    order, posting = make_order(shop, total="20.00"), make_posting(merchant, "25.50")
    pay(posting, (order, "25.50"))
    assert (status(order), paid_totals([order.id])[order.id]) == ("paid", Decimal("25.50"))


@pytest.mark.feature("K3")
def test_a_part_then_the_rest(shop, merchant):
    order = make_order(shop, total="30.00")
    pay(make_posting(merchant, "10.00"), (order, "10.00"))
    assert status(order) == "partially_paid"
    assert mail(order, "payment_received") is None
    pay(make_posting(merchant, "20.00"), (order, "20.00"))
    assert status(order) == "paid"
    assert updates(order) == [("partially_paid", "withheld"), ("paid", "queued")]
    received = mail(order, "payment_received").facts
    assert [p["amount"] for p in received["payments"]] == ["10,00\u00a0€", "20,00\u00a0€"]


@pytest.mark.feature("K3")
def test_a_raised_total_makes_a_paid_order_partially_paid(shop, merchant):
    raw = wire_order(total="20.00")
    push(shop, raw, AT)
    order = db.session.query(Order).one()
    pay(make_posting(merchant, "20.00"), (order, "20.00"))
    apply_updates(shop)
    assert push(shop, raw | {"total": "22.00", "shop_status": "processing"}) == "updated"
    assert status(order) == "partially_paid"
    assert updates(order)[-1] == ("partially_paid", "queued")
    assert push(shop, raw | {"total": "20.00", "shop_status": "processing"}) == "updated"
    assert status(order) == "paid"


@pytest.mark.feature("K3")
def test_a_later_payment_pays_what_a_raised_total_left_open(shop, merchant):
    raw = wire_order(total="20.00")
    push(shop, raw, AT)
    order = db.session.query(Order).one()
    pay(make_posting(merchant, "20.00"), (order, "20.00"))
    push(shop, raw | {"total": "22.00"})
    assert status(order) == "partially_paid"
    pay(make_posting(merchant, "2.00"), (order, "2.00"))
    assert (status(order), paid_totals([order.id])[order.id]) == ("paid", 22)


def test_one_posting_pays_several_orders(shop, merchant):
    orders = [make_order(shop, total=total) for total in ("10.00", "12.50", "7.49")]
    posting = make_posting(merchant, "30.00")
    pay(posting, *((order, order.total) for order in orders))
    assert {status(order) for order in orders} == {"paid"}
    assert left(posting) == Decimal("0.01")


def test_a_posting_is_never_assigned_more_than_it_is(shop, merchant):
    first, second = make_order(shop, total="15.00"), make_order(shop, total="15.00")
    posting = make_posting(merchant, "20.00")
    with pytest.raises(NotPossible, match="assign_more_than_left"):
        pay(posting, (first, "15.00"), (second, "15.00"))
    db.session.rollback()
    assert (status(first), status(second), left(posting)) == ("unpaid", "unpaid", 20)
    pay(posting, (first, "15.00"))
    with pytest.raises(NotPossible, match="assign_more_than_left") as refused:
        pay(posting, (second, "5.01"))
    assert refused.value.facts == {"left": "5.00"}


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        ([], "assign_no_parts"),
        (["0.00"], "assign_amount_not_positive"),
        (["-1.00"], "assign_amount_not_positive"),
        (["1.00", "1.00"], "assign_order_twice"),
    ],
)
def test_senseless_parts_are_refused(shop, merchant, parts, key):
    order, posting = make_order(shop), make_posting(merchant)
    with pytest.raises(NotPossible, match=key):
        pay(posting, *((order, amount) for amount in parts))


def test_another_currency_is_refused(shop, merchant):
    order = make_order(shop, total="19.90", currency="CHF")
    with pytest.raises(NotPossible, match="assign_other_currency"):
        pay(make_posting(merchant, "19.90"), (order, "19.90"))
    db.session.rollback()
    assert db.session.query(Assignment).count() == 0


def test_money_that_left_the_account_pays_nothing(shop, merchant):
    order, posting = make_order(shop, total="19.90"), make_posting(merchant, "-19.90")
    with pytest.raises(NotPossible, match="assign_more_than_left"):
        pay(posting, (order, "19.90"))


def test_what_belongs_to_others_is_unknown(shop, merchant):
    other = make_merchant("Bobs Laden")
    theirs, ours = make_order(make_shop(other)), make_order(shop)
    posting, foreign = make_posting(merchant), make_posting(other)
    with pytest.raises(NotPossible, match="order_unknown"):
        pay(posting, (theirs, "19.90"))
    with pytest.raises(NotPossible, match="posting_unknown"):
        assign(merchant.id, foreign.id, [(ours.id, Decimal(1))], actor=ACTOR, at=LATER)
    with pytest.raises(NotPossible, match="order_unknown"):
        mark_as_paid(merchant.id, theirs.id, actor=ACTOR, at=LATER)
    row = pay(foreign, (theirs, "19.90"))[0]
    with pytest.raises(NotPossible, match="assignment_unknown"):
        undo(merchant.id, row.id, actor=ACTOR, at=LATER)


@pytest.mark.feature("S29")
def test_a_payment_makes_an_order_managed(shop, merchant):
    order = make_order(shop, ordered_at="2025-06-01T10:00:00+00:00")
    assert status(order) == "not_managed"
    pay(make_posting(merchant), (order, "19.90"))
    assert status(order) == "paid"


# --- marked by a person ------------------------------------------------------------------------


@pytest.mark.feature("S80")
def test_mark_as_paid_books_the_rest_and_can_be_undone(shop, merchant):
    order = make_order(shop, total="50.00")
    pay(make_posting(merchant, "20.00"), (order, "20.00"))
    row = mark_as_paid(merchant.id, order.id, actor=ACTOR, at=LATER)
    db.session.commit()
    assert (row.amount, row.posting_id, status(order)) == (30, None, "paid")
    assert updates(order)[-1] == ("paid", "queued")
    with pytest.raises(NotPossible, match="already_paid"):
        mark_as_paid(merchant.id, order.id, actor=ACTOR, at=LATER)
    db.session.rollback()
    take_back(row)
    assert status(order) == "partially_paid"


@pytest.mark.feature("S80")
def test_nobody_is_thanked_for_money_that_nobody_saw(shop, merchant):
    order = make_order(shop)
    mark_as_paid(merchant.id, order.id, actor=ACTOR, at=LATER)
    db.session.commit()
    assert mail(order, "payment_received") is None
    assert mail(order, "payment_information").status == "withheld"


# --- undo --------------------------------------------------------------------------------------


@pytest.mark.feature("K1", "K2")
def test_undo_reverses_and_keeps_both_rows(shop, merchant):
    order, posting = make_order(shop), make_posting(merchant)
    (row,) = pay(posting, (order, "19.90"))
    db.session.query(MatchRequest).delete()
    back = take_back(row)
    assert (back.amount, back.reverses_id) == (-row.amount, row.id)
    assert (status(order), left(posting)) == ("unpaid", posting.amount)
    assert posting.is_open and posting.needs_match and posting.is_blocked
    assert Ledger([order.id]).standing(order.id) == []
    assert db.session.query(MatchRequest).count() == 1


def test_what_is_undone_is_not_undone_again(shop, merchant):
    (row,) = pay(make_posting(merchant), (make_order(shop), "19.90"))
    back = take_back(row)
    for again in (row, back):
        with pytest.raises(NotPossible, match="already_undone"):
            take_back(again)
        db.session.rollback()
    assert db.session.query(Assignment).count() == 2


def test_the_same_pair_may_be_booked_after_each_undo(shop, merchant):
    order, posting = make_order(shop), make_posting(merchant)
    for _ in range(3):
        (row,) = pay(posting, (order, "19.90"))
        assert status(order) == "paid"
        take_back(row)
        assert status(order) == "unpaid"


@pytest.mark.feature("S26")
def test_undo_before_the_shop_heard_takes_the_update_back(shop, merchant):
    order = make_order(shop)
    (row,) = pay(make_posting(merchant), (order, "19.90"))
    take_back(row)
    assert updates(order) == [("paid", "withheld")]


@pytest.mark.feature("S26")
def test_undo_after_it_was_applied_tells_the_shop(shop, merchant):
    order = make_order(shop)
    (row,) = pay(make_posting(merchant), (order, "19.90"))
    apply_updates(shop)
    take_back(row)
    assert updates(order) == [("paid", "done"), ("unpaid", "queued")]
    told = db.session.query(PaymentUpdate).filter_by(intent="unpaid").one()
    assert (told.shop_status, told.open_statuses) == ("on-hold", ["processing"])


def test_undo_of_a_second_booking_still_tells_a_shop_that_heard_of_the_first(shop, merchant):
    """The second `paid` never left, but the shop has had the first one in its books since."""
    order, posting = make_order(shop), make_posting(merchant)
    (row,) = pay(posting, (order, "19.90"))
    apply_updates(shop)
    take_back(row)
    (row,) = pay(posting, (order, "19.90"))
    take_back(row)
    assert updates(order)[-1] == ("unpaid", "queued")
    assert [u for u in updates(order) if u[1] == "queued"] == [("unpaid", "queued")]


def test_an_undo_does_not_tell_the_shop_what_it_has_heard_last(shop, merchant):
    order = make_order(shop, total="30.00")
    pay(make_posting(merchant, "10.00"), (order, "10.00"))
    apply_updates(shop)
    (row,) = pay(make_posting(merchant, "20.00"), (order, "20.00"))
    take_back(row)
    assert updates(order) == [("partially_paid", "done"), ("paid", "withheld")]


def test_undo_tells_a_shop_that_may_have_written_although_it_failed(shop, merchant):
    """A time-out says nothing about what the shop did."""
    order = make_order(shop)
    (row,) = pay(make_posting(merchant), (order, "19.90"))
    (leased,) = lease_updates(shop, 10, LATER)
    acknowledge_update(shop, leased.id, Acknowledgement(Outcome.TEMPORARY, "timed out"), LATER)
    db.session.commit()
    take_back(row)
    assert updates(order) == [("paid", "withheld"), ("unpaid", "queued")]


# --- mails -------------------------------------------------------------------------------------


@pytest.mark.feature("K1")
def test_a_queued_question_for_money_is_withheld_with_the_payment(shop, merchant):
    order = make_order(shop)
    asking = mail(order, "payment_information")
    assert asking.status == "queued"
    assign(merchant.id, make_posting(merchant).id, [(order.id, order.total)], actor=ACTOR, at=LATER)
    assert asking.status == "withheld"
    db.session.rollback()  # one transaction: without the payment it is not withheld either
    db.session.refresh(asking)
    assert asking.status == "queued"


def test_a_question_that_was_withheld_is_asked_after_the_undo(shop, merchant):
    """The money was another's: this customer never learned where to pay."""
    order = make_order(shop)
    (row,) = pay(make_posting(merchant), (order, "19.90"))
    take_back(row)
    db.session.expire_all()
    asking = db.session.query(Mail).filter_by(order_id=order.id, kind="payment_information").one()
    assert asking.status == "queued"


def test_a_question_that_was_sent_is_not_asked_again_after_an_undo(shop, merchant):
    order = make_order(shop)
    mail(order, "payment_information").succeed(AT)
    (row,) = pay(make_posting(merchant), (order, "19.90"))
    take_back(row)
    assert mail(order, "payment_information").status == "done"
    assert db.session.query(Mail).filter_by(order_id=order.id, kind="payment_information").one()


def test_thanks_are_sent_once_however_often_it_is_booked(shop, merchant):
    order, posting = make_order(shop), make_posting(merchant)
    (row,) = pay(posting, (order, "19.90"))
    mail(order, "payment_received").succeed(LATER)
    take_back(row)
    pay(posting, (order, "19.90"))
    thanks = db.session.query(Mail).filter_by(order_id=order.id, kind="payment_received")
    assert [one.status for one in thanks] == ["done"]


def test_thanks_that_were_taken_back_unsent_are_sent_after_the_next_booking(shop, merchant):
    order = make_order(shop)
    (row,) = pay(make_posting(merchant, "19.90"), (order, "19.90"))
    take_back(row)
    assert mail(order, "payment_received").status == "withheld"
    pay(make_posting(merchant, "19.90"), (order, "19.90"))
    db.session.expire_all()
    thanks = db.session.query(Mail).filter_by(order_id=order.id, kind="payment_received").one()
    assert thanks.status == "queued"
    assert thanks.facts["received_total"] == "19,90\u00a0€"


@pytest.mark.feature("K3", "K40")
def test_each_part_is_thanked_for_and_told_to_the_shop(shop, merchant):
    order = make_order(shop, total="30.00")
    pay(make_posting(merchant, "10.00"), (order, "10.00"))
    apply_updates(shop)
    first = mail(order, "partially_paid")
    assert (first.status, first.facts["amount_due"]) == ("queued", "20,00\u00a0€")
    assert mail(order, "payment_information").status == "withheld"  # it asks for too much
    first.succeed(LATER)
    pay(make_posting(merchant, "15.00"), (order, "15.00"))
    told = db.session.query(PaymentUpdate).filter_by(order_id=order.id, status="queued").one()
    assert (told.intent, told.paid_total) == ("partially_paid", 25)
    mails = db.session.query(Mail).filter_by(order_id=order.id, kind="partially_paid")
    assert sorted(one.facts["amount_due"] for one in mails) == ["20,00\u00a0€", "5,00\u00a0€"]


def test_of_several_unsent_mails_on_what_came_only_the_newest_is_sent(shop, merchant):
    order = make_order(shop, total="30.00")
    for amount in ("10.00", "15.00", "5.00"):
        pay(make_posting(merchant, amount), (order, amount))
    assert waiting(order) == [("payment_received", "30,00\u00a0€")]


def test_what_was_overtaken_is_said_after_all_when_the_overtaking_is_undone(shop, merchant):
    order = make_order(shop, total="30.00")
    rows = [
        pay(make_posting(merchant, amount), (order, amount))[0]
        for amount in ("10.00", "15.00", "5.00")
    ]
    take_back(rows[2])
    assert waiting(order) == [("partially_paid", "25,00\u00a0€")]
    take_back(rows[1])
    assert waiting(order) == [("partially_paid", "10,00\u00a0€")]
    take_back(rows[0])
    assert waiting(order) == [("payment_information", None)]


def test_an_undo_out_of_turn_leaves_a_mail_with_the_sums_of_now(shop, merchant):
    order = make_order(shop, total="30.00")
    rows = [
        pay(make_posting(merchant, amount), (order, amount))[0] for amount in ("10.00", "15.00")
    ]
    take_back(rows[0])
    assert waiting(order) == [("partially_paid", "15,00\u00a0€")]


def test_what_the_customer_has_read_is_not_said_again(shop, merchant):
    order = make_order(shop, total="30.00")
    pay(make_posting(merchant, "10.00"), (order, "10.00"))
    mail(order, "partially_paid").succeed(LATER)
    (row,) = pay(make_posting(merchant, "20.00"), (order, "20.00"))
    take_back(row)
    assert waiting(order) == []


@pytest.mark.feature("K2", "K40")
def test_a_customer_who_paid_too_much_is_told_how_much(shop, merchant):
    order = make_order(shop, total="19.90")
    pay(make_posting(merchant, "30.00"), (order, "30.00"))
    assert mail(order, "payment_received") is None
    assert mail(order, "overpaid").facts["surplus"] == "10,10\u00a0€"
    pay(make_posting(merchant, "1.00"), (order, "1.00"))
    assert waiting(order) == [("overpaid", "31,00\u00a0€")]


@pytest.mark.feature("N4")
def test_an_undo_leaves_everything_as_it_was(shop, merchant):
    """Asked for money, paid, undone: the customer is asked, the shop hears nothing."""
    order, posting = make_order(shop), make_posting(merchant)
    before = (status(order), waiting(order), updates(order), left(posting), posting.is_open)
    (row,) = pay(posting, (order, "19.90"))
    assert waiting(order) == [("payment_received", "19,90\u00a0€")]
    take_back(row)
    queued = [one for one in updates(order) if one[1] == "queued"]
    after = (status(order), waiting(order), queued, left(posting), posting.is_open)
    assert after == before
    kinds = [e.kind for e in db.session.query(OrderEvent).filter_by(order_id=order.id)]
    assert kinds == ["assigned", "status_changed", "assignment_undone", "status_changed"]


# --- money for orders that are gone ------------------------------------------------------------


@pytest.mark.feature("S40")
def test_money_for_a_removed_order_is_told_to_the_merchant_and_not_to_the_shop(shop, merchant):
    make_user(merchant)
    raw = wire_order()
    push(shop, raw, AT)
    push(shop, raw | {"shop_status": "cancelled"})
    order = db.session.query(Order).one()
    assert status(order) == "removed"
    pay(make_posting(merchant), (order, "19.90"))
    assert (status(order), updates(order)) == ("paid", [])
    assert mail(order, "payment_for_removed").recipient == ACTOR


@pytest.mark.feature("S51")
def test_money_for_a_cancelled_order_is_assigned_and_told_to_the_merchant(shop, merchant):
    make_user(merchant)
    order = make_order(shop)
    order.cancelled_at, order.payment_status = AT, "cancelled"
    db.session.commit()
    pay(make_posting(merchant), (order, "19.90"))
    assert status(order) == "paid"
    assert mail(order, "payment_for_cancelled").facts["is_assigned"] == "yes"


@pytest.mark.feature("S51", "N4")
def test_the_merchant_is_not_told_of_an_assignment_that_was_undone_at_once(shop, merchant):
    make_user(merchant)
    order, posting = make_order(shop), make_posting(merchant)
    order.cancelled_at, order.payment_status = AT, "cancelled"
    db.session.commit()
    for _ in range(2):
        (row,) = pay(posting, (order, "19.90"))
        assert "payment_for_cancelled" in [kind for kind, _ in waiting(order)]
        take_back(row)
        assert "payment_for_cancelled" not in [kind for kind, _ in waiting(order)]


# --- orders of nothing -------------------------------------------------------------------------


def set_general(merchant, name, value, shop=None):
    change_setting(merchant.id, name, value, actor=ACTOR, at=AT, shop_id=shop.id if shop else None)
    db.session.commit()


@pytest.mark.feature("K32")
def test_an_order_of_nothing_is_paid_unless_the_merchant_wants_to_look(shop, merchant):
    assert status(make_order(shop, total="0.00")) == "paid"
    set_general(merchant, "zero_is_paid", "off")
    order = make_order(shop, total="0.00")
    assert (status(order), waiting(order)) == ("unpaid", [])
    row = mark_as_paid(merchant.id, order.id, actor=ACTOR, at=LATER)
    db.session.commit()
    assert (row.amount, status(order)) == (0, "paid")
    take_back(row)
    assert status(order) == "unpaid"


@pytest.mark.feature("K32", "S43")
def test_a_shop_may_have_a_wish_of_its_own_for_orders_of_nothing(shop, merchant):
    other = make_shop(merchant, "Zweiter Laden")
    set_general(merchant, "zero_is_paid", "off")
    set_general(merchant, "zero_is_paid", "on", shop)
    assert status(make_order(shop, total="0.00")) == "paid"
    assert status(make_order(other, total="0.00")) == "unpaid"


@pytest.mark.feature("K32")
def test_a_push_that_remembers_another_wish_is_refused_and_done_again(shop, merchant):
    push(shop, wire_order(), AT)
    remembered = receiver_of(shop.id)
    set_general(merchant, "zero_is_paid", "off")
    raw = wire_order(total="0.00")
    with pytest.raises(StaleReceiver):
        receive_orders(remembered, [Arrival(OrderSchema().load(raw), raw)], AT)
    db.session.rollback()
    push(shop, raw, AT)
    found = db.session.query(Order).filter_by(external_id=raw["external_id"])
    assert status(found.one()) == "unpaid"


@pytest.mark.feature("K32")
def test_a_total_that_drops_to_nothing_follows_the_setting(shop, merchant):
    set_general(merchant, "zero_is_paid", "off")
    raw = wire_order(total="20.00")
    push(shop, raw, AT)
    push(shop, raw | {"total": "0.00"})
    order = db.session.query(Order).one()
    assert status(order) == "unpaid"


# --- what a person adds ------------------------------------------------------------------------


@pytest.mark.feature("S85")
def test_an_added_name_and_number_are_keys_until_the_order_is_paid(shop, merchant):
    raw = wire_order()
    push(shop, raw, AT)
    order = db.session.query(Order).one()
    order.needs_match = False
    add(order, " Max  Beispiel ", "PRJ-2026/77")
    assert {"@BEISPIEL", "PRJ202677"} <= keys(order)
    assert order.needs_match and order.search.endswith("max beispiel prj-2026/77")
    push(shop, raw | {"total": "21.00"})  # the shop's change keeps what a person added
    assert {"@BEISPIEL", "PRJ202677"} <= keys(order)
    edit_order(merchant.id, order.id, email="a@example.org", total=order.total, actor="a", at=AT)
    add(order, None, "")
    assert not {"@BEISPIEL", "PRJ202677"} & keys(order)
    assert "beispiel" not in order.search and "a@example.org" in order.search
    pay(make_posting(merchant, "21.00"), (order, "21.00"))
    with pytest.raises(NotPossible, match="additional_only_while_open"):
        add(order, "Max Beispiel", None)
    db.session.rollback()
    with pytest.raises(NotPossible, match="additional_too_long"):
        add(make_order(shop), "x" * 201, None)


def add(order, name, number):
    set_additional(order.merchant_id, order.id, name=name, number=number, actor=ACTOR, at=LATER)
    db.session.commit()


def keys(order):
    return set(db.session.scalars(select(OrderKey.key).where(OrderKey.order_id == order.id)))


# --- postings ----------------------------------------------------------------------------------


def test_an_ignored_posting_is_off_the_list_and_comes_back(shop, merchant):
    posting = make_posting(merchant)
    ignore_posting(merchant.id, posting.id, actor=ACTOR, at=LATER)
    assert (posting.is_open, posting.needs_match, posting.ignored_by) == (False, False, ACTOR)
    unignore_posting(merchant.id, posting.id, actor=ACTOR, at=LATER)
    assert (posting.is_open, posting.needs_match, posting.ignored_at) == (True, True, None)


def test_a_posting_that_is_used_up_does_not_come_back_as_open(shop, merchant):
    order, posting = make_order(shop), make_posting(merchant)
    pay(posting, (order, "19.90"))
    ignore_posting(merchant.id, posting.id, actor=ACTOR, at=LATER)
    unignore_posting(merchant.id, posting.id, actor=ACTOR, at=LATER)
    assert (posting.is_open, posting.needs_match) == (False, False)


def test_a_suggestion_is_confirmed_once(shop, merchant):
    order, posting = make_order(shop), make_posting(merchant)
    suggestion = Suggestion(
        merchant_id=merchant.id,
        posting_id=posting.id,
        rank=0,
        orders=[{"order_id": order.id, "amount": "19.90"}],
        probability=Decimal("0.9"),
    )
    db.session.add(suggestion)
    db.session.commit()
    other = make_merchant("Bobs Laden")
    with pytest.raises(NotPossible, match="suggestion_gone"):
        confirm_suggestion(other.id, suggestion.id, actor=ACTOR, at=LATER)
    (row,) = confirm_suggestion(merchant.id, suggestion.id, actor=ACTOR, at=LATER)
    db.session.commit()
    assert (row.origin, row.decided_by, status(order)) == ("person", ACTOR, "paid")
    with pytest.raises(NotPossible, match="suggestion_gone"):
        confirm_suggestion(merchant.id, suggestion.id, actor=ACTOR, at=LATER)


# --- a long random life ------------------------------------------------------------------------

STEPS = 200


class Life:
    """What people and the shop may do, at random, with everything that must hold after each."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.merchants = [make_merchant(), make_merchant("Bobs Laden")]
        self.shops = [make_shop(merchant) for merchant in self.merchants]
        self.raws = [[], []]
        self.at = LATER
        self.done = dict.fromkeys(("booked", "undone", "refused", "marked", "repriced"), 0)
        for side in (0, 1):
            for _ in range(3):
                self.new_order(side)
                self.new_posting(side)

    def amount(self):
        return Decimal(self.random.choice([1, 500, 1000, 1990, 2500])) / 100

    def some(self, model, side):
        """A row of this merchant, now and then of the other one."""
        whose = self.merchants[side if self.random.random() < 0.9 else 1 - side]
        return self.random.choice(db.session.query(model).filter_by(merchant_id=whose.id).all())

    def new_order(self, side):
        raw = wire_order(total=f"{self.amount():.2f}")
        self.raws[side].append(raw)
        push(self.shops[side], raw, AT)

    def new_posting(self, side):
        over = self.random.choice([{}, {}, {"no_assignment": True, "is_open": False}])
        posting = make_posting(self.merchants[side], f"{self.amount():.2f}", **over)
        if self.random.random() < 0.3:
            other = self.random.choice(
                db.session.query(Posting).filter_by(merchant_id=self.merchants[side].id).all()
            )
            posting.duplicate_of_id = other.id if other.id != posting.id else None
            db.session.commit()

    def decide(self, side):
        decide_duplicate(
            self.merchants[side].id,
            self.some(Posting, side).id,
            is_same=self.random.random() < 0.5,
            actor="",
            at=self.at,
        )

    def start(self, side):
        account = self.some(BankAccount, side)
        start_assignment(self.merchants[side].id, account.id, at=self.at)

    def reprice(self, side):
        raw = self.random.choice(self.raws[side])
        raw["total"] = f"{self.amount():.2f}"
        push(self.shops[side], dict(raw), self.at)
        self.done["repriced"] += 1

    def book(self, side):
        posting, order = self.some(Posting, side), self.some(Order, side)
        assign(
            self.merchants[side].id,
            posting.id,
            [(order.id, self.amount())],
            actor=ACTOR,
            at=self.at,
        )
        self.done["booked"] += 1

    def mark(self, side):
        mark_as_paid(self.merchants[side].id, self.some(Order, side).id, actor=ACTOR, at=self.at)
        self.done["marked"] += 1

    def undo(self, side):
        undo(self.merchants[side].id, self.some(Assignment, side).id, actor=ACTOR, at=self.at)
        self.done["undone"] += 1

    def ignore(self, side):
        ignore_posting(self.merchants[side].id, self.some(Posting, side).id, actor="", at=self.at)

    def unignore(self, side):
        unignore_posting(self.merchants[side].id, self.some(Posting, side).id, actor="", at=self.at)

    def agent(self, side):
        apply_updates(self.shops[side], self.at)

    def step(self):
        self.at += timedelta(minutes=self.random.randrange(60))
        steps = [self.book] * 6 + [self.undo] * 3 + [self.mark, self.reprice, self.ignore]
        steps += [self.unignore, self.agent, self.new_order, self.new_posting, self.decide]
        steps += [self.start]
        try:
            self.random.choice(steps)(self.random.randrange(2))
        except NotPossible:
            db.session.rollback()
            self.done["refused"] += 1
        except IndexError:  # nothing of that kind yet
            db.session.rollback()
        else:
            db.session.commit()
        self.check()

    def check(self):
        db.session.expire_all()
        rows = db.session.query(Assignment).all()
        for posting in db.session.query(Posting):
            booked = sum((r.amount for r in rows if r.posting_id == posting.id), Decimal(0))
            assert 0 <= booked <= posting.amount
            assert posting.is_open == (booked < posting.amount and posting.may_be_open)
            assert posting.is_assigned == (booked != 0)
        for order in db.session.query(Order):
            paid = sum((r.amount for r in rows if r.order_id == order.id), Decimal(0))
            assert order.payment_status == rules.payment_status(order.total, paid)
            self.check_shop_hears(order)
        owners = {row.id: row.merchant_id for row in db.session.query(Posting)}
        sellers = {row.id: row.merchant_id for row in db.session.query(Order)}
        for row in rows:
            assert row.merchant_id == sellers[row.order_id]
            assert row.posting_id is None or owners[row.posting_id] == row.merchant_id

    def check_shop_hears(self, order):
        """At most one update waits, and what the shop heard last or will hear is the truth."""
        rows = db.session.query(PaymentUpdate).filter_by(order_id=order.id)
        told = [r for r in rows.order_by(PaymentUpdate.id) if r.status in ("queued", "done")]
        assert sum(row.status == "queued" for row in told) <= 1
        assert (told[-1].payment_status if told else "unpaid") == order.payment_status


FULL = pytest.mark.torture


@pytest.mark.parametrize("seed", [1, *(pytest.param(n, marks=FULL) for n in range(2, 52))])
def test_the_ledger_holds_through_a_long_random_life(app, seed):
    life = Life(seed)
    for _ in range(STEPS):
        life.step()
    assert all(life.done.values()), life.done
    assert {shop.status for shop in db.session.query(Shop)} == {"connected"}
