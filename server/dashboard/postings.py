"""Postings: the inbox of money without an order. Confirm, assign, split, ignore, undo."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from markupsafe import Markup, escape
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import queries, sentences, words
from server.dashboard.pages import page, part
from server.dashboard.queries import LIKELY, POSTING_LISTS, OrderRow, PostingRow
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
    """On a wide screen the first one is open beside the list; on a phone this is the list."""
    return _inbox(None)


@pages.get("/postings/<int:posting_id>")
def show(posting_id: int) -> Response:
    return _inbox(posting_id)


def _inbox(posting_id: int | None, problem: NotPossible | None = None) -> Response:
    which = request.args.get("list", "open")
    which = which if which in POSTING_LISTS else "open"
    before = request.args.get("before", "")
    rows, has_older = queries.posting_page(
        g.merchant_id, which, int(before) if before.isdecimal() and len(before) < 19 else None
    )
    is_list = posting_id is None
    if posting_id is None and rows:
        posting_id = rows[0].posting.id
    row = queries.posting_row(g.merchant_id, posting_id) if posting_id is not None else None
    if row is None and not is_list:
        abort(404)
    return page(
        "postings.html",
        409 if problem else 200,
        which=which,
        lists=POSTING_LISTS,
        rows=rows,
        older=rows[-1].posting.id if has_older else None,
        sums=queries.waiting_sums(g.merchant_id),
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
        "account": queries.account_of(g.merchant_id, posting.account_id),
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
    return redirect(url_for(".show", posting_id=posting_id, done="unignored"), 303)


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
    return redirect(url_for(".show", posting_id=posting_id, done="undone"), 303)


def _next(done: str, posting_id: int) -> BaseResponse:
    """Back to the inbox, where the next one is open already, with the way back in a toast."""
    row = queries.posting_row(g.merchant_id, posting_id)
    if row is not None and row.posting.is_open:
        return redirect(url_for(".show", posting_id=posting_id, done=done, undo=posting_id), 303)
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
