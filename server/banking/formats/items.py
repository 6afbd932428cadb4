"""What the readers of all formats give: postings, problems, and facts about the statement."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

MAX_RAW_CHARACTERS = 500


class Unreadable(Exception):
    """Nothing could be read at all; the message says in plain words why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The bank's entry that several payments stand in, or that has none of its payments listed.

    ``amount`` is signed, like a posting's. ``references`` are all that the bank gives the entry
    or its batch (AcctSvcrRef, NtryRef, PmtInfId, MsgId), so that the details which another file
    delivers are known to belong to it. ``size`` is how many payments it says to hold.
    """

    amount: Decimal
    references: tuple[str, ...] = ()
    size: int | None = None


@dataclass(frozen=True, slots=True)
class ForeignAmount:
    """What was paid in another currency (InstdAmt), unsigned; the rate as the bank states it."""

    amount: Decimal
    currency: str
    exchange_rate: Decimal | None = None


# Not frozen: that makes building one eight times as slow, and a file holds very many. Nobody
# changes one; ``dataclasses.replace`` gives another.
@dataclass(slots=True, unsafe_hash=True)
class ParsedPosting:
    """One amount on an account: a bank's entry, or one payment inside a batch entry.

    ``amount`` is signed (money that came in is positive) and in the account's ``currency``.
    ``remittance_information`` joins the bank's fields by a line feed, which means "the bank may
    have cut here". What the bank did not say, or said unreadably, is ``None``.

    What follows ``is_batch_total`` is not printed: ``leaf_index`` counts the payments inside one
    entry from 0, and ``entry`` is that entry (None where entry and payment are the same);
    ``source`` names the kind of file (``camt.053``, ``MT940``, ``CSV``); ``account`` is the own
    account as the file names it, where that is no IBAN; ``charges`` were taken off by the bank,
    unsigned; ``where`` names the place in the file for people ("entry 12", "line 40").
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
    entry: Entry | None = None
    source: str = ""
    account: str | None = None
    foreign: ForeignAmount | None = None
    charges: Decimal | None = None
    where: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the file that could not be read, where it stands, and the piece itself.

    ``raw`` is at most ``MAX_RAW_CHARACTERS`` of the file at that place, as far as it is text.
    """

    where: str
    what: str
    raw: str | None = None


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
    ``source`` is that of its postings. ``is_complete``: it claims to hold every booked posting
    from ``from_date`` to ``to_date`` (camt.053, MT940); a notification or a search result does not.
    ``number`` is the bank's own count of its statements (ElctrncSeqNb, LglSeqNb, field 28C).
    """

    account_iban: str | None = None
    account: str | None = None
    from_date: date | None = None
    to_date: date | None = None
    opening: Balance | None = None
    closing: Balance | None = None
    currency: str | None = None
    source: str = ""
    is_complete: bool = False
    number: str | None = None


Item = ParsedPosting | Problem | StatementFacts
