"""Doing with one order what needs nothing but the order: a form, or a page that asks first.

What needs something typed is in ``order_forms``, what moves money in ``order_money``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from flask import Response, g, request
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import access, order_menu, order_steps
from server.dashboard.order_detail import attempt, row_or_404
from server.dashboard.pages import page
from server.dashboard.words import t
from server.db import db, now
from server.dunning import service as dunning
from server.orders import lifecycle
from server.orders.service import NotPossible

Do = Callable[..., object]


def _remind(merchant_id: int, order_id: int, *, actor: str, at: datetime) -> object:
    anyway = request.form.get("anyway") == "yes"
    return dunning.send_reminder(merchant_id, order_id, actor=actor, at=at, anyway=anyway)


def _hand_over(merchant_id: int, order_id: int, *, actor: str, at: datetime) -> object:
    """It costs money, and cannot be taken back for long."""
    access.require_administrator()
    anyway = request.form.get("anyway") == "yes"
    return dunning.hand_over(merchant_id, order_id, actor=actor, at=at, anyway=anyway)


ACTIONS: Mapping[str, Do] = {
    "send_payment_information": lifecycle.send_payment_information,
    "send_reminder": _remind,
    "run": dunning.run_order,
    "block_reminders": lifecycle.block_reminders,
    "allow_reminders": lifecycle.allow_reminders,
    "mark_as_unpaid": lifecycle.mark_as_unpaid,
    "read_again": lifecycle.read_again,
    "take_over": lifecycle.take_over,
    "stop_managing": lifecycle.stop_managing,
    "cancel": lifecycle.cancel_order,
    "reopen": lifecycle.reopen_order,
    "hand_to_collection": _hand_over,
    "take_from_collection": lifecycle.take_from_collection,
}
"""By name, which is the address and the key of the words: (merchant_id, order_id, *, actor, at)."""
ASKS_AGAIN = {"send_reminder", "hand_to_collection"}
"""What a person may want all the same."""
ASKING = {act.name for acts in order_menu.ACTS.values() for act in acts if act.asks}
GRAVE = {act.name for acts in order_menu.ACTS.values() for act in acts if act.is_grave}


def asking(name: str) -> Callable[[int], Response]:
    """The page that asks before it is done."""

    def ask(order_id: int) -> Response:
        return ask_page(name, order_id)

    return ask


def ask_page(name: str, order_id: int, problem: NotPossible | None = None) -> Response:
    """The question; without a button where the action does not fit the order as it stands."""
    row = row_or_404(order_id)
    order, at = row.order, now()
    reminder = order_steps.next_reminder(order, at) if name == "send_reminder" else None
    fits = name in order_menu.fitting(order) and (reminder is not None or name != "send_reminder")
    words = order_menu.wording(name, order)
    level = reminder.word if reminder else ""
    doubts = dunning.collection_doubts(order, at) if name == "hand_to_collection" and fits else ()
    return page(
        "order_action.html",
        409 if problem else 200,
        row=row,
        order=order,
        name=name,
        fits=fits,
        question=t(f"order_ask.{words}", number=order.number, level=level),
        consequence=t(f"order_ask.{words}_text", shop=order.shop.name),
        button=order_menu.label(name, order, reminder),
        is_grave=name in GRAVE,
        reminder=reminder,
        doubts=[order_steps.why(one) for one in doubts],
        may_do=name != "hand_to_collection" or g.user.is_administrator,
        problem=problem,
    )


def doing(name: str) -> Callable[[int], BaseResponse]:
    """Do it; back to the order."""

    def do(order_id: int) -> BaseResponse:
        row_or_404(order_id)

        def act() -> None:
            ACTIONS[name](g.merchant_id, order_id, actor=g.user.email, at=now())

        if name not in ASKS_AGAIN:
            return attempt(order_id, act, name)
        try:
            act()
        except NotPossible as problem:  # a person may want it all the same, and says so there
            db.session.rollback()
            return ask_page(name, order_id, problem)
        return attempt(order_id, lambda: None, name)

    return do
