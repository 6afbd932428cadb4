"""Which earlier payment did the bank take back? Pure; ``returns.py`` asks the database.

A return leaves the account: a recalled transfer, a returned direct debit, a chargeback. Its fields
say it (ISO 20022 external code list, sub-families such as RRTN; German business codes 108, 109,
159) or its text does. What belongs together has the same payer's id, amount, account, name or
number; the bank may have kept a fee.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final, Protocol

MAX_FEE: Final = Decimal(15)
"""More than a bank charges for a return, in the posting's currency."""
MAX_AGE: Final = timedelta(days=400)
SURE_WEIGHT: Final = 5.0
CLEARLY_BETTER: Final = 1.0
MIN_REFERENCE_LENGTH: Final = 4
MIN_END_TO_END_LENGTH: Final = 3
NO_END_TO_END: Final = frozenset({"", "NOTPROVIDED", "NONREF", "NICHTANGEGEBEN", "KEINEREFERENZ"})

WEIGHTS: Final = {
    "return_end_to_end": 4.0,
    "return_reference": 3.0,
    "return_amount": 2.0,
    "return_iban": 2.0,
    "return_name": 1.0,
    "return_fee": 1.0,
}
BANK_REFERENCE_WEIGHT: Final = 4.0

_CODES: Final = frozenset("RRTN UPDD PRDD RCDD UPCT RPCR ARET AREV UPCQ 108 109 159".split())
RETURN_WORDS: Final = (
    r"RUE?CK(?:UE?B|LASTS|BUCH|BELAST|LEIT|LAE?UF|RUF|GABE)|RETOURE|\bRETURN(?:ED)?\b|\bRECALL\b"
    r"|CHARGEBACK|\bR-TRANSA[CK]TION|UNZUSTELLBAR|NICHT[ \n]AUSFUE?HRBAR"
    r"|KONTO[ \n]?(?:ERLOSCHEN|GESPERRT|GESCHLOSSEN|AUFGELOE?ST)"
    r"|\bIBAN[ \n](?:FALSCH|FEHLERHAFT|UNGUE?LTIG|UNBEKANNT)"
    r"|\b(?:AC0[1-6]|AG0[12]|AM0[45]|BE0[14]|[CD]NOR|FOCR|MD0[1-7]|MS0[23]|RC01|RR0[1-4]|SL01)\b"
)
"""What banks write of money that comes back, in capitals, Ä as AE or A; the last are the reason
codes of ISO 20022."""
_SAYS_RETURNED: Final = re.compile(RETURN_WORDS)
# What a merchant writes who sends money back himself: that is a refund, and no return.
_SAYS_REFUNDED: Final = re.compile(r"ERSTATTUNG|RUE?CKZAHLUNG|REFUND|GUTSCHRIFT|WIDERRUF")
_UMLAUTS: Final = str.maketrans({"Ä": "AE", "Ö": "OE", "Ü": "UE", "ß": "SS"})
_NO_LETTER: Final = re.compile(r"[^A-Z0-9]+")


class Booked(Protocol):
    """What a return and a payment are compared by; ``banking.models.Posting`` has it."""

    @property
    def id(self) -> int: ...
    @property
    def amount(self) -> Decimal: ...
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
    def end_to_end_id(self) -> str | None: ...
    @property
    def bank_reference(self) -> str | None: ...
    @property
    def transaction_code(self) -> str | None: ...
    @property
    def is_return(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason why a return belongs to a payment. ``kind`` is one of ``WEIGHTS``.

    ``facts`` are what it says, as strings: ``end_to_end_id``, ``reference``, ``amount``, ``iban``,
    ``name``, ``fee``. ``span`` is where in the return's remittance information it stands.
    """

    kind: str
    weight: float
    facts: dict[str, str]
    span: tuple[int, int] | None = None

    def stored(self) -> dict[str, Any]:
        """As ``Suggestion.evidence`` keeps it."""
        span = list(self.span) if self.span else None
        return {"kind": self.kind, "weight": self.weight, "facts": self.facts, "span": span}


def looks_returned(posting: Booked) -> bool:
    """Whether the bank says that this money comes back or goes back, whatever its direction."""
    parts = re.split(r"[/+]", posting.transaction_code or "")
    if posting.is_return or any(part.strip() in _CODES for part in parts):
        return True
    text = _plain(f"{posting.remittance_information or ''} {posting.transaction_code or ''}")
    return bool(_SAYS_RETURNED.search(text)) and not _SAYS_REFUNDED.search(text)


def telling_end_to_end_id(posting: Booked) -> str | None:
    """The payer's own id, in the form in which it is compared; None where there is none."""
    key = squashed(posting.end_to_end_id)
    return key if key not in NO_END_TO_END and len(key) >= MIN_END_TO_END_LENGTH else None


def day_of(posting: Booked) -> date | None:
    return posting.booking_date or posting.value_date


def reasons(back: Booked, paid: Booked, references: Iterable[str]) -> tuple[Reason, ...]:
    """Why ``back`` may be the return of ``paid``; empty if it cannot be, or nothing but the amount
    says so.

    ``back`` goes the other way after ``paid``, with the same amount or so that up to ``MAX_FEE``
    is lost to a bank: more left than had come, or less came back than was sent. ``references`` are
    the numbers of the orders that ``paid`` is for.
    """
    fee = -(back.amount + paid.amount)
    is_way_back = (back.amount < 0) != (paid.amount < 0)
    if not is_way_back or not 0 <= fee <= MAX_FEE or not _is_before(paid, back):
        return ()
    found = [
        *_same_ids(back, paid),
        *_same_party(back, paid),
        *_named(back.remittance_information or "", references),
    ]
    if not found:
        return ()
    if fee:
        found.append(_reason("return_fee", fee=f"{fee:.2f}", amount=f"{abs(paid.amount):.2f}"))
    else:
        found.append(_reason("return_amount", amount=f"{abs(paid.amount):.2f}"))
    return tuple(sorted(found, key=lambda reason: -reason.weight))


def weight_of(found: Sequence[Reason]) -> float:
    return sum(reason.weight for reason in found)


def which_is_sure(weights: Sequence[float]) -> int | None:
    """The place of the one that is surely meant, None if none is: the heaviest, by far enough."""
    if not weights:
        return None
    best = max(range(len(weights)), key=lambda place: weights[place])
    rivals = [weight for place, weight in enumerate(weights) if place != best]
    is_best = all(weights[best] >= weight + CLEARLY_BETTER for weight in rivals)
    return best if weights[best] >= SURE_WEIGHT and is_best else None


def _is_before(paid: Booked, back: Booked) -> bool:
    first, second = day_of(paid), day_of(back)
    return first is None or second is None or timedelta(0) <= second - first <= MAX_AGE


def _same_ids(back: Booked, paid: Booked) -> Iterable[Reason]:
    end_to_end = telling_end_to_end_id(back)
    if end_to_end is not None and end_to_end == telling_end_to_end_id(paid):
        yield _reason("return_end_to_end", end_to_end_id=paid.end_to_end_id or "")
    if paid.bank_reference:
        span = find_span(back.remittance_information or "", paid.bank_reference)
        if span is not None or squashed(back.bank_reference) == squashed(paid.bank_reference):
            facts = {"reference": paid.bank_reference}
            yield Reason("return_reference", BANK_REFERENCE_WEIGHT, facts, span)


def _same_party(back: Booked, paid: Booked) -> Iterable[Reason]:
    iban = squashed(back.counterparty_iban)
    if iban and iban == squashed(paid.counterparty_iban):
        yield _reason("return_iban", iban=paid.counterparty_iban or "")
    words, others = _words(back.counterparty_name), _words(paid.counterparty_name)
    if words and words == others:
        yield _reason("return_name", name=paid.counterparty_name or "")


def _named(text: str, references: Iterable[str]) -> Iterable[Reason]:
    for reference in references:
        span = find_span(text, reference)
        if span is not None:
            yield _reason("return_reference", span, reference=reference)
            return


def find_span(text: str, reference: str) -> tuple[int, int] | None:
    """Where the text names the reference, whatever its case and separators."""
    key = squashed(reference)
    if len(key) < MIN_REFERENCE_LENGTH:
        return None
    spelled = r"[\W_]*".join(map(re.escape, key))
    found = re.search(rf"(?<![^\W_]){spelled}(?![^\W_])", text, re.IGNORECASE)
    return found.span() if found else None


def squashed(text: str | None) -> str:
    """Capital letters and digits only."""
    return _NO_LETTER.sub("", _plain(text or ""))


def _words(name: str | None) -> frozenset[str]:
    return frozenset(word for word in _NO_LETTER.split(_plain(name or "")) if word)


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.upper().translate(_UMLAUTS))
    return "".join(sign for sign in decomposed if not unicodedata.combining(sign))


def _reason(kind: str, span: tuple[int, int] | None = None, **facts: str) -> Reason:
    return Reason(kind, WEIGHTS[kind], facts, span)
