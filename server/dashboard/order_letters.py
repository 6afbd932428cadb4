"""What pages show of a letter: how it fared, what it costs, and on the order all of them (S73).

A file of its own because the list, the letter's page and the order's page say the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from flask import g

from server.dashboard import letter_queries, words
from server.dashboard.status import Badge
from server.dashboard.words import t
from server.letters import service as letters
from server.letters.models import Letter
from server.letters.services import service_of
from server.merchants.service import settings_of
from server.orders.letters import account_of, billed_to, delivered_to, due_of, has_address
from server.orders.models import Order
from server.orders.told import told_order

MAX_WORDS = 2_000
USUAL_PAGES = 1
_LOOKS = {
    "waiting": ("overdue", "off"),
    "retried": ("overdue", "warn"),
    "handed_over": ("check", "ok"),
    "sent": ("paid", "ok"),
    "returned": ("warn", "bad"),
    "failed": ("warn", "bad"),
    "unknown": ("ask", "warn"),
    "cancelled": ("cancelled", "off"),
    "withheld": ("cancelled", "off"),
}


@dataclass(frozen=True, slots=True)
class Fate:
    """How a letter fares: ``said`` are the words of the service, or why it was held back."""

    badge: Badge
    said: str
    can_cancel: bool

    @property
    def is_wrong(self) -> bool:
        return self.badge.colour in {"bad", "warn"}


@dataclass(frozen=True, slots=True)
class Line:
    letter: Letter
    fate: Fate


@dataclass(frozen=True, slots=True)
class Prospect:
    """What a letter to the customer of an order would be: asked before it is written.

    ``copy`` is the delivery address that gets one as well. ``cost`` is None where nobody knows.
    """

    lines: tuple[str, ...]
    country: str
    copy: tuple[str, ...]
    cost: tuple[Decimal, str] | None
    due_at: datetime
    has_service: bool


def fate_of(letter: Letter) -> Fate:
    state = letter_queries.state_of(letter)
    if state == "waiting" and letter.error:
        state = "retried"
    icon, colour = _LOOKS[state]
    badge = Badge(icon, colour, t(f"letter_state.{state}"), tinted=colour == "bad")
    said = letter.error or letter.delivery_words or ""
    is_told = state in {"retried", "withheld", "failed", "returned", "unknown"}
    return Fate(
        badge,
        " ".join(said.split())[:MAX_WORDS] if is_told else "",
        can_cancel=letter.status == "queued",
    )


def lines_of(order: Order) -> list[Line]:
    """The letters of an order, the newest first."""
    found = letter_queries.letters_of_order(order.merchant_id, order.id)
    return [Line(letter, fate_of(letter)) for letter in found]


def prospect_of(order: Order, at: datetime, *, is_registered: bool = False) -> Prospect | None:
    """None where there is no postal address."""
    if order.erased_at is not None or not has_address(order.wire):
        return None
    told = told_order(order)
    settings = settings_of(order.merchant_id, order.shop_id)
    billed, copy = billed_to(told), delivered_to(told)
    assert billed is not None, "there is an address"
    return Prospect(
        lines=billed.lines,
        country=billed.country,
        copy=copy.lines if copy is not None and settings.letter_to_delivery else (),
        cost=letters.estimate(g.merchant_id, USUAL_PAGES, is_registered),
        due_at=due_of(order.merchant_id, settings, account_of(order), at),
        has_service=service_of(order.merchant_id) is not None,
    )


def said_cost(letter: Letter) -> str | None:
    """What it cost, or what one of a page will cost; None where nobody knows."""
    if letter.cost is not None:
        return words.money(letter.cost, letter.cost_currency or "EUR")
    if letter.status != "queued" or letter.is_test:
        return None
    found = letters.estimate(g.merchant_id, letter.pages or USUAL_PAGES, letter.is_registered)
    return t("letters.about", amount=words.money(*found)) if found is not None else None
