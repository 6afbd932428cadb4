"""Postings: the inbox of money without an order. Confirm, assign, split, ignore, undo."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from flask import Blueprint, Response, abort, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.banking.service import add_rule
from server.dashboard import (
    bank_queries,
    match_queries,
    order_queries,
    posting_list,
    queries,
    refund_forms,
    words,
)
from server.dashboard.bank_queries import PostingFilter
from server.dashboard.pages import page, part, plain, typed_id
from server.dashboard.posting_detail import (
    MAX_SPLIT,
    default_amount,
    detail,
    originator_of,
    typed_amounts,
)
from server.dashboard.posting_list import after_text, asked_cursor, asked_filter, asked_sort
from server.dashboard.queries import PostingRow
from server.db import db, now
from server.orders import credit, returns, service
from server.orders.service import NotPossible

pages = Blueprint("postings", __name__)


# --- the list and one posting -----------------------------------------------------------------


@pages.get("/postings")
def show_all() -> Response:
    """What waits, the first one open beside the list; with a filter in the URL, the table."""
    return posting_list.table_page() if posting_list.is_asked() else _inbox(None)


@pages.get("/postings/<int:posting_id>")
def show(posting_id: int) -> Response:
    return _inbox(posting_id)


def _inbox(posting_id: int | None, problem: NotPossible | None = None) -> Response:
    is_asked, sort = posting_list.is_asked(), asked_sort()
    wanted = asked_filter() if is_asked else PostingFilter()
    matching = bank_queries.matching_postings(g.merchant_id, wanted)
    if not is_asked:
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
        is_filtered=is_asked,
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
        proposed=match_queries.proposal_count(g.merchant_id),
        **(detail(row) if row else {}),
    )


# --- what is done -----------------------------------------------------------------------------


@pages.get("/postings/<int:posting_id>/orders")
def find_orders(posting_id: int) -> str:
    """The hits of the search while somebody is typing, for htmx."""
    row = _row_or_404(posting_id)
    text = plain(request.args.get("q", ""))
    return part(
        "_found_orders.html",
        row=row,
        posting=row.posting,
        q=text,
        found=order_queries.find_orders(g.merchant_id, text) if text else None,
        split_ids=[int(t) for t in request.args.getlist("order") if t.isdecimal()][:MAX_SPLIT],
        default_amount=default_amount,
    )


@pages.post("/postings/<int:posting_id>/confirm")
def confirm(posting_id: int) -> BaseResponse:
    """Take a suggestion: one click. With ``rest=credit`` what is left is the customer's."""
    _row_or_404(posting_id)
    suggestion = queries.suggestion_of(g.merchant_id, typed_id(request.form.get("suggestion")))

    def do() -> None:
        if suggestion is None or suggestion.posting_id != posting_id:
            raise NotPossible("suggestion_gone")
        orders = [int(part["order_id"]) for part in suggestion.orders]
        service.confirm_suggestion(g.merchant_id, suggestion.id, actor=g.user.email, at=now())
        _keep_rest(posting_id, orders)

    return _attempt(posting_id, do, lambda: _next("assigned", posting_id))


@pages.post("/postings/<int:posting_id>/assign")
def assign(posting_id: int) -> BaseResponse:
    """Book what the form says: ``amount-<order id>`` fields, empty ones are left out.

    ``difference-<order id>`` names why an order counts as paid though a little is missing (C7);
    ``rest=credit`` keeps what is left of the posting for the customer (C12).
    """
    _row_or_404(posting_id)

    def do() -> None:
        parts = _parts()
        order_ids = [order_id for order_id, _ in parts]
        service.assign(
            g.merchant_id,
            posting_id,
            parts,
            differences=_differences(order_ids),
            actor=g.user.email,
            at=now(),
        )
        _keep_rest(posting_id, order_ids)

    return _attempt(posting_id, do, lambda: _next("assigned", posting_id))


def _parts() -> list[tuple[int, Decimal]]:
    """Raises NotPossible naming what was typed."""
    parts = []
    for order_id, typed in typed_amounts(request.form).items():
        amount = words.read_amount(typed)
        if amount is None:
            raise NotPossible("amount_unreadable", typed=typed)
        if amount != 0:
            parts.append((order_id, amount))
    return parts


def _differences(order_ids: list[int]) -> dict[int, str]:
    """Order id to why it counts as paid, where that was chosen."""
    chosen = {one: request.form.get(f"difference-{one}", "") for one in order_ids}
    return {order_id: why for order_id, why in chosen.items() if why in service.DIFFERENCES}


def _keep_rest(posting_id: int, order_ids: list[int]) -> None:
    """What is left belongs to the customer of the first order, if the form says so."""
    row = queries.posting_row(g.merchant_id, posting_id)
    if request.form.get("rest") != "credit" or row is None or row.rest <= 0:
        return
    credit.keep_as_credit(g.merchant_id, posting_id, order_ids[0], actor=g.user.email, at=now())


@pages.post("/postings/<int:posting_id>/keep")
def keep(posting_id: int) -> BaseResponse:
    """What is left of the posting is credit of the customer of ``order`` (C12)."""
    _row_or_404(posting_id)
    order_id = typed_id(request.form.get("order"))

    def do() -> None:
        credit.keep_as_credit(g.merchant_id, posting_id, order_id, actor=g.user.email, at=now())

    return _attempt(posting_id, do, lambda: _next("kept", posting_id))


@pages.post("/postings/<int:posting_id>/release")
def release(posting_id: int) -> BaseResponse:
    """The credit is none any more: the rest waits to be assigned again."""
    _row_or_404(posting_id)

    def do() -> None:
        credit.release_credit(g.merchant_id, posting_id, actor=g.user.email, at=now())

    return _attempt(posting_id, do, lambda: _here(posting_id, "released"))


pages.add_url_rule(
    "/postings/<int:posting_id>/send-back", view_func=refund_forms.ask_send_back, methods=["GET"]
)
pages.add_url_rule(
    "/postings/<int:posting_id>/send-back", view_func=refund_forms.send_back, methods=["POST"]
)


@pages.post("/postings/<int:posting_id>/return")
def book_return(posting_id: int) -> BaseResponse:
    """The bank took back the money of the payment ``returned``: its orders owe again (N18)."""
    _row_or_404(posting_id)
    returned_id = typed_id(request.form.get("returned"))

    def do() -> None:
        returns.book_return(g.merchant_id, posting_id, returned_id, actor=g.user.email, at=now())

    return _attempt(posting_id, do, lambda: _next("returned", posting_id))


@pages.post("/postings/<int:posting_id>/undo-return")
def undo_return(posting_id: int) -> BaseResponse:
    _row_or_404(posting_id)

    def do() -> None:
        returns.undo_return(g.merchant_id, posting_id, actor=g.user.email, at=now())

    return _attempt(posting_id, do, lambda: _here(posting_id, "return_undone"))


@pages.post("/postings/<int:posting_id>/ignore")
def ignore(posting_id: int) -> BaseResponse:
    """Off the list; with ``always=on`` whatever comes from the same originator as well (K44)."""
    row = _row_or_404(posting_id)
    service.ignore_posting(g.merchant_id, posting_id, actor=g.user.email, at=now())
    originator = originator_of(row.posting) if request.form.get("always") == "on" else None
    if originator is not None:
        try:
            add_rule(g.merchant_id, **originator, tells_merchant=False, actor=g.user.email)
        except ValueError as refused:
            db.session.rollback()
            return _inbox(posting_id, NotPossible(str(refused.args[0])))
    db.session.commit()
    return _next("ignored_always" if originator else "ignored", posting_id)


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
    done = "same_payment" if is_same else "another_payment"

    def do() -> None:
        service.decide_duplicate(
            g.merchant_id, posting_id, is_same=is_same, actor=g.user.email, at=now()
        )

    return _attempt(posting_id, do, lambda: _here(posting_id, done))


@pages.post("/postings/<int:posting_id>/undo")
def undo(posting_id: int) -> BaseResponse:
    """Reverse one assignment of the posting, or with ``assignment=all`` each that stands."""
    _row_or_404(posting_id)
    wanted = request.form.get("assignment", "")
    rows = order_queries.assignments_of_posting(g.merchant_id, posting_id)
    standing = [row.assignment.id for row in rows if not row.is_undone]
    ids = standing if wanted == "all" else [one for one in standing if str(one) == wanted]

    def do() -> None:
        if not ids:
            raise NotPossible("already_undone")
        for assignment_id in ids:
            service.undo(g.merchant_id, assignment_id, actor=g.user.email, at=now())

    return _attempt(posting_id, do, lambda: _here(posting_id, "undone"))


def _attempt(
    posting_id: int, do: Callable[[], None], then: Callable[[], BaseResponse]
) -> BaseResponse:
    """Do it, commit and go on; the inbox with the reason where the ledger says no."""
    try:
        do()
    except NotPossible as problem:
        db.session.rollback()
        return _inbox(posting_id, problem)
    db.session.commit()
    return then()


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
    return queries.posting_row(g.merchant_id, typed_id(request.args.get("undo")))


def _row_or_404(posting_id: int) -> PostingRow:
    row = queries.posting_row(g.merchant_id, posting_id)
    if row is None:
        abort(404)
    return row
