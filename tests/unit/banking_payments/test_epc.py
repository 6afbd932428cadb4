"""The text of the European QR code follows EPC069-12."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from server.banking.payments.epc import girocode_payload

IBAN = "DE89370400440532013000"  # the example account of the German IBAN literature


def payload(**over: Any) -> str | None:
    arguments: dict[str, Any] = {
        "creditor": "Annas Antiquariat",
        "iban": IBAN,
        "bic": "COBADEFFXXX",
        "amount": Decimal("1284.60"),
        "currency": "EUR",
        "reference": "K4WX7P9MQ2",
    }
    return girocode_payload(**{**arguments, **over})


@pytest.mark.feature("K18", "K19")
def test_payload() -> None:
    assert payload() == (
        "BCD\n002\n1\nSCT\nCOBADEFFXXX\nAnnas Antiquariat\nDE89370400440532013000\n"
        "EUR1284.60\n\n\nK4WX7P9MQ2"
    )


@pytest.mark.parametrize(("amount", "line"), [("87.4", "EUR87.40"), ("5", "EUR5.00")])
def test_two_decimals_always(amount: str, line: str) -> None:
    assert (payload(amount=Decimal(amount)) or "").split("\n")[7] == line


@pytest.mark.feature("N12")
def test_a_creditor_reference_goes_into_its_own_field() -> None:
    lines = (payload(reference="RF18 5390 0754 7034") or "").split("\n")
    assert lines[9:] == ["RF18539007547034"]
    wrong = (payload(reference="RF19539007547034") or "").split("\n")
    assert wrong[9:] == ["", "RF19539007547034"]


@pytest.mark.parametrize(
    "over",
    [
        {"currency": "CHF"},
        {"iban": ""},
        {"iban": "DE88370400440532013000"},
        {"creditor": " "},
        {"amount": Decimal(0)},
        {"amount": Decimal("-1.00")},
        {"amount": Decimal("1000000000.00")},
        {"amount": Decimal("0.015")},
        {"reference": "x" * 141},
        {"creditor": "𝔄" * 70, "reference": "ß" * 70},
    ],
)
def test_where_the_standard_has_no_code(over: dict[str, Any]) -> None:
    assert payload(**over) is None


def test_nothing_breaks_out_of_its_line() -> None:
    text = payload(creditor="Anna\nDE02120300000000202051\r\u2028x", reference="a\nEUR1.00")
    assert text is not None
    lines = text.split("\n")
    assert lines[5] == "Anna DE02120300000000202051 x"
    assert lines[6:8] == [IBAN, "EUR1284.60"]
    assert lines[10] == "a EUR1.00"


def test_a_long_name_is_cut_and_a_wrong_bic_left_out() -> None:
    lines = (payload(creditor="A" * 80, bic="COBA") or "").split("\n")
    assert lines[4] == ""
    assert lines[5] == "A" * 70
