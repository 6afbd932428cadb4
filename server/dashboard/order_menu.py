"""The menu of an order: what may be done with it, by whom it is felt, and how it is called (S56).

Which entries fit type and status is decided by ``orders.lifecycle.actions_of``; here is how they
are offered. A file of its own because the order's page shows it and the actions' pages use its
words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from flask import g, url_for
from markupsafe import Markup

from server.dashboard.order_queries import OrderRow, invoices_of
from server.dashboard.order_steps import NextReminder, next_reminder
from server.dashboard.words import t
from server.dunning.rules import ASKED_CODES
from server.orders import lifecycle
from server.orders.letters import has_address
from server.orders.models import Order
from server.orders.rules import LATE_CODES


@dataclass(frozen=True, slots=True)
class Act:
    """``asks``: a page asks before it is done. ``is_grave``: shown in red."""

    name: str
    asks: bool = False
    is_grave: bool = False


ACTS = {
    "customer": (
        Act("send_payment_information"),
        Act("send_reminder", asks=True),
        Act("send_transfer_form", asks=True),
        Act("send_invoice_letter", asks=True),
        Act("run"),
        Act("block_reminders"),
        Act("allow_reminders"),
        Act("set_base_date", asks=True),
    ),
    "payment": (
        Act("mark_as_paid", asks=True),
        Act("edit", asks=True),
        Act("repay", asks=True),
        Act("mark_as_unpaid", asks=True, is_grave=True),
    ),
    "order": (
        Act("read_again"),
        Act("take_over", asks=True),
        Act("reopen"),
        Act("collection_details", asks=True),
        Act("take_from_collection"),
        Act("stop_managing", asks=True),
        Act("cancel", asks=True, is_grave=True),
        Act("hand_to_collection", asks=True, is_grave=True),
        Act("erase", asks=True, is_grave=True),
    ),
}
"""By whom it is felt first. The addresses are the names, with ``ask_`` in front where it asks."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the menu: a link to the page that asks, or the address of a form."""

    act: Act
    label: Markup
    url: str


def menu_of(row: OrderRow, at: datetime) -> list[tuple[str, Sequence[Entry]]]:
    """(group, entries) of what fits this order; a group of nothing is left out."""
    fits, reminder = fitting(row.order), None
    if row.paid > row.repaid and g.user.is_administrator:
        fits |= {"repay"}
    if "send_reminder" in fits:
        reminder = next_reminder(row.order, at)
        if reminder is None:
            fits -= {"send_reminder"}  # the highest level is reached
    found = [
        (group, [_entry(act, row.order, reminder) for act in acts if act.name in fits])
        for group, acts in ACTS.items()
    ]
    return [(group, entries) for group, entries in found if entries]


def _entry(act: Act, order: Order, reminder: NextReminder | None) -> Entry:
    view = f".ask_{act.name}" if act.asks else f".{act.name}"
    return Entry(act, label(act.name, order, reminder), url_for(view, order_id=order.id))


def fitting(order: Order) -> set[str]:
    """The names of what fits; nobody is reminded of a transfer whom nobody asked for one."""
    fits = set(lifecycle.actions_of(order))
    if not g.user.is_administrator:
        fits -= {"send_transfer_form"}  # a letter costs
    elif _has_printable(order):
        fits |= {"send_invoice_letter"}
    return fits if order.payment_code in ASKED_CODES else fits - {"send_reminder"}


def _has_printable(order: Order) -> bool:
    """An invoice as PDF, and an address to send it to (S75)."""
    if order.erased_at is not None or not has_address(order.wire):
        return False
    return any(one.received_at for one in invoices_of(order.merchant_id, order.id))


def wording(name: str, order: Order) -> str:
    """The key of the words: cancelling reads "overdue" where goods have left already (K4), and
    the date that reminders count from is called otherwise (S57)."""
    is_late = order.payment_code in LATE_CODES
    return f"{name}_late" if name in {"cancel", "reopen", "set_base_date"} and is_late else name


def label(name: str, order: Order, reminder: NextReminder | None = None) -> Markup:
    """What the menu and the buttons call it; ``reminder`` is the one that would be sent."""
    if name == "send_reminder":
        word = reminder.word if reminder else t("order.level_next")
        return t("order_act.send_reminder", level=word)
    return t(f"order_act.{wording(name, order)}")
