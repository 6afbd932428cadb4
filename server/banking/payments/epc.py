"""The text of the QR code that fills in a SEPA credit transfer (EPC069-12, version 002).

Here and not where it is drawn: what may stand in a transfer is the bank's matter, and the mail,
the customer's page and letters show the same text.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from server.check_digits import creditor_reference_is_valid, iban_is_valid

MAX_NAME_LENGTH: Final = 70
MAX_TEXT_LENGTH: Final = 140
MAX_PAYLOAD_BYTES: Final = 331
MIN_AMOUNT: Final = Decimal("0.01")
MAX_AMOUNT: Final = Decimal("999999999.99")

_BIC: Final = re.compile(r"[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?")
_LINE_BREAKING: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def girocode_payload(
    *, creditor: str, iban: str, bic: str, amount: Decimal, currency: str, reference: str
) -> str | None:
    """The text of the code, or None where the standard knows none (not EUR, no valid IBAN ...).

    ``amount`` always gets two decimals: that is what the customer compares with the mail. A
    valid ISO 11649 reference (``RF18...``) goes into the structured field, which banks check;
    anything else into the unstructured one. A name over 70 characters is cut, as in SEPA itself.
    """
    iban, bic, reference = _compact(iban), _compact(bic), _one_line(reference)
    name = _one_line(creditor)[:MAX_NAME_LENGTH].rstrip()
    if currency != "EUR" or not name or not iban_is_valid(iban):
        return None
    if not MIN_AMOUNT <= amount <= MAX_AMOUNT or amount != amount.quantize(MIN_AMOUNT):
        return None
    structured = _compact(reference) if creditor_reference_is_valid(_compact(reference)) else ""
    text = "" if structured else reference
    if len(text) > MAX_TEXT_LENGTH:
        return None
    fields = ["BCD", "002", "1", "SCT", bic if _BIC.fullmatch(bic) else "", name, iban]
    fields += [f"EUR{amount:.2f}", "", structured, text]
    payload = "\n".join(fields).rstrip("\n")
    return payload if len(payload.encode()) <= MAX_PAYLOAD_BYTES else None


def _compact(code: str) -> str:
    return "".join(code.split()).upper()


def _one_line(text: str) -> str:
    return " ".join(_LINE_BREAKING.sub(" ", text).split())
