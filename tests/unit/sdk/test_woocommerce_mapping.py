"""WooCommerce's JSON becomes wire.Order: tolerant where it may be, strict in what goes out."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.woocommerce.mapping import modified_at, order_from, order_id
from plugin_sdk.cursors import mark_of
from plugin_sdk.errors import Rejected
from plugin_sdk.schemas import OrderSchema
from plugin_sdk.types import Address, Customer, Invoice, Item


def order(**over):
    """The least a shop sends that makes an order."""
    return {
        "id": 17,
        "number": "17",
        "status": "on-hold",
        "currency": "EUR",
        "total": "39.90",
        "date_created_gmt": "2026-11-21T16:02:29",
        "payment_method": "bacs",
        "meta_data": [],
        "refunds": [],
        **over,
    }


def meta(**entries):
    return [
        {"id": at, "key": key, "value": value} for at, (key, value) in enumerate(entries.items())
    ]


def test_the_least():
    found = order_from(order())
    assert (found.external_id, found.number, found.total) == ("17", "17", Decimal("39.90"))
    assert found.ordered_at == datetime(2026, 11, 21, 16, 2, 29, tzinfo=UTC)
    assert (found.currency, found.payment_method, found.shop_status) == ("EUR", "bacs", "on-hold")
    assert found.customer == Customer()
    assert found.billing_address is None


@pytest.mark.feature("S35")
def test_people_and_places():
    billing = {
        "first_name": "Erika",
        "last_name": "Mustermann",
        "company": "",
        "address_1": "Heidestraße 17",
        "address_2": "Hinterhaus",
        "city": "Köln",
        "state": "DE-NW",
        "postcode": "51147",
        "country": "DE",
        "email": "erika@example.org",
        "phone": "0221 1",
    }
    found = order_from(
        order(
            billing=billing,
            shipping=dict.fromkeys(billing, ""),
            customer_id=42,
            meta_data=meta(_billing_vat_id="DE123", wpml_language="de_AT"),
        )
    )
    assert found.customer == Customer(
        number="42", email="erika@example.org", language="de-AT", vat_id="DE123"
    )
    assert found.billing_address == Address(
        first_name="Erika",
        last_name="Mustermann",
        street="Heidestraße 17, Hinterhaus",
        postcode="51147",
        city="Köln",
        country="DE",
        phone="0221 1",
    )
    assert found.shipping_address is None, "empty texts are no address"


def test_a_guest_without_mail():
    found = order_from(order(customer_id=0, billing={"email": "", "phone": "1"}))
    assert found.customer == Customer()
    assert found.billing_address is None


@pytest.mark.feature("S37")
@pytest.mark.parametrize(
    ("total", "refunds", "due"),
    [
        ("39.90", [], "39.90"),
        ("39.90", ["-10.00"], "29.90"),
        ("39.90", ["-10.00", "-0.90"], "29.00"),
        ("39.90", ["-39.90"], "0.00"),
        ("39.90", ["-50.00"], "0.00"),
        ("53", [], "53.00"),
        ("53.3100", [], "53.31"),
        ("53.3149", [], "53.31"),
        ("53.3150", [], "53.32"),
        ("53.315", [], "53.32"),
        ("0.00", [], "0.00"),
    ],
)
def test_what_is_due(total, refunds, due):
    found = order_from(order(total=total, refunds=[{"id": 1, "total": each} for each in refunds]))
    assert found.total == Decimal(due)


def test_dinars_have_three_decimals():
    assert order_from(order(currency="KWD", total="53.3155")).total == Decimal("53.316")


def test_yen_keep_the_decimals_that_the_shop_gives_them():
    assert order_from(order(currency="JPY", total="53.31")).total == Decimal("53.31")


@pytest.mark.parametrize(
    "over",
    [
        {"total": None},
        {"total": ""},
        {"total": "x"},
        {"total": "NaN"},
        {"total": "Infinity"},
        {"total": "1e400"},
        {"total": "1000000000000"},
        {"currency": "BTC"},
        {"currency": None},
        {"refunds": [{"id": 1, "total": None}]},
        {"date_created_gmt": None},
        {"date_created_gmt": "yesterday"},
        {"id": None},
        {"id": "17; drop"},
        {"id": -1},
        {"id": True},
        {"id": 0},
    ],
)
def test_without_these_an_order_means_nothing(over):
    with pytest.raises(Rejected):
        order_from(order(**over))


@pytest.mark.parametrize("thing", [None, [], "x", 5, {"code": "rest_no_route", "message": "No"}])
def test_what_is_no_order(thing):
    with pytest.raises(Rejected):
        order_from(thing)


@pytest.mark.parametrize(
    ("own", "keys", "number", "others"),
    [
        ("17", {}, "17", ()),
        ("A-17", {}, "A-17", ("17",)),
        ("17", {"_order_number": "B-3"}, "B-3", ("17",)),
        ("17", {"_order_number": 3, "_order_number_formatted": "2026-3"}, "2026-3", ("3", "17")),
        ("17", {"_alg_wc_full_custom_order_number": "X17"}, "X17", ("17",)),
        ("A-17", {"_order_number": "B-3"}, "A-17", ("B-3", "17")),
        (None, {}, "17", ()),
        ("", {"_order_number": ""}, "17", ()),
    ],
)
def test_custom_order_numbers(own, keys, number, others):
    found = order_from(order(number=own, meta_data=meta(**keys)))
    assert (found.number, found.references) == (number, others)


@pytest.mark.feature("S60")
@pytest.mark.parametrize(
    ("over", "invoices"),
    [
        ({"meta_data": meta(_wcpdf_invoice_number="RE-1")}, [Invoice("RE-1")]),
        (
            {"meta_data": meta(_wcpdf_invoice_number="RE-1", _wcpdf_invoice_date=1795276949)},
            [Invoice("RE-1", date(2026, 11, 21))],
        ),
        (
            {
                "meta_data": meta(
                    _wcpdf_invoice_number="RE-1",
                    _wcpdf_invoice_date_formatted="2026-11-20 23:59:59",
                    _wcpdf_invoice_date="1795276949",
                )
            },
            [Invoice("RE-1", date(2026, 11, 20))],
        ),
        ({"wpo_wcpdf_invoice_number": "RE-2"}, [Invoice("RE-2")]),
        (
            {"wpo_wcpdf_invoice_number": "RE-1", "meta_data": meta(_wcpdf_invoice_number="RE-1")},
            [Invoice("RE-1")],
        ),
        (
            {
                "meta_data": meta(
                    _wp_wc_running_invoice_number="77", _wc_gzdp_latest_invoice_number="R-42"
                )
            },
            [Invoice("77"), Invoice("R-42")],
        ),
        ({"meta_data": meta(_wcpdf_invoice_number={"a": 1})}, []),
    ],
)
def test_invoice_numbers_of_the_common_plugins(over, invoices):
    assert list(order_from(order(**over)).invoices) == invoices


def test_items_and_parcels():
    lines = [
        {"name": "Tee <b>grün</b>", "quantity": 2, "sku": "T-1", "parent_name": None},
        {"name": "Stoff", "quantity": 1.5, "sku": ""},
        {"name": None, "quantity": None},
    ]
    parcels = meta(_wc_shipment_tracking_items=[{"tracking_number": "00340"}, {}])
    found = order_from(order(line_items=lines, meta_data=parcels))
    assert found.items == (
        Item("Tee <b>grün</b>", Decimal(2), "T-1"),
        Item("Stoff", Decimal("1.5")),
        Item("", Decimal(1)),
    )
    assert found.tracking_numbers == ("00340",)


def test_bank_details_are_not_read():
    found = order_from(order(direct_debit={"iban": "DE02120300000000202051"}))
    assert "DE02" not in repr(found)


def test_too_long_texts_are_cut_and_unstorable_ones_cleaned():
    found = order_from(
        order(
            number="9" * 100,
            billing={"last_name": "x\x00y\ud800" + "z" * 500, "country": "Deutschland"},
            line_items=[{"name": "n" * 900}] * 600,
        )
    )
    assert OrderSchema().load(OrderSchema().dump(found)) == found
    assert found.billing_address.last_name.startswith("xyzz")
    assert len(found.items) == 500


def test_php_turns_lists_into_objects():
    found = order_from(order(refunds={"3": {"total": "-1.00"}}, meta_data={}, line_items={}))
    assert found.total == Decimal("38.90")


def test_the_content_tells_what_the_second_cannot():
    first, second = order(), order(status="processing")
    assert modified_at(first) == modified_at(second)
    assert mark_of(first) != mark_of(second)
    assert mark_of(first) == mark_of(dict(reversed(first.items())))


def test_ids_are_text():
    assert order_id({"id": 17}) == order_id({"id": "17"}) == "17"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
names = st.sampled_from(
    """id number status currency total date_created_gmt date_created payment_method billing shipping
    customer_id meta_data refunds line_items wpo_wcpdf_invoice_number""".split()
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.fixed_dictionaries({"name": anything, "quantity": anything, "sku": anything})))
def test_whatever_is_sold_fits_the_wire(lines):
    found = order_from(order(line_items=lines))
    assert OrderSchema().load(OrderSchema().dump(found)) == found


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(names, anything, max_size=6))
def test_whatever_comes_is_mapped_or_rejected(over):
    try:
        found = order_from(order(**over))
    except Rejected:
        return
    assert OrderSchema().load(OrderSchema().dump(found)).external_id == found.external_id
