"""Payment providers and neobanks: gross and fee, states that book nothing, several currencies."""

from __future__ import annotations

import csv
import io
from datetime import date
from decimal import Decimal

import pytest

from server.banking.formats import Item, ParsedPosting, Problem, StatementFacts, parse

PAYPAL = (
    "Date,Time,TimeZone,Name,Type,Status,Currency,Gross,Fee,Net,From Email Address,"
    "Transaction ID,Reference Txn ID,Invoice Number,Custom Number,Balance Impact"
).split(",")
SALE = {
    "Date": "18/11/2025",
    "Name": "Erika Mustermann",
    "Type": "Express Checkout Payment",
    "Status": "Completed",
    "Currency": "EUR",
    "Gross": "1,049.90",
    "Fee": "-26.50",
    "Net": "1,023.40",
    "From Email Address": "erika@example.org",
    "Transaction ID": "5AB1",
    "Invoice Number": "AN-1",
    "Custom Number": "17",
    "Balance Impact": "Credit",
}


def items(header: list[str], *rows: dict[str, str]) -> list[Item]:
    out = io.StringIO()
    writer = csv.DictWriter(out, header, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return list(parse(io.BytesIO(out.getvalue().encode()), "file"))


def postings(header: list[str], *rows: dict[str, str]) -> list[ParsedPosting]:
    return [one for one in items(header, *rows) if isinstance(one, ParsedPosting)]


@pytest.mark.feature("C1")
def test_a_payment_is_gross_and_fee_of_one_entry() -> None:
    gross, fee, facts = items(PAYPAL, SALE)
    assert isinstance(gross, ParsedPosting)
    assert isinstance(fee, ParsedPosting)
    assert isinstance(facts, StatementFacts)
    assert (gross.amount, fee.amount) == (Decimal("1049.90"), Decimal("-26.50"))
    assert (gross.leaf_index, fee.leaf_index) == (0, 1)
    assert gross.entry == fee.entry
    assert gross.entry is not None
    assert gross.entry.amount == Decimal("1023.40")
    assert gross.bank_reference == fee.bank_reference == "5AB1"
    assert gross.remittance_information == "AN-1\n17\nerika@example.org"
    assert (gross.counterparty_name, gross.transaction_code) == (
        "Erika Mustermann",
        "Express Checkout Payment",
    )
    assert fee.remittance_information == "PayPal Fee"
    assert gross.booking_date == date(2025, 11, 18)
    assert gross.account == facts.account == "PayPal"
    assert (facts.currency, facts.is_complete) == ("EUR", False)


@pytest.mark.feature("C1", "C8")
@pytest.mark.parametrize(
    ("status", "is_pending"),
    [
        ("Completed", False),
        ("Abgeschlossen", False),
        ("Partially Refunded", False),
        ("Pending", True),
        ("Ausstehend", True),
        ("Denied", True),
        ("Abgelehnt", True),
    ],
)
def test_only_what_is_completed_is_booked(status: str, is_pending: bool) -> None:
    assert {one.is_pending for one in postings(PAYPAL, SALE | {"Status": status})} == {is_pending}


@pytest.mark.feature("C1")
def test_rows_that_move_no_balance_are_no_postings() -> None:
    memo = SALE | {"Type": "General Authorization", "Balance Impact": "Memo"}
    assert [one.leaf_index for one in postings(PAYPAL, SALE, memo)] == [0, 1]
    without_column = [name for name in PAYPAL if name != "Balance Impact"]
    memo = {key: value for key, value in memo.items() if key != "Balance Impact"}
    assert {one.is_pending for one in postings(without_column, memo)} == {True}


@pytest.mark.feature("C1")
def test_conversions_and_payouts_are_postings_and_nothing_is_lost() -> None:
    rows = [
        SALE | {"Currency": "USD", "Gross": "30.00", "Fee": "-1.47", "Net": "28.53"},
        SALE | {"Type": "General Currency Conversion", "Currency": "USD", "Gross": "-28.53"},
        SALE | {"Type": "General Currency Conversion", "Gross": "25.91"},
        SALE | {"Type": "General Withdrawal", "Gross": "-25.91"},
    ]
    for row in rows[1:]:
        row |= {"Fee": "0.00", "Net": row["Gross"]}
    found = postings(PAYPAL, *rows)
    assert sum(one.amount for one in found) == Decimal("28.53") - Decimal("28.53")
    assert [one.currency for one in found] == ["USD", "USD", "USD", "EUR", "EUR"]
    [facts] = [one for one in items(PAYPAL, *rows) if isinstance(one, StatementFacts)]
    assert facts.currency is None


def test_a_returned_fee_comes_back() -> None:
    refund = SALE | {"Gross": "-10.00", "Fee": "0.35", "Net": "-9.65"}
    assert [one.amount for one in postings(PAYPAL, refund)] == [Decimal(-10), Decimal("0.35")]


def test_a_fee_that_does_not_add_up_is_said() -> None:
    found = items(PAYPAL, SALE | {"Net": "1,000.00"})
    assert [one.amount for one in found if isinstance(one, ParsedPosting)] == [
        Decimal("1049.90"),
        Decimal("-26.50"),
    ]
    [problem] = [one for one in found if isinstance(one, Problem)]
    assert "do not add up" in problem.what


@pytest.mark.feature("C1")
def test_stripe_takes_its_fee_off() -> None:
    header = (
        "balance_transaction_id,created_utc,available_on_utc,currency,gross,fee,net,"
        "reporting_category,source_id,description"
    ).split(",")
    row = {
        "balance_transaction_id": "txn_1",
        "created_utc": "2025-11-18 10:02:11",
        "currency": "eur",
        "gross": "600.00",
        "fee": "8.70",
        "net": "591.30",
        "reporting_category": "charge",
        "source_id": "ch_1",
        "description": "Order 1041",
    }
    gross, fee = postings(header, row)
    assert (gross.amount, fee.amount) == (Decimal(600), Decimal("-8.70"))
    assert (gross.currency, gross.account, gross.transaction_code) == ("EUR", "Stripe", "charge")
    assert gross.remittance_information == "Order 1041\nch_1"


@pytest.mark.feature("C8")
@pytest.mark.parametrize(("state", "is_pending"), [("COMPLETED", False), ("REVERTED", True)])
def test_revolut_deducts_fees_beside_the_amount(state: str, is_pending: bool) -> None:
    header = (
        "Type,Product,Started Date,Completed Date,Description,Amount,Fee,Currency,State,Balance"
    ).split(",")
    row = {
        "Type": "TRANSFER",
        "Completed Date": "2025-11-18 10:00:00",
        "Description": "Bestellung 7",
        "Amount": "-20.00",
        "Fee": "0.50",
        "Currency": "EUR",
        "State": state,
    }
    paid, fee = postings(header, row)
    assert (paid.amount, fee.amount) == (Decimal(-20), Decimal("-0.50"))
    assert paid.entry is not None
    assert paid.entry.amount == Decimal("-20.50")
    assert paid.is_pending is is_pending


def test_wise_says_charges_that_are_in_the_amount_already() -> None:
    header = (
        "TransferWise ID,Date,Amount,Currency,Description,Payment Reference,Running Balance,"
        "Payer Name,Payee Name,Total fees"
    ).split(",")
    row = {
        "TransferWise ID": "TRANSFER-1",
        "Date": "18-11-2025",
        "Amount": "1049.90",
        "Currency": "EUR",
        "Payment Reference": "AN-1",
        "Payer Name": "Erika Mustermann",
        "Total fees": "0.30",
    }
    [posting] = postings(header, row)
    assert (posting.amount, posting.charges) == (Decimal("1049.90"), Decimal("0.30"))
    assert (posting.counterparty_name, posting.bank_reference) == ("Erika Mustermann", "TRANSFER-1")


def test_what_a_bank_prints_for_nothing_is_nothing() -> None:
    header = (
        "Buchungsdatum,Time completed,Status,Transaktionsart,Auftraggeber/Empfänger,"
        "Counterparty BIC,Counterparty IBAN,Verwendungszweck,Zahlungswährung,Zahlungsbetrag"
    ).split(",")
    row = dict.fromkeys(header, "N/A") | {
        "Buchungsdatum": "18.11.2025",
        "Zahlungsbetrag": "-5.00",
        "Zahlungswährung": "EUR",
    }
    [posting] = postings(header, row)
    assert (posting.remittance_information, posting.counterparty_iban) == (None, None)
