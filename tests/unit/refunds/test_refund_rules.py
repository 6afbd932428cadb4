"""What is decided about repayments, as tables."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.banking.payments.sepa_text import is_sepa_identifier
from server.orders.rules import (
    REFERENCE_ALPHABET,
    REFUND_ARRANGED,
    REFUND_PAID,
    REFUND_WAITING,
    make_payment_reference,
)
from server.refunds import rules
from server.refunds.rules import BankDetails, Facts

OWN = frozenset({"DE02120300000000202051"})
ERIKA = BankDetails("Erika Mustermann", "DE89370400440532013000")
PLAIN = Facts(
    amount=Decimal(40),
    received=Decimal(40),
    payee=ERIKA,
    details_by="bank",
    total=Decimal(40),
    paid=Decimal(40),
    payer_names=("ERIKA MUSTERMANN",),
    payer_iban=ERIKA.iban,
)


@pytest.mark.feature("K10")
def test_the_table_knows_every_status_and_leads_out_of_none_that_is_over():
    statuses = set(rules.MOVES)
    assert statuses == {*REFUND_ARRANGED, "cancelled"}
    assert set().union(*rules.MOVES.values()) <= statuses
    assert rules.MOVES["cancelled"] == frozenset()
    for status in REFUND_WAITING:
        assert {"cancelled", "processed", "held"} - {status} <= rules.MOVES[status]
    for status in ("in_process", *REFUND_PAID):
        assert not rules.may_move(status, "cancelled"), "money that may be gone is not cancelled"
        assert not rules.may_move(status, "held")


@pytest.mark.feature("N9", "C18")
@pytest.mark.parametrize(
    ("over", "holds"),
    [
        ({}, []),
        ({"payee": BankDetails("Bob Fremd", ERIKA.iban)}, ["payee_not_payer"]),
        ({"payee": BankDetails("E. Mustermann", ERIKA.iban)}, []),
        ({"payee": replace(ERIKA, iban="AT611904300234573201")}, ["iban_changed"]),
        ({"payer_iban": None}, []),
        ({"payer_iban": None, "iban_before": "AT611904300234573201"}, ["iban_changed"]),
        ({"payer_iban": None, "details_by": "shop"}, ["payee_not_payer"]),
        ({"payer_names": ()}, ["payee_not_payer"]),
        ({"payer_names": (), "details_by": "customer"}, []),
        ({"amount": Decimal("40.01")}, ["above_receipt"]),
        ({"is_possible_duplicate": True}, ["possible_duplicate"]),
        ({"second_from": Decimal(40)}, ["second_person"]),
        ({"second_from": Decimal("40.01")}, []),
        ({"paid": Decimal(80)}, []),
        ({"paid": Decimal("80.01")}, ["overpay_pattern"]),
        ({"earlier_repayments": 2}, []),
        ({"earlier_repayments": 3}, ["overpay_pattern"]),
        ({"total": None, "paid": Decimal(500)}, []),
    ],
)
def test_what_holds_a_repayment(over, holds):
    assert rules.holds_of(replace(PLAIN, **over)) == holds


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Erika Mustermann", "MUSTERMANN, ERIKA", True),
        ("Mustermann", "Erika Mustermann", True),
        ("Dr. Erika Müller-Lüdenscheidt", "ERIKA MUELLER LUEDENSCHEIDT", True),
        ("Max und Erika Mustermann", "Erika Mustermann", True),
        ("Buchhandel Sorge GmbH & Co. KG", "BUCHHANDEL SORGE", True),
        ("Max Mustermann", "Erika Mustermann", False),
        ("Erika Musterfrau", "Erika Mustermann", False),
        ("", "Erika Mustermann", False),
        ("Li Wu", "LI WU", True),
        ("Li Wu", "Li Xu", False),
        ("", "", False),
    ],
)
def test_who_is_the_same_person(one, other, same):
    assert rules.same_person(one, other) is same and rules.same_person(other, one) is same


@pytest.mark.feature("K56")
@pytest.mark.parametrize(
    ("name", "iban", "text", "code", "why"),
    [
        ("Erika Mustermann", ERIKA.iban, "AA-1", None, None),
        ("Erika Mustermann", None, "AA-1", None, "no_iban"),
        ("Erika Mustermann", "DE02120300000000202051", "", None, "own_account"),
        ("Klarna Bank AB", ERIKA.iban, "", None, "provider"),
        ("DPD Deutschland GmbH", ERIKA.iban, "", None, "carrier"),
        ("Hermes Maier", ERIKA.iban, "", None, None),
        ("Erika Mustermann", ERIKA.iban, "Bareinzahlung", None, "cash"),
        ("Erika Mustermann", None, "", "PMNT+CNTR+CDPT", "cash"),
        ("   ", ERIKA.iban, "", None, "no_name"),
        ("Эрика", ERIKA.iban, "", None, "no_name"),
    ],
)
def test_which_accounts_cannot_be_paid_back(name, iban, text, code, why):
    assert rules.unusable_because(name, iban, text, code, OWN) == why


@pytest.mark.feature("K57")
@pytest.mark.parametrize(
    ("total", "paid", "arranged", "most"),
    [(40, 40, 0, 80), (40, 100, 0, 100), (40, 40, 40, 40), (40, 40, 90, 0), (0, 10, 0, 10)],
)
def test_the_most_that_may_go_back(total, paid, arranged, most):
    assert rules.most_refundable(Decimal(total), Decimal(paid), Decimal(arranged)) == most


# --- our reference -----------------------------------------------------------------------------

bodies = st.integers(0, 2**32).map(lambda seed: make_payment_reference(random.Random(seed)))


@pytest.mark.feature("C14")
@given(body=bodies, number=st.integers(1, 999))
def test_a_reference_is_read_back_however_it_is_written(body, number):
    made = rules.make_reference(body, number)
    assert len(made) <= 35 and is_sepa_identifier(made)
    for text in (
        made,
        made.lower(),
        f"AA-4711 {made} Rest",
        made.replace("-", " "),
        made.replace("-", ""),
        f"EREF+{made}",
    ):
        assert rules.references_in(text) == [made]
    cut = len(made) // 2
    assert rules.references_named([None, f"AA-1 {made[:cut]}\n{made[cut:]} x"]) == [made]


@pytest.mark.feature("C14")
@given(
    body=bodies,
    number=st.integers(1, 999),
    place=st.integers(2, 9),
    other=st.sampled_from(REFERENCE_ALPHABET),
)
def test_a_mistyped_reference_is_none(body, number, place, other):
    made = rules.make_reference(body, number)
    wrong = made[:place] + other + made[place + 1 :]
    assert rules.references_in(wrong) == ([made] if wrong == made else [])


def test_an_orders_own_reference_is_no_repayments():
    body = make_payment_reference(random.Random(3))
    assert rules.references_in(f"{body} R-{body} R{body}") == []


def test_the_text_of_a_transfer_is_cut_only_at_the_reason():
    text = rules.transfer_text("AA-10037", "R-K7M2P9AX-1F", "x" * 140)
    assert len(text) == 140 and text.startswith("AA-10037 R-K7M2P9AX-1F xxx")
    assert rules.transfer_text("", "R-K7M2P9AX-1F", "") == "R-K7M2P9AX-1F"


# --- days and returns --------------------------------------------------------------------------


@pytest.mark.feature("K33", "K58")
@pytest.mark.parametrize(
    ("day", "days", "then"),
    [
        (date(2026, 3, 6), 0, date(2026, 3, 6)),
        (date(2026, 3, 7), 0, date(2026, 3, 9)),
        (date(2026, 3, 6), 1, date(2026, 3, 9)),
        (date(2026, 4, 2), 1, date(2026, 4, 7)),
        (date(2026, 12, 24), 2, date(2026, 12, 29)),
    ],
)
def test_bank_days(day, days, then):
    assert rules.add_bank_days(day, days) == then


@pytest.mark.parametrize(
    ("reason", "text", "wrong"),
    [
        ("AC04", "", True),
        ("AC01 IncorrectAccountNumber", None, True),
        (None, "Rücküberweisung IBAN fehlerhaft", True),
        (None, "KONTO ERLOSCHEN", True),
        ("MD07", "", False),
        (None, None, False),
        ("AM04", "Erika", False),
    ],
)
def test_when_the_account_was_wrong(reason, text, wrong):
    assert rules.are_details_wrong(reason, text) is wrong
