"""What a posting's amount does to an order, as the merchant wishes it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from server.db import db
from server.mail.models import Mail
from server.orders.merchant_notices import tell_of_differences
from tests.factories import make_order, make_posting, wire_order
from tests.server.matching.steps import (
    ANNA,
    AT,
    BOB,
    because_of,
    best_offer,
    booked,
    match_all,
    offers,
    push,
    queued,
    settle_on,
    status,
    updates,
    vetoes,
)

LATER = datetime(2026, 3, 30, 9, 0, tzinfo=UTC)


def pay(merchant, order, amount, at=AT, **over):
    posting = make_posting(merchant, amount, **({"text": order.number} | over))
    match_all(merchant, at)
    return posting


# --- in parts ----------------------------------------------------------------------------------


@pytest.mark.feature("K3")
def test_a_part_leaves_the_order_partially_paid_until_the_rest_comes(merchant, shop):
    order = make_order(shop, total="100.00")
    pay(merchant, order, "40.00")
    assert (status(order), queued(order)) == ("partially_paid", ["partially_paid"])
    pay(merchant, order, "60.00")
    assert (status(order), queued(order)) == ("paid", ["payment_received"])
    assert updates(order)[-1] == ("paid", "queued")


@pytest.mark.feature("K3")
def test_an_order_that_costs_more_after_it_was_paid_waits_for_the_difference(merchant, shop):
    raw = wire_order(total="100.00")
    order = make_order(shop, **raw)
    pay(merchant, order, "100.00")
    push(shop, raw | {"total": "112.50"})
    assert status(order) == "partially_paid"
    rest = pay(merchant, order, "12.50")
    assert (status(order), booked(rest)) == ("paid", {order.number: "12.50"})


# --- tolerance ---------------------------------------------------------------------------------


@pytest.mark.feature("K21", "C7")
@pytest.mark.parametrize(
    ("amount", "becomes", "told", "written_off"),
    [
        ("19.93", "partially_paid", "partially_paid", []),
        ("19.94", "paid", "payment_received", [("0.05", "tolerance")]),
        ("20.04", "paid", "payment_received", [("-0.05", "tolerance")]),
        ("20.05", "paid", "overpaid", []),
    ],
)
def test_five_cents_up_and_down_count_as_exact(merchant, shop, amount, becomes, told, written_off):
    """The example of the specification: 19.99 due, 5 cents allowed."""
    settle_on(merchant, tolerance_cents="5")
    order = make_order(shop, total="19.99")
    posting = pay(merchant, order, amount)
    assert (status(order), queued(order)) == (becomes, [told])
    assert because_of(order) == written_off
    assert posting.is_open is (told == "overpaid")


@pytest.mark.feature("K21", "C7")
@pytest.mark.parametrize(
    ("amount", "off"), [("19.94", "\u22120,05\u00a0€"), ("20.04", "+0,05\u00a0€")]
)
def test_the_merchant_is_told_what_was_not_asked_for(merchant, shop, amount, off):
    settle_on(merchant, tolerance_cents="5")
    order = make_order(shop, total="19.99")
    pay(merchant, order, amount)
    assert tell_of_differences(merchant.id, AT - timedelta(days=1), AT)
    told = db.session.query(Mail).filter_by(kind="differences_booked").one()
    (line,) = told.facts["differences"]
    assert (told.recipient, line["order_number"]) == (ANNA, order.number)
    assert line["difference"] == off


# --- fees --------------------------------------------------------------------------------------


@pytest.mark.feature("K30", "C7")
@pytest.mark.parametrize(
    "over",
    [
        {"counterparty_iban": "TR330006100519786457841326"},
        {"text": "{} ENTGELT 7,50 OCMT/EUR120,47/CHGS/EUR7,50/"},
    ],
)
@pytest.mark.parametrize("claims", ["off", "on"])
def test_a_banks_fee_is_claimed_or_not(merchant, shop, over, claims):
    settle_on(merchant, claim_bank_fees=claims)
    order = make_order(shop, total="120.47")
    over = {name: text.format(order.number) for name, text in over.items()}
    pay(merchant, order, "112.97", **over)
    if claims == "on":
        assert (status(order), because_of(order)) == ("partially_paid", [])
    else:
        assert (status(order), because_of(order)) == ("paid", [("7.50", "bank_fee")])


@pytest.mark.feature("K30")
def test_where_nothing_speaks_of_a_fee_it_is_a_part_payment(merchant, shop):
    order = make_order(shop, total="120.47")
    pay(merchant, order, "112.97")
    assert (status(order), because_of(order)) == ("partially_paid", [])


# --- discount ----------------------------------------------------------------------------------

TERMS = {
    "payment_terms": {"discount_percent": "2", "discount_days": 10, "net_days": 30},
    "invoices": [{"number": "RE-2026-0815", "date": "2026-03-02"}],
}


@pytest.mark.feature("N16", "C7")
@pytest.mark.parametrize(
    ("wishes", "value_date", "becomes"),
    [
        ({}, date(2026, 3, 12), "paid"),
        ({}, date(2026, 3, 15), "paid"),  # three days of grace
        ({}, date(2026, 3, 16), "partially_paid"),
        ({"discount_grace_days": "0"}, date(2026, 3, 12), "paid"),
        ({"discount_grace_days": "0"}, date(2026, 3, 13), "partially_paid"),
        ({"accept_late_discount": "on"}, date(2026, 3, 28), "paid"),
    ],
)
def test_discount_counts_by_value_date_with_days_of_grace(
    merchant, shop, wishes, value_date, becomes
):
    settle_on(merchant, **wishes)
    order = make_order(shop, total="150.00", **TERMS)
    posting = pay(
        merchant, order, "147.00", LATER, value_date=value_date, booking_date=date(2026, 3, 28)
    )
    assert (status(order), booked(posting)) == (becomes, {order.number: "147.00"})
    assert because_of(order) == ([("3.00", "discount")] if becomes == "paid" else [])


@pytest.mark.feature("N16")
@pytest.mark.parametrize(("day", "becomes"), [(7, "paid"), (8, "partially_paid")])
def test_the_days_of_a_discount_are_the_merchants(merchant, shop, day, becomes):
    """Ordered at half past midnight in Berlin, when UTC still has the day before."""
    settle_on(merchant, discount_grace_days="0")
    order = make_order(
        shop,
        total="150.00",
        ordered_at="2026-03-01T23:30:00+00:00",
        payment_terms={"discount_percent": "2", "discount_days": 5, "net_days": 30},
    )
    paid_on = date(2026, 3, day)
    pay(merchant, order, "147.00", LATER, value_date=paid_on, booking_date=paid_on)
    assert status(order) == becomes


# --- orders of nothing, cancelled and old ones ---------------------------------------------------


@pytest.mark.feature("K32")
@pytest.mark.parametrize(("wish", "becomes"), [("on", "paid"), ("off", "unpaid")])
def test_an_order_of_nothing_is_paid_or_looked_at_and_never_booked_on(
    merchant, shop, wish, becomes
):
    settle_on(merchant, zero_is_paid=wish)
    order = make_order(shop, total="0.00")
    posting = pay(merchant, order, "5.00")
    assert (status(order), booked(posting), offers(posting)) == (becomes, {}, [[order.number]])


def cancel(order):
    order.cancelled_at, order.payment_status = AT, "cancelled"
    db.session.commit()


@pytest.mark.feature("S51", "S54")
def test_money_for_a_cancelled_order_is_offered_to_a_person(merchant, shop):
    order = make_order(shop)
    cancel(order)
    posting = pay(merchant, order, "19.90")
    assert (status(order), booked(posting), updates(order)) == ("cancelled", {}, [])
    assert (offers(posting), vetoes(posting)) == ([[order.number]], ["order_cancelled"])


@pytest.mark.feature("S51", "S54")
@pytest.mark.parametrize(("revives", "told"), [("off", []), ("on", [("paid", "queued")])])
def test_money_for_a_cancelled_order_is_assigned_where_the_merchant_wishes_so(
    merchant, shop, revives, told
):
    """The merchant hears of it in any case, the shop only if it counts as not cancelled."""
    settle_on(merchant, **{"assign_cancelled": "on", "prepayment.revive_cancelled": revives})
    order = make_order(shop)
    cancel(order)
    posting = pay(merchant, order, "19.90")
    assert (status(order), booked(posting)) == ("paid", {order.number: "19.90"})
    assert updates(order) == told
    assert "payment_for_cancelled" in queued(order)


@pytest.mark.feature("C9")
@pytest.mark.parametrize(("limit", "is_booked"), [("3", False), ("4", True), ("0", True)])
def test_an_order_older_than_the_limit_is_only_suggested(merchant, shop, limit, is_booked):
    """Ordered on the 1st, paid on the 5th."""
    settle_on(merchant, max_order_age_days=limit)
    order = make_order(shop)
    posting = pay(merchant, order, "19.90")
    if is_booked:
        assert status(order) == "paid"
    else:
        assert (status(order), offers(posting)) == ("unpaid", [[order.number]])
        assert vetoes(posting) == ["older_than_limit"]


@pytest.mark.feature("C9")
def test_no_limit_means_none(merchant, shop):
    settle_on(merchant, max_order_age_days="0")
    order = make_order(shop, ordered_at="2026-01-02T10:00:00+00:00")
    at = datetime(2029, 1, 2, tzinfo=UTC)
    pay(merchant, order, "19.90", at, booking_date=date(2029, 1, 1))
    assert status(order) == "paid"


# --- how sure ----------------------------------------------------------------------------------


@pytest.mark.feature("C6")
@pytest.mark.parametrize(
    ("level", "is_booked"), [("careful", False), ("normal", False), ("eager", True)]
)
def test_how_sure_the_matcher_must_be_is_the_merchants_choice(merchant, shop, level, is_booked):
    """A digit is missing and no name is told, but the odd amount is right."""
    settle_on(merchant, match_level=level)
    order = make_order(shop, number="AA-70017", total="138.47")
    posting = pay(merchant, order, "138.47", text="AA-7017", counterparty_name=None)
    assert (status(order) == "paid") is is_booked
    if not is_booked:
        assert offers(posting) == [["AA-70017"]]
        assert Decimal("0.99") <= best_offer(posting).probability < Decimal("0.999")


@pytest.mark.feature("C6")
def test_a_strangers_wild_amount_is_booked_at_no_level(merchant, shop):
    settle_on(merchant, match_level="eager")
    order = make_order(shop, total="19.90")
    posting = pay(merchant, order, "950.00", **BOB)
    assert (status(order), vetoes(posting)) == ("unpaid", ["amount_far_off"])


@pytest.mark.feature("K28")
@pytest.mark.parametrize(
    ("claims", "amount", "booked_as", "state"),
    [
        ("off", "19.90", "19.90", "paid"),
        ("off", "24.90", "24.90", "paid"),
        ("on", "24.90", "24.90", "paid"),
        ("on", "19.90", "19.90", "partially_paid"),
    ],
)
def test_a_payment_with_or_without_the_fee_that_was_charged(
    merchant, shop, claims, amount, booked_as, state
):
    """Not claimed, it may be paid and need not; claimed, the order is not paid without it."""
    settle_on(merchant, **{"invoice.claim_fees": claims})
    order = make_order(shop, payment_method="invoice")
    order.fee_total = 5
    db.session.commit()
    posting = pay(merchant, order, amount)
    assert (booked(posting), status(order)) == ({order.number: booked_as}, state)


@pytest.mark.feature("S59", "N16")
def test_the_discount_of_the_settings_counts_where_the_shop_names_no_terms(merchant, shop):
    settle_on(merchant, **{"invoice.discount_percent": "2", "invoice.discount_days": "14"})
    order = make_order(shop, payment_method="invoice", total="100.00")
    posting = pay(merchant, order, "98.00")
    assert (booked(posting), status(order)) == ({order.number: "98.00"}, "paid")
