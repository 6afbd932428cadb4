"""What becomes of an order when its shop changes it, deletes it or sends it late."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from plugin_sdk.types import CodeMapping, Evidence, Heartbeat, PaymentCode
from server.db import db
from server.mail.models import Mail
from server.orders.intake import orders_gone
from server.orders.lifecycle import (
    admit_monitored,
    cancel_order,
    edit_order,
    has_monitored,
    send_payment_information,
)
from server.orders.models import Order, OrderKey
from server.orders.removal import counts, decide_removals, held_orders
from server.orders.service import hear_heartbeat, store_invoice
from server.shops.service import shop_of
from tests.factories import AT, MAPPING, make_shop, wire_order
from tests.server.life.steps import (
    ANNA,
    LATER,
    asked,
    events,
    mails,
    order_of,
    pay,
    push,
    pushed,
    send_all,
    updates,
    wishes,
)

NEW_MAIL = {"email": "erika.neu@example.org", "language": "de"}


# --- the cut-off -------------------------------------------------------------------------------


@pytest.mark.feature("S28", "S29", "S30")
def test_the_first_connection_draws_the_cut_off(shop):
    """Later orders are managed; older ones come in as not managed if open, else not at all."""
    old = "2025-12-24T10:00:00+00:00"
    cases = {
        "created": wire_order(),
        "not_managed": wire_order(ordered_at=old),
        "ignored": wire_order(ordered_at=old, shop_status="completed"),
    }
    assert {outcome: push(shop, raw) for outcome, raw in cases.items()} == {
        outcome: outcome for outcome in cases
    }
    older = order_of(shop, cases["not_managed"])
    assert (older.payment_status, mails(older)) == ("not_managed", [])
    assert order_of(shop, cases["ignored"]) is None


# --- changes -----------------------------------------------------------------------------------


@pytest.mark.feature("S35")
def test_a_changed_name_and_address_are_saved(shop):
    raw, order = pushed(shop)
    address = {**raw["billing_address"], "last_name": "Musterfrau", "city": "Bonn"}
    assert push(shop, {**raw, "billing_address": address}) == "updated"
    order = order_of(shop, raw)
    assert order.customer_name == "Erika Musterfrau"
    assert order.wire["billing_address"]["city"] == "Bonn"


@pytest.mark.feature("S36")
def test_a_new_address_gets_the_payment_information_again(shop):
    raw, order = pushed(shop)
    send_all(order)
    push(shop, {**raw, "customer": NEW_MAIL}, LATER)
    assert asked(order) == [("erika@example.org", "done"), (NEW_MAIL["email"], "queued")]
    assert "amount_changed" not in mails(order)[-1].facts


@pytest.mark.feature("S37")
@pytest.mark.parametrize("total", ["12.50", "25.00"])
def test_a_new_amount_sends_it_again_and_says_so(shop, total):
    """Lowered by a credit note of the shop, or raised."""
    raw, order = pushed(shop)
    send_all(order)
    push(shop, {**raw, "total": total}, LATER)
    assert asked(order) == [("erika@example.org", "done"), ("erika@example.org", "queued")]
    facts = mails(order)[-1].facts
    assert facts["amount_changed"] == "yes"
    assert facts["previous_amount"].startswith("19,90")
    assert facts["amount_due"].startswith(total.replace(".", ","))


@pytest.mark.feature("S37")
def test_after_a_part_payment_the_new_rest_is_asked_for(merchant, shop):
    raw, order = pushed(shop)
    send_all(order)
    pay(merchant, order, "10.00")
    push(shop, {**raw, "total": "15.00"}, LATER)
    assert mails(order, "payment_information")[-1].facts["amount_due"].startswith("5,00")


@pytest.mark.feature("S37", "K3")
def test_a_raised_total_makes_a_paid_order_partially_paid(merchant, shop):
    raw, order = pushed(shop)
    send_all(order)
    pay(merchant, order)
    assert order.payment_status == "paid"
    push(shop, {**raw, "total": "29.90", "shop_status": "on-hold"}, LATER)
    assert order_of(shop, raw).payment_status == "partially_paid"
    assert mails(order, "payment_information")[-1].facts["amount_due"].startswith("10,00")


@pytest.mark.feature("S36", "S37")
def test_an_edit_within_the_first_minute_replaces_the_mail(shop):
    """One mail with what is true now, and no word of a change that nobody had read of."""
    raw, order = pushed(shop)
    first = mails(order)[0]
    assert first.due_at == AT + timedelta(seconds=60)
    at = AT + timedelta(seconds=30)
    push(shop, {**raw, "total": "21.00", "customer": NEW_MAIL}, at)
    (mail,) = mails(order)
    assert (mail.recipient, mail.due_at) == (NEW_MAIL["email"], at + timedelta(seconds=60))
    assert mail.facts["amount_due"].startswith("21,00")
    assert "amount_changed" not in mail.facts


@pytest.mark.feature("S37")
def test_nobody_is_asked_again_who_was_never_asked_by_us(merchant, shop):
    """The shop sends the payment information itself."""
    wishes(merchant, prepayment__ask_when="by_shop")
    raw, order = pushed(shop)
    push(shop, {**raw, "total": "12.50", "customer": NEW_MAIL}, LATER)
    assert mails(order) == []


@pytest.mark.feature("S44", "K22")
def test_payment_information_may_wait_for_the_invoice_number(merchant, shop):
    wishes(merchant, invoice__ask_when="with_invoice")
    raw, order = pushed(shop, payment_method="invoice")
    assert asked(order) == []
    push(shop, {**raw, "invoices": [{"number": "R-1", "date": "2026-03-02"}]}, LATER)
    assert asked(order) == [("erika@example.org", "queued")]
    other = wire_order(payment_method="invoice", invoices=[{"number": "R-2"}])
    push(shop, other)
    assert len(asked(order_of(shop, other))) == 1


@pytest.mark.feature("S41")
def test_an_order_that_is_there_again_is_there_though_nothing_of_it_changed(shop):
    """Taken out of the trash it looks as it did before."""
    raw, order = pushed(shop)
    report = ([raw["external_id"]], Evidence.TRASHED, LATER)
    assert [orders_gone(shop, *report), orders_gone(shop, *report)] == [0, 1]
    db.session.commit()
    assert push(shop, raw, LATER) == "updated"
    assert (order.payment_status, order.gone_evidence) == ("unpaid", None)


@pytest.mark.feature("S41")
def test_a_word_that_was_taken_back_is_no_first_one(shop):
    """The shop said that it is gone, then showed it again: half a year later it says so once."""
    raw, order = pushed(shop)
    for _ in range(2):
        assert orders_gone(shop, [raw["external_id"]], Evidence.GONE, LATER) == 0
        db.session.commit()
        push(shop, raw, LATER)
    assert order.payment_status == "unpaid"


@pytest.mark.feature("S44", "S31")
def test_an_invoice_that_comes_as_a_file_is_what_the_payment_information_waited_for(merchant, shop):
    """Its number need not stand in the order: a shop may deliver the PDF alone."""
    wishes(merchant, invoice__ask_when="with_invoice")
    _, order = pushed(shop, payment_method="invoice")
    store_invoice(order, "R-2026-0815", b"%PDF-1.7 invented", LATER)
    db.session.commit()
    assert asked(order) == [("erika@example.org", "queued")]
    keys = select(OrderKey.key).where(OrderKey.order_id == order.id)
    assert "R20260815" in set(db.session.scalars(keys)), "the customer may write it"
    assert "r-2026-0815" in order.search
    store_invoice(order, "R-2026-0815", b"%PDF-1.7 again", LATER)
    assert len(asked(order)) == 1


@pytest.mark.feature("S44")
def test_the_invoice_of_a_cancelled_order_asks_nobody(merchant, shop):
    wishes(merchant, invoice__ask_when="with_invoice")
    _, order = pushed(shop, payment_method="invoice")
    cancel_order(merchant.id, order.id, actor=ANNA, at=LATER)
    store_invoice(order, "R-1", b"%PDF-1.7 invented", LATER)
    assert asked(order) == []


@pytest.mark.feature("S43", "S44")
def test_a_shop_may_have_settings_of_its_own(merchant, shop):
    """What it does not set it inherits."""
    other = make_shop(merchant, "Zweitladen")
    wishes(merchant, prepayment__ask_when="by_shop", prepayment__payable_days="14")
    wishes(merchant, other, prepayment__ask_when="at_once")
    assert mails(pushed(shop)[1]) == []
    (mail,) = mails(pushed(other)[1])
    assert mail.facts["payable_until"] == "15.03.2026"


@pytest.mark.feature("S52")
def test_payable_until_stands_in_the_payment_information(merchant, shop):
    _, without = pushed(shop)
    assert mails(without)[0].facts["payable_until"] == ""
    wishes(merchant, prepayment__payable_days="7")
    _, order = pushed(shop, ordered_at="2026-03-01T23:30:00+00:00")
    assert mails(order)[0].facts["payable_until"] == "09.03.2026", "by the merchant's clock"


@pytest.mark.feature("S59")
def test_a_discount_of_the_settings_or_the_shop_is_told(merchant, shop):
    wishes(merchant, invoice__discount_percent="2", invoice__discount_days="14")
    _, order = pushed(shop, payment_method="invoice", total="100.00")
    facts = mails(order)[0].facts
    assert (facts["discount_amount"][:5], facts["discount_until"]) == ("98,00", "15.03.2026")
    terms = {"discount_percent": "3", "discount_days": 8, "net_days": 30}
    _, order = pushed(shop, payment_method="invoice", total="100.00", payment_terms=terms)
    assert mails(order)[0].facts["discount_amount"].startswith("97,00")


@pytest.mark.feature("S59", "S76")
@pytest.mark.parametrize(("days", "is_offered"), [(13, True), (14, False)])
def test_a_discount_whose_days_are_over_is_not_offered_again(merchant, shop, days, is_offered):
    wishes(merchant, invoice__discount_percent="2", invoice__discount_days="14")
    _, order = pushed(shop, payment_method="invoice")  # of the day before AT
    send_all(order)
    at = AT + timedelta(days=days)
    send_payment_information(merchant.id, order.id, actor=ANNA, at=at)
    assert bool(mails(order)[-1].facts.get("discount_amount")) == is_offered


@pytest.mark.feature("S59")
@pytest.mark.parametrize(("days", "is_offered"), [(14, True), (15, False)])
def test_an_order_that_comes_in_late_is_offered_no_discount_that_is_over(
    merchant, shop, days, is_offered
):
    wishes(merchant, invoice__discount_percent="2", invoice__discount_days="14")
    ordered_at = (AT - timedelta(days=days)).isoformat()
    _, order = pushed(shop, payment_method="invoice", ordered_at=ordered_at)
    assert bool(mails(order)[0].facts.get("discount_amount")) == is_offered


# --- removed externally ------------------------------------------------------------------------


@pytest.mark.feature("S38", "S39", "K7")
def test_a_status_that_is_not_open_removes_the_order(shop):
    raw, order = pushed(shop)
    push(shop, {**raw, "shop_status": "cancelled"}, LATER)
    order = order_of(shop, raw)
    assert (order.payment_status, asked(order)[0][1]) == ("removed", "withheld")
    push(shop, {**raw, "shop_status": "pending"}, LATER)
    assert order_of(shop, raw).payment_status == "unpaid"


@pytest.mark.feature("S38")
def test_another_payment_method_removes_the_order(shop):
    """Of no payment code of ours, in a status that this code's mapping does not call open."""
    mapping = {**MAPPING, "other": {"methods": ["paypal"], "open_statuses": ["pending"]}}
    shop.mapping = mapping
    db.session.commit()
    raw, order = pushed(shop)
    push(shop, {**raw, "payment_method": "paypal"}, LATER)
    assert order_of(shop, raw).payment_status == "removed"


@pytest.mark.feature("S40")
def test_money_for_a_removed_order_is_told_to_the_merchant_only(merchant, shop):
    raw, order = pushed(shop)
    push(shop, {**raw, "shop_status": "cancelled"}, LATER)
    pay(merchant, order_of(shop, raw))
    assert updates(order) == []
    assert [mail.kind for mail in mails(order)][-1] == "payment_for_removed"


@pytest.mark.feature("S41")
def test_a_deletion_counts_when_the_shop_has_said_it_twice(shop):
    raw, order = pushed(shop)
    ids = [raw["external_id"]]
    assert orders_gone(shop, ids, Evidence.GONE, AT) == 0
    push(shop, {**raw, "total": "20.00"})  # it is there after all
    assert orders_gone(shop, ids, Evidence.GONE, AT) == 0
    assert orders_gone(shop, ids, Evidence.TRASHED, AT) == 1
    assert order_of(shop, raw).payment_status == "removed"


def _many(shop, count):
    raws = [wire_order() for _ in range(count)]
    for raw in raws:
        push(shop, raw)
    return raws


def _close(shop, raws, at):
    for raw in raws:
        push(shop, {**raw, "shop_status": "cancelled"}, at)
    return [order_of(shop, raw).payment_status for raw in raws]


@pytest.mark.feature("S38", "S41")
def test_more_than_a_tenth_at_once_stops_and_asks(merchant, shop):
    """Of 30 open orders five may go by themselves; the sixth within the hour needs a person."""
    raws = _many(shop, 30)
    assert _close(shop, raws[:8], LATER) == ["removed"] * 5 + ["unpaid"] * 3
    assert counts(shop.id) == (3, 25)
    notice = db.session.query(Mail).filter_by(kind="removals_wait").one()
    assert notice.facts["shop_name"] == shop.name
    assert _close(shop, raws[8:9], LATER + timedelta(hours=5)) == ["unpaid"], "while others wait"
    assert len(held_orders(merchant.id, shop.id, 10)) == 4
    assert decide_removals(merchant.id, shop.id, removes=True, actor=ANNA, at=LATER) == 4
    db.session.commit()
    assert order_of(shop, raws[7]).payment_status == "removed"


@pytest.mark.feature("S41")
def test_a_person_may_keep_what_seemed_gone(merchant, shop):
    raws = _many(shop, 12)
    _close(shop, raws[:7], LATER)
    assert decide_removals(merchant.id, shop.id, removes=False, actor=ANNA, at=LATER) == 2
    db.session.commit()
    order = order_of(shop, raws[6])
    assert (order.payment_status, order.held_removal) == ("unpaid", None)
    assert "removal_refused" in events(order)


@pytest.mark.feature("S41")
def test_over_the_day_any_number_may_go(shop):
    """Five an hour are ordinary life."""
    raws = _many(shop, 12)
    for hour in range(2):
        at = LATER + timedelta(hours=2 * hour)
        assert _close(shop, raws[hour * 5 : hour * 5 + 5], at) == ["removed"] * 5


# --- edited here -------------------------------------------------------------------------------


@pytest.mark.feature("S65", "S66")
def test_an_edited_order_does_not_follow_its_shop(merchant, shop):
    raw, order = pushed(shop)
    send_all(order)
    edit_order(
        merchant.id, order.id, email=NEW_MAIL["email"], total=order.total, actor=ANNA, at=LATER
    )
    db.session.commit()
    assert asked(order)[-1] == (NEW_MAIL["email"], "queued")
    assert push(shop, {**raw, "shop_status": "cancelled", "total": "1.00"}, LATER) == "unchanged"
    order = order_of(shop, raw)
    assert (order.payment_status, str(order.total)) == ("unpaid", "19.900")
    pay(merchant, order)
    assert updates(order) == [("paid", "queued")], "the shop still hears of the money"


# --- watched codes -----------------------------------------------------------------------------


@pytest.mark.feature("S55")
def test_watched_orders_come_in_after_a_while_if_they_are_still_open(merchant, shop):
    shop.mapping = {**MAPPING, "other": {"methods": ["paypal"], "open_statuses": ["pending"]}}
    db.session.commit()
    wishes(merchant, monitoring_delay_hours="24")
    over = {"payment_method": "paypal", "shop_status": "pending"}
    stays, raw = [wire_order(**over, ordered_at="2026-03-02T08:00:00+00:00") for _ in range(2)]
    assert [push(shop, one) for one in (stays, raw)] == ["not_managed", "not_managed"]
    assert push(shop, {**raw, "shop_status": "processing"}, LATER) == "ignored"
    assert order_of(shop, raw) is None, "paid in time: it never came in"
    assert db.session.query(OrderKey).join(Order, Order.id == OrderKey.order_id).count() > 0
    before, after = AT + timedelta(hours=22), AT + timedelta(hours=24)
    assert (has_monitored(before), admit_monitored(before)) == (False, 0)
    assert (has_monitored(after), admit_monitored(after)) == (True, 1)
    db.session.commit()
    order = order_of(shop, stays)
    assert (order.payment_status, order.payment_code, mails(order)) == ("unpaid", "other", [])
    late = wire_order(**over, ordered_at="2026-03-01T08:00:00+00:00")
    assert push(shop, late, after) == "created"


@pytest.mark.feature("S55")
def test_other_codes_that_nobody_watches_are_not_managed(shop):
    assert push(shop, wire_order(payment_method="paypal")) == "not_managed"
    assert shop_of(shop.merchant_id, shop.id) is shop


@pytest.mark.feature("S22", "S38")
def test_a_mapping_that_a_heartbeat_changes_judges_stored_orders_anew(shop):
    """The shop sends the same order again; only what its status means has changed."""
    raw, order = pushed(shop)
    assert push(shop, raw, LATER) == "unchanged"
    entry = CodeMapping(methods=("bacs",), open_statuses=("pending",))
    heartbeat = Heartbeat("woocommerce", "1", defaults={PaymentCode.PREPAYMENT: entry})
    hear_heartbeat(shop, heartbeat, LATER)
    db.session.commit()
    push(shop, raw, LATER)
    assert order_of(shop, raw).payment_status == "removed"
