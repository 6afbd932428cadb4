"""What a person does about the money of one order: paid, undone, credit, surplus, names to find it.

Each of them is one call of a service; what the ledger forbids is said on the order's page.
"""

from __future__ import annotations

from flask import Response, g, request
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import match_queries, order_queries, words
from server.dashboard.order_detail import attempt, order_or_404, row_or_404
from server.dashboard.pages import page, plain, typed_id
from server.db import now
from server.orders import credit, service
from server.orders.service import NotPossible


def ask_mark_as_paid(order_id: int) -> Response:
    """The question of the dialog as a page of its own, for browsers without JavaScript."""
    row = row_or_404(order_id)
    return page("mark_as_paid.html", row=row, order=row.order)


def mark_as_paid(order_id: int) -> BaseResponse:
    order_or_404(order_id)

    def do() -> None:
        service.mark_as_paid(g.merchant_id, order_id, actor=g.user.email, at=now())

    return attempt(order_id, do, "marked_as_paid")


def undo(order_id: int, assignment_id: int) -> BaseResponse:
    order_or_404(order_id)
    assignment = order_queries.assignment_of(g.merchant_id, assignment_id)
    if assignment is None or assignment.order_id != order_id:
        raise NotFound

    def do() -> None:
        service.undo(g.merchant_id, assignment_id, actor=g.user.email, at=now())

    return attempt(order_id, do, "undone")


def apply_credit(order_id: int) -> BaseResponse:
    """What is kept of ``posting`` for the customer pays this order (C12)."""
    order_or_404(order_id)
    posting_id = typed_id(request.form.get("posting"))

    def do() -> None:
        credit.apply_credit(g.merchant_id, order_id, posting_id, actor=g.user.email, at=now())

    return attempt(order_id, do, "credit_applied")


def move_surplus(order_id: int) -> BaseResponse:
    """So much of what was paid too much pays the order ``to`` (C13)."""
    order_or_404(order_id)
    typed = plain(request.form.get("amount", ""))
    target_id = typed_id(request.form.get("to"))

    def do() -> None:
        amount = words.read_amount(typed) if typed else None
        if typed and amount is None:
            raise NotPossible("amount_unreadable", typed=typed)
        service.move_surplus(
            g.merchant_id, order_id, target_id, actor=g.user.email, at=now(), amount=amount
        )

    return attempt(order_id, do, "surplus_moved")


def keep_surplus(order_id: int) -> BaseResponse:
    """The surplus stays with the customer until his next order (C12)."""
    order_or_404(order_id)
    posting_id = match_queries.surplus_posting(g.merchant_id, order_id)

    def do() -> None:
        if posting_id is None:
            raise NotPossible("posting_unknown")
        credit.keep_as_credit(g.merchant_id, posting_id, order_id, actor=g.user.email, at=now())

    return attempt(order_id, do, "surplus_kept")


def set_additional(order_id: int) -> BaseResponse:
    """A name and a number by which money for this order may be known (S85)."""
    order_or_404(order_id)
    name, number = (plain(request.form.get(one, "")) or None for one in ("name", "number"))

    def do() -> None:
        service.set_additional(
            g.merchant_id, order_id, name=name, number=number, actor=g.user.email, at=now()
        )

    return attempt(order_id, do, "additional_saved")
