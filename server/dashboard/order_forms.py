"""Forms about one order: e-mail and amount, the base date, and the removal of personal data.

What was typed wrong is shown again with a sentence (422); what does not fit the order as it
stands is said on the order's page (409).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from flask import Response, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import order_menu, order_steps, words
from server.dashboard.order_detail import attempt, order_page, row_or_404
from server.dashboard.order_queries import OrderRow
from server.dashboard.order_timeline import base_date_name
from server.dashboard.pages import page, plain
from server.db import db, now
from server.forgetting.service import erase_personal_data
from server.orders import lifecycle, mail_actions
from server.orders.models import Order
from server.orders.service import NotPossible

TYPED_WRONG = {
    "amount_unreadable",
    "edit_amount_out_of_range",
    "edit_foreign_amount",
    "email_impossible",
    "date_unreadable",
    "date_out_of_range",
    "erase_not_confirmed",
    "erase_statement_is_read",
    "erase_mail_goes_out",
    "erase_letter_goes_out",
    "erase_folder_is_away",
    "erase_refund_is_open",
    "erase_case_is_open",
}
"""What the form is shown again for."""

MAX_EMAIL_LENGTH = lifecycle.MAX_EMAIL


def _submit(
    order_id: int, do: Callable[[], object], form: Callable[[NotPossible], Response], done: str
) -> BaseResponse:
    try:
        do()
    except NotPossible as problem:
        db.session.rollback()
        return form(problem) if problem.args[0] in TYPED_WRONG else order_page(order_id, problem)
    db.session.commit()
    return redirect(url_for(".show", order_id=order_id, done=done), 303)


def _form(
    template: str, row: OrderRow, action: str, problem: NotPossible | None, **facts: Any
) -> Response:
    fits = action in lifecycle.actions_of(row.order)
    return page(
        template, 422 if problem else 200, row=row, order=row.order, fits=fits, problem=problem,
        **facts,
    )  # fmt: skip


# --- e-mail and amount --------------------------------------------------------------------------


def ask_edit(order_id: int) -> Response:
    row = row_or_404(order_id)
    return _edit_form(row, row.order.customer_email or "", words.plain_amount(row.order.total))


def _edit_form(
    row: OrderRow, email: str, total: str, problem: NotPossible | None = None
) -> Response:
    is_foreign = bool(row.order.wire.get("foreign_total") or row.order.wire.get("exchange_rate"))
    return _form("order_edit.html", row, "edit", problem, email=email, total=total,
                 is_foreign=is_foreign)  # fmt: skip


def edit(order_id: int) -> BaseResponse:
    """Another e-mail or amount; the order follows its shop no more (S65 to S67)."""
    row = row_or_404(order_id)
    email = request.form.get("email", "").replace("\x00", "").strip()[: MAX_EMAIL_LENGTH + 1]
    typed = plain(request.form.get("total", "")) or words.plain_amount(row.order.total)

    def do() -> Order:
        total = words.read_amount(typed)
        if total is None:
            raise NotPossible("amount_unreadable", typed=typed)
        return lifecycle.edit_order(
            g.merchant_id, order_id, email=email, total=total, actor=g.user.email, at=now()
        )

    return _submit(
        order_id,
        do,
        lambda problem: _edit_form(row_or_404(order_id), email, typed, problem),
        "edit",
    )


def use_address(order_id: int) -> BaseResponse:
    """One click on what was probably meant: the order takes it over, and its last mail goes there
    (N13)."""
    row_or_404(order_id)
    email = plain(request.form.get("email", ""))

    def act() -> None:
        mail_actions.use_address(g.merchant_id, order_id, email, actor=g.user.email, at=now())

    return attempt(order_id, act, "address_used")


# --- the base date ------------------------------------------------------------------------------


def ask_set_base_date(order_id: int) -> Response:
    return _base_date_form(row_or_404(order_id))


def _base_date_form(row: OrderRow, problem: NotPossible | None = None, typed: str = "") -> Response:
    steps = order_steps.steps_of(row.order, now())
    return _form("order_base_date.html", row, "set_base_date", problem, steps=steps,
                 title=order_menu.label("set_base_date", row.order),
        name=base_date_name(row.order.payment_code),
                 typed=typed or steps.base_date.isoformat())  # fmt: skip


def set_base_date(order_id: int) -> BaseResponse:
    """From when reminders count (S58); an empty field is again what the shop says."""
    row_or_404(order_id)
    typed = plain(request.form.get("day", ""))
    is_reset = request.form.get("reset") == "yes"

    def do() -> Order:
        day = None if is_reset else _read_day(typed)
        return lifecycle.set_base_date(g.merchant_id, order_id, day, actor=g.user.email, at=now())

    return _submit(
        order_id,
        do,
        lambda problem: _base_date_form(row_or_404(order_id), problem, typed),
        "base_date_set",
    )


def _read_day(typed: str) -> date:
    try:
        return date.fromisoformat(typed)
    except ValueError:
        raise NotPossible("date_unreadable") from None


# --- personal data ------------------------------------------------------------------------------


def ask_erase(order_id: int) -> Response:
    return _form("order_erase.html", row_or_404(order_id), "erase", None)


def erase(order_id: int) -> BaseResponse:
    """Nothing that tells whose order it was remains (S86); the number is typed to confirm."""
    row = row_or_404(order_id)
    typed, number = plain(request.form.get("number", "")), row.order.number.strip()

    def do() -> Order:
        if typed != number:
            raise NotPossible("erase_not_confirmed", number=number)
        return erase_personal_data(g.merchant_id, order_id, actor=g.user.email, at=now())

    return _submit(
        order_id,
        do,
        lambda problem: _form("order_erase.html", row_or_404(order_id), "erase", problem),
        "erase",
    )
