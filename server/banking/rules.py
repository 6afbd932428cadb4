"""Decides when two postings from two files are the same posting.

The same file twice, and files that overlap, must add nothing; two honest equal transfers on one
day must both stay. So a posting is known by a key and by its number among those with the same
key in one delivery: a file that holds one of them and a later one that holds two make two.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from hashlib import blake2b

from server.banking.formats import ParsedPosting, printed

FINGERPRINT_BYTES = 16
COUNTING_KEY_BYTES = 8
LEAST_REFERENCE_CHARACTERS = 8
LEAST_DIFFERENT_CHARACTERS = 4

_NOT_SQUASHED = re.compile(r"[^A-Z0-9]+")
_KEYWORD = re.compile(r"(?:EREF|KREF|MREF|CRED|DEBT|SVWZ|ABWA|ABWE|BREF|RREF)\n?\+")
_SEPA_LETTERS = str.maketrans({"Ä": "AE", "Ö": "OE", "Ü": "UE", "ẞ": "SS"})


def fingerprints(postings: Iterable[ParsedPosting]) -> Iterator[tuple[ParsedPosting, str]]:
    """Each posting of one delivery with its fingerprint, in order.

    Give all postings of one delivery to one call: the count of identical ones is its own.
    Memory is some 60 bytes for each different posting, whatever is in it.
    """
    seen: set[int] = set()
    repeats: dict[int, int] = {}
    for posting in postings:
        key = identity(posting)
        # Who owns the posting is not part of the key, but two accounts in one file are counted
        # apart. Should two keys meet in 64 bits, a count is too high: never a lost posting.
        counted = f"{posting.account_iban or ''}\n{key}".encode()
        short = int.from_bytes(blake2b(counted, digest_size=COUNTING_KEY_BYTES).digest())
        occurrence = 1
        if short in seen:
            occurrence = repeats[short] = repeats.get(short, 1) + 1
        seen.add(short)
        yield posting, _digest(key, occurrence)


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
