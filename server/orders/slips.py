"""The payment slip of a country: which form is drawn, and the text of its code. Pure.

A file of its own because mails, the customer's page and letters show the same slip, and what
country has which is a matter of its own (K18, K19).
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from server.banking.payments.epc import girocode_payload
from server.banking.payments.swiss_qr import QrBill, is_qr_iban, qr_bill_payload
from server.banking.rules.accounts import Payee
from server.check_digits import creditor_reference_is_valid, qr_reference_is_valid
from server.mail.languages import SWISS_COUNTRIES


def slip_facts(
    payee: Payee, *, country: str | None, amount: Decimal, currency: str, payment_reference: str
) -> dict[str, str]:
    """How the transfer is drawn, as facts of a mail; what does not exist is empty.

    ``girocode`` or ``swiss_qr`` is the text of the code, never both: an account in Switzerland or
    Liechtenstein has that of the QR-bill, and a QR-IBAN takes no transfer of another kind.
    ``form_ch`` and ``form_at`` are "yes" for its payment part and for the Austrian form, which
    who is billed in ``country`` (ISO 3166) knows; ``is_structured`` if the reference is one that
    banks check (ISO 11649, QR reference).
    """
    reference = "".join(payment_reference.split()).upper()
    is_structured = creditor_reference_is_valid(reference) or qr_reference_is_valid(reference)
    payee = replace(payee, iban=payee.asked_iban(country))
    is_swiss = payee.iban[:2].upper() in SWISS_COUNTRIES
    swiss_qr = (
        _swiss_qr(payee, amount, currency, payment_reference, is_structured) if is_swiss else ""
    )
    girocode = girocode_payload(
        creditor=payee.creditor_name,
        iban=payee.iban,
        bic=payee.bic,
        amount=amount,
        currency=currency,
        reference=payment_reference,
    )
    return {
        "girocode": "" if swiss_qr or is_qr_iban(payee.iban) else girocode or "",
        "swiss_qr": swiss_qr,
        "form_ch": "yes" if is_swiss else "",
        "form_at": "yes" if not is_swiss and (country or "").upper() == "AT" else "",
        "is_structured": "yes" if is_structured else "",
    }


def _swiss_qr(
    payee: Payee, amount: Decimal, currency: str, reference: str, is_structured: bool
) -> str:
    """The text of the QR-bill's code, or "" where the standard allows none.

    It needs the creditor's address, and to a QR-IBAN a QR reference.
    """
    if payee.address is None:
        return ""
    bill = QrBill(
        iban=payee.iban,
        creditor=payee.address,
        amount=amount,
        currency=currency,
        reference=reference if is_structured else "",
        message="" if is_structured else reference,
    )
    try:
        return qr_bill_payload(bill)
    except ValueError:
        return ""
