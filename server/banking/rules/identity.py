"""Decides when two postings from two files are the same posting.

The same file twice, and files that overlap, must add nothing; two honest equal transfers on one
day must both stay. So a posting is known by a key and by its number among those with the same
key in one delivery: a file that holds one of them and a later one that holds two make two.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from enum import Enum
from hashlib import blake2b
from typing import Protocol

from server.banking.formats import ParsedPosting, printed

FINGERPRINT_BYTES = 16
COUNTING_KEY_BYTES = 8
LEAST_REFERENCE_CHARACTERS = 8
LEAST_DIFFERENT_CHARACTERS = 4
LEAST_CONTAINED_CHARACTERS = 6
NEAR = timedelta(days=3)

_NOT_SQUASHED = re.compile(r"[^A-Z0-9]+")
_KEYWORD = re.compile(r"(?:EREF|KREF|MREF|CRED|DEBT|SVWZ|ABWA|ABWE|BREF|RREF)\n?\+")
_SEPA_LETTERS = str.maketrans({"Ä": "AE", "Ö": "OE", "Ü": "UE", "ẞ": "SS"})


class Fingerprints:
    """Gives each posting of one delivery its fingerprint; the count of identical ones is its own.

    Memory is some 60 bytes for each different posting, whatever is in it.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._repeats: dict[int, int] = {}

    def of(self, posting: ParsedPosting) -> str:
        """The fingerprint of the next posting of the delivery."""
        key = identity(posting)
        # Who owns the posting is not part of the key, but two accounts in one file are counted
        # apart. Should two keys meet in 64 bits, a count is too high: never a lost posting.
        counted = f"{posting.account_iban or posting.account or ''}\n{key}".encode()
        short = int.from_bytes(blake2b(counted, digest_size=COUNTING_KEY_BYTES).digest())
        occurrence = 1
        if short in self._seen:
            occurrence = self._repeats[short] = self._repeats.get(short, 1) + 1
        self._seen.add(short)
        return _digest(key, occurrence)


def fingerprints(postings: Iterable[ParsedPosting]) -> Iterator[tuple[ParsedPosting, str]]:
    """Each posting of one delivery with its fingerprint, in order."""
    given = Fingerprints()
    for posting in postings:
        yield posting, given.of(posting)


def fingerprint(posting: ParsedPosting, occurrence: int) -> str:
    """The fingerprint of the n-th (from 1) posting with this identity in its delivery.

    32 hexadecimal digits; to be unique within one account.
    """
    assert occurrence >= 1
    return _digest(identity(posting), occurrence)


def identity(posting: ParsedPosting) -> str:
    """What makes a posting this one: the bank's own reference where it can be unique, else all.

    The reference counts together with leaf, amount, currency and booking date, because banks give
    one to a whole batch. A pending posting is never the booked one: the bank sends that again,
    and it must not be taken for known.
    """
    on = posting.booking_date or posting.value_date
    money = (
        on.isoformat() if on else "",
        printed(posting.amount),
        posting.currency or "",
        "pending" if posting.is_pending else "",
    )
    reference = squash(posting.bank_reference)
    if _can_be_unique(reference):
        return "|".join(("reference", *money, str(posting.leaf_index), reference))
    return "|".join(
        (
            "content",
            *money,
            posting.counterparty_iban or squash(posting.counterparty_name),
            squash(posting.remittance_information),
            squash(posting.creditor_reference),
            squash(posting.end_to_end_id),
        )
    )


def squash(text: str | None) -> str:
    """Letters and digits only, umlauts as SEPA writes them: the same in every bank's spelling."""
    if not text:
        return ""
    letters = _KEYWORD.sub("", text.upper()).translate(_SEPA_LETTERS)
    if not letters.isascii():
        letters = unicodedata.normalize("NFKD", letters)
    return _NOT_SQUASHED.sub("", letters)


def _can_be_unique(reference: str) -> bool:
    """Whether a reference looks like one of its kind: banks also print constants (55555)."""
    return (
        len(reference) >= LEAST_REFERENCE_CHARACTERS
        and len(set(reference)) >= LEAST_DIFFERENT_CHARACTERS
    )


def _digest(key: str, occurrence: int) -> str:
    return blake2b(f"{key}|{occurrence}".encode(), digest_size=FINGERPRINT_BYTES).hexdigest()


# --- the same money in files of different kinds ------------------------------------------------


class Likeness(Enum):
    """What two postings of one account, amount and currency are to each other."""

    SAME = "same"
    ALIKE = "alike"
    OTHER = "other"


class Told(Protocol):
    """What a bank told of a posting, read from a file or from the table."""

    @property
    def source(self) -> str: ...
    @property
    def booking_date(self) -> date | None: ...
    @property
    def value_date(self) -> date | None: ...
    @property
    def counterparty_name(self) -> str | None: ...
    @property
    def counterparty_iban(self) -> str | None: ...
    @property
    def remittance_information(self) -> str | None: ...
    @property
    def creditor_reference(self) -> str | None: ...
    @property
    def end_to_end_id(self) -> str | None: ...
    @property
    def bank_reference(self) -> str | None: ...


def likeness(one: Told, other: Told) -> Likeness:
    """Whether two postings of equal amount, from two deliveries, are the same money.

    SAME needs one day, texts of which one says all that the other says (banks cut, join and
    decorate them differently in each format), and nothing that speaks against it. Two accounts
    of the other party make them OTHER. A different name, payer's id or bank reference speaks
    against it, but formats mangle all three: where the same words stand on the same day, that is
    no accident, and a person is asked (ALIKE). So is whatever else could be one payment or two.
    """
    ibans = (one.counterparty_iban, other.counterparty_iban)
    gap = _days_between(one, other)
    if (all(ibans) and ibans[0] != ibans[1]) or gap is None or gap > NEAR:
        return Likeness.OTHER
    is_other_kind = one.source != other.source
    party = _same_party(one, other)
    if gap > timedelta(0):
        # One kind of file, two days: two bookings.
        is_odd = bool(party) and is_other_kind and not _ids_differ(one, other)
        return Likeness.ALIKE if is_odd else Likeness.OTHER
    texts_fit = _texts_fit(one, other)
    if party is False or _ids_differ(one, other) or _references_differ(one, other):
        is_told = len(core(one)) >= LEAST_CONTAINED_CHARACTERS
        is_sent_again = is_other_kind or _references_differ(one, other)
        is_odd = texts_fit and is_told and is_sent_again and party is not None
        return Likeness.ALIKE if is_odd else Likeness.OTHER
    if texts_fit:
        return Likeness.SAME
    return Likeness.ALIKE if party or is_other_kind else Likeness.OTHER


def _ids_differ(one: Told, other: Told) -> bool:
    """Payer's ids; formats cut them."""
    first, second = squash(one.end_to_end_id), squash(other.end_to_end_id)
    return bool(first and second) and not (first.startswith(second) or second.startswith(first))


def _references_differ(one: Told, other: Told) -> bool:
    first, second = squash(one.bank_reference), squash(other.bank_reference)
    return (
        one.source == other.source
        and first != second
        and _can_be_unique(first)
        and _can_be_unique(second)
    )


def _days_between(one: Told, other: Told) -> timedelta | None:
    for first, second in (
        (one.booking_date, other.booking_date),
        (one.value_date, other.value_date),
        (one.booking_date or one.value_date, other.booking_date or other.value_date),
    ):
        if first and second:
            return abs(first - second)
    return None


def _same_party(one: Told, other: Told) -> bool | None:
    """None where one of the two does not tell."""
    if one.counterparty_iban and other.counterparty_iban:
        return True  # two different ones were told apart before
    first, second = _loose(one.counterparty_name), _loose(other.counterparty_name)
    if not first or not second:
        return None
    # Formats cut names at 27, 35, 54 or 70 characters, and some put them into other orders.
    return first.startswith(second) or second.startswith(first) or sorted(first) == sorted(second)


def _loose(name: str | None) -> str:
    """A name whose umlauts may have been written as two letters or as one."""
    letters = squash(name)
    for two, one in (("AE", "A"), ("OE", "O"), ("UE", "U")):
        letters = letters.replace(two, one)
    return letters


def _texts_fit(one: Told, other: Told) -> bool:
    """Whether one text says all that the other says, numbers whole."""
    first, second = core(one), core(other)
    if first == second:
        return True
    return _holds(_all(other), first) or _holds(_all(one), second)


def core(told: Told) -> str:
    """What the payer wrote, squashed; the structured reference where there is no other text."""
    return squash(told.remittance_information) or squash(told.creditor_reference)


def _all(told: Told) -> str:
    said = (told.remittance_information, told.creditor_reference, told.end_to_end_id)
    return " ".join(filter(None, map(squash, said)))


def _holds(whole: str, part: str) -> bool:
    """Whether ``part`` stands in ``whole`` without cutting a number: 100 is not in 1001."""
    if len(part) < LEAST_CONTAINED_CHARACTERS:
        return False
    at = whole.find(part)
    while at >= 0:
        before, after = whole[at - 1 : at], whole[at + len(part) : at + len(part) + 1]
        cuts_number = (before.isdigit() and part[0].isdigit()) or (
            after.isdigit() and part[-1].isdigit()
        )
        if not cuts_number:
            return True
        at = whole.find(part, at + 1)
    return False


def is_booked_form_of(booked: Told, pending: Told) -> bool:
    """Whether a booked posting is what became of a pending one of the same amount (C8).

    Banks change texts, dates and ids when they book; the sender stays.
    """
    if _contradict_party(booked, pending):
        return False
    first = booked.booking_date or booked.value_date
    second = pending.booking_date or pending.value_date
    if first and second and not timedelta(days=-3) <= first - second <= PENDING_LASTS:
        return False
    return _same_party(booked, pending) is True or _texts_fit(booked, pending)


PENDING_LASTS = timedelta(days=10)


def _contradict_party(one: Told, other: Told) -> bool:
    ibans = (one.counterparty_iban, other.counterparty_iban)
    if all(ibans) and ibans[0] != ibans[1]:
        return True
    return _same_party(one, other) is False
