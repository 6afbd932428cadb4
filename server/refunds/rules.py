"""What is decided about a repayment: its way, what holds it, what it is called. Pure.

The statuses are those of ``orders.models.Refund`` (K10). Which of them count as arranged and as
paid is in ``orders.rules``, because the ledger counts by it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final, Literal

from server.banking.payments.sepa_text import sepa_name
from server.banking.rules.bank_days import is_banking_day
from server.banking.rules.identity import squash
from server.banking.rules.ignoring import provider_named
from server.orders.rules import (
    REFERENCE_ALPHABET,
    is_payment_reference,
    name_key,
    name_words,
)

ZERO: Final = Decimal(0)
MOVES: Final[Mapping[str, frozenset[str]]] = {
    "new": frozenset("planned bank_details_missing held in_process processed cancelled".split()),
    "planned": frozenset("new bank_details_missing held processed cancelled".split()),
    "bank_details_missing": frozenset("new planned held processed cancelled".split()),
    "held": frozenset("new planned bank_details_missing processed cancelled".split()),
    "in_process": frozenset("new processed failed bank_details_missing".split()),
    "processed": frozenset("failed bank_details_missing".split()),
    "failed": frozenset("new planned bank_details_missing held processed cancelled".split()),
    "cancelled": frozenset(),
}
"""From each status to those that may follow. Whatever is not with the bank may turn out to have
been paid (``processed``): a person did it himself, or the posting is there. What was executed may
come back; nothing revives a cancelled one."""

MOST_OF_ORDER: Final = 2
"""At most so many times the order's total goes back, unless more was paid (K57)."""
MANY_TIMES: Final = 2
"""Paid more than so many times over: that is how money is sent round to be washed (N9). Exactly
twice is a double payment, which honest people make every day."""
MANY_REPAYMENTS: Final = 3
PATTERN_DAYS: Final = 30
DUPLICATE_DAYS: Final = 3
"""So near to each other, the same payer's same amount may be one payment told twice (K46)."""
MAX_NAME_LENGTH: Final = 140
MAX_TEXT_LENGTH: Final = 140
MOST_DAYS_IN_A_ROW: Final = 60

Hold = Literal[
    "payee_not_payer",
    "iban_changed",
    "above_receipt",
    "possible_duplicate",
    "second_person",
    "overpay_pattern",
    "payment_returned",
]
HOLDS: Final[tuple[Hold, ...]] = (
    "payee_not_payer",
    "iban_changed",
    "above_receipt",
    "possible_duplicate",
    "second_person",
    "overpay_pattern",
    "payment_returned",
)
"""Why a repayment waits for a second person (N9, C18); the last when the bank took the money back
that it would repay (N18)."""
DetailsBy = Literal["bank", "customer", "merchant", "shop"]


def may_move(before: str, after: str) -> bool:
    """Whether a repayment of this status may come into that one."""
    return after in MOVES[before]


# --- bank details ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BankDetails:
    """Whom to pay. ``iban`` without blanks; empty strings where nothing is known."""

    name: str
    iban: str
    bic: str = ""


Unusable = Literal["no_iban", "no_name", "own_account", "provider", "carrier", "cash"]

_CARRIERS: Final = re.compile(
    r"\b(?:DHL|DEUTSCHE POST|DPD|GLS|HERMES(?: GERMANY| LOGISTIK)|UPS|UNITED PARCEL SERVICE|FEDEX"
    r"|TNT EXPRESS|ÖSTERREICHISCHE POST|OESTERREICHISCHE POST|DIE SCHWEIZERISCHE POST)\b"
)
_CASH: Final = re.compile(
    r"\b(?:BAREINZAHLUNG|BARGELDEINZAHLUNG|EINZAHLUNGSAUTOMAT|CASH DEPOSIT|SB-EINZAHLUNG)\b"
)
_CASH_CODES: Final = frozenset({"CDPT", "CHKD", "082"})


def unusable_because(
    name: str | None,
    iban: str | None,
    text: str | None,
    transaction_code: str | None,
    own_ibans: frozenset[str],
) -> Unusable | None:
    """Why the account that a payment came from cannot be paid back to (K56); None if it can.

    Whether the IBAN is one at all has been asked already: ``iban`` is None where it is not, or not
    of a SEPA country. A payment provider or parcel carrier paid for many customers at once.
    """
    if _is_cash(name, text, transaction_code):
        return "cash"
    if iban is None:
        return "no_iban"
    if iban in own_ibans:
        return "own_account"
    if provider_named(name or ""):
        return "provider"
    if _CARRIERS.search((name or "").upper()):
        return "carrier"
    return None if _is_name(name) else "no_name"


def _is_cash(name: str | None, text: str | None, transaction_code: str | None) -> bool:
    codes = re.split(r"[/+]", transaction_code or "")
    if any(code.strip() in _CASH_CODES for code in codes):
        return True
    return bool(_CASH.search(f"{name or ''} {text or ''}".upper()))


def _is_name(name: str | None) -> bool:
    try:
        return any(character.isalnum() for character in sepa_name(name or ""))
    except ValueError:
        return False


def same_person(one: str, other: str) -> bool:
    """Whether two names may be one person's or company's, after what banks do to names.

    Order, case, accents, titles, legal forms and initials do not count; a family name alone is
    enough. Neither name says anything without a word of three letters.
    """
    first, second = _words(one), _words(other)
    if not first or not second:
        return squash(one) == squash(other) != ""
    return first <= second or second <= first


def _words(name: str) -> frozenset[str]:
    """Without what is shorter than three letters, so without initials."""
    keys = {name_key(word) for word in name_words(_JOINTS.sub(" ", name))}
    return frozenset(keys - _TITLES - {""})


_JOINTS: Final = re.compile(r"[,./&+;]")
_TITLES: Final = frozenset(
    name_key(word) for word in "Herr Herrn Frau Prof Dipl Ing Mag Fam Familie Firma und and".split()
)


# --- what holds it -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a repayment before it may go; amounts in its currency.

    ``received`` is what came on accounts and is not arranged to go back otherwise, ``paid`` all
    that counts as paid of an order with this ``total`` (None: no order). ``payer_names`` and
    ``payer_iban`` are those of the payments; the IBAN is None where it is unusable.
    ``iban_before``: to which the repayment would have gone before it was changed.
    ``earlier_repayments`` of surplus to the same payer within ``PATTERN_DAYS``. From
    ``second_from`` on a second person is needed, None is never.
    """

    amount: Decimal
    received: Decimal
    payee: BankDetails
    details_by: str
    total: Decimal | None = None
    paid: Decimal = ZERO
    payer_names: tuple[str, ...] = ()
    payer_iban: str | None = None
    iban_before: str | None = None
    is_possible_duplicate: bool = False
    earlier_repayments: int = 0
    second_from: Decimal | None = None


def holds_of(facts: Facts) -> list[Hold]:
    """Why it needs a second person (N9, C18), in the order of ``HOLDS``; empty if it may go."""
    known = facts.payer_iban or facts.iban_before
    is_pattern = facts.earlier_repayments >= MANY_REPAYMENTS or (
        facts.total is not None and facts.total > ZERO and facts.paid > MANY_TIMES * facts.total
    )
    found: dict[Hold, bool] = {
        "payee_not_payer": _is_stranger(facts),
        "iban_changed": known is not None and facts.payee.iban != known,
        "above_receipt": facts.amount > facts.received,
        "possible_duplicate": facts.is_possible_duplicate,
        "second_person": facts.second_from is not None and facts.amount >= facts.second_from,
        "overpay_pattern": is_pattern,
    }
    return [hold for hold in HOLDS if found.get(hold)]


def _is_stranger(facts: Facts) -> bool:
    """Whether somebody else is paid than who paid; nobody knows without any name.

    A shop's key alone must not name an account that nothing else speaks for.
    """
    if facts.details_by == "shop" and facts.payer_iban is None:
        return True
    if not facts.payer_names:
        return facts.details_by != "customer"
    return not any(same_person(facts.payee.name, name) for name in facts.payer_names)


def most_refundable(total: Decimal, paid: Decimal, arranged: Decimal) -> Decimal:
    """What may still be arranged of an order (K57), in its currency; never negative."""
    return max(max(MOST_OF_ORDER * total, paid) - arranged, ZERO)


# --- our reference -----------------------------------------------------------------------------

_PREFIX: Final = "R"
_MODULUS: Final = len(REFERENCE_ALPHABET)
_VALUES: Final = {character: value for value, character in enumerate(REFERENCE_ALPHABET)}
_BODY: Final = f"[{REFERENCE_ALPHABET}]{{8}}"
_IN_TEXT: Final = re.compile(
    rf"(?<![A-Z0-9]){_PREFIX}[-\s]*({_BODY})[-\s]*(\d{{1,3}})([{REFERENCE_ALPHABET}])(?![A-Z0-9])"
)


def make_reference(payment_reference: str, number: int) -> str:
    """``R-K7M2P9AX-1F``: the order's own reference, which repayment of it, a check character (C14).

    The same alphabet as payment references (``orders.rules``), so it is read back as easily, and
    a single mistyped character or an exchange of two is found.
    """
    assert is_payment_reference(payment_reference) and 1 <= number <= 999
    return f"{_PREFIX}-{payment_reference}-{number}{_check(payment_reference, str(number))}"


def references_in(text: str) -> list[str]:
    """Our references that a bank's text names, as they are stored; each once."""
    found = (_read(match) for match in _IN_TEXT.finditer(text.upper()))
    return list(dict.fromkeys(one for one in found if one is not None))


def references_named(texts: Sequence[str | None]) -> list[str]:
    """Our references in any of a posting's texts; a line break of the bank may cut one."""
    found: dict[str, None] = {}
    for text in texts:
        for joint in (" ", ""):
            found.update(dict.fromkeys(references_in(joint.join((text or "").split("\n")))))
    return list(found)


def _read(match: re.Match[str]) -> str | None:
    body, number, check = match.groups()
    if not is_payment_reference(body) or number.startswith("0") or _check(body, number) != check:
        return None
    return f"{_PREFIX}-{body}-{number}{check}"


def _check(body: str, number: str) -> str:
    """The character that makes the weighted sum 0 modulo 23; its own weight is 1."""
    values = [*(_VALUES[one] for one in body), *(int(one) for one in number)]
    weights = range(len(values) + 1, 1, -1)
    total = sum(weight * value for weight, value in zip(weights, values, strict=True))
    return REFERENCE_ALPHABET[-total % _MODULUS]


def transfer_text(number: str, reference: str, reason: str) -> str:
    """What the payee reads on his statement: the order, our reference, then the reason.

    The reason is cut where there is no room for all of it; nothing else ever is. No word for
    "refund" is in it: a bank's own word for money that comes back must stay the only one.
    """
    text = " ".join(part for part in (number, reference) if part)
    return f"{text} {reason}".strip()[:MAX_TEXT_LENGTH].rstrip()


# --- days --------------------------------------------------------------------------------------


def next_bank_day(day: date, country: str = "DE") -> date:
    """This day or the first one after it on which transfers are booked."""
    for _ in range(MOST_DAYS_IN_A_ROW):
        if is_banking_day(day, country):
            break
        day += timedelta(days=1)
    return day


def add_bank_days(day: date, days: int, country: str = "DE") -> date:
    """So many bank days after this day; 0 is the next bank day from it on (K33)."""
    day = next_bank_day(day, country)
    for _ in range(days):
        day = next_bank_day(day + timedelta(days=1), country)
    return day


# --- what is back ------------------------------------------------------------------------------

_WRONG_DETAILS: Final = frozenset("AC01 AC04 AC06 AC07 BE01 BE04 RC01 RR01 CNOR".split())
_WRONG_WORDS: Final = re.compile(
    r"IBAN\s(?:FALSCH|FEHLERHAFT|UNGÜLTIG|UNGUELTIG|UNBEKANNT)|KONTO\s?(?:ERLOSCHEN|GESCHLOSSEN"
    r"|AUFGELÖST|AUFGELOEST|UNBEKANNT)|ACCOUNT\sCLOSED|\bAC0[1467]\b|\bBE0[14]\b"
)


def are_details_wrong(return_reason: str | None, text: str | None) -> bool:
    """Whether the bank sent it back because no such account could be paid.

    ISO 20022 external return reason codes (AC01 wrong account, AC04 closed, …), or their words.
    """
    code = (return_reason or "").strip().upper()[:4]
    said = f"{return_reason or ''} {text or ''}".upper()
    return code in _WRONG_DETAILS or bool(_WRONG_WORDS.search(said))
