"""Which country's payment slip a customer gets, and what its code says."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from server.banking.payments.swiss_qr import Party
from server.banking.rules.accounts import Payee
from server.orders.slips import slip_facts

ADDRESS = Party("Annas Antiquariat", "8000", "Zürich", "CH", "Musterweg", "7")
GERMAN = Payee("DE89370400440532013000", "COBADEFFXXX", "Annas Antiquariat")
SWISS = Payee("CH9300762011623852957", "", "Annas Antiquariat", "CHF", address=ADDRESS)
QR_IBAN = replace(SWISS, iban="CH4431999123000889012")  # the example of the QR-bill's guidelines
QR_REFERENCE = "21 00000 00003 13947 14300 09017"


def facts(payee: Payee, **over: Any) -> dict[str, str]:
    asked: dict[str, Any] = {
        "country": None,
        "amount": Decimal("1284.60"),
        "currency": payee.currency,
        "payment_reference": "K4WX7P9M",
    }
    return slip_facts(payee, **asked | over)


@pytest.mark.feature("K18", "K19", "S62")
@pytest.mark.parametrize(
    ("payee", "country", "form"),
    [
        (GERMAN, "DE", ""),
        (GERMAN, None, ""),
        (GERMAN, "AT", "form_at"),
        (GERMAN, "at", "form_at"),
        (GERMAN, "CH", ""),
        (SWISS, "CH", "form_ch"),
        (SWISS, "AT", "form_ch"),
        (replace(SWISS, iban="LI21088100002324013AA"), "LI", "form_ch"),
    ],
)
def test_the_form_of_the_country(payee: Payee, country: str | None, form: str) -> None:
    found = facts(payee, country=country)
    assert [name for name in ("form_at", "form_ch") if found[name]] == ([form] if form else [])


@pytest.mark.feature("K19")
def test_there_is_one_code_and_it_is_that_of_the_country() -> None:
    german, swiss = facts(GERMAN), facts(SWISS)
    assert german["girocode"].startswith("BCD\n")
    assert german["swiss_qr"] == ""
    assert swiss["girocode"] == ""
    lines = swiss["swiss_qr"].split("\n")
    assert lines[:5] == ["SPC", "0200", "1", "CH9300762011623852957", "S"]
    assert lines[18:20] == ["1284.60", "CHF"]
    assert lines[27:31] == ["NON", "", "K4WX7P9M", "EPD"]


@pytest.mark.feature("K19", "N12")
def test_references_that_banks_check_stand_in_the_structured_field() -> None:
    found = facts(SWISS, payment_reference="RF18 5390 0754 7034")
    assert found["is_structured"] == "yes"
    assert found["swiss_qr"].split("\n")[27:30] == ["SCOR", "RF18539007547034", ""]
    assert facts(SWISS)["is_structured"] == ""


@pytest.mark.feature("K19")
def test_a_qr_iban_takes_only_a_qr_reference() -> None:
    found = facts(QR_IBAN, payment_reference=QR_REFERENCE)
    assert found["swiss_qr"].split("\n")[27:29] == ["QRR", "210000000003139471430009017"]
    assert facts(QR_IBAN)["swiss_qr"] == ""


@pytest.mark.parametrize(
    "over",
    [{"amount": Decimal(0)}, {"amount": Decimal("1.005")}, {"currency": "USD"}],
)
def test_what_the_standard_does_not_know_has_no_code(over: dict[str, Any]) -> None:
    for payee in (GERMAN, SWISS):
        found = facts(payee, **over)
        assert found["girocode"] == found["swiss_qr"] == ""


def test_without_the_owners_address_euros_still_have_a_giro_code() -> None:
    bare = replace(SWISS, address=None)
    assert facts(bare, currency="EUR")["girocode"].startswith("BCD\n")
    assert facts(bare)["swiss_qr"] == facts(bare)["girocode"] == ""
