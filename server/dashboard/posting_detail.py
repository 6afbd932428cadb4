"""One posting as it is shown: what the bank said, what Kontor thinks of it, what became of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from flask import g, request

from server.banking.models import BankAccount, Posting
from server.dashboard import (
    bank_queries,
    match_queries,
    order_queries,
    queries,
    refund_detail,
    refund_queries,
    sentences,
    words,
)
from server.dashboard.order_queries import AssignmentRow, OrderRow
from server.dashboard.pages import plain
from server.dashboard.queries import LIKELY, PostingRow
from server.matching.models import MatchDecision
from server.matching.service import decision_of
from server.orders.models import Assignment, Suggestion
from server.orders.returns import find_returned
from server.orders.service import DIFFERENCES

MAX_SPLIT = 20
MAY_RETURN = 5
ZERO = Decimal(0)


def detail(row: PostingRow) -> dict[str, object]:
    """All that the page of a posting says; names of the template."""
    posting = row.posting
    offers = offers_of(row)
    assignments = _assignments(posting)
    text = plain(request.values.get("q", ""))
    decision = decision_of(g.merchant_id, posting.id)
    return {
        "posting": posting,
        **_origin(posting),
        **_likeness(posting),
        **_repayments(posting),
        **_taken_back(posting),
        "marked": sentences.marked(
            {name: getattr(posting, name) for name in MARKED},
            _grounds(offers, assignments, decision),
        ),
        "offers": offers,
        "decision": _why(decision) if decision else None,
        "assignments": assignments,
        "credit_order": _credit_order(row, assignments),
        "q": text,
        "found": order_queries.find_orders(g.merchant_id, text) if text else None,
        **_split_form(offers, row.rest),
        "default_amount": default_amount,
        "reasons_to_forgive": DIFFERENCES,
    }


# --- what Kontor thinks of it -----------------------------------------------------------------

MARKED = ("remittance_information", "creditor_reference", "end_to_end_id", "counterparty_name")
"""The fields in which the matcher finds something."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A suggestion as it is shown: its orders with amounts, and why.

    ``returned``: no orders, but the payment whose money the bank took back (N18).
    """

    suggestion: Suggestion
    parts: list[tuple[OrderRow, Decimal]]
    reasons: list[sentences.Reason]
    returned: ReturnedPayment | None = None

    @property
    def is_likely(self) -> bool:
        """Likely enough for the large button and the key: nobody should book a guess by Enter."""
        return bool(self.suggestion.probability >= LIKELY)

    @property
    def total(self) -> Decimal:
        return sum((amount for _, amount in self.parts), ZERO)


@dataclass(frozen=True, slots=True)
class ReturnedPayment:
    """A payment that came in, and what it had paid: (id, number) of orders."""

    posting: Posting
    orders: Sequence[tuple[int, str]]


@dataclass(frozen=True, slots=True)
class Why:
    """The newest decision about a posting. ``runner_up``: its orders, and how likely."""

    row: MatchDecision
    reasons: list[sentences.Reason]
    runner_up: list[OrderRow]
    runner_up_probability: Decimal | None


def offers_of(row: PostingRow) -> list[Offer]:
    """What a person is offered; nothing once the posting needs nobody."""
    posting = row.posting
    if not posting.is_open and posting.amount > 0:
        return []
    suggestions = queries.suggestions_of(g.merchant_id, posting.id)
    ids = [int(part["order_id"]) for one in suggestions for part in one.orders]
    orders = order_queries.order_rows(g.merchant_id, ids)
    returned = _payments([one.returns_id for one in suggestions if one.returns_id])
    return [
        Offer(
            one,
            [
                (orders[int(part["order_id"])], Decimal(part["amount"]))
                for part in one.orders
                if int(part["order_id"]) in orders
            ],
            sentences.reasons(one.evidence, [] if one.returns_id else one.vetoes, posting.currency),
            returned.get(one.returns_id or 0),
        )
        for one in suggestions
    ]


def _payments(posting_ids: Sequence[int]) -> dict[int, ReturnedPayment]:
    if not posting_ids:
        return {}
    paid = bank_queries.orders_paid_by(posting_ids)
    rows = {one.id: one for one in bank_queries.postings_of(g.merchant_id, posting_ids)}
    return {
        one: ReturnedPayment(rows[one], paid.get(one, ())) for one in posting_ids if one in rows
    }


def _grounds(
    offers: Sequence[Offer],
    assignments: Sequence[AssignmentShown],
    decision: MatchDecision | None,
) -> Iterable[sentences.Evidence]:
    """The grounds to mark in the text: of what is booked, else of what is offered first."""
    standing = [one.row.assignment.evidence for one in assignments if not one.row.is_undone]
    best = [offer.suggestion.evidence for offer in offers[:1]]
    decided = [decision.evidence] if decision else []
    return next((found for found in (*standing, *best, *decided) if found), [])


def _why(decision: MatchDecision) -> Why:
    other = decision.runner_up or {}
    ids = [int(one) for one in other.get("orders") or ()]
    orders = order_queries.order_rows(g.merchant_id, ids)
    probability = other.get("probability")
    return Why(
        decision,
        sentences.reasons(decision.evidence, decision.vetoes),
        [orders[one] for one in ids if one in orders],
        Decimal(str(probability)) if probability is not None else None,
    )


# --- what became of it ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AssignmentShown:
    """A line of the ledger with its order, and what was forgiven to complete it (C7)."""

    row: AssignmentRow
    order: OrderRow
    differences: Sequence[Assignment] = ()


def _assignments(posting: Posting) -> list[AssignmentShown]:
    rows = order_queries.assignments_of_posting(g.merchant_id, posting.id)
    orders = order_queries.order_rows(g.merchant_id, [row.assignment.order_id for row in rows])
    forgiven = match_queries.differences_of(g.merchant_id, [row.assignment.id for row in rows])
    return [
        AssignmentShown(row, orders[row.assignment.order_id], forgiven.get(row.assignment.id, ()))
        for row in rows
    ]


def _credit_order(row: PostingRow, assignments: Sequence[AssignmentShown]) -> OrderRow | None:
    """Whose money the rest is: the customer's of the order that the posting pays already."""
    if not row.posting.is_open or row.rest <= 0:
        return None
    return next((one.order for one in assignments[::-1] if not one.row.is_undone), None)


def _taken_back(posting: Posting) -> dict[str, Any]:
    """Both ends of returned money: the payment that this one takes back, and the reverse."""
    returns = _payments([posting.returns_id]) if posting.returns_id else {}
    is_unclear = posting.amount < 0 and posting.returns_id is None and posting.ignored_at is None
    return {
        "returns": returns.get(posting.returns_id or 0),
        "returned_by": match_queries.return_of(g.merchant_id, posting.id)
        if posting.is_returned
        else None,
        "may_return": _payments([one.posting.id for one in find_returned(posting)[:MAY_RETURN]])
        if is_unclear
        else {},
    }


def _repayments(posting: Posting) -> dict[str, Any]:
    """What of it goes back (K55); and of an outgoing or returned one, which repayment it was."""
    return {
        "repayments": refund_detail.shown(
            refund_queries.refunds_of_posting(g.merchant_id, posting.id)
        ),
        "is_of_refund": refund_queries.refund_by(g.merchant_id, posting.id),
    }


# --- the split form ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SplitRow:
    """One order of the split form: what is in its fields."""

    order: OrderRow
    amount: Decimal
    typed: str
    difference: str = ""

    @property
    def is_short(self) -> bool:
        return self.amount < self.order.open


def _split_form(offers: Sequence[Offer], rest: Decimal) -> dict[str, Any]:
    """What was typed where something is wrong with it; else the orders of the URL, at first
    those of the best suggestion, with a proposal of amounts."""
    typed = _typed_amounts(request.form)
    asked = [*map(str, typed)] or request.args.getlist("order")
    ids = [int(text) for text in asked if text.isdecimal() and len(text) < 19][:MAX_SPLIT]
    if not asked and offers:
        ids = [order.order.id for order, _ in offers[0].parts]
    found = order_queries.order_rows(g.merchant_id, ids)
    chosen = [found[order_id] for order_id in dict.fromkeys(ids) if order_id in found]
    rows = _typed_rows(chosen, typed) if typed else _proposed_rows(chosen, offers, rest)
    return {
        "split": rows,
        "split_ids": [one.order.order.id for one in rows],
        "split_rest": rest - sum((one.amount for one in rows), ZERO),
        "keeps_rest": request.form.get("rest") == "credit",
        "is_splitting": "order" in request.args or bool(typed),
    }


def _typed_amounts(form: Mapping[str, str]) -> dict[int, str]:
    """Order id to what stands in its field ``amount-<order id>``."""
    found = {}
    for name, typed in form.items():
        order_id = name.removeprefix("amount-")
        if order_id != name and order_id.isdecimal() and len(order_id) < 19:
            found[int(order_id)] = plain(typed)
    return found


def typed_amounts(form: Mapping[str, str]) -> dict[int, str]:
    """The same without the fields that were left empty."""
    return {order_id: typed for order_id, typed in _typed_amounts(form).items() if typed}


def _typed_rows(chosen: Sequence[OrderRow], typed: Mapping[int, str]) -> list[SplitRow]:
    return [
        SplitRow(
            one,
            words.read_amount(typed[one.order.id]) or ZERO,
            typed[one.order.id],
            request.form.get(f"difference-{one.order.id}", ""),
        )
        for one in chosen
    ]


def _proposed_rows(
    chosen: Sequence[OrderRow], offers: Sequence[Offer], rest: Decimal
) -> list[SplitRow]:
    """Never more than the posting has."""
    offered = {order.order.id: amount for order, amount in offers[0].parts} if offers else {}
    rows = []
    for order in chosen:
        amount = max(min(offered.get(order.order.id, order.open), rest), ZERO)
        rest -= amount
        rows.append(SplitRow(order, amount, words.plain_amount(amount)))
    return rows


def default_amount(order: OrderRow, rest: Decimal) -> Decimal:
    """One click on an order: what it still owes, and all that is left where it owes nothing."""
    return min(order.open, rest) if order.open > 0 else rest


# --- where it comes from, and what it looks like ----------------------------------------------

BANK_FIELDS = (
    "booking_date",
    "value_date",
    "counterparty_name",
    "counterparty_iban",
    "counterparty_bic",
    "creditor_reference",
    "end_to_end_id",
    "mandate_id",
    "bank_reference",
    "transaction_code",
    "return_reason",
)
"""What is listed below the purpose, in its order; names of ``banking.models.Posting``."""
COMPARED = ("amount", *BANK_FIELDS[:5], "remittance_information", *BANK_FIELDS[5:], "source")
RAW_LEFT_OUT = {"keys", "merchant_id"}


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of two postings side by side."""

    field: str
    this: Any
    other: Any

    @property
    def is_one(self) -> bool:
        return bool(self.this != self.other)


@dataclass(frozen=True, slots=True)
class Happened:
    """A line of the history. ``who`` is "" where Kontor acted by itself."""

    at: datetime
    said: str
    who: str = ""


def _origin(posting: Posting) -> dict[str, Any]:
    account = queries.account_of(g.merchant_id, posting.account_id)
    statement = (
        queries.statement_of(g.merchant_id, posting.statement_id) if posting.statement_id else None
    )
    return {
        "account": account,
        "statement": statement,
        "bank_fields": [(name, getattr(posting, name)) for name in BANK_FIELDS],
        **_particulars(posting),
        "raw": [
            (name, json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value)
            for name in (column.name for column in Posting.__table__.columns)
            if name not in RAW_LEFT_OUT and (value := getattr(posting, name)) is not None
        ],
        "history": _history(posting, statement.filename if statement else None),
        "ignored_originator": originator_of(posting, account),
    }


def _particulars(posting: Posting) -> dict[str, Any]:
    """What the bank said beside the fields, as it is shown."""
    told = posting.particulars or {}
    foreign, charges = told.get("foreign") or {}, told.get("charges")
    amount, rate = foreign.get("amount"), foreign.get("exchange_rate")
    return {
        "foreign": words.money(Decimal(amount), foreign["currency"]) if amount else None,
        "rate": words.exact(Decimal(rate)) if rate else None,
        "charges": words.money(Decimal(charges), posting.currency) if charges else None,
        "entry_references": told.get("entry_references"),
    }


def originator_of(posting: Posting, account: BankAccount | None = None) -> dict[str, str] | None:
    """What an ignore rule for the originator would say; None where nobody is named."""
    account = account or queries.account_of(g.merchant_id, posting.account_id)
    if posting.counterparty_iban and account and posting.counterparty_iban != account.iban:
        return {"kind": "iban", "value": posting.counterparty_iban}
    if posting.counterparty_name:
        return {"kind": "name", "value": posting.counterparty_name}
    return None


def _history(posting: Posting, file: str | None) -> list[Happened]:
    came = words.t("posting.came_in", file=file) if file else words.t("posting.came_by_api")
    found = [Happened(posting.created_at, str(came))]
    for row, number in bank_queries.ledger_of_posting(g.merchant_id, posting.id):
        amount = words.money(abs(row.amount), posting.currency)
        key = "undone_of" if row.reverses_id else "assigned_to"
        said = words.t(f"posting.{key}", amount=amount, number=number)
        found.append(Happened(row.created_at, str(said), row.decided_by))
    if posting.ignored_at is not None:
        found.append(Happened(posting.ignored_at, *_ignored_by(posting)))
    return sorted(found, key=lambda one: one.at, reverse=True)


def _ignored_by(posting: Posting) -> tuple[str, str]:
    """Why it was ignored, and by whom if that was a person."""
    why, by = posting.ignored_because or "person", posting.ignored_by or ""
    said = str(words.t(f"ignored_because.{why}", by=words.iban(by) if why == "iban" else by))
    return said, by if why in {"person", "duplicate"} else ""


def _likeness(posting: Posting) -> dict[str, Any]:
    """The posting that this one looks like, field by field, and those that look like it."""
    other = (
        queries.posting_row(g.merchant_id, posting.duplicate_of_id)
        if posting.duplicate_of_id
        else None
    )
    differences = []
    if other is not None:
        pairs = [
            Difference(name, getattr(posting, name), getattr(other.posting, name))
            for name in COMPARED
        ]
        differences = [one for one in pairs if one.this is not None or one.other is not None]
    return {
        "other": other,
        "differences": differences,
        "lookalikes": bank_queries.lookalikes_of(g.merchant_id, posting.id),
        "why_ignored": _ignored_by(posting)[0] if posting.ignored_at else None,
    }
