"""Check digits of payment standards: IBAN, creditor reference, Swiss QR reference.

A module of its own on the ground floor because every room meets such numbers: statements,
matching, mails and payments must agree on what is a valid one. All functions take the compact
form, capitals and digits without blanks; how it was printed is for the caller to undo.
"""

from __future__ import annotations

import re
from typing import Final

MAX_CREDITOR_REFERENCE: Final = 25
QR_REFERENCE_DIGITS: Final = 27

_IBAN: Final = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_CREDITOR_REFERENCE: Final = re.compile(r"RF[0-9]{2}[A-Z0-9]{1,21}")
_CREDITOR_REFERENCE_BODY: Final = re.compile(r"[A-Z0-9]{1,21}")
_DIGITS: Final = re.compile(r"[0-9]+")
_QR_REFERENCE: Final = re.compile(rf"[0-9]{{{QR_REFERENCE_DIGITS}}}")
_LETTER_VALUES: Final = {
    ord(letter): str(int(letter, 36)) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
}
_CARRIES: Final = (0, 9, 4, 6, 8, 2, 7, 1, 3, 5)


def mod_97(text: str) -> int:
    """The remainder of ISO 7064 MOD 97-10 of A-Z and 0-9, letters counting as 10 to 35."""
    return int(text.translate(_LETTER_VALUES)) % 97


def iban_is_valid(iban: str) -> bool:
    """Whether the text has the shape of an IBAN (ISO 13616) and right check digits.

    Whether the country's IBANs have that length, and whether the account exists, is not asked.
    """
    return _IBAN.fullmatch(iban) is not None and mod_97(iban[4:] + iban[:4]) == 1


def make_iban(country: str, account: str) -> str:
    """The IBAN of a country (ISO 3166, two capitals) and its own account number (BBAN)."""
    return f"{country}{98 - mod_97(f'{account}{country}00'):02d}{account}"


def creditor_reference_is_valid(text: str) -> bool:
    """Whether the text is an ISO 11649 reference, ``RF18539007547034``, that checks."""
    return _CREDITOR_REFERENCE.fullmatch(text) is not None and mod_97(text[4:] + text[:4]) == 1


def make_creditor_reference(body: str) -> str:
    """The ISO 11649 reference of 1 to 21 capitals and digits; ValueError if it is not that."""
    if not _CREDITOR_REFERENCE_BODY.fullmatch(body):
        raise ValueError(f"a creditor reference holds 1 to 21 letters and digits: {body!r}")
    return f"RF{98 - mod_97(body + 'RF00'):02d}{body}"


def mod10_recursive(digits: str) -> int:
    """The check digit that follows these digits: modulo 10 recursive of the Swiss QR reference.

    SIX, Implementation Guidelines QR-bill, annex B. ValueError if there is anything but digits.
    """
    if not _DIGITS.fullmatch(digits):
        raise ValueError(f"only digits have a check digit: {digits!r}")
    carry = 0
    for digit in digits:
        carry = _CARRIES[(carry + int(digit)) % 10]
    return -carry % 10


def qr_reference_is_valid(text: str) -> bool:
    """Whether the text is a Swiss QR reference: 27 digits, the last of which checks."""
    return _QR_REFERENCE.fullmatch(text) is not None and mod10_recursive(text[:-1]) == int(text[-1])
