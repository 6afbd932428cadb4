"""Why a repayment is held, in plain words and with what speaks for it (N9, C18).

A file of its own because the reasons come from many places: the payment, the order, the settings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from flask import url_for
from markupsafe import Markup

from server.dashboard import refund_queries, words
from server.dashboard.refund_queries import RefundRow
from server.dashboard.words import t
from server.merchants.service import settings_of
from server.orders.ledger import paid_totals
from server.refunds.rules import PATTERN_DAYS


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of evidence; ``href`` leads to where it can be looked up."""

    label: Markup
    value: str
    href: str | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """One reason and what is known about it."""

    sentence: Markup
    evidence: list[Fact]


def sentences(holds: Sequence[str]) -> list[Markup]:
    """What would hold a repayment, said before it is arranged."""
    return [t(f"refund_hold.{hold}") for hold in holds]


def holds_of(row: RefundRow) -> list[Hold]:
    """The reasons of a repayment that is held, with their evidence."""
    return [
        Hold(t(f"refund_hold.{hold}"), _EVIDENCE[hold](row) if hold in _EVIDENCE else [])
        for hold in row.refund.holds
    ]


def _fact(name: str, value: str, href: str | None = None) -> Fact:
    return Fact(t(f"refund_hold.{name}"), value, href)


def _account(name: str | None, iban: str | None) -> str:
    return ", ".join(part for part in (name, words.iban(iban) if iban else None) if part) or "–"


def _posting_href(row: RefundRow) -> str | None:
    if row.posting is None:
        return None
    return url_for("dashboard.postings.show", posting_id=row.posting.id, state="all")


def _people(row: RefundRow) -> list[Fact]:
    one, posting = row.refund, row.posting
    paid_by = []
    if posting is not None:
        said = _account(posting.counterparty_name, posting.counterparty_iban)
        paid_by = [_fact("paid_by", said, _posting_href(row))]
    return [*paid_by, _fact("goes_to", _account(one.payee_name, one.payee_iban))]


def _changed(row: RefundRow) -> list[Fact]:
    one, posting = row.refund, row.posting
    found = []
    if posting is not None and posting.counterparty_iban:
        found.append(_fact("iban_before", words.iban(posting.counterparty_iban)))
    if one.payee_iban:
        found.append(_fact("goes_to", words.iban(one.payee_iban)))
    if one.details_by and one.details_by != "bank":
        said = t(f"refund.details_{one.details_by}", at=words.moment(one.details_at))
        found.append(_fact("changed_at", str(said)))
    return found


def _amounts(row: RefundRow) -> list[Fact]:
    one = row.refund
    found = [_fact("arranged", words.money(one.amount, one.currency))]
    if row.order is not None:
        paid = paid_totals([row.order.id])[row.order.id]
        found.insert(0, _fact("received", words.money(paid, one.currency)))
    elif row.posting is not None:
        found.insert(0, _fact("received", words.money(row.posting.amount, one.currency)))
    return found


def _duplicate(row: RefundRow) -> list[Fact]:
    posting = row.posting
    if posting is None:
        return []
    said = words.t("order.posting_of", day=words.day(posting.booking_date or posting.created_at))
    return [_fact("doubtful", str(said), _posting_href(row))]


def _limit(row: RefundRow) -> list[Fact]:
    limit = settings_of(row.refund.merchant_id).refund_second_from
    return [_fact("limit", words.money(Decimal(limit), row.refund.currency))]


def _pattern(row: RefundRow) -> list[Fact]:
    owed = []
    if row.order is not None:
        owed = [_fact("owed", words.money(row.order.total, row.order.currency))]
    one = row.refund
    earlier = refund_queries.earlier_to(one, one.requested_at - timedelta(days=PATTERN_DAYS))
    often = [_fact("earlier", words.number(earlier))] if earlier else []
    return [*owed, *_amounts(row), *often]


_EVIDENCE: dict[str, Callable[[RefundRow], list[Fact]]] = {
    "payee_not_payer": _people,
    "iban_changed": _changed,
    "above_receipt": _amounts,
    "possible_duplicate": _duplicate,
    "second_person": _limit,
    "overpay_pattern": _pattern,
}
"""What is known of each; that the bank took money back is in the order's history."""
