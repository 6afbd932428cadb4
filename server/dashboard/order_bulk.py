"""One act on many orders: ticked ones, or all of the filter (K63).

First a page says how many it fits and which are left out, and why. Then each order is a
transaction of its own: one that fails never stops the others, and is named afterwards.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Response, g, redirect, request, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import order_filter, order_menu, order_queries, status, words
from server.dashboard.order_actions import ACTIONS, GRAVE
from server.dashboard.order_queries import OrderRow
from server.dashboard.order_steps import why
from server.dashboard.pages import page, typed_id
from server.dashboard.words import t
from server.db import db, now
from server.orders.models import OWING_STATUSES, Order
from server.orders.service import NotPossible

log = logging.getLogger(__name__)

MOST_AT_ONCE = 500
FAILED_SHOWN = 20
LISTED = 50
ACTS = (
    "send_payment_information",
    "send_reminder",
    "block_reminders",
    "allow_reminders",
    "take_over",
    "cancel",
)
"""What may be done to many at once; to mark as paid is not among them: that is a look at each."""
_NEEDS_EMAIL = {"send_payment_information", "send_reminder"}


def fits(act: str, order: Order) -> bool:
    """Nobody is reminded in a crowd whom somebody wanted to be left alone, or who says "paid".

    A crowd is written to by e-mail: a letter costs, so each is a decision of its own.
    """
    if act == "send_reminder" and (_rests(order) or not order.customer_email):
        return False
    return act in order_menu.fitting(order)


def _rests(order: Order) -> str | None:
    if order.reminders_blocked_at is not None:
        return "blocked"
    is_paused = order.paused_until is not None and order.paused_until >= words.today()
    return "paused" if is_paused else None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An order that an act does not fit, and why."""

    row: OrderRow
    why: Markup


def act_on_many() -> BaseResponse:
    """Ask first; with ``confirmed`` do it."""
    act = request.form.get("act", "")
    if act not in ACTS:
        return _ask("", [], "bulk_no_act")
    if request.form.get("all") == "yes":
        ids = order_queries.first_ids(order_filter.asked_orders(), MOST_AT_ONCE + 1)
    else:
        ids = [typed_id(one) for one in request.form.getlist("order")]
    if not ids:
        return _ask(act, [], "nothing_ticked")
    is_cut = len(ids) > MOST_AT_ONCE
    if is_cut and request.form.get("all") != "yes":
        return _ask(act, [], "too_many_ticked")
    ids = ids[:MOST_AT_ONCE]
    if request.form.get("confirmed") == "yes":
        return _do(act, ids)
    return _ask(act, ids, is_cut=is_cut)


def _ask(
    act: str, ids: Sequence[int], problem: str | None = None, *, is_cut: bool = False
) -> Response:
    rows = order_queries.order_rows(g.merchant_id, ids)
    found = [rows[one] for one in ids if one in rows]
    wanted = [row for row in found if fits(act, row.order)]
    others = [LeftOut(row, _why_not(act, row.order)) for row in found if row not in wanted]
    return page(
        "order_bulk.html",
        422 if problem else 200,
        act=act,
        rows=wanted,
        left_out=others,
        listed=LISTED,
        is_cut=is_cut,
        most_at_once=MOST_AT_ONCE,
        is_grave=act in GRAVE,
        kept=order_filter.kept_arguments(),
        problem=problem,
    )


def _why_not(act: str, order: Order) -> Markup:
    rests = _rests(order)
    if act == "send_reminder" and rests and act in order_menu.fitting(order):
        return why(rests)
    if act in _NEEDS_EMAIL and not order.customer_email and order.payment_status in OWING_STATUSES:
        return t("orders.without_email")
    if act == "block_reminders" and order.reminders_blocked_at is not None:
        return t("orders.blocked_already")
    if act == "allow_reminders" and order.reminders_blocked_at is None:
        return t("orders.not_blocked")
    word = status.order_word(order.payment_status, order.payment_code)
    return t(f"payment_status.{word}")


def _do(act: str, ids: Collection[int]) -> BaseResponse:
    rows = order_queries.order_rows(g.merchant_id, ids)
    wanted = [one for one in ids if one in rows and fits(act, rows[one].order)]
    failed: list[str] = []
    for order_id in wanted:
        try:
            ACTIONS[act](g.merchant_id, order_id, actor=g.user.email, at=now())
            db.session.commit()
        except NotPossible as problem:
            db.session.rollback()
            failed.append(f"{order_id}-{problem.args[0]}")
        except Exception:  # a fault in one order must not keep the others waiting
            log.exception("%s failed for order %s", act, order_id)
            db.session.rollback()
            failed.append(f"{order_id}-fault")
    facts: dict[str, Any] = {"done": f"bulk_{act}", "n": len(wanted) - len(failed)}
    if failed:
        facts |= {"failed": ".".join(failed[:FAILED_SHOWN]), "failures": len(failed)}
    return redirect(url_for(".show_all", **order_filter.kept_arguments(), **facts), 303)


def failed_before() -> list[tuple[Order, Markup]]:
    """The orders of which the redirect says that it was not possible, and why."""
    pairs = [one.partition("-") for one in request.args.get("failed", "").split(".")]
    named = {typed_id(order_id): key for order_id, _, key in pairs[:FAILED_SHOWN] if key}
    rows = order_queries.order_rows(g.merchant_id, list(named))
    return [(row.order, _why(named[order_id], row.order)) for order_id, row in rows.items()]


def _why(key: str, order: Order) -> Markup:
    """The sentence, where it needs no more than the order's number."""
    if words.has_text(f"not_possible.{key}"):
        try:
            return t(f"not_possible.{key}", number=order.number)
        except KeyError:
            pass
    return t("orders.not_possible")
