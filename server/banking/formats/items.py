"""What the readers of all formats give: postings, problems, and facts about the statement."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal


class Unreadable(Exception):
    """Nothing could be read at all; the message says in plain words why."""


@dataclass(frozen=True, slots=True)
class ParsedPosting:
    """One amount on an account: a bank's entry, or one payment inside a batch entry.

    ``amount`` is signed (money that came in is positive) and in the account's ``currency``.
    ``remittance_information`` joins the bank's fields by a line feed, which means "the bank may
    have cut here". What the bank did not say, or said unreadably, is ``None``.
    ``leaf_index`` counts the payments inside one entry from 0; ``where`` names the place in the
    file for people ("entry 12", "line 40"). Neither is printed.
    """

    account_iban: str | None
    booking_date: date | None
    value_date: date | None
    amount: Decimal
    currency: str | None
    counterparty_name: str | None = None
    counterparty_iban: str | None = None
    counterparty_bic: str | None = None
    remittance_information: str | None = None
    creditor_reference: str | None = None
    end_to_end_id: str | None = None
    mandate_id: str | None = None
    bank_reference: str | None = None
    transaction_code: str | None = None
    is_return: bool = False
    return_reason: str | None = None
    is_pending: bool = False
    is_batch_total: bool = False
    leaf_index: int = 0
    where: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the file that could not be read, and where it stands."""

    where: str
    what: str


@dataclass(frozen=True, slots=True)
class Balance:
    """What was on the account at the start or the end of a statement; debit is negative."""

    amount: Decimal
    currency: str | None
    on: date | None


@dataclass(frozen=True, slots=True)
class StatementFacts:
    """What a statement says about itself; given once for each statement, after its postings.

    ``account`` is the account as the bank printed it, ``account_iban`` the same where it is one.
    """

    account_iban: str | None = None
    account: str | None = None
    from_date: date | None = None
    to_date: date | None = None
    opening: Balance | None = None
    closing: Balance | None = None


Item = ParsedPosting | Problem | StatementFacts
