"""What a merchant does with an order, and what follows."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from plugin_sdk.types import PaymentCode
from server.banking.models import Posting
from server.db import db
from server.orders import lifecycle
from server.orders.ledger import NotPossible
from server.orders.lifecycle import actions_of
from server.orders.manual import ManualOrder, create_manual_order
from server.orders.models import Assignment, Order
from server.orders.service import mark_as_paid, undo
from server.shops.models import OrderRequest
from tests.factories import AT, make_merchant, make_shop
from tests.server.life.steps import (
    ANNA,
    LATER,
    PAID_AT,
    asked,
    events,
    mails,
    pay,
    pushed,
    send_all,
    updates,
    wishes,
)

ACTIONS = {
    "send_payment_information": lifecycle.send_payment_information,
    "block_reminders": lifecycle.block_reminders,
    "allow_reminders": lifecycle.allow_reminders,
    "cancel": lifecycle.cancel_order,
    "reopen": lifecycle.reopen_order,
    "take_over": lifecycle.take_over,
    "stop_managing": lifecycle.stop_managing,
    "hand_to_collection": lifecycle.hand_to_collection,
    "take_from_collection": lifecycle.take_from_collection,
    "mark_as_unpaid": lifecycle.mark_as_unpaid,
    "read_again": lifecycle.read_again,
}


def do(name: str, order: Order, at=LATER) -> Order:
    ACTIONS[name](order.merchant_id, order.id, actor=ANNA, at=at)
    db.session.commit()
    db.session.refresh(order)
    return order


def refused(name: str, order: Order) -> str:
    with pytest.raises(NotPossible) as problem:
        ACTIONS[name](order.merchant_id, order.id, actor=ANNA, at=LATER)
    db.session.rollback()
    return str(problem.value.args[0])


# --- cancelled, overdue, collection ------------------------------------------------------------


@pytest.mark.feature("S81", "K4")
@pytest.mark.parametrize(
    ("method", "event", "intent"),
    [
        ("bacs", "cancelled", "cancelled"),
        ("invoice", "overdue", "overdue"),
        ("cod", "overdue", "overdue"),
    ],
)
def test_cancel_reads_overdue_for_invoice_and_cash_on_delivery(shop, method, event, intent):
    _, order = pushed(
        shop, payment_method=method, shop_status="processing" if method != "bacs" else "on-hold"
    )
    do("cancel", order)
    assert (order.payment_status, events(order)[-2:]) == ("cancelled", [event, "status_changed"])
    assert updates(order) == [(intent, "queued")]
    assert all(mail.status == "withheld" for mail in mails(order))


@pytest.mark.feature("S51", "S54", "K29")
@pytest.mark.parametrize("method", ["bacs", "cod"])
def test_money_for_a_cancelled_order_is_told_to_the_merchant(merchant, shop, method):
    """It can still be assigned; the shop is not written to unless the merchant set that."""
    status = "processing" if method == "cod" else "on-hold"
    _, order = pushed(shop, payment_method=method, shop_status=status)
    do("cancel", order)
    before = updates(order)
    pay(merchant, order)
    assert order.payment_status == "paid"
    assert updates(order)[len(before) :] == []
    assert mails(order)[-1].kind == "payment_for_cancelled"


@pytest.mark.feature("S54", "N4")
def test_a_payment_may_revive_a_cancelled_order_and_its_undo_cancels_it_again(merchant, shop):
    wishes(merchant, prepayment__revive_cancelled="on")
    _, order = pushed(shop)
    do("cancel", order)
    pay(merchant, order)
    assert (order.payment_status, order.cancelled_at) == ("paid", None)
    assert updates(order)[-1][0] == "paid"
    row = db.session.query(Assignment).filter_by(order_id=order.id).one()
    undo(merchant.id, row.id, actor=ANNA, at=PAID_AT)
    db.session.commit()
    assert (order.payment_status, order.cancelled_at) == ("cancelled", LATER)
    assert events(order)[-1] == "status_changed"
    assert "cancelled_again" in events(order)


@pytest.mark.feature("S54")
def test_a_part_of_the_money_revives_nothing(merchant, shop):
    wishes(merchant, prepayment__revive_cancelled="on")
    _, order = pushed(shop)
    do("cancel", order)
    pay(merchant, order, "5.00")
    assert (order.payment_status, order.cancelled_at) == ("cancelled", LATER)


@pytest.mark.feature("S80", "S81")
def test_who_marks_a_cancelled_order_as_paid_means_it(merchant, shop):
    _, order = pushed(shop)
    do("cancel", order)
    mark_as_paid(merchant.id, order.id, actor=ANNA, at=LATER)
    db.session.commit()
    assert (order.payment_status, updates(order)[-1][0]) == ("paid", "paid")


@pytest.mark.feature("S81")
def test_a_cancellation_can_be_taken_back(shop):
    _, order = pushed(shop)
    do("cancel", order)
    do("reopen", order)
    assert (order.payment_status, order.cancelled_at) == ("unpaid", None)
    assert asked(order) == [("erika@example.org", "queued")], "it asks for the money after all"


@pytest.mark.feature("S79", "K6")
def test_collection_is_a_state_that_a_payment_ends(merchant, shop):
    _, order = pushed(shop, payment_method="invoice")
    do("hand_to_collection", order)
    assert (order.payment_status, updates(order)) == ("collection", [("collection", "queued")])
    pay(merchant, order)
    assert (order.payment_status, updates(order)[-1]) == ("paid", ("paid", "queued"))


@pytest.mark.feature("S79", "K6")
def test_an_order_comes_back_from_collection(shop):
    _, order = pushed(shop, payment_method="invoice")
    do("hand_to_collection", order)
    do("take_from_collection", order)
    assert (order.payment_status, events(order)[-2]) == ("unpaid", "collection_ended")


# --- paid and unpaid by hand -------------------------------------------------------------------


@pytest.mark.feature("S80", "K2")
def test_mark_as_paid_and_as_unpaid_again(merchant, shop):
    _, order = pushed(shop)
    mark_as_paid(merchant.id, order.id, actor=ANNA, at=LATER)
    db.session.commit()
    assert order.payment_status == "paid"
    do("mark_as_unpaid", order)
    assert (order.payment_status, asked(order)) == ("unpaid", [("erika@example.org", "queued")])


@pytest.mark.feature("K1", "K2")
def test_unpaid_gives_the_posting_back_to_the_inbox(merchant, shop):
    _, order = pushed(shop)
    assert order.payment_status == "unpaid"
    pay(merchant, order)
    do("mark_as_unpaid", order)

    (posting,) = db.session.query(Posting).all()
    assert (posting.is_open, posting.is_blocked) == (True, True)


# --- edits -------------------------------------------------------------------------------------


def edit(order: Order, **over):
    values = {"email": order.customer_email or "", "total": order.total} | over
    lifecycle.edit_order(order.merchant_id, order.id, **values, actor=ANNA, at=LATER)
    db.session.commit()


@pytest.mark.feature("S65")
def test_a_new_amount_is_asked_for_like_one_of_the_shop(shop):
    _, order = pushed(shop)
    send_all(order)
    edit(order, total=Decimal("15.00"))
    assert order.sync == "edited"
    facts = mails(order)[-1].facts
    assert (facts["amount_changed"], facts["amount_due"][:5]) == ("yes", "15,00")


@pytest.mark.feature("S65")
@pytest.mark.parametrize(
    ("over", "why"),
    [
        ({"total": Decimal("-1")}, "edit_amount_out_of_range"),
        ({"total": Decimal("1.005")}, "edit_amount_out_of_range"),
        ({"email": "erika@@example.org"}, "email_impossible"),
        ({"email": "erika@example.org\r\nBcc: bob@example.org"}, "email_impossible"),
    ],
)
def test_what_cannot_be_right_is_refused(shop, over, why):
    _, order = pushed(shop)
    with pytest.raises(NotPossible, match=why):
        edit(order, **over)


@pytest.mark.feature("S65")
def test_only_an_open_order_can_be_edited(merchant, shop):
    _, order = pushed(shop)
    assert "edit" in actions_of(order)
    pay(merchant, order, "5.00")
    assert "edit" in actions_of(order), "partially paid is open"
    pay(merchant, order, "14.90")
    assert "edit" not in actions_of(order)
    with pytest.raises(NotPossible, match="action_does_not_fit"):
        edit(order, total=Decimal("15.00"))


@pytest.mark.feature("S67")
def test_an_amount_in_a_foreign_currency_is_not_edited(shop):
    foreign = {"foreign_total": "21.50", "foreign_currency": "USD", "exchange_rate": "1.08"}
    _, order = pushed(shop, **foreign)
    with pytest.raises(NotPossible, match="edit_foreign_amount"):
        edit(order, total=Decimal("15.00"))
    db.session.rollback()
    edit(order, email="erika.neu@example.org")
    assert order.customer_email == "erika.neu@example.org"


@pytest.mark.feature("S58")
def test_the_base_date_is_set_by_hand_and_taken_back(merchant, shop):
    _, order = pushed(shop)
    for day in (date(2026, 4, 1), None):
        lifecycle.set_base_date(merchant.id, order.id, day, actor=ANNA, at=LATER)
        db.session.commit()
        assert order.base_date == day
    with pytest.raises(NotPossible, match="date_out_of_range"):
        lifecycle.set_base_date(merchant.id, order.id, date(1901, 1, 1), actor=ANNA, at=LATER)


# --- asked again, blocked, managed -------------------------------------------------------------


@pytest.mark.feature("S76")
def test_payment_information_goes_out_again(shop):
    _, order = pushed(shop)
    send_all(order)
    do("send_payment_information", order)
    do("send_payment_information", order, at=LATER + timedelta(seconds=2))
    assert [status for _, status in asked(order)] == ["done", "queued"], "a double click"
    do("send_payment_information", order, at=LATER + timedelta(minutes=2))
    assert [status for _, status in asked(order)] == ["done", "queued", "queued"]


@pytest.mark.feature("S82")
def test_reminders_are_blocked_and_allowed_again(shop):
    _, order = pushed(shop)
    do("block_reminders", order)
    assert order.reminders_blocked_at == LATER
    assert "block_reminders" not in actions_of(order)
    do("allow_reminders", order)
    assert order.reminders_blocked_at is None


@pytest.mark.feature("S29", "K8")
def test_a_single_old_order_is_taken_into_management_and_left_alone_again(shop):
    _, order = pushed(shop, ordered_at="2025-12-24T10:00:00+00:00")
    do("take_over", order)
    assert (order.payment_status, asked(order)) == ("unpaid", [("erika@example.org", "queued")])
    do("stop_managing", order)
    assert (order.payment_status, asked(order)[0][1]) == ("not_managed", "withheld")


@pytest.mark.feature("S56")
def test_the_actions_depend_on_type_and_status(merchant, shop):
    """Whatever is not offered is refused."""
    _, order = pushed(shop)
    orders = [order, pushed(shop, payment_method="invoice")[1]]
    orders.append(do("cancel", pushed(shop)[1]))
    orders.append(pushed(shop, ordered_at="2025-12-24T10:00:00+00:00")[1])
    paid = pushed(shop)[1]
    pay(merchant, paid)
    orders.append(paid)
    assert "hand_to_collection" not in actions_of(order)
    assert "hand_to_collection" in actions_of(orders[1])
    for one in orders:
        for name in set(ACTIONS) - set(actions_of(one)):
            assert refused(name, one) == "action_does_not_fit", (name, one.payment_status)


@pytest.mark.feature("S74")
def test_the_shop_is_asked_to_look_again(shop):
    _, order = pushed(shop)
    do("read_again", order)

    (request,) = db.session.query(OrderRequest).all()
    assert (request.external_id, request.order_id) == (order.external_id, order.id)


# --- manual orders -----------------------------------------------------------------------------


def typed(**over) -> ManualOrder:
    values = {
        "number": "M-1",
        "ordered_on": date(2026, 3, 1),
        "code": PaymentCode.PREPAYMENT,
        "total": Decimal("49.90"),
        "currency": "EUR",
        "email": "erika@example.org",
        "language": "de",
        "address": {"first_name": "Erika", "last_name": "Mustermann", "country": "DE"},
    }
    return ManualOrder(**(values | over))


@pytest.mark.feature("K64")
def test_a_manual_order_is_asked_for_and_its_payment_told_to_nobody_but_people(merchant, shop):
    order = create_manual_order(merchant.id, shop.id, typed(), actor=ANNA, at=AT)
    db.session.commit()
    assert (order.payment_status, order.sync) == ("unpaid", "manual")
    assert asked(order) == [("erika@example.org", "queued")]
    pay(merchant, order)
    assert (order.payment_status, updates(order)) == ("paid", [])


@pytest.mark.feature("K64")
@pytest.mark.parametrize(
    ("over", "why"),
    [
        ({"number": "  "}, "manual_number_missing"),
        ({"total": Decimal(0)}, "edit_amount_out_of_range"),
        ({"currency": "EURO"}, "manual_unreadable"),
        ({"email": "nobody"}, "email_impossible"),
        ({"ordered_on": date(1990, 1, 1)}, "date_out_of_range"),
    ],
)
def test_a_manual_order_with_a_mistake_is_refused(merchant, shop, over, why):
    with pytest.raises(NotPossible, match=why):
        create_manual_order(merchant.id, shop.id, typed(**over), actor=ANNA, at=AT)


@pytest.mark.feature("K64")
def test_a_number_is_given_once_and_a_strangers_shop_is_none(merchant, shop):
    create_manual_order(merchant.id, shop.id, typed(), actor=ANNA, at=AT)
    with pytest.raises(NotPossible, match="manual_number_taken"):
        create_manual_order(merchant.id, shop.id, typed(), actor=ANNA, at=AT)
    bob = make_shop(make_merchant("Bob"))
    with pytest.raises(NotPossible, match="shop_unknown"):
        create_manual_order(merchant.id, bob.id, typed(), actor=ANNA, at=AT)


def test_a_strangers_order_is_unknown(shop):
    bob = make_merchant("Bob")
    _, order = pushed(shop)
    for act in ACTIONS.values():
        with pytest.raises(NotPossible, match="order_unknown"):
            act(bob.id, order.id, actor="bob", at=LATER + timedelta(days=1))
        db.session.rollback()
