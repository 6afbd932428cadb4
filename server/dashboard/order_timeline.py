"""One history of an order: money, mails, what the shop was told and asked, and what was done.

The newest is first. What another line says better (the booking of money says more than the event
that it was booked) is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from markupsafe import Markup

from server.dashboard import mail_log_queries, order_queries, words
from server.dashboard.pages import event_facts
from server.dashboard.refund_words import why_failed
from server.dashboard.status import Badge, mail_badge, order_badge, order_word, update_badge
from server.dashboard.words import t
from server.mail.rules import KINDS
from server.orders.models import Order, OrderEvent, Reminder
from server.orders.rules import LATE_CODES
from server.refunds.rules import HOLDS

GROUPS = ("payments", "mails", "shop")
"""What the timeline may be narrowed to."""

TOLD_BY_MONEY = {"assigned", "marked_as_paid", "difference_booked"}
SAYS_STATUS = {
    "cancelled",
    "cancelled_again",
    "overdue",
    "reopened",
    "collection",
    "collection_ended",
    "removed",
    "taken_over",
    "left_alone",
}
"""What says by itself where the order stands from then on."""
REFUND_EVENTS = (
    "refund_arranged",
    "refund_changed",
    "refund_held",
    "refund_approved",
    "refund_confirmed",
    "refund_released",
    "refund_cancelled",
    "refund_file_downloaded",
    "refund_sent",
    "refund_processed",
    "refund_failed",
    "refund_retried",
)
"""What happens to the repayments of an order (S78)."""
_EVENT_GROUPS = {
    "payments": {
        "status_changed",
        "assignment_undone",
        "credit_kept",
        "credit_released",
        "surplus_moved",
        "surplus_received",
        "surplus_taken",
        "payment_returned",
        "return_undone",
        "marked_as_unpaid",
        "money_kept",
        *REFUND_EVENTS,
        "claimed_paid",
        "proof_received",
        "claim_settled",
        "more_time_asked",
        "more_time_granted",
        "more_time_refused",
    },
    "mails": {
        "payment_information_sent",
        "reminder_sent",
        "enquired",
        "mail_resent",
        "mail_sent_again",
        "mail_let_rest",
        "mail_opted_out",
        "mail_opted_in",
        "letter_written",
        "letter_cancelled",
        "letter_sent_again",
        "letter_let_rest",
        "letter_not_written",
    },
    "shop": {
        "imported",
        "read_again",
        "watched",
        "open_again",
        "total_changed",
        "removal_held",
        "removal_refused",
        "removed",
    },
}
_ICONS = {
    "assignment_undone": "refunded",
    "payment_returned": "refunded",
    "marked_as_unpaid": "refunded",
    **dict.fromkeys(REFUND_EVENTS, "refunded"),
    "money_kept": "refunded",
    "removed": "removed",
    "removal_held": "ask",
    "cancelled": "cancelled",
    "cancelled_again": "cancelled",
    "overdue": "overdue",
    "collection": "collection",
    "collection_ended": "collection",
    "reminder_sent": "mail",
    "payment_information_sent": "mail",
    "enquired": "mail",
    "mail_resent": "mail",
    "mail_sent_again": "mail",
    "mail_let_rest": "mail",
    "mail_opted_out": "mail",
    "mail_opted_in": "mail",
    "letter_written": "letter",
    "letter_cancelled": "letter",
    "letter_sent_again": "letter",
    "letter_let_rest": "letter",
    "letter_not_written": "warn",
    "claimed_paid": "person",
    "proof_received": "download",
    "claim_settled": "check",
    "more_time_asked": "person",
    "more_time_granted": "check",
    "more_time_refused": "minus",
    "edited": "settings",
    "imported": "shop",
    "read_again": "shop",
    "watched": "shop",
    "erased": "removed",
    "erase_asked": "ask",
    "left_alone": "unmanaged",
}
_WARNS = {
    "letter_not_written": "warn",
    "removal_held": "warn",
    "refund_held": "warn",
    "refund_failed": "bad",
    "claimed_paid": "warn",
    "more_time_asked": "warn",
    "collection": "bad",
    "overdue": "bad",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """``kind``: payment, mail, update, request, event or received, which says what ``row`` is."""

    at: datetime
    kind: str
    row: Any
    icon: str
    colour: str = ""
    sentence: Markup | None = None
    completing: tuple[Any, ...] = ()
    badge: Badge | None = None
    reminder: Reminder | None = None


def entries_of(order: Order, group: str, at: datetime) -> list[Entry]:
    """The newest first; of one of GROUPS only, if that is named."""
    sources = {
        "payments": (_payments,),
        "mails": (_mails,),
        "shop": (_updates, _requests),
    }
    wanted = sources.get(group) or (_payments, _mails, _updates, _requests)
    found = [entry for source in wanted for entry in source(order, at)]
    found += [one for one in _events(order) if _belongs(one.row.kind, group)]
    if group in ("", "shop"):
        came = t("event.by_hand") if order.sync == "manual" else None
        found.append(Entry(order.created_at, "received", order, "orders", sentence=came))
    return sorted(found, key=lambda one: one.at, reverse=True)


def _belongs(kind: str, group: str) -> bool:
    if kind in TOLD_BY_MONEY:
        return False
    return group not in _EVENT_GROUPS or kind in _EVENT_GROUPS[group]


def _payments(order: Order, _: datetime) -> Iterator[Entry]:
    rows = order_queries.assignments_of_order(order.merchant_id, order.id)
    for one in reversed(rows):
        row = one.assignment
        if row.completes_id:
            continue
        completing = tuple(other for other in rows if other.assignment.completes_id == row.id)
        icon = "bank" if one.posting else "check"
        colour = "off" if one.is_undone else "ok"
        yield Entry(row.created_at, "payment", one, icon, colour, completing=completing)


def _reminders(order: Order) -> dict[int, Reminder]:
    """By mail, whose line says what the event would say again."""
    rows = order_queries.reminders_of(order.merchant_id, order.id)
    return {mail.id: reminder for reminder, mail in rows if mail is not None}


def _mails(order: Order, at: datetime) -> Iterator[Entry]:
    reminders = _reminders(order)
    for mail in mail_log_queries.mails_of_order(order.merchant_id, order.id, at):
        badge = mail_badge(mail)
        is_wrong = badge.colour in {"bad", "warn"}
        colour = badge.colour if is_wrong else ""
        when = mail.finished_at or mail.created_at
        yield Entry(
            when,
            "mail",
            mail,
            "warn" if is_wrong else "mail",
            colour,
            badge=badge,
            reminder=reminders.get(mail.id),
        )


def is_to_merchant(kind: str) -> bool:
    """Who reads a mail: the merchant, or the customer."""
    return kind in KINDS and KINDS[kind].reader == "merchant"


def _updates(order: Order, _: datetime) -> Iterator[Entry]:
    for update in order_queries.updates_of_order(order.merchant_id, order.id):
        badge = update_badge(update)
        yield Entry(
            update.finished_at or update.created_at,
            "update",
            update,
            "warn" if badge.colour in {"bad", "warn"} else "shop",
            badge.colour,
            badge=badge,
        )


def _requests(order: Order, _: datetime) -> Iterator[Entry]:
    for request in order_queries.requests_of_order(order.merchant_id, order.id):
        when = request.finished_at or request.created_at
        yield Entry(when, "request", request, "shop", sentence=request_sentence(request))


def request_sentence(request: Any) -> Markup:
    """What became of "look at this order in the shop"."""
    if request.status in {"queued", "running"}:
        return t("order_request.waits")
    word = request.outcome if request.status == "done" else request.outcome or "no_answer"
    if word == "temporary":
        word = "no_answer"
    return t(f"order_request.{word}")


# --- events -------------------------------------------------------------------------------------


def _events(order: Order) -> Iterator[Entry]:
    told = {reminder.level for reminder in _reminders(order).values()}
    events = order_queries.events_of_order(order.merchant_id, order.id)
    ended_at = {event.at for event in events if event.kind in SAYS_STATUS}
    for event in events:
        if event.kind == "reminder_sent" and event.facts.get("level") in told:
            continue
        if event.kind == "status_changed" and event.at in ended_at:
            continue
        icon, colour = _ICONS.get(event.kind, "orders"), _WARNS.get(event.kind, "")
        if event.kind == "status_changed":
            after = order_badge(order_word(event.facts["after"], order.payment_code))
            icon, colour = after.icon, after.colour
        yield Entry(event.at, "event", event, icon, colour, sentence=event_sentence(event, order))


def event_sentence(event: OrderEvent, order: Order) -> Markup | None:
    """What happened; None for a kind that the texts do not know."""
    if "mail" in event.facts:
        return _about_mail(event)
    if event.kind.startswith("letter_") and "letter" in event.facts:
        return _about_letter(event, order)
    own = _SENTENCES.get(event.kind)
    if own is not None:
        return own(dict(event.facts), order)
    if not words.has_text(f"event.{event.kind}"):
        return None
    try:
        return t(f"event.{event.kind}", **event_facts(event, order))
    except KeyError:
        return None  # written by an earlier version, which knew less of it


def _about_mail(event: OrderEvent) -> Markup:
    """What a person did with a mail."""
    kind = f"mail_kind.{event.facts['mail']}"
    name = t(kind) if words.has_text(kind) else event.facts["mail"]
    return t(f"event.{event.kind}", mail=name)


def _about_letter(event: OrderEvent, order: Order) -> Markup:
    """What became of a letter, and why one could not be made."""
    kind = f"letter_kind.{event.facts['letter']}"
    name = t(kind) if words.has_text(kind) else event.facts["letter"]
    reason = f"not_possible.{event.facts.get('reason', '')}"
    why = t(reason, number=order.number) if words.has_text(reason) else ""
    return t(f"event.{event.kind}", letter=name, why=why)


def _status_changed(facts: dict[str, Any], order: Order) -> Markup:
    before, after = (
        order_badge(order_word(facts[name], order.payment_code)).word
        for name in ("before", "after")
    )
    return t("event.status_changed", before=before, after=after)


def _base_date_set(facts: dict[str, Any], order: Order) -> Markup:
    name, day = base_date_name(order.payment_code), _day(facts.get("day"))
    if not day:
        return t("event.base_date_unset", name=name)
    return t("event.base_date_set", name=name, day=day)


def _claimed_paid(facts: dict[str, Any], _: Order) -> Markup:
    day = _day(facts.get("day"))
    return t("event.claimed_paid_on", day=day) if day else t("event.claimed_paid")


def _more_time_asked(facts: dict[str, Any], _: Order) -> Markup:
    return t("event.more_time_asked", day=_day(facts.get("day")))


def _more_time_granted(facts: dict[str, Any], _: Order) -> Markup:
    return t("event.more_time_granted", day=_day(facts.get("day")))


def _edited(facts: dict[str, Any], _: Order) -> Markup:
    fields = str(facts.get("fields", "")).split(", ")
    named = [str(t(f"order_field.{one}")) for one in fields if one in {"email", "total"}]
    return t("event.edited", fields=", ".join(named))


def _reminder_sent(facts: dict[str, Any], _: Order) -> Markup:
    return t("event.reminder_sent", level=level_word(int(facts.get("level", 1))))


def _refund_held(facts: dict[str, Any], _: Order) -> Markup:
    why = [one for one in str(facts.get("holds", "")).split(", ") if one]
    named = [str(t(f"refund_hold_word.{one}")) for one in why if one in HOLDS]
    return t("event.refund_held", why="; ".join(named))


def _refund_failed(facts: dict[str, Any], _: Order) -> Markup:
    reference, why = facts.get("reference", ""), why_failed(str(facts.get("reason", "")))
    return t("event.refund_failed", reference=reference, why=why)


_SENTENCES = {
    "refund_held": _refund_held,
    "refund_failed": _refund_failed,
    "status_changed": _status_changed,
    "base_date_set": _base_date_set,
    "claimed_paid": _claimed_paid,
    "more_time_asked": _more_time_asked,
    "more_time_granted": _more_time_granted,
    "edited": _edited,
    "reminder_sent": _reminder_sent,
}
"""Events whose facts are more than names, amounts and numbers."""


def _day(text: object) -> str:
    return words.day(date.fromisoformat(str(text)), "long") if text else ""


def base_date_name(payment_code: str) -> Markup:
    """What the date is called from which reminders count (S57)."""
    return t("order.invoice_date") if payment_code in LATE_CODES else t("order.due_on")


def level_word(level: int) -> Markup:
    """``Zahlungserinnerung``, then ``1. Mahnung`` and so on."""
    if level == 1:
        return t("order.level_reminder")
    return t("order.level_notice", number=level - 1)
