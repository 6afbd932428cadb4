"""Credit transfers as a file for the bank: ISO 20022 pain.001.001.09 as SEPA narrows it.

Written after the EPC's customer-to-bank guidelines and the German pain.001.001.09 (DFÜ-Abkommen,
annex 3). Decisions that are not the standard's:

- **No addresses.** SEPA asks for none, and since November 2026 banks refuse unstructured ones.
- **Names stay as the bank wrote them** (``sepa_text.sepa_name``), because since October 2025 the
  payee's bank compares them with the account's holder. SEPA carries 70 characters: a longer name
  is cut there, as every bank would, rather than the payment refused.
- **Texts are not cut**: half a reference is a wrong one. Over 140 characters is an error.
- A file of **one** payment cannot opt out of that comparison, a batch can: that is agreed with
  the bank when the file is handed over, nothing in the file says it.
- An end-to-end id may stand in a file **once**: the second one would pay twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from lxml import etree
from schwifty import BIC, IBAN
from schwifty.exceptions import SchwiftyException

from server.banking.payments.sepa_text import is_sepa_identifier, sepa_name, sepa_text
from server.check_digits import creditor_reference_is_valid

NAMESPACE: Final = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"
MAX_PAYMENTS: Final = 10_000
MAX_NAME_LENGTH: Final = 70
MAX_TEXT_LENGTH: Final = 140
MIN_AMOUNT: Final = Decimal("0.01")
MAX_AMOUNT: Final = Decimal("999999999.99")

# Readers that look at the letters and not at the namespace trip over a prefix. (Any: the type
# stubs of lxml have no word for "no prefix".)
_NO_PREFIX: Final[Any] = {None: NAMESPACE}


class PaymentRefused(ValueError):
    """What cannot be written. ``str()`` is the message key, ``position`` counts from 0.

    ``position`` is None if it is not about one payment. Keys: ``no_payments``
    ``too_many_payments`` ``message_id_invalid`` ``end_to_end_id_invalid``
    ``end_to_end_id_repeated`` ``amount_invalid`` ``currency_not_eur`` ``iban_invalid``
    ``bic_invalid`` ``name_empty`` ``name_not_latin`` ``text_too_long``.
    """

    def __init__(self, key: str, position: int | None = None) -> None:
        super().__init__(key)
        self.position = position


@dataclass(frozen=True, slots=True)
class Payer:
    """Whose account is debited."""

    name: str
    iban: str
    bic: str = ""


@dataclass(frozen=True, slots=True)
class CreditTransfer:
    """One payment. ``name`` and ``iban`` as the bank named them when the money came in.

    A ``remittance_information`` that is an ISO 11649 reference as a whole goes into the
    structured field, anything else into the unstructured one.
    """

    end_to_end_id: str
    name: str
    iban: str
    amount: Decimal
    remittance_information: str = ""
    bic: str = ""
    currency: str = "EUR"


def credit_transfer_file(
    debtor: Payer,
    payments: Sequence[CreditTransfer],
    *,
    message_id: str,
    created_at: datetime,
    execution_date: date,
    batch: bool = True,
) -> bytes:
    """The file, UTF-8, in the order of the payments, all on one day from one account.

    ``message_id`` also identifies the only batch in it. ``batch`` asks for one debit of the sum
    instead of one for each payment. ``created_at`` is aware. PaymentRefused says what is wrong
    and where; nothing is left out or changed in silence to make a file.
    """
    assert created_at.tzinfo is not None
    if not payments:
        raise PaymentRefused("no_payments")
    if len(payments) > MAX_PAYMENTS:
        raise PaymentRefused("too_many_payments")
    if not is_sepa_identifier(message_id):
        raise PaymentRefused("message_id_invalid")
    transactions = _transactions(payments)
    number = str(len(payments))
    total = f"{sum(payment.amount for payment in payments):.2f}"
    header = _element(
        "GrpHdr",
        _element("MsgId", message_id),
        _element("CreDtTm", created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")),
        _element("NbOfTxs", number),
        _element("CtrlSum", total),
        _element("InitgPty", _name(debtor.name)),
    )
    information = _element(
        "PmtInf",
        _element("PmtInfId", message_id),
        _element("PmtMtd", "TRF"),
        _element("BtchBookg", "true" if batch else "false"),
        _element("NbOfTxs", number),
        _element("CtrlSum", total),
        _element("PmtTpInf", _element("SvcLvl", _element("Cd", "SEPA"))),
        _element("ReqdExctnDt", _element("Dt", execution_date.isoformat())),
        _element("Dbtr", _name(debtor.name)),
        _element("DbtrAcct", _account(debtor.iban)),
        _element("DbtrAgt", _agent(debtor.bic)),
        _element("ChrgBr", "SLEV"),
        *transactions,
    )
    document = _element("Document", _element("CstmrCdtTrfInitn", header, information))
    return etree.tostring(document, encoding="UTF-8", xml_declaration=True)


def refusal_of(payment: CreditTransfer) -> str | None:
    """The key of PaymentRefused that this payment alone would raise; None if it can be written."""
    try:
        _transaction(payment)
    except PaymentRefused as problem:
        return str(problem)
    return None


def _transactions(payments: Sequence[CreditTransfer]) -> list[etree._Element]:
    seen: set[str] = set()
    transactions = []
    for position, payment in enumerate(payments):
        try:
            if payment.end_to_end_id in seen:
                raise PaymentRefused("end_to_end_id_repeated")
            transactions.append(_transaction(payment))
        except PaymentRefused as problem:
            raise PaymentRefused(str(problem), position) from None
        seen.add(payment.end_to_end_id)
    return transactions


def _transaction(payment: CreditTransfer) -> etree._Element:
    if not is_sepa_identifier(payment.end_to_end_id):
        raise PaymentRefused("end_to_end_id_invalid")
    if payment.currency != "EUR":
        raise PaymentRefused("currency_not_eur")
    elements = [
        _element("PmtId", _element("EndToEndId", payment.end_to_end_id)),
        _element("Amt", _element("InstdAmt", _amount(payment.amount), Ccy="EUR")),
        *([_element("CdtrAgt", _agent(payment.bic))] if payment.bic else []),
        _element("Cdtr", _name(payment.name)),
        _element("CdtrAcct", _account(payment.iban)),
        *_remittance(payment.remittance_information),
    ]
    return _element("CdtTrfTxInf", *elements)


def _amount(amount: Decimal) -> str:
    if not (amount.is_finite() and MIN_AMOUNT <= amount <= MAX_AMOUNT):
        raise PaymentRefused("amount_invalid")
    if amount != amount.quantize(MIN_AMOUNT):
        raise PaymentRefused("amount_invalid")
    return f"{amount:.2f}"


def _name(name: str) -> etree._Element:
    try:
        written = sepa_name(name)[:MAX_NAME_LENGTH].rstrip()
    except ValueError as problem:
        raise PaymentRefused(str(problem)) from None
    if not any(character.isalnum() for character in written):
        raise PaymentRefused("name_empty")
    return _element("Nm", written)


def _account(iban: str) -> etree._Element:
    try:
        return _element("Id", _element("IBAN", IBAN(iban).compact))
    except SchwiftyException:
        raise PaymentRefused("iban_invalid") from None


def _agent(bic: str) -> etree._Element:
    """The bank by its BIC. SEPA routes by the IBAN, so without one it is "not provided"."""
    if not bic:
        return _element("FinInstnId", _element("Othr", _element("Id", "NOTPROVIDED")))
    try:
        return _element("FinInstnId", _element("BICFI", BIC(bic).compact))
    except SchwiftyException:
        raise PaymentRefused("bic_invalid") from None


def _remittance(text: str) -> list[etree._Element]:
    reference = "".join(text.split()).upper()
    if creditor_reference_is_valid(reference):
        code = _element("CdOrPrtry", _element("Cd", "SCOR"))
        kind = _element("Tp", code, _element("Issr", "ISO"))
        structured = _element("CdtrRefInf", kind, _element("Ref", reference))
        return [_element("RmtInf", _element("Strd", structured))]
    written = sepa_text(text)
    if len(written) > MAX_TEXT_LENGTH:
        raise PaymentRefused("text_too_long")
    return [_element("RmtInf", _element("Ustrd", written))] if written else []


def _element(name: str, *content: etree._Element | str, **attributes: str) -> etree._Element:
    element = etree.Element(f"{{{NAMESPACE}}}{name}", attributes, nsmap=_NO_PREFIX)
    for part in content:
        if isinstance(part, str):
            element.text = part
        else:
            element.append(part)
    return element
