"""What is found in the text of a proof, and which posting fits it (N26)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.orders.proof_rules import (
    MAX_AMOUNTS,
    Booked,
    Read,
    fitting,
    read_text,
)

IBAN = "DE89370400440532013000"
SLIP = """Musterbank Nord          Überweisung          22.11.2026 10:42
Auftraggeber  Max Mustermann   DE89 3704 0044 0532 0130 00
Empfänger     Annas Antiquariat  IBAN DE02 1203 0000 0000 2020 51 BIC BYLADEM1001
Betrag        1.284,60 EUR
Verwendungszweck   K4WX 7P9M Q2
Ende-zu-Ende-Referenz NB-20261122-0042
"""


@pytest.mark.feature("N26")
def test_a_slip_is_read() -> None:
    read = read_text(SLIP)
    assert read.state == "read"
    assert read.amounts == (Decimal("1284.60"),)
    assert read.dates == (date(2026, 11, 22),)
    assert read.ibans == (IBAN, "DE02120300000000202051")
    assert "NB-20261122-0042" in read.words
    assert Read.from_json(read.as_json()) == read


@pytest.mark.parametrize(
    ("text", "amounts"),
    [
        ("1.284,60 €", ["1284.60"]),
        ("€1,284.60", ["1284.60"]),
        ("CHF 1’284.60", ["1284.60"]),
        ("1 284,60", ["1284.60"]),
        ("EUR 19,90. Danke", ["19.90"]),
        ("am 22.11.2026 um 10.42.13", []),
        ("Kontonummer 123,4567", []),
        ("0,00", []),
        ("-19,90", []),
        ("19,90 und 19.90", ["19.90"]),
        ("1234567890,12", []),
        ("1 000 000 000 000 000 000,00", []),
        ("111 " * 25_000 + "111,90", ["111111111111.90"]),
        ("٥٠٠,٥٠", []),
    ],
)
def test_amounts_are_those_with_two_decimals(text: str, amounts: list[str]) -> None:
    assert read_text(text + " x").amounts == tuple(map(Decimal, amounts))


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("2026-11-22", [date(2026, 11, 22)]),
        ("1.2.26", [date(2026, 2, 1)]),
        ("22/11/2026", [date(2026, 11, 22)]),
        ("31.02.2026", []),
        ("99.99.9999", []),
    ],
)
def test_days_as_banks_print_them(text: str, days: list[date]) -> None:
    assert list(read_text(text).dates) == days


def test_an_iban_with_wrong_check_digits_is_none() -> None:
    assert read_text("DE88 3704 0044 0532 0130 00").ibans == ()


@pytest.mark.parametrize("text", ["", " \n\f "])
def test_a_picture_of_a_slip_has_no_text(text: str) -> None:
    assert read_text(text).state == "no_text"


@pytest.mark.parametrize(
    ("reference", "is_named"),
    [("K4WX7P9MQ2", True), ("k4wx-7p9m-q2", True), ("K4WX7P9MQ3", False), ("NB-2026", False)],
)
def test_the_reference_is_found_however_it_is_spaced(reference: str, is_named: bool) -> None:
    assert read_text(SLIP, [reference]).reference is is_named


def test_a_short_number_inside_another_is_no_reference() -> None:
    assert not read_text("Konto 4711048299", ["10482"]).reference
    assert read_text("Bestellung 10482", ["10482"]).reference


def booked(number: int, **over: object) -> Booked:
    values = {"amount": Decimal("1284.60"), "booked_on": date(2026, 11, 23)}
    return Booked(number, **(values | over))  # type: ignore[arg-type]


@pytest.mark.feature("N26")
def test_the_posting_with_most_in_common_comes_first() -> None:
    by_day = booked(1)
    by_payer = booked(2, counterparty_iban=IBAN, booked_on=None)
    by_id = booked(3, end_to_end_id="nb-20261122-0042", booked_on=None)
    by_text = booked(4, text="Danke K4WX7P9MQ2", booked_on=None)
    found = fitting(
        read_text(SLIP),
        [by_day, by_payer, by_id, by_text],
        ["K4WX7P9MQ2"],
        [Decimal("1284.60")],
    )
    assert [one.posting_id for one in found] == [3, 2, 4, 1]
    assert found[0].because == ("end_to_end_id",)


@pytest.mark.feature("N26")
@pytest.mark.parametrize(
    "posting",
    [
        booked(1, amount=Decimal("1284.61"), counterparty_iban=IBAN),
        booked(1, booked_on=date(2026, 12, 20)),
        booked(1, booked_on=date(2026, 11, 1)),
        booked(1, booked_on=None),
    ],
    ids=["another amount", "much later", "before", "nothing else"],
)
def test_what_has_too_little_in_common_does_not_fit(posting: Booked) -> None:
    assert fitting(read_text(SLIP), [posting], ["K4WX7P9MQ2"], [Decimal("1284.60")]) == []


def test_the_day_alone_is_not_enough_for_an_amount_that_nobody_owed() -> None:
    assert fitting(read_text(SLIP), [booked(1)], [], [Decimal("19.90")]) == []


@given(st.text(max_size=2000))
def test_no_text_breaks_it_and_all_that_is_found_is_bounded(text: str) -> None:
    read = read_text(text)
    assert Read.from_json(read.as_json()) == read


def test_a_text_of_amounts_alone_is_cut() -> None:
    text = " ".join(f"{number},50" for number in range(1, 5000))
    assert len(read_text(text).amounts) == MAX_AMOUNTS
