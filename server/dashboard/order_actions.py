"""Doing with one order what needs nothing but the order: a form, or a page that asks first.

What needs something typed is in ``order_forms``, what moves money in ``order_money``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from flask import Response, g, request
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import access, order_letters, order_menu, order_steps
from server.dashboard.order_detail import attempt, row_or_404
from server.dashboard.pages import page, typed_id
from server.dashboard.words import t
from server.db import db, now
from server.dunning import service as dunning
from server.dunning.rules import kind_of
from server.merchants.service import settings_of
from server.orders import invoice_letters, letter_actions, lifecycle
from server.orders.letters import wants_letter
from server.orders.models import Order
from server.orders.service import NotPossible

Do = Callable[..., object]
WAYS: Final = frozenset({"mail", "letter"})
COSTS: Final = frozenset({"send_transfer_form", "send_invoice_letter"})
"""What sends a letter, so administrators do it."""


def _remind(merchant_id: int, order_id: int, *, actor: str, at: datetime) -> object:
    """By mail, by letter or both, where the form asked; else as the settings say (S83)."""
    anyway = request.form.get("anyway") == "yes"
    ways = frozenset(request.form.getlist("way")) & WAYS if "asks_way" in request.form else None
    if ways is not None and "letter" in ways:
        access.require_administrator()
    shown = typed_id(request.form.get("level")) or None
    return dunning.send_reminder(
        merchant_id, order_id, actor=actor, at=at, anyway=anyway, ways=ways, level=shown
    )


def _hand_over(merchant_id: int, order_id: int, *, actor: str, at: datetime) -> object:
    """It costs money, and cannot be taken back for long."""
    access.require_administrator()
    anyway = request.form.get("anyway") == "yes"
    return dunning.hand_over(merchant_id, order_id, actor=actor, at=at, anyway=anyway)


ACTIONS: Mapping[str, Do] = {
    "send_payment_information": lifecycle.send_payment_information,
    "send_reminder": _remind,
    "send_transfer_form": letter_actions.send_transfer_form,
    "send_invoice_letter": invoice_letters.send_invoice,
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
    prospect = _prospect(name, order, reminder, at)
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
        prospect=prospect,
        ways=_ways_shown(order, reminder) if reminder is not None else frozenset(),
        doubts=[order_steps.why(one) for one in doubts],
        may_do=name != "hand_to_collection" or g.user.is_administrator,
        problem=problem,
    )


def _prospect(
    name: str, order: Order, reminder: order_steps.NextReminder | None, at: datetime
) -> order_letters.Prospect | None:
    """The letter that it would be, and what it costs, for whoever may spend that."""
    if not g.user.is_administrator or (name not in COSTS and reminder is None):
        return None
    is_registered = reminder is not None and order_steps.is_registered(order, reminder)
    return order_letters.prospect_of(order, at, is_registered=is_registered)


def _ways_shown(order: Order, reminder: order_steps.NextReminder) -> frozenset[str]:
    """What is ticked: what was typed, else what the settings would do."""
    if "asks_way" in request.form:
        return frozenset(request.form.getlist("way")) & WAYS
    settings = settings_of(order.merchant_id, order.shop_id)
    by_letter = wants_letter(order, kind_of(reminder.level), settings)
    ways = {"mail": bool(order.customer_email), "letter": by_letter or not order.customer_email}
    return frozenset(way for way, is_so in ways.items() if is_so)


def doing(name: str) -> Callable[[int], BaseResponse]:
    """Do it; back to the order."""

    def do(order_id: int) -> BaseResponse:
        row_or_404(order_id)
        if name in COSTS:
            access.require_administrator()

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
