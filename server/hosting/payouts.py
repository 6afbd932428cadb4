"""Payouts of a marketplace as postings of an account of their own (N6).

The bank shows one sum; what it is made of is told by the marketplace. Each part becomes two
postings of an account that carries the marketplace's name: what the customer paid, with the order's
number as its purpose so that it is matched like any other money, and what was kept of it. The
payout itself leaves that account, so that its balance is what the marketplace still owes. Fees and
the payout are amounts below zero, which nobody has to assign; the sum on the bank account is known
there as the payout of a provider. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from plugin_sdk.types import Payout, PayoutKind, PayoutPart
from server.banking.formats import ParsedPosting

SOURCE = "payout"
MAX_ACCOUNT_LENGTH = 34
MAX_REFERENCE_LENGTH = 140


def account_name(title: str, shop_id: int) -> str:
    """What the account is called: "eBay 12". A shop's name may change, and two may begin alike."""
    number = f" {shop_id}"
    return title[: MAX_ACCOUNT_LENGTH - len(number)] + number


def postings_of(payout: Payout, account: str, title: str, zone: ZoneInfo) -> list[ParsedPosting]:
    """They add up to zero, to the cent."""

    def posting(amount: Decimal, day: date, words: str, reference: str) -> ParsedPosting:
        return ParsedPosting(
            account_iban=None,
            account=account,
            booking_date=day,
            value_date=day,
            amount=amount,
            currency=payout.currency,
            counterparty_name=title,
            remittance_information=words,
            bank_reference=reference[:MAX_REFERENCE_LENGTH],
            source=SOURCE,
        )

    paid_on = _day(payout.paid_at, zone)
    made: list[ParsedPosting] = []
    for number, part in enumerate(payout.parts):
        day = _day(part.booked_at, zone) if part.booked_at else paid_on
        reference = f"{payout.id}/{part.reference or number}"
        if part.gross:
            made.append(posting(part.gross, day, " ".join(_words(part)), reference))
        if part.fee:
            words = " ".join(["fee", *_words(part)])
            made.append(posting(part.fee, day, words, f"{reference}/fee"))
    words = " ".join(filter(None, ["payout", payout.id, payout.bank_reference]))
    return [*made, posting(-payout.amount, paid_on, words, payout.id)]


def _words(part: PayoutPart) -> Iterator[str]:
    """The order first: it is what the matcher looks for."""
    if part.external_id:
        yield part.external_id
    if part.kind not in (PayoutKind.SALE, PayoutKind.FEE):
        yield part.kind.value
    if part.note:
        yield part.note


def _day(at: datetime, zone: ZoneInfo) -> date:
    return at.astimezone(zone).date()
