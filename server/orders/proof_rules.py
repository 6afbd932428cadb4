"""What the text of a proof says, and whether a posting fits it (N26). Pure.

A file of its own because ``rules`` is about orders, and what strangers upload is read with other
suspicion: everything found is bounded, nothing found books anything.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final, Literal, TypeVar

from schwifty import IBAN

MAX_AMOUNTS: Final = 50
MAX_DATES: Final = 30
MAX_IBANS: Final = 10
MAX_WORDS: Final = 150
MAX_CANDIDATES: Final = 60
SHORTEST_WORD: Final = 5
LONGEST_WORD: Final = 35
SHORTEST_INSIDE: Final = 8
"""A reference of so many characters is in no other by chance, so blanks need not count."""
SOONEST, LATEST = timedelta(days=1), timedelta(days=7)
"""A transfer is booked some days after the day that its order form shows, weekends included."""
SHORTEST_IBAN, LONGEST_IBAN = 15, 34

T = TypeVar("T")
State = Literal["read", "no_text", "unreadable", "picture"]

_AMOUNT = re.compile(  # at most three groups: without an end, a page of digits takes minutes
    r"(?<![\w.,'’-])([0-9]{1,3}(?:[.,'’ \u00a0\u202f][0-9]{3}){1,3}|[0-9]{1,9})"
    r"[.,]([0-9]{2})(?![.,'’]?\d)"
)
_DATES = (
    re.compile(r"(?<!\d)(?P<d>\d{1,2})[./](?P<m>\d{1,2})[./](?P<y>\d{4}|\d{2})(?!\d)"),
    re.compile(r"(?<!\d)(?P<y>\d{4})-(?P<m>\d{2})-(?P<d>\d{2})(?!\d)"),
)
_IBAN_BEGINS = re.compile(r"(?<![A-Z0-9])[A-Z]{2}\d{2}(?=[ \u00a0]?[A-Z0-9])")
_WORD = re.compile(r"[A-Z0-9][A-Z0-9/-]*[A-Z0-9]")


@dataclass(frozen=True, slots=True)
class Read:
    """What was found in a proof. ``words`` are those with a digit in them, in capitals;
    ``reference``: it names the order."""

    state: State
    reference: bool = False
    amounts: tuple[Decimal, ...] = ()
    dates: tuple[date, ...] = ()
    ibans: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "reference": self.reference,
            "amounts": [str(one) for one in self.amounts],
            "dates": [one.isoformat() for one in self.dates],
            "ibans": list(self.ibans),
            "words": list(self.words),
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Read:
        return cls(
            stored["state"],
            stored["reference"],
            tuple(Decimal(one) for one in stored["amounts"]),
            tuple(date.fromisoformat(one) for one in stored["dates"]),
            tuple(stored["ibans"]),
            tuple(stored["words"]),
        )


# --- reading ------------------------------------------------------------------------------------


def read_text(text: str, references: Iterable[str] = ()) -> Read:
    """Amounts with two decimals, days, valid IBANs, words that may be somebody's id, and whether
    one of ``references`` stands there.

    >>> read_text("22.11.2026 Betrag 1.284,60 EUR").amounts
    (Decimal('1284.60'),)
    """
    plain = unicodedata.normalize("NFKC", text).upper()
    if not plain.strip():
        return Read("no_text")
    return Read(
        "read",
        any(_names(plain, one) for one in references),
        _first(_amounts(plain), MAX_AMOUNTS),
        _first(_days(plain), MAX_DATES),
        _first(_ibans(plain), MAX_IBANS),
        _first(_words(plain), MAX_WORDS),
    )


def _first(found: Iterable[T], most: int) -> tuple[T, ...]:
    """Each once, the first ones."""
    return tuple(dict.fromkeys(found))[:most]


def _amounts(text: str) -> Iterator[Decimal]:
    for whole, cents in _AMOUNT.findall(text):
        amount = Decimal(f"{re.sub(r'[^0-9]', '', whole)}.{cents}")
        if amount:
            yield amount


def _days(text: str) -> Iterator[date]:
    for pattern in _DATES:
        for found in pattern.finditer(text):
            year = int(found["y"])
            try:
                yield date(year + 2000 if year < 100 else year, int(found["m"]), int(found["d"]))
            except ValueError:
                continue


def _ibans(text: str) -> Iterator[str]:
    """By ISO 13616: the length is the country's, so the valid beginning of what follows is it."""
    for number, found in enumerate(_IBAN_BEGINS.finditer(text)):
        if number >= MAX_CANDIDATES:
            return
        follows = text[found.start() : found.start() + 2 * LONGEST_IBAN]
        compact = re.sub(r"[ \u00a0]", "", follows.split("\n")[0])[:LONGEST_IBAN]
        for length in range(SHORTEST_IBAN, len(compact) + 1):
            if IBAN(compact[:length], allow_invalid=True).is_valid:
                yield compact[:length]
                break


def _words(text: str) -> Iterator[str]:
    for word in _WORD.findall(text):
        if SHORTEST_WORD <= len(word) <= LONGEST_WORD and any(one.isdigit() for one in word):
            yield word


def _names(text: str, reference: str) -> bool:
    """However it is spaced and hyphenated; a short one only as a word of its own."""
    squashed = _squashed(reference)
    if len(squashed) >= SHORTEST_INSIDE:
        return squashed in _squashed(text)
    word = rf"(?<![A-Z0-9]){re.escape(reference.upper())}(?![A-Z0-9])"
    return bool(squashed) and re.search(word, text) is not None


# --- comparing ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Booked:
    """What is compared of a posting."""

    id: int
    amount: Decimal
    booked_on: date | None
    counterparty_iban: str | None = None
    end_to_end_id: str | None = None
    text: str = ""


Because = Literal["end_to_end_id", "payer", "reference", "day"]


@dataclass(frozen=True, slots=True)
class Fit:
    """A posting of an amount that the proof names, and what else it has in common with it."""

    posting_id: int
    because: tuple[Because, ...]


def fitting(
    read: Read, postings: Iterable[Booked], references: Sequence[str], owed: Iterable[Decimal]
) -> list[Fit]:
    """The postings that this proof may be of, the best first.

    Day alone is enough only for an amount that the order ``owed``: an amount of everyday life is
    booked every day.
    """
    sums = set(owed)
    found: list[Fit] = []
    for posting in postings:
        if posting.amount not in read.amounts:
            continue
        because = tuple(_because(read, posting, references))
        if set(because) - {"day"} or (because and posting.amount in sums):
            found.append(Fit(posting.id, because))
    return sorted(found, key=lambda one: (_RANK[one.because[0]], -len(one.because)))


_RANK: Final[dict[Because, int]] = {"end_to_end_id": 0, "payer": 1, "reference": 2, "day": 3}


def _because(read: Read, posting: Booked, references: Sequence[str]) -> Iterator[Because]:
    """In the order of their weight."""
    end_to_end_id = (posting.end_to_end_id or "").upper()
    if len(end_to_end_id) >= SHORTEST_WORD and end_to_end_id in read.words:
        yield "end_to_end_id"
    if posting.counterparty_iban and posting.counterparty_iban in read.ibans:
        yield "payer"
    if any(
        len(_squashed(one)) >= SHORTEST_WORD and _squashed(one) in _squashed(posting.text)
        for one in references
    ):
        yield "reference"
    booked_on = posting.booked_on
    if booked_on is not None and any(
        one - SOONEST <= booked_on <= one + LATEST for one in read.dates
    ):
        yield "day"


def _squashed(text: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", text.upper())
