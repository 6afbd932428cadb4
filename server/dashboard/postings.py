"""Postings: the inbox of money without an order. Confirm, assign, split, ignore, undo."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from markupsafe import Markup, escape
from werkzeug.wrappers import Response as BaseResponse

from server.banking.models import BankAccount, Posting
from server.dashboard import bank_queries, posting_list, queries, sentences, words
from server.dashboard.pages import page, part
from server.dashboard.posting_list import after_text, asked_cursor, asked_filter, asked_sort
from server.dashboard.queries import LIKELY, OrderRow, PostingRow
from server.db import db, now
from server.orders import service
from server.orders.models import Suggestion
from server.orders.rules import MIN_KEY_LENGTH, normalise_reference
from server.orders.service import NotPossible

pages = Blueprint("postings", __name__)

MAX_TEXT_LENGTH = 200
MAX_SPLIT = 20
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Offer:
    """A suggestion as it is shown: its orders with amounts, and why."""

    suggestion: Suggestion
    parts: list[tuple[OrderRow, Decimal]]
    reasons: list[sentences.Reason]

    @property
    def is_likely(self) -> bool:
        """Likely enough for the large button and the key: nobody should book a guess by Enter."""
        return bool(self.suggestion.probability >= LIKELY)


# --- the list and one posting -----------------------------------------------------------------


@pages.get("/postings")
def show_all() -> Response:
    """What waits, the first one open beside the list; with a filter in the URL, the table."""
    return posting_list.table_page() if posting_list.is_asked() else _inbox(None)


@pages.get("/postings/<int:posting_id>")
def show(posting_id: int) -> Response:
    return _inbox(posting_id)


def _inbox(posting_id: int | None, problem: NotPossible | None = None) -> Response:
    wanted, sort = asked_filter(), asked_sort()
    matching = bank_queries.matching_postings(g.merchant_id, wanted)
    if not posting_list.is_asked():
        matching = matching.where(queries.waits(g.merchant_id))
    rows, has_more = bank_queries.posting_page(matching, sort, asked_cursor(sort))
    kept = posting_list.kept_arguments()
    is_list = posting_id is None
    if posting_id is None and rows:
        posting_id = rows[0].posting.id
    row = queries.posting_row(g.merchant_id, posting_id) if posting_id is not None else None
    if row is None and not is_list:
        abort(404)
    return page(
        "postings.html",
        409 if problem else 200,
        wanted=wanted,
        kept=kept,
        is_filtered=posting_list.is_asked(),
        rows=rows,
        more=kept | {"after": after_text(bank_queries.cursor_of(sort, rows[-1]))}
        if has_more
        else None,
        sums=queries.waiting_sums(g.merchant_id),
        doubtful=bank_queries.doubtful_count(g.merchant_id),
        is_list=is_list,
        row=row,
        problem=problem,
        undoable=_undoable(),
        **(_detail(row) if row else {}),
    )


def _detail(row: PostingRow) -> dict[str, object]:
    posting = row.posting
    offers = _offers(row) if posting.is_open else []
    chosen = _chosen_orders(offers)
    text = _plain(request.args.get("q", ""))
    return {
        "posting": posting,
        **_origin(posting),
        **_likeness(posting),
        "said": _marked(posting.remittance_information or "", _keys_of(offers)),
        "offers": offers,
        "assignments": _assignments(posting.id),
        "q": text,
        "found": queries.find_orders(g.merchant_id, text) if text else None,
        "split": _split(chosen, offers, row.rest),
        "split_ids": [order.order.id for order in chosen],
        "is_splitting": "order" in request.args,
        "default_amount": _default_amount,
    }


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
        "ignored_originator": _originator(posting, account),
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


def _originator(posting: Posting, account: BankAccount | None) -> dict[str, str] | None:
    """What an ignore rule for the originator would say; None where nobody is named."""
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


def _assignments(posting_id: int) -> list[tuple[queries.AssignmentRow, OrderRow]]:
    rows = queries.assignments_of_posting(g.merchant_id, posting_id)
    orders = queries.order_rows(g.merchant_id, [row.assignment.order_id for row in rows])
    return [(row, orders[row.assignment.order_id]) for row in rows]


def _offers(row: PostingRow) -> list[Offer]:
    suggestions = queries.suggestions_of(g.merchant_id, row.posting.id)
    ids = [int(part["order_id"]) for one in suggestions for part in one.orders]
    orders = queries.order_rows(g.merchant_id, ids)
    return [
        Offer(
            one,
            [
                (orders[int(part["order_id"])], Decimal(part["amount"]))
                for part in one.orders
                if int(part["order_id"]) in orders
            ],
            sentences.reasons(one.evidence, one.vetoes),
        )
        for one in suggestions
    ]


def _chosen_orders(offers: list[Offer]) -> list[OrderRow]:
    """The orders of the split form: those in the URL, at first those of the best suggestion."""
    asked = request.args.getlist("order")
    ids = [int(text) for text in asked if text.isdecimal() and len(text) < 19][:MAX_SPLIT]
    if not asked and offers:
        ids = [order.order.id for order, _ in offers[0].parts]
    found = queries.order_rows(g.merchant_id, ids)
    return [found[order_id] for order_id in dict.fromkeys(ids) if order_id in found]


def _split(
    chosen: list[OrderRow], offers: list[Offer], rest: Decimal
) -> list[tuple[OrderRow, Decimal]]:
    """The chosen orders with a first proposal of amounts, never more than the posting has."""
    offered = {order.order.id: amount for order, amount in offers[0].parts} if offers else {}
    filled = []
    for order in chosen:
        amount = min(offered.get(order.order.id, order.open), rest)
        rest -= amount
        filled.append((order, max(amount, ZERO)))
    return filled


def _default_amount(order: OrderRow, rest: Decimal) -> Decimal:
    """One click on an order: what it still owes, and all that is left where it owes nothing."""
    return min(order.open, rest) if order.open > 0 else rest


# --- found text -------------------------------------------------------------------------------


def _keys_of(offers: Iterable[Offer]) -> list[str]:
    """What the best suggestion may have been recognised by."""
    best = next(iter(offers), None)
    if best is None:
        return []
    keys = []
    for row, _ in best.parts:
        invoices = [
            str(invoice.get("number", "")) for invoice in row.order.wire.get("invoices") or ()
        ]
        keys += [row.order.number, row.order.payment_reference, *invoices]
    return [key for key in map(normalise_reference, keys) if len(key) >= MIN_KEY_LENGTH]


def _marked(text: str, keys: Iterable[str]) -> Markup:
    """The text with the keys in it marked, whatever stands between their characters."""
    squeezed, places = [], []
    for at, character in enumerate(text):
        for plain in normalise_reference(character):
            squeezed.append(plain)
            places.append(at)
    haystack = "".join(squeezed)
    spans = []
    for key in keys:
        start = haystack.find(key)
        if start >= 0:
            spans.append((places[start], places[start + len(key) - 1] + 1))
    marked, done = Markup(""), 0
    for start, end in sorted(spans):
        if start >= done:
            marked += escape(text[done:start]) + Markup("<mark>{}</mark>").format(text[start:end])
            done = end
    return marked + escape(text[done:])


# --- what is done -----------------------------------------------------------------------------


@pages.get("/postings/<int:posting_id>/orders")
def find_orders(posting_id: int) -> str:
    """The hits of the search while somebody is typing, for htmx."""
    row = _row_or_404(posting_id)
    text = _plain(request.args.get("q", ""))
    return part(
        "_found_orders.html",
        row=row,
        posting=row.posting,
        q=text,
        found=queries.find_orders(g.merchant_id, text) if text else None,
        split_ids=[int(t) for t in request.args.getlist("order") if t.isdecimal()][:MAX_SPLIT],
        default_amount=_default_amount,
    )


@pages.post("/postings/<int:posting_id>/confirm")
def confirm(posting_id: int) -> BaseResponse:
    """Take a suggestion: one click."""
    _row_or_404(posting_id)
    wanted = request.form.get("suggestion", "")
    suggestion = queries.suggestion_of(g.merchant_id, int(wanted) if wanted.isdecimal() else 0)
    try:
        if suggestion is None or suggestion.posting_id != posting_id:
            raise NotPossible("suggestion_gone")
        service.confirm_suggestion(g.merchant_id, suggestion.id, actor=g.user.email, at=now())
    except NotPossible as problem:
        db.session.rollback()
        return _inbox(posting_id, problem)
    db.session.commit()
    return _next("assigned", posting_id)


@pages.post("/postings/<int:posting_id>/assign")
def assign(posting_id: int) -> BaseResponse:
    """Book what the form says: ``amount-<order id>`` fields, empty ones are left out."""
    _row_or_404(posting_id)
    try:
        service.assign(g.merchant_id, posting_id, _parts(), actor=g.user.email, at=now())
    except NotPossible as problem:
        db.session.rollback()
        return _inbox(posting_id, problem)
    db.session.commit()
    return _next("assigned", posting_id)


def _parts() -> list[tuple[int, Decimal]]:
    """Raises NotPossible naming what was typed."""
    parts = []
    for name, typed in request.form.items():
        order_id = name.removeprefix("amount-")
        if order_id == name or not order_id.isdecimal() or not typed.strip():
            continue
        amount = words.read_amount(typed)
        if amount is None:
            raise NotPossible("amount_unreadable", typed=typed[:MAX_TEXT_LENGTH])
        if amount != 0:
            parts.append((int(order_id), amount))
    return parts


@pages.post("/postings/<int:posting_id>/ignore")
def ignore(posting_id: int) -> BaseResponse:
    _row_or_404(posting_id)
    service.ignore_posting(g.merchant_id, posting_id, actor=g.user.email, at=now())
    db.session.commit()
    return _next("ignored", posting_id)


@pages.post("/postings/<int:posting_id>/unignore")
def unignore(posting_id: int) -> BaseResponse:
    _row_or_404(posting_id)
    service.unignore_posting(g.merchant_id, posting_id, actor=g.user.email, at=now())
    db.session.commit()
    return _here(posting_id, "unignored")


@pages.post("/postings/<int:posting_id>/duplicate")
def decide(posting_id: int) -> BaseResponse:
    """The same payment as the one that it looks like, or another (K46)."""
    _row_or_404(posting_id)
    is_same = request.form.get("is") == "same"
    try:
        service.decide_duplicate(
            g.merchant_id, posting_id, is_same=is_same, actor=g.user.email, at=now()
        )
    except NotPossible as problem:
        db.session.rollback()
        return _inbox(posting_id, problem)
    db.session.commit()
    return _here(posting_id, "same_payment" if is_same else "another_payment")


@pages.post("/postings/<int:posting_id>/undo")
def undo(posting_id: int) -> BaseResponse:
    """Reverse one assignment of the posting, or with ``assignment=all`` each that stands."""
    _row_or_404(posting_id)
    wanted = request.form.get("assignment", "")
    rows = queries.assignments_of_posting(g.merchant_id, posting_id)
    standing = [row.assignment.id for row in rows if not row.is_undone]
    ids = standing if wanted == "all" else [one for one in standing if str(one) == wanted]
    try:
        if not ids:
            raise NotPossible("already_undone")
        for assignment_id in ids:
            service.undo(g.merchant_id, assignment_id, actor=g.user.email, at=now())
    except NotPossible as problem:
        db.session.rollback()
        return _inbox(posting_id, problem)
    db.session.commit()
    return _here(posting_id, "undone")


def _here(posting_id: int, done: str) -> BaseResponse:
    kept = posting_list.kept_arguments()
    return redirect(url_for(".show", posting_id=posting_id, **kept, done=done), 303)


def _next(done: str, posting_id: int) -> BaseResponse:
    """Back to the inbox, where the next one is open already, with the way back in a toast.

    Whoever came from a filtered list stays with the posting: that list is no queue to work off.
    """
    kept = posting_list.kept_arguments()
    row = queries.posting_row(g.merchant_id, posting_id)
    if posting_list.is_asked() or (row is not None and row.posting.is_open):
        url = url_for(".show", posting_id=posting_id, **kept, done=done, undo=posting_id)
        return redirect(url, 303)
    return redirect(url_for(".show_all", done=done, undo=posting_id), 303)


def _undoable() -> PostingRow | None:
    """The posting that was just dealt with, as the redirect says."""
    wanted = request.args.get("undo", "")
    if not wanted.isdecimal() or len(wanted) > 18:
        return None
    return queries.posting_row(g.merchant_id, int(wanted))


def _row_or_404(posting_id: int) -> PostingRow:
    row = queries.posting_row(g.merchant_id, posting_id)
    if row is None:
        abort(404)
    return row


def _plain(text: str) -> str:
    return text.replace("\x00", "").strip()[:MAX_TEXT_LENGTH]
