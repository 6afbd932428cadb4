"""The text of the Swiss QR Code on a QR-bill (SIX, Implementation Guidelines QR-bill 2.3).

Only structured addresses (type S): since version 2.3 there are no others. Only codes that ask
for money: the standard's amount of zero ("do not use for payment") is not one of them. The
ultimate creditor stays empty, as the standard wants it for now.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from server.check_digits import creditor_reference_is_valid, iban_is_valid, qr_reference_is_valid

MAX_NAME_LENGTH: Final = 70
MAX_STREET_LENGTH: Final = 70
MAX_BUILDING_NUMBER_LENGTH: Final = 16
MAX_POSTCODE_LENGTH: Final = 16
MAX_CITY_LENGTH: Final = 35
MAX_MESSAGE_LENGTH: Final = 140  # message and bill information together
MAX_ALTERNATIVE_SCHEMES: Final = 2
MAX_ALTERNATIVE_SCHEME_LENGTH: Final = 100
MAX_PAYLOAD_BYTES: Final = 997  # what QR version 25, the largest allowed, holds at level M
MIN_AMOUNT: Final = Decimal("0.01")
MAX_AMOUNT: Final = Decimal("999999999.99")
CURRENCIES: Final = frozenset({"CHF", "EUR"})

_SWISS_IBAN: Final = re.compile(r"(?:CH|LI)[0-9]{7}[A-Z0-9]{12}")
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
# Basic Latin, Latin-1 Supplement and Latin Extended-A without their control characters, and
# five more: the two Romanian letters with a comma below, and the euro.
_PERMITTED: Final = re.compile("[ -~\u00a0-\u017f\u0218-\u021b\u20ac]*")
_NO_PARTY: Final = ("",) * 7


@dataclass(frozen=True, slots=True)
class Party:
    """Creditor or debtor with a structured address; ``country`` is ISO 3166, two capitals."""

    name: str
    postcode: str
    city: str
    country: str
    street: str = ""
    building_number: str = ""


@dataclass(frozen=True, slots=True)
class QrBill:
    """What a QR-bill asks for.

    Without an ``amount`` the payer enters one. The kind of ``reference`` is seen from itself: 27
    digits are a QR reference, which QR-IBANs need and only they take; an ISO 11649 reference or
    none belong to other IBANs. Blanks in IBAN and reference do not matter. The ``message`` is
    for people, ``bill_information`` (``//S1/...``) for the payer's software.
    """

    iban: str
    creditor: Party
    amount: Decimal | None
    currency: str
    debtor: Party | None = None
    reference: str = ""
    message: str = ""
    bill_information: str = ""
    alternative_schemes: Sequence[str] = ()


def qr_bill_payload(bill: QrBill) -> str:
    r"""The text of the code, lines ended by ``\n``; draw it at error correction level M.

    ValueError with a message key: ``iban_not_swiss`` ``currency_not_possible``
    ``amount_invalid`` ``qr_reference_needed`` ``qr_iban_needed`` ``reference_invalid``
    ``creditor_name_invalid`` (and ``_street_`` ``_building_number_`` ``_postcode_`` ``_city_``
    ``_country_``, and all with ``debtor_``) ``message_invalid`` ``bill_information_invalid``
    ``message_too_long`` ``alternative_scheme_invalid`` ``too_many_alternative_schemes``
    ``payload_too_long``.
    """
    account = _compact(bill.iban)
    if not (_SWISS_IBAN.fullmatch(account) and iban_is_valid(account)):
        raise ValueError("iban_not_swiss")
    if bill.currency not in CURRENCIES:
        raise ValueError("currency_not_possible")
    lines = [
        *("SPC", "0200", "1", account),
        *_party(bill.creditor, "creditor"),
        *_NO_PARTY,
        *(_amount(bill.amount), bill.currency),
        *(_party(bill.debtor, "debtor") if bill.debtor else _NO_PARTY),
        *_reference(_compact(bill.reference), account),
        *_additional(bill.message, bill.bill_information, bill.alternative_schemes),
    ]
    payload = "\n".join(lines)
    if len(payload.encode()) > MAX_PAYLOAD_BYTES:
        raise ValueError("payload_too_long")
    return payload


def checked_creditor(creditor: Party) -> Party:
    """As it stands in the code, without blanks around; ValueError like ``qr_bill_payload``."""
    _, name, street, building_number, postcode, city, country = _party(creditor, "creditor")
    return Party(name, postcode, city, country, street, building_number)


def is_qr_iban(iban: str) -> bool:
    """Whether payments to this account need a QR reference: its bank number is 30000 to 31999."""
    account = _compact(iban)
    return _SWISS_IBAN.fullmatch(account) is not None and "30000" <= account[4:9] <= "31999"


def grouped_reference(reference: str) -> str:
    """As people read it: a QR reference in fives from the right, an ISO 11649 one in fours.

    >>> grouped_reference("210000000003139471430009017")
    '21 00000 00003 13947 14300 09017'
    >>> grouped_reference("RF18539007547034")
    'RF18 5390 0754 7034'
    """
    compact = _compact(reference)
    if compact.startswith("RF"):
        return " ".join(compact[at : at + 4] for at in range(0, len(compact), 4))
    first = len(compact) % 5
    rest = (compact[at : at + 5] for at in range(first, len(compact), 5))
    return " ".join([compact[:first], *rest] if first else rest)


def _party(party: Party, role: str) -> Iterator[str]:
    yield "S"
    yield _text(party.name, 1, MAX_NAME_LENGTH, f"{role}_name_invalid")
    yield _text(party.street, 0, MAX_STREET_LENGTH, f"{role}_street_invalid")
    key = f"{role}_building_number_invalid"
    yield _text(party.building_number, 0, MAX_BUILDING_NUMBER_LENGTH, key)
    yield _text(party.postcode, 1, MAX_POSTCODE_LENGTH, f"{role}_postcode_invalid")
    yield _text(party.city, 1, MAX_CITY_LENGTH, f"{role}_city_invalid")
    if not _COUNTRY.fullmatch(party.country):
        raise ValueError(f"{role}_country_invalid")
    yield party.country


def _amount(amount: Decimal | None) -> str:
    if amount is None:
        return ""
    if not (amount.is_finite() and MIN_AMOUNT <= amount <= MAX_AMOUNT):
        raise ValueError("amount_invalid")
    if amount != amount.quantize(MIN_AMOUNT):
        raise ValueError("amount_invalid")
    return f"{amount:.2f}"


def _reference(reference: str, account: str) -> tuple[str, str]:
    if is_qr_iban(account):
        if not qr_reference_is_valid(reference):
            raise ValueError("qr_reference_needed")
        return "QRR", reference
    if not reference:
        return "NON", ""
    if creditor_reference_is_valid(reference):
        return "SCOR", reference
    raise ValueError("qr_iban_needed" if qr_reference_is_valid(reference) else "reference_invalid")


def _additional(message: str, bill_information: str, schemes: Sequence[str]) -> Iterator[str]:
    """Message, end mark, and behind it only the lines that have something in or after them."""
    written = _text(message, 0, MAX_MESSAGE_LENGTH, "message_invalid")
    coded = _text(bill_information, 0, MAX_MESSAGE_LENGTH, "bill_information_invalid")
    if coded and not coded.startswith("//"):
        raise ValueError("bill_information_invalid")
    if len(written) + len(coded) > MAX_MESSAGE_LENGTH:
        raise ValueError("message_too_long")
    if len(schemes) > MAX_ALTERNATIVE_SCHEMES:
        raise ValueError("too_many_alternative_schemes")
    yield written
    yield "EPD"
    if coded or schemes:
        yield coded
    for scheme in schemes:
        yield _text(scheme, 1, MAX_ALTERNATIVE_SCHEME_LENGTH, "alternative_scheme_invalid")


def _text(text: str, shortest: int, longest: int, key: str) -> str:
    """The text without blanks around it; ValueError of that key if it is not permitted."""
    stripped = unicodedata.normalize("NFC", text).strip()
    if not (shortest <= len(stripped) <= longest and _PERMITTED.fullmatch(stripped)):
        raise ValueError(key)
    return stripped


def _compact(code: str) -> str:
    return "".join(code.split()).upper()
