"""eBay's payouts (Finances API) and what they are made of, to wire.Payout. Pure.

Of a sale eBay tells what it pays out (``amount``) and what it kept (``totalFeeAmount``); what the
customer paid is the sum of both. Of a refund likewise, the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from plugin_sdk.errors import Rejected
from plugin_sdk.reading import (
    AMOUNT_LIMIT,
    as_amount,
    read_currency,
    read_decimal,
    read_moment,
    read_object,
    read_text,
)
from plugin_sdk.types import Payout, PayoutKind, PayoutPart

PAID_OUT = "SUCCEEDED"
KINDS = {
    "SALE": PayoutKind.SALE,
    "REFUND": PayoutKind.REFUND,
    "CREDIT": PayoutKind.CREDIT,
    "DISPUTE": PayoutKind.DISPUTE,
    "NON_SALE_CHARGE": PayoutKind.FEE,
    "SHIPPING_LABEL": PayoutKind.FEE,
}
WITH_FEES = frozenset({PayoutKind.SALE, PayoutKind.REFUND, PayoutKind.DISPUTE})


def payout_id(payout: Mapping[str, Any]) -> str:
    """eBay's name for a payout. Raises Rejected when there is none."""
    identifier = read_text(payout.get("payoutId"), 64)
    if identifier is None or not identifier.isascii() or not identifier.isalnum():
        raise Rejected("eBay sent a payout without a usable payoutId.")
    return identifier


def payout_from(payout: Mapping[str, Any], transactions: Iterable[Any]) -> Payout:
    """The wire's payout, from one of getPayouts and all of its getTransactions.

    Its parts add up to its amount: what they lack is a part of the kind ``difference``.
    Raises Rejected naming what cannot be read.
    """
    identifier = payout_id(payout)
    where = f"Payout {identifier}"
    currency = read_currency(read_object(payout.get("amount")).get("currency"))
    if currency is None:
        raise Rejected(f"{where}: its currency is none of ISO 4217.")
    amount = _amount(payout.get("amount"), currency, where)
    paid_at = read_moment(payout.get("payoutDate"))
    if paid_at is None:
        raise Rejected(f"{where}: payoutDate cannot be read.")
    parts = [_part(read_object(each), currency, where) for each in transactions]
    lacking = amount - sum((part.net for part in parts), Decimal(0))
    if lacking:
        parts.append(PayoutPart(PayoutKind.DIFFERENCE, gross=lacking))
    instrument = read_object(payout.get("payoutInstrument"))
    return Payout(
        id=identifier,
        paid_at=paid_at,
        amount=amount,
        currency=currency,
        parts=tuple(parts),
        bank_reference=read_text(payout.get("bankReference"), 140),
        account_digits=read_text(instrument.get("accountLastFourDigits"), 8),
    )


def _part(transaction: Mapping[str, Any], currency: str, where: str) -> PayoutPart:
    kind_told = read_text(transaction.get("transactionType"), 64) or ""
    kind = KINDS.get(kind_told, PayoutKind.OTHER)
    entry = transaction.get("bookingEntry")
    if entry not in ("CREDIT", "DEBIT"):
        raise Rejected(f"{where}: whether a part of it was added or taken cannot be read.")
    sign = 1 if entry == "CREDIT" else -1
    net = sign * _amount(transaction.get("amount"), currency, where)
    fee = Decimal(0)
    if kind is PayoutKind.FEE:
        fee = net
    elif kind in WITH_FEES and transaction.get("totalFeeAmount") is not None:
        fee = -sign * _amount(transaction["totalFeeAmount"], currency, where)
    memo = read_text(transaction.get("transactionMemo"), 200)
    fee_type = read_text(transaction.get("feeType"), 64)
    return PayoutPart(
        kind=kind,
        gross=net - fee,
        fee=fee,
        external_id=read_text(transaction.get("orderId"), 64),
        reference=read_text(transaction.get("transactionId"), 64),
        booked_at=read_moment(transaction.get("transactionDate")),
        note=" ".join(each for each in (kind_told, fee_type, memo) if each) or None,
    )


def _amount(given: Any, currency: str, where: str) -> Decimal:
    found = read_object(given)
    value = read_decimal(found.get("value"))
    if value is None or abs(value) >= AMOUNT_LIMIT:
        raise Rejected(f"{where}: an amount in it cannot be read.")
    if read_currency(found.get("currency")) != currency:
        raise Rejected(f"{where}: an amount in it is in another currency.")
    return as_amount(value, currency)
