"""Which payment a return belongs to, without a database."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.orders.return_rules import (
    WEIGHTS,
    find_span,
    looks_returned,
    reasons,
    squashed,
    telling_end_to_end_id,
    weight_of,
    which_is_sure,
)

pytestmark = pytest.mark.feature("C16", "N18")


@dataclass
class Paper:
    """A posting as the rules see it."""

    amount: Decimal
    id: int = 1
    booking_date: date | None = date(2026, 3, 5)
    value_date: date | None = None
    counterparty_name: str | None = None
    counterparty_iban: str | None = None
    remittance_information: str | None = None
    end_to_end_id: str | None = None
    bank_reference: str | None = None
    transaction_code: str | None = None
    is_return: bool = False


def came(amount="20.00", **over):
    return Paper(Decimal(amount), **over)


def went(amount="-20.00", **over):
    return Paper(Decimal(amount), **({"booking_date": date(2026, 3, 12)} | over))


def kinds(back, paid, *references):
    return {reason.kind for reason in reasons(back, paid, references)}


def test_the_amount_alone_says_nothing():
    assert reasons(went(), came(), ["AA-10037"]) == ()


def test_every_reason_is_told():
    same = {
        "counterparty_name": "Erika Mustermann",
        "counterparty_iban": "DE89 3704 0044 0532 0130 00",
        "end_to_end_id": "E2E-77",
    }
    back = went(**same | {"counterparty_name": "MUSTERMANN, ERIKA"})
    back.remittance_information = "RETOURE AA10037"
    found = reasons(back, came(**same), ["AA-10037"])
    assert {reason.kind for reason in found} == WEIGHTS.keys() - {"return_fee"}
    assert [reason.weight for reason in found] == sorted(
        (reason.weight for reason in found), reverse=True
    )
    assert found[1].stored() == {
        "kind": "return_reference",
        "weight": 3.0,
        "facts": {"reference": "AA-10037"},
        "span": [8, 15],
    }


def test_the_reference_of_the_bank_weighs_as_much_as_the_payers():
    paid = came(bank_reference="2026-0305-00012345")
    named = went(remittance_information="RRTN ZU 2026030500012345")
    same = went(bank_reference="2026-0305-00012345")
    for back in (named, same):
        assert weight_of(reasons(back, paid, ())) == 6.0


@pytest.mark.parametrize(
    ("back", "paid", "is_one"),
    [
        ("-20.00", "20.00", True),
        ("-35.00", "20.00", True),  # with a fee of 15.00
        ("-35.01", "20.00", False),
        ("-19.99", "20.00", False),  # the bank takes back all of it, or nothing
        ("20.00", "-20.00", True),  # a transfer of ours that came back
        ("18.50", "-20.00", True),  # less a fee
        ("20.01", "-20.00", False),
        ("20.00", "20.00", False),
        ("-20.00", "-20.00", False),
    ],
)
def test_the_amounts_must_fit(back, paid, is_one):
    same = {"end_to_end_id": "E2E-77"}
    assert bool(reasons(went(back, **same), came(paid, **same), ())) is is_one


@pytest.mark.parametrize(
    ("day", "is_one"),
    [
        (date(2026, 3, 12), True),
        (date(2026, 3, 13), False),
        (date(2025, 2, 5), True),
        (date(2025, 2, 4), False),
        (None, True),
    ],
)
def test_it_was_paid_before_and_not_too_long_ago(day, is_one):
    same = {"end_to_end_id": "E2E-77"}
    assert bool(reasons(went(**same), came(booking_date=day, **same), ())) is is_one


@pytest.mark.parametrize("said", [None, "", "NOTPROVIDED", "not provided", "NONREF", "7"])
def test_no_end_to_end_id_is_none_however_it_is_written(said):
    assert telling_end_to_end_id(came(end_to_end_id=said)) is None
    assert kinds(went(end_to_end_id=said), came(end_to_end_id=said)) == set()


@pytest.mark.parametrize(
    ("text", "reference", "found"),
    [
        ("Zahlung AA-10037 zurueck", "AA-10037", "AA-10037"),
        ("zahlung aa 10 037", "AA-10037", "aa 10 037"),
        ("Zahlung AA-100370", "AA-10037", None),
        ("Zahlung 1AA-10037", "AA-10037", None),
        ("Zahlung 12", "12", None),  # too short to say anything
        ("", "AA-10037", None),
    ],
)
def test_a_number_is_found_where_it_stands(text, reference, found):
    span = find_span(text, reference)
    assert (text[slice(*span)] if span else None) == found


@given(st.text(max_size=40), st.text(max_size=12))
def test_a_span_is_of_the_text_and_says_the_number(text, reference):
    span = find_span(text, reference)
    if span is not None:
        assert squashed(text[slice(*span)]) == squashed(reference)


@pytest.mark.parametrize(
    ("over", "is_one"),
    [
        ({"is_return": True}, True),
        ({"transaction_code": "PMNT/RDDT/UPDD"}, True),
        ({"transaction_code": "NRTI+109"}, True),
        ({"transaction_code": "PMNT/RCDT/ESCT"}, False),
        ({"remittance_information": "Rückbuchung wegen Unzustellbarkeit"}, True),
        ({"remittance_information": "KONTO\nGESPERRT"}, True),
        ({"remittance_information": "Gutschrift zu Ihrer Retoure"}, False),
        ({}, False),
    ],
)
def test_what_looks_returned(over, is_one):
    assert looks_returned(went(**over)) is is_one


@pytest.mark.parametrize(
    ("weights", "place"),
    [([], None), ([4.9], None), ([5.0], 0), ([5.0, 4.0], 0), ([5.0, 6.0], 1), ([6.0, 5.5], None)],
)
def test_only_what_weighs_enough_and_has_no_rival_is_sure(weights, place):
    assert which_is_sure(weights) == place
