"""eBay's order JSON to the wire: money in the buyer's currency, people that are forgotten."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from connectors.ebay.mapping import is_payable_offline, order_from
from connectors.ebay.payouts import payout_from
from plugin_sdk.errors import Rejected
from plugin_sdk.schemas import OrderSchema
from plugin_sdk.testing.ebay_seller import Seller, money
from plugin_sdk.types import PaymentCode, PayoutKind

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def seller():
    return Seller(lambda: NOW)


def order_of(seller, **wanted):
    return seller.orders[seller.create(**wanted)]


class TestMoney:
    def test_the_total_is_what_the_buyer_owes_not_what_the_seller_gets(self, seller):
        order = order_of(seller, method="EBAY", total="75.28")
        assert order["paymentSummary"]["totalDueSeller"]["value"] == "66.25"
        assert order_from(order).total == Decimal("75.28")

    def test_what_ebay_converted_is_taken_back(self, seller):
        order = order_of(seller, total="12.30", currency="USD", converted_from=("10.5", "EUR"))
        mapped = order_from(order)
        assert (mapped.total, mapped.currency) == (Decimal("10.50"), "EUR")

    @pytest.mark.feature("S37")
    def test_a_part_given_back_lowers_the_total(self, seller):
        key = seller.create(total="50.00", status="PAID", method="EBAY")
        seller.refund(key, "12.5")
        mapped = order_from(seller.orders[key])
        assert (mapped.total, mapped.shop_status) == (Decimal("37.50"), "PARTIALLY_REFUNDED")

    def test_all_given_back_leaves_nothing_whatever_the_refunds_say(self, seller):
        order = order_of(seller, total="8.90", status="FULLY_REFUNDED", method="EBAY")
        order["paymentSummary"]["refunds"] = [
            {"amount": money("1.28", "EUR"), "refundStatus": "REFUNDED"}
        ]
        assert order_from(order).total == Decimal("0.00")

    @pytest.mark.parametrize("status", ["FAILED", "PENDING"])
    def test_a_refund_that_is_none_changes_nothing(self, seller, status):
        order = order_of(seller, total="8.90")
        order["paymentSummary"]["refunds"] = [
            {"amount": money("1.28", "EUR"), "refundStatus": status}
        ]
        assert order_from(order).total == Decimal("8.90")

    def test_a_currency_without_cents(self, seller):
        assert order_from(order_of(seller, total="1200", currency="JPY")).total == Decimal(1200)


class TestPeople:
    def test_all_that_is_known(self, seller):
        order = order_of(seller)
        order["buyer"]["buyerRegistrationAddress"]["companyName"] = "Mustermann GbR"
        order["buyer"]["taxIdentifier"] = {
            "taxIdentifierType": "VATIN", "taxpayerId": "DE123456789", "issuingCountry": "DE",
        }  # fmt: skip
        mapped = order_from(order)
        assert mapped.billing_address.last_name == "Erika Mustermann"
        assert mapped.billing_address.company == "Mustermann GbR"
        assert mapped.shipping_address.street == "Heidestraße 17"
        assert mapped.customer.number == "buyer-1"
        assert mapped.customer.email == "0a1b2c3d4e5f@members.ebay.com"
        assert (mapped.customer.language, mapped.customer.vat_id) == ("de", "DE123456789")

    @pytest.mark.parametrize(
        ("days", "has_email", "has_name"), [(13, True, True), (15, False, True), (91, False, False)]
    )
    def test_what_ebay_forgot_is_left_out(self, seller, days, has_email, has_name):
        order = order_of(seller, created=NOW - timedelta(days=days))
        mapped = order_from(seller.visible(order, in_list=True))
        told = OrderSchema().dump(mapped)
        assert ("email" in told["customer"]) is has_email
        assert ("last_name" in told["billing_address"]) is has_name
        assert ("street" in told["billing_address"]) is has_name
        assert ("phone" in told["billing_address"]) is has_name
        assert told["billing_address"]["city"] == "Köln"

    def test_what_ebay_masked_is_left_out(self, seller):
        order = order_of(seller)
        for contact in (
            order["buyer"]["buyerRegistrationAddress"],
            order["fulfillmentStartInstructions"][0]["shippingStep"]["shipTo"],
        ):
            contact["fullName"] = "E**************n"
            contact["email"] = "e*****@***.com"
            contact["primaryPhone"] = {"phoneNumber": "4**-***-***1"}
            contact["contactAddress"]["addressLine1"] = "H********e 17"
        order["buyer"]["username"] = "b*****1"
        mapped = order_from(order)
        assert mapped.customer.email is None
        assert mapped.customer.number is None
        assert mapped.billing_address.last_name is None
        assert mapped.billing_address.phone is None
        assert mapped.billing_address.street is None
        assert mapped.billing_address.city == "Köln"

    @pytest.mark.parametrize("email", ["Invalid Request", "", None, 5, "a@b@c"])
    def test_an_address_that_is_none(self, seller, email):
        order = order_of(seller)
        order["buyer"]["buyerRegistrationAddress"]["email"] = email
        order["fulfillmentStartInstructions"][0]["shippingStep"]["shipTo"]["email"] = email
        assert order_from(order).customer.email is None

    def test_a_parcel_that_ebay_sends_on(self, seller):
        order = order_of(seller)
        order["fulfillmentStartInstructions"][0]["finalDestinationAddress"] = {
            "addressLine1": "1 Example Street", "city": "Dublin", "countryCode": "IE",
        }  # fmt: skip
        assert order_from(order).shipping_address.city == "Dublin"
        assert order_from(order).billing_address.city == "Köln"


class TestStatuses:
    def test_cancelled_wins(self, seller):
        order = order_of(seller, status="FULLY_REFUNDED")
        order["cancelStatus"]["cancelState"] = "CANCELED"
        assert order_from(order).shop_status == "CANCELED"
        order["cancelStatus"]["cancelState"] = "IN_PROGRESS"
        assert order_from(order).shop_status == "FULLY_REFUNDED"

    @pytest.mark.parametrize(
        ("method", "is_offline"),
        [("EFT", True), ("CASH_ON_PICKUP", True), (None, True), ("EBAY", False), ("PAYPAL", False)],
    )
    def test_who_is_paid(self, seller, method, is_offline):
        assert is_payable_offline(order_of(seller, method=method)) is is_offline

    def test_only_what_is_paid_past_ebay_is_open_by_default(self):
        from connectors.ebay import Ebay

        methods = {each for code in Ebay.defaults.values() for each in code.methods}
        assert methods == {"EFT", "CASHIER_CHECK", "PERSONAL_CHECK", "CASH_ON_PICKUP"}
        assert Ebay.defaults[PaymentCode.PREPAYMENT].open_statuses == ("PENDING",)

    def test_the_last_attempt_that_did_not_fail_counts(self, seller):
        order = order_of(seller)
        order["paymentSummary"]["payments"] = [
            {"paymentMethod": "EBAY", "paymentStatus": "FAILED"},
            {"paymentMethod": "EFT", "paymentStatus": "PENDING"},
            {"paymentMethod": "EBAY", "paymentStatus": "FAILED"},
        ]
        assert order_from(order).payment_method == "EFT"

    def test_numbers_and_items(self, seller):
        order = order_of(seller, item="**NEU** Märchen")
        mapped = order_from(order)
        assert mapped.number == mapped.external_id == order["orderId"]
        assert mapped.references == (order["legacyOrderId"], "101")
        assert [(item.name, item.number) for item in mapped.items] == [("**NEU** Märchen", "AA-1")]
        order["salesRecordReference"] = "0"
        assert order_from(order).references == (order["legacyOrderId"],)


REQUIRED = {
    "orderId": "orderId",
    "creationDate": "creationDate",
    "pricingSummary": "total",
}


class TestRefused:
    @pytest.mark.parametrize("field", sorted(REQUIRED))
    def test_without_it_an_order_means_nothing(self, seller, field):
        order = order_of(seller)
        del order[field]
        with pytest.raises(Rejected, match=REQUIRED[field]):
            order_from(order)

    @pytest.mark.parametrize(
        "identifier", ["", " ", "a b", "1,2", 7, None, "x" * 65, "ü", "12-\n1"]
    )
    def test_ids_that_are_none(self, seller, identifier):
        with pytest.raises(Rejected, match="orderId"):
            order_from({**order_of(seller), "orderId": identifier})

    @pytest.mark.parametrize("value", [None, "", "NaN", "1e400", "1000000000000", True, {}, "1,5"])
    def test_totals_that_are_none(self, seller, value):
        order = order_of(seller)
        order["pricingSummary"]["total"]["value"] = value
        with pytest.raises(Rejected, match="total cannot be read"):
            order_from(order)

    def test_a_currency_that_is_none(self, seller):
        order = order_of(seller)
        order["pricingSummary"]["total"]["currency"] = "Taler"
        with pytest.raises(Rejected, match="ISO 4217"):
            order_from(order)

    def test_a_refund_in_another_currency(self, seller):
        order = order_of(seller)
        order["paymentSummary"]["refunds"] = [
            {"amount": money("1", "USD"), "refundStatus": "REFUNDED"}
        ]
        with pytest.raises(Rejected, match="refund"):
            order_from(order)

    @pytest.mark.parametrize("what", [None, [], "order", 5])
    def test_what_is_no_order(self, what):
        with pytest.raises(Rejected):
            order_from(what)

    def test_whatever_is_optional_may_be_anything(self, seller):
        order = order_of(seller)
        required = {*REQUIRED, "orderPaymentStatus"}
        for field in set(order) - required:
            for odd in (None, [], {}, "x", 5, [None], {"payments": "x", "a": [1]}):
                broken = {**copy.deepcopy(order), field: odd}
                mapped = order_from(broken)
                assert OrderSchema().validate(OrderSchema().dump(mapped)) == {}


class TestPayouts:
    @pytest.mark.feature("N6")
    @pytest.mark.parametrize(
        ("told", "kind"),
        [("SALE", "sale"), ("REFUND", "refund"), ("CREDIT", "credit"), ("DISPUTE", "dispute"),
         ("NON_SALE_CHARGE", "fee"), ("TRANSFER", "other"), ("WHAT_COMES_NEXT", "other")],
    )  # fmt: skip
    def test_kinds(self, seller, told, kind):
        seller.book(told, "-3.00")
        payout = payout_from(seller.payouts[seller.pay_out()], seller.bookings)
        (part,) = payout.parts
        assert (part.kind, part.net) == (kind, Decimal("-3.00"))
        assert payout.amount == Decimal("-3.00")

    def test_a_payout_without_parts_is_all_difference(self, seller):
        payout = payout_from(seller.payouts[seller.pay_out(amount="7.00")], [])
        assert [(part.kind, part.net) for part in payout.parts] == [
            (PayoutKind.DIFFERENCE, Decimal("7.00"))
        ]

    @pytest.mark.parametrize(
        ("field", "value"),
        [("payoutId", None), ("payoutId", "a/b"), ("amount", {}), ("payoutDate", "soon"),
         ("amount", {"value": "x", "currency": "EUR"})],
    )  # fmt: skip
    def test_payouts_that_cannot_be_read(self, seller, field, value):
        payout = {**seller.payouts[seller.pay_out(amount="1.00")], field: value}
        with pytest.raises(Rejected, match="ayout"):
            payout_from(payout, [])

    @pytest.mark.parametrize("broken", [{"bookingEntry": None}, {"amount": {"value": "x"}}])
    def test_parts_that_cannot_be_read(self, seller, broken):
        booking = seller.book("SALE", "1.00") | broken
        payout = seller.payouts[seller.pay_out(amount="1.00")]
        with pytest.raises(Rejected):
            payout_from(payout, [booking])
