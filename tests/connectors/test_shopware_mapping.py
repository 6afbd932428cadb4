"""Shopware's JSON to wire orders, and ways through its machine: pure."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.shopware.mapping import (
    LIVE_VERSION,
    active_payment,
    changed_at,
    order_from,
    status_of,
)
from connectors.shopware.transitions import Transition, configured, reported, step, way
from plugin_sdk.errors import Rejected
from plugin_sdk.schemas import OrderSchema
from plugin_sdk.testing.shopware_states import PAYMENT, stock_machines
from plugin_sdk.types import Address, Invoice, Item

KEY = "0a" * 16
HOME = {
    "firstName": "Erika",
    "lastName": "Mustermann",
    "company": None,
    "street": "Heidestraße 17",
    "additionalAddressLine1": "Hinterhaus",
    "zipcode": "51147",
    "city": "Köln",
    "phoneNumber": "+49 221 0000",
    "country": {"iso": "DE"},
}


def payment(state="open", method="payment_prepayment", created="10:00:00", total=39.9, **more):
    return {
        "id": f"{int(created.replace(':', '')):032x}",
        "createdAt": f"2026-11-20T{created}.000+00:00",
        "updatedAt": None,
        "amount": {"totalPrice": total},
        "paymentMethod": {"id": "1b" * 16, "technicalName": method},
        "stateMachineState": {"technicalName": state},
        **more,
    }


def invoice(number, identifier="d1" * 16, kind="invoice", **more):
    return {
        "id": identifier,
        "createdAt": "2026-11-20T11:00:00.000+00:00",
        "documentType": {"technicalName": kind},
        "documentNumber": number,
        "deepLinkCode": "abc",
        "config": {"documentDate": "2026-11-20T00:00:00.000Z"},
        **more,
    }


def row(**more):
    return {
        "id": KEY,
        "versionId": LIVE_VERSION,
        "autoIncrement": 7,
        "orderNumber": "10007",
        "orderDateTime": "2026-11-20T09:59:58.123+00:00",
        "createdAt": "2026-11-20T09:59:59.000+00:00",
        "updatedAt": None,
        "amountTotal": 39.9,
        "currencyFactor": 1,
        "currency": {"isoCode": "EUR"},
        "language": {"locale": {"code": "de-DE"}},
        "orderCustomer": {"customerNumber": "20001", "email": "erika@example.org", "vatIds": None},
        "billingAddress": HOME,
        "deliveries": [],
        "transactions": [payment()],
        "lineItems": [],
        "documents": [],
        "stateMachineState": {"technicalName": "open"},
        **more,
    }


def test_a_whole_order():
    lines = [
        {"label": "Gutschein", "type": "promotion", "quantity": 1, "position": 3},
        {"label": "Band 2", "type": "product", "quantity": 2, "position": 2, "payload": None},
        {
            "label": "Band 1",
            "type": "product",
            "quantity": 1,
            "position": 1,
            "payload": {"productNumber": "B-1"},
        },
        {"label": "Teil", "type": "product", "quantity": 1, "position": 4, "parentId": "x"},
    ]
    order = order_from(row(lineItems=lines, documents=[invoice("RE-1")]))
    assert OrderSchema().load(OrderSchema().dump(order)) == order
    assert (order.external_id, order.number, order.total) == (KEY, "10007", Decimal("39.90"))
    assert order.ordered_at == datetime(2026, 11, 20, 9, 59, 58, 123000, tzinfo=UTC)
    assert (order.customer.number, order.customer.language) == ("20001", "de-DE")
    assert order.billing_address == Address(
        first_name="Erika",
        last_name="Mustermann",
        street="Heidestraße 17, Hinterhaus",
        postcode="51147",
        city="Köln",
        country="DE",
        phone="+49 221 0000",
    )
    assert order.items == (Item("Band 1", Decimal(1), "B-1"), Item("Band 2", Decimal(2)))
    assert order.invoices == (Invoice("RE-1", date(2026, 11, 20)),)
    assert order.exchange_rate is None


class TestMoney:
    @pytest.mark.parametrize(
        ("currency", "total", "due"),
        [
            ("EUR", 19, "19.00"),
            ("EUR", 0.1, "0.10"),
            ("EUR", 1234567.89, "1234567.89"),
            ("EUR", "19.9", "19.90"),
            ("EUR", 0, "0.00"),
            ("EUR", -5, "0.00"),
            ("JPY", 3262, "3262.00"),
            ("KWD", 1.2345, "1.235"),
            ("CHF", 22, "22.00"),
        ],
    )
    def test_amounts_are_exact(self, currency, total, due):
        order = order_from(row(currency={"isoCode": currency}, transactions=[payment(total=total)]))
        assert str(order.total) == due

    def test_the_payment_counts_and_not_the_sum_of_the_order(self):
        assert order_from(row(amountTotal=21.99, transactions=[payment(total=22)])).total == 22
        assert order_from(row(amountTotal=21.99, transactions=None)).total == Decimal("21.99")

    @pytest.mark.parametrize("total", [None, "viel", True, float("nan"), 1e13])
    def test_an_amount_that_is_none(self, total):
        with pytest.raises(Rejected, match=KEY):
            order_from(row(amountTotal=total, transactions=[]))

    @given(st.decimals(min_value=0, max_value=10**9, places=2))
    def test_cents_survive_the_float(self, amount):
        assert order_from(row(transactions=[payment(total=float(amount))])).total == amount

    def test_a_foreign_currency_has_its_rate(self):
        order = order_from(row(currency={"isoCode": "USD"}, currencyFactor=1.17085))
        assert (order.currency, order.exchange_rate) == ("USD", Decimal("1.17085"))


class TestPayments:
    def test_the_newest_living_one_counts(self):
        payments = [
            payment("cancelled", created="10:00:00"),
            payment("open", "payment_invoicepayment", created="12:00:00"),
            payment("failed", created="13:00:00"),
            payment("open", "payment_debitpayment", created="11:00:00"),
        ]
        order = order_from(row(transactions=payments))
        assert (order.payment_method, order.shop_status) == ("payment_invoicepayment", "open")

    def test_if_none_lives_the_newest_counts(self):
        payments = [payment("failed", created="12:00:00"), payment("cancelled", created="11:00:00")]
        assert status_of(row(transactions=payments)) == "failed"

    def test_what_the_shop_names_counts_most(self):
        payments = [payment("paid"), payment("open", created="12:00:00")]
        named = row(transactions=payments, primaryOrderTransactionId=payments[0]["id"])
        assert status_of(named) == "paid"
        assert status_of(row(transactions=payments, primaryOrderTransactionId="f" * 32)) == "open"

    @pytest.mark.parametrize("transactions", [None, [], {}, "odd"])
    def test_no_payment_at_all(self, transactions):
        order = order_from(row(transactions=transactions))
        assert (order.payment_method, order.shop_status) == (None, None)
        assert active_payment(row(transactions=transactions)) is None

    @pytest.mark.parametrize(
        ("state", "status"),
        [("open", "cancelled"), ("reminded", "cancelled"), ("paid", "paid"),
         ("paid_partially", "paid_partially"), ("refunded", "refunded")],
    )  # fmt: skip
    def test_a_cancelled_order_awaits_no_money(self, state, status):
        cancelled = {"technicalName": "cancelled"}
        found = row(stateMachineState=cancelled, transactions=[payment(state)])
        assert status_of(found) == status

    @pytest.mark.parametrize(
        ("method", "code"),
        [
            ({"technicalName": "payment_x", "id": "1b" * 16}, "payment_x"),
            ({"formattedHandlerIdentifier": "handler_shopware_invoicepayment"},
             "payment_invoicepayment"),
            ({"formattedHandlerIdentifier": "handler_plugin", "id": "1b" * 16}, "1b" * 16),
            ({}, None),
        ],
    )  # fmt: skip
    def test_methods_of_all_versions_have_a_code(self, method, code):
        each = payment()
        each["paymentMethod"] = method
        assert order_from(row(transactions=[each])).payment_method == code


class TestDocuments:
    def test_before_there_was_a_column_the_number_stood_in_the_configuration(self):
        old = invoice(None, config={"documentNumber": "RE-9", "documentDate": "odd"})
        assert order_from(row(documents=[old])).invoices == (Invoice("RE-9"),)

    def test_a_cancelled_invoice_is_a_reference(self):
        documents = [
            invoice("RE-1", "a1" * 16),
            invoice("ST-1", "a2" * 16, "storno", referencedDocumentId="a1" * 16),
            invoice("RE-2", "a3" * 16, createdAt="2026-11-21T11:00:00.000+00:00"),
            invoice("L-1", "a4" * 16, "delivery_note"),
        ]
        order = order_from(row(documents=documents))
        assert [each.number for each in order.invoices] == ["RE-2"]
        assert order.references == ("RE-1",)


class TestAddresses:
    def test_the_first_delivery_says_where_to(self):
        there = {**HOME, "city": "Bonn"}
        deliveries = [
            {"shippingOrderAddress": None, "trackingCodes": None},
            {"shippingOrderAddress": there, "trackingCodes": ["00340", "", 7]},
            {"shippingOrderAddress": HOME, "trackingCodes": ["JD0"]},
        ]
        order = order_from(row(deliveries=deliveries))
        assert order.shipping_address.city == "Bonn"
        assert order.tracking_numbers == ("00340", "7", "JD0")

    @pytest.mark.parametrize("address", [None, {}, {"firstName": "", "phoneNumber": "1"}, []])
    def test_none(self, address):
        assert order_from(row(billingAddress=address)).billing_address is None

    @pytest.mark.parametrize(
        ("ids", "own", "found"),
        [(["DE1"], None, "DE1"), ([], "DE2", "DE2"), (None, None, None), (["", "DE3"], "x", "DE3")],
    )
    def test_the_vat_id_stands_in_two_places(self, ids, own, found):
        customer = {"vatIds": ids}
        order = order_from(row(orderCustomer=customer, billingAddress={**HOME, "vatId": own}))
        assert order.customer.vat_id == found


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"id": "10007"}, "usable id"),
            ({"id": KEY.upper()}, "usable id"),
            ({"versionId": "d" * 32}, "draft"),
            ({"currency": None}, "no currency"),
            ({"currency": {"isoCode": "Taler"}}, "no currency"),
            ({"orderDateTime": "odd", "createdAt": None}, "orderDateTime"),
        ],
    )
    def test_without_these_an_order_means_nothing(self, change, words):
        with pytest.raises(Rejected, match=words):
            order_from(row(**change))

    @pytest.mark.parametrize("odd", [None, [], "x", {}, {"errors": [{"code": "0"}]}])
    def test_what_is_no_order(self, odd):
        with pytest.raises(Rejected):
            order_from(odd)

    def test_an_order_without_a_number_is_known_by_its_id(self):
        assert order_from(row(orderNumber="  ")).number == KEY
        assert order_from(row(orderNumber=" RE 1 ")).number == "RE 1"

    @given(
        st.sampled_from(sorted(row())).filter(lambda name: name != "id"),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["technicalName", "isoCode", "config", "id", "amount", "x"]),
                    inner,
                    max_size=3,
                )
            ),
            max_leaves=6,
        ),
    )
    def test_whatever_a_field_holds_it_is_read_or_refused(self, name, value):
        try:
            order = order_from({**row(), name: value})
        except Rejected:
            return
        assert OrderSchema().validate(OrderSchema().dump(order)) == {}


def test_the_newest_time_of_any_part_is_the_change():
    late = "2026-11-20T18:00:00.000+00:00"
    for more in (
        {"updatedAt": late},
        {"transactions": [payment(updatedAt=late)]},
        {"deliveries": [{"updatedAt": late}]},
        {"documents": [invoice("RE-1", createdAt=late)]},
    ):
        assert changed_at(row(**more)) == datetime(2026, 11, 20, 18, tzinfo=UTC)
    assert changed_at({"id": KEY}) is None


class TestWays:
    stock = tuple(
        Transition(action, source, target)
        for source, arrows in stock_machines()[PAYMENT].arrows.items()
        for action, target in arrows.items()
    )

    def test_the_namesake_is_taken_where_there_are_two(self):
        here = [each for each in self.stock if each.source == "open"]
        assert step(here, "paid").action == "paid"
        assert step(here, "refunded") is None

    @pytest.mark.parametrize(
        ("start", "target", "actions"),
        [
            ("reminded", "paid", ["pay"]),
            ("failed", "reminded", ["reopen", "remind"]),
            ("refunded_partially", "paid", ["reopen", "paid"]),
            ("authorized", "reminded", []),
            ("open", "refunded", []),
            ("refunded", "paid", []),
            ("open", "shipped", []),
        ],
    )
    def test_over_the_stock_machine(self, start, target, actions):
        assert [each.action for each in way(self.stock, start, target)] == actions

    def test_what_the_shop_reports_is_read_with_tolerance(self):
        good = {"actionName": "pay", "fromStateName": "open", "toStateName": "paid"}
        assert reported({"transitions": [good, {"actionName": "x"}, None]}) == [
            Transition("pay", "open", "paid")
        ]
        for odd in (None, [], {"transitions": None}):
            assert reported(odd) == []
        state = {"technicalName": "open"}
        rows = [
            {"actionName": "pay", "fromStateMachineState": state, "toStateMachineState": state},
            {"actionName": "pay", "fromStateMachineState": None, "toStateMachineState": state},
        ]
        assert configured(rows) == [Transition("pay", "open", "open")]
