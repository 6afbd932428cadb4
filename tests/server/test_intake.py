"""What becomes of an order: mapping, cut-off, status, changes, deletion; and what is asked."""

from __future__ import annotations

from datetime import timedelta

import pytest

from plugin_sdk.types import CodeMapping, Evidence, Heartbeat, PaymentCode
from server.banking.service import AccountTerms, add_account
from server.db import db, now
from server.mail.models import Mail
from server.merchants.models import Merchant
from server.merchants.service import change_setting
from server.orders.asking import ask_waiting
from server.orders.intake import orders_gone
from server.orders.models import Invoice, Order, OrderKey
from server.orders.rules import creditor_reference
from server.orders.service import hear_heartbeat, mark_as_paid
from server.shops.models import PaymentUpdate
from tests.factories import (
    AT,
    IBAN,
    bearer,
    make_key,
    make_merchant,
    make_order,
    make_shop,
    wire_order,
)


@pytest.fixture
def shop(app):
    return make_shop(make_merchant())


@pytest.fixture
def push(client, shop):
    key = bearer(make_key(db.session.get_one(Merchant, shop.merchant_id), "shop", shop)[1])

    def push(**over):
        """The outcome, and the order as it is stored (None if it was not)."""
        raw = wire_order(**over)
        answer = client.post("/api/v1/orders", json=raw, headers=key)
        assert answer.status_code == 200, answer.json
        found = db.session.query(Order).filter_by(external_id=raw["external_id"]).one_or_none()
        return answer.json["outcome"], found

    return push


def asked(order):
    return db.session.query(Mail).filter_by(order_id=order.id, kind="payment_information").all()


# --- mapping -----------------------------------------------------------------------------------


@pytest.mark.feature("S22", "S23")
@pytest.mark.parametrize(
    ("method", "status", "sent", "code", "outcome"),
    [
        ("bacs", "on-hold", None, "prepayment", "created"),
        ("invoice", "processing", None, "invoice", "created"),
        ("cod", "processing", None, "cash_on_delivery", "created"),
        ("invoice", "on-hold", "prepayment", "invoice", "created"),  # the mapping wins
        ("unheard_of", "on-hold", "prepayment", "prepayment", "created"),
        ("unheard_of", "on-hold", None, "other", "not_managed"),
        (None, "on-hold", None, "other", "not_managed"),
    ],
)
def test_the_mapping_of_the_method_decides_the_code(push, method, status, sent, code, outcome):
    got, order = push(payment_method=method, shop_status=status, payment_code=sent)
    assert (got, order.payment_code) == (outcome, code)
    assert len(asked(order)) == (code in {"prepayment", "invoice"})


@pytest.mark.feature("S22", "S23")
def test_several_methods_of_one_code_and_the_merchants_own_mapping(push, shop):
    shop.mapping = {
        "invoice": {"methods": ["b2b_invoice", "b2c_invoice"], "open_statuses": ["shipped"]}
    }
    db.session.commit()
    for method in ("b2b_invoice", "b2c_invoice"):
        outcome, order = push(payment_method=method, shop_status="shipped")
        assert (outcome, order.payment_code) == ("created", "invoice")
    assert push(payment_method="invoice", shop_status="shipped")[1].payment_code == "other"
    assert push(payment_method="bacs")[1].payment_code == "prepayment"  # the default is kept


@pytest.mark.feature("S21", "S22", "K12")
def test_an_agents_first_words_connect_the_shop_and_bring_its_defaults(app):
    shop = make_shop(make_merchant(), status="not_connected", connected_at=None, default_mapping={})
    defaults = {PaymentCode.PREPAYMENT: CodeMapping(methods=("bacs",), paid_status="processing")}
    at = now()
    hear_heartbeat(shop, Heartbeat("woocommerce", "1.0", ("push",), defaults=defaults), at)
    assert (shop.status, shop.connected_at) == ("connected", at.replace(microsecond=0))
    assert shop.default_mapping["prepayment"]["methods"] == ["bacs"]
    hear_heartbeat(shop, Heartbeat("woocommerce", "1.1"), at + timedelta(days=1))
    assert shop.connected_at == at.replace(microsecond=0)  # the cut-off never moves
    assert (shop.connector_version, shop.capabilities) == ("1.1", [])


@pytest.mark.feature("S22")
def test_a_plugin_that_owns_its_mapping_sends_the_code(push, shop):
    shop.mapping_pinned = True
    db.session.commit()
    _, order = push(payment_method="bacs", payment_code="invoice")
    assert order.payment_code == "invoice"


@pytest.mark.feature("S22", "S26")
def test_a_plugin_that_owns_its_mapping_wins_over_what_was_typed_before(push, shop):
    shop.mapping = {"prepayment": {"methods": [], "open_statuses": ["new"], "paid_status": "old"}}
    db.session.commit()
    hear_heartbeat(shop, Heartbeat("woocommerce", "1.0", ("push",), mapping="pinned"), now())
    db.session.commit()
    outcome, order = push(payment_method="bacs", payment_code="prepayment", shop_status="on-hold")
    assert outcome == "created"
    mark_as_paid(shop.merchant_id, order.id, actor="anna", at=now())
    (update,) = db.session.query(PaymentUpdate).filter_by(order_id=order.id)
    assert (update.shop_status, update.open_statuses) == ("processing", ["on-hold", "pending"])


# --- cut-off and status ------------------------------------------------------------------------


@pytest.mark.feature("S28", "S29", "S30")
@pytest.mark.parametrize(
    ("ordered", "status", "outcome"),
    [
        ("2026-01-01T00:00:00+00:00", "on-hold", "created"),
        ("2026-01-01T00:59:59+01:00", "on-hold", "not_managed"),
        ("2025-12-31T23:59:59+00:00", "on-hold", "not_managed"),
        ("2025-12-31T23:59:59+00:00", "processing", "ignored"),
        ("2026-06-01T00:00:00+00:00", "processing", "ignored"),
    ],
)
def test_cut_off_and_open_status_decide_what_comes_in(push, ordered, status, outcome):
    got, order = push(ordered_at=ordered, shop_status=status)
    assert got == outcome
    assert (order is None) == (outcome == "ignored")
    assert db.session.query(Mail).count() == (outcome == "created")


def test_an_order_that_left_the_open_statuses_is_removed_and_may_come_back(push):
    raw = wire_order()
    _, order = push(**raw)
    push(**raw | {"shop_status": "cancelled"})
    assert order.payment_status == "removed"
    assert [mail.status for mail in asked(order)] == ["withheld"]
    push(**raw)
    assert order.payment_status == "unpaid"
    assert [mail.status for mail in asked(order)] == ["queued"]
    assert db.session.query(PaymentUpdate).count() == 0  # the shop knows all that best


def test_what_the_shop_changed_is_taken_over_and_payments_stay(push, shop):
    raw = wire_order(invoices=[{"number": "R-1"}])
    _, order = push(**raw)
    mark_as_paid(shop.merchant_id, order.id, actor="anna@example.org", at=now())
    db.session.commit()
    changed = raw | {
        "number": "NEU-4711",
        "shop_status": "processing",
        "customer": {"email": "neu@example.org"},
        "invoices": [{"number": "R-1"}, {"number": "R-2", "date": "2026-03-02"}],
    }
    outcome, order = push(**changed)
    assert outcome == "updated"
    assert (order.number, order.customer_email) == ("NEU-4711", "neu@example.org")
    assert order.payment_status == "paid"
    keys = {row.key for row in db.session.query(OrderKey).filter_by(order_id=order.id)}
    assert any("4711" in key for key in keys)
    assert not any(raw["number"].replace("-", "") in key for key in keys)
    assert {row.number for row in db.session.query(Invoice)} == {"R-1", "R-2"}


def test_gone_needs_to_be_said_twice_and_a_paid_order_stays(shop):
    open_, paid = make_order(shop), make_order(shop)
    mark_as_paid(shop.merchant_id, paid.id, actor="", at=AT)
    ids = [open_.external_id, paid.external_id, "unknown"]
    assert orders_gone(shop, ids, Evidence.GONE, AT) == 0
    assert orders_gone(shop, ids, Evidence.GONE, AT) == 1
    assert orders_gone(shop, ids, Evidence.GONE, AT) == 0
    assert (open_.payment_status, paid.payment_status) == ("removed", "paid")
    assert [mail.status for mail in asked(open_)] == ["withheld"]


# --- what is asked -----------------------------------------------------------------------------


@pytest.mark.feature("K15", "K16")
@pytest.mark.parametrize("kind", ["own", "rf", "order_number", "invoice_number"])
def test_the_reference_that_the_customer_is_asked_to_write(shop, kind):
    change_setting(shop.merchant_id, "reference_kind", kind, actor="anna", at=AT)
    db.session.commit()
    order = make_order(shop, number="AA-1", invoices=[{"number": "R-9"}])
    wanted = {
        "own": order.payment_reference,
        "rf": creditor_reference(order.payment_reference),
        "order_number": "AA-1",
        "invoice_number": "R-9",
    }
    (mail,) = asked(order)
    assert mail.facts["payment_reference"] == wanted[kind]


@pytest.mark.feature("S31")
def test_who_waits_for_the_bank_account_is_asked_when_it_is_entered(app):
    merchant = make_merchant(account=False)
    shop = make_shop(merchant)
    orders = [make_order(shop), make_order(shop, payment_method="cod", shop_status="processing")]
    paid = make_order(shop)
    mark_as_paid(merchant.id, paid.id, actor="", at=AT)
    assert db.session.query(Mail).count() == 0
    add_account(merchant.id, AccountTerms(IBAN, "", "Annas Antiquariat"))
    assert [ask_waiting(merchant.id, AT) for _ in "12"] == [1, 0]
    assert [mail.facts["iban"].replace(" ", "") for mail in asked(orders[0])] == [IBAN]


def test_nothing_is_asked_of_who_owes_nothing_or_cannot_be_written_to(push):
    for over in ({"total": "0.00"}, {"customer": {}}):
        outcome, order = push(**over)
        assert outcome == "created"
        assert asked(order) == []


def test_the_same_external_id_in_two_shops_are_two_orders(shop):
    second = make_shop(db.session.get_one(Merchant, shop.merchant_id), "Zweiter Laden")
    first = make_order(shop, external_id="1")
    other = make_order(second, external_id="1")
    assert first.id != other.id
    assert first.payment_reference != other.payment_reference


@pytest.mark.feature("S20", "K17", "K51")
def test_each_customer_is_asked_to_pay_to_the_account_that_is_for_the_order(app):
    merchant = make_merchant(account=False)
    shop, outlet = make_shop(merchant), make_shop(merchant, "Outlet")
    for iban, over in (
        (IBAN, {}),
        ("CH9300762011623852957", {"currency": "CHF", "for_currencies": ["CHF"]}),
        ("AT611904300234573201", {"for_countries": ["AT"]}),
        ("DE89370400440532013000", {"for_shops": [outlet.id]}),
    ):
        add_account(merchant.id, AccountTerms(iban, "", "Annas Antiquariat", **over))
    db.session.commit()
    austrian = {"first_name": "Resi", "last_name": "Muster", "country": "AT", "city": "Wien"}
    wanted = {
        make_order(shop).id: IBAN,
        make_order(shop, currency="CHF").id: "CH9300762011623852957",
        make_order(shop, billing_address=austrian).id: "AT611904300234573201",
        make_order(outlet).id: "DE89370400440532013000",
    }
    mails = db.session.query(Mail).filter_by(kind="payment_information")
    assert {mail.order_id: mail.facts["iban"].replace(" ", "") for mail in mails} == wanted


@pytest.mark.feature("K51")
def test_an_order_that_no_account_is_for_waits_until_there_is_one(app):
    merchant = make_merchant(account=False)
    add_account(merchant.id, AccountTerms(IBAN, "", "Anna", for_countries=["AT"]))
    order = make_order(make_shop(merchant))
    assert asked(order) == []
    add_account(merchant.id, AccountTerms("DE89370400440532013000", "", "Anna"))
    assert ask_waiting(merchant.id, AT) == 1
    (mail,) = asked(order)
    assert mail.facts["iban"].replace(" ", "") == "DE89370400440532013000"
