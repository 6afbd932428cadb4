"""How a status looks: an icon and a word, never a colour alone.

The colour names are those of ``static/tokens.css``; a tint only where a person is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from server.banking.models import Posting
from server.dashboard.queries import PostingRow
from server.dashboard.words import t
from server.mail.models import Mail
from server.orders.rules import LATE_CODES
from server.shops.models import PaymentUpdate


@dataclass(frozen=True, slots=True)
class Badge:
    """``icon`` is a symbol of icons.svg; ``colour`` one of ok part warn bad back off."""

    icon: str
    colour: str
    word: Markup
    tinted: bool = False


_ORDER = {
    "unpaid": ("unpaid", "off"),
    "partially_paid": ("partial", "part"),
    "paid": ("paid", "ok"),
    "overpaid": ("over", "ok"),
    "cancelled": ("cancelled", "off"),
    "overdue": ("overdue", "bad"),
    "refunded": ("refunded", "back"),
    "partially_refunded": ("refunded", "back"),
    "collection": ("collection", "bad"),
    "removed": ("removed", "off"),
    "not_managed": ("unmanaged", "off"),
}
ORDER_WORDS = tuple(_ORDER)
_REFUND = {
    "new": ("bank", "part"),
    "planned": ("overdue", "off"),
    "bank_details_missing": ("ask", "warn"),
    "held": ("warn", "warn"),
    "in_process": ("upload", "part"),
    "processed": ("refunded", "back"),
    "failed": ("warn", "bad"),
    "cancelled": ("cancelled", "off"),
}
REFUND_WORDS = tuple(_REFUND)
_BATCH = {
    "made": ("download", "part"),
    "sent": ("check", "ok"),
    "failed": ("warn", "bad"),
    "dropped": ("cancelled", "off"),
}
_SHOP = {
    "not_connected": ("unmanaged", "off"),
    "connected": ("check", "ok"),
    "error": ("warn", "bad"),
    "disabled": ("cancelled", "off"),
    "deregistered": ("removed", "off"),
}
_MAIL = {
    "queued": ("overdue", "off"),
    "retried": ("overdue", "warn"),
    "running": ("overdue", "off"),
    "done": ("check", "ok"),
    "delivered": ("paid", "ok"),
    "delayed": ("overdue", "warn"),
    "failed": ("warn", "bad"),
    "withheld": ("cancelled", "off"),
    "opted_out": ("cancelled", "off"),
    "unknown": ("ask", "warn"),
    "bounced": ("warn", "bad"),
    "complained": ("warn", "bad"),
}
_NEWS = {"delivered", "delayed", "bounced", "complained"}
"""What a report said of a mail after a server had taken it."""
_UPDATE = {
    "queued": ("overdue", "off"),
    "retried": ("warn", "warn"),
    "running": ("overdue", "off"),
    "failed": ("warn", "bad"),
    "withheld": ("cancelled", "off"),
    "applied": ("check", "ok"),
    "already_there": ("check", "ok"),
    "no_longer_open": ("cancelled", "off"),
    "not_supported": ("cancelled", "off"),
    "done": ("check", "ok"),
}
_POSTING = {
    "open": ("unpaid", "bad"),
    "partly_assigned": ("partial", "warn"),
    "assigned": ("paid", "ok"),
    "possible_duplicate": ("warn", "warn"),
    "no_assignment": ("unmanaged", "off"),
    "pending": ("overdue", "off"),
    "ignored": ("cancelled", "off"),
    "kept": ("credit", "ok"),
    "goes_back": ("refunded", "back"),
    "returned": ("refunded", "back"),
    "return": ("refunded", "back"),
    "outgoing": ("removed", "off"),
    "replaced": ("unmanaged", "off"),
    "passed_on": ("removed", "off"),
    "nothing": ("unmanaged", "off"),
}


def order_word(payment_status: str, payment_code: str, *, is_overpaid: bool = False) -> str:
    """The word of a status: cancelled reads overdue where goods have left already."""
    if payment_status == "cancelled" and payment_code in LATE_CODES:
        return "overdue"
    if payment_status == "paid" and is_overpaid:
        return "overpaid"
    return payment_status


def order_badge(word: str) -> Badge:
    icon, colour = _ORDER[word]
    return Badge(icon, colour, t(f"payment_status.{word}"), tinted=colour == "bad")


def refund_badge(status: str) -> Badge:
    """Where a repayment stands (K10)."""
    icon, colour = _REFUND[status]
    return Badge(icon, colour, t(f"refund_status.{status}"), tinted=colour in {"bad", "warn"})


def batch_badge(status: str) -> Badge:
    """Where a batch of repayments stands on its way to the bank (C15)."""
    icon, colour = _BATCH[status]
    return Badge(icon, colour, t(f"refund_batch_status.{status}"), tinted=colour == "bad")


def shop_badge(status: str) -> Badge:
    """The connection of K12."""
    icon, colour = _SHOP[status]
    return Badge(icon, colour, t(f"shop_status.{status}"), tinted=colour == "bad")


def mail_word(mail: Mail) -> str:
    """How a mail fared, as far as anybody knows."""
    if mail.delivery in _NEWS:
        return str(mail.delivery)
    if mail.status == "queued" and mail.attempts:
        return "retried"
    if mail.status == "withheld" and mail.failure == "opted_out":
        return "opted_out"
    return mail.status


def mail_badge(mail: Mail) -> Badge:
    word = mail_word(mail)
    icon, colour = _MAIL[word]
    return Badge(icon, colour, t(f"mail_status.{word}"), tinted=colour == "bad")


def update_badge(update: PaymentUpdate) -> Badge:
    word = update.status
    if word == "done" and update.outcome in _UPDATE:
        word = update.outcome
    elif word == "queued" and update.attempts:
        word = "retried"
    icon, colour = _UPDATE[word]
    return Badge(icon, colour, t(f"update_status.{word}"), tinted=colour == "bad")


def posting_word(row: PostingRow) -> str:
    """Where a posting stands, green, yellow or red where money waits (C10)."""
    posting = row.posting
    known = _set_aside(posting) or _elsewhere(row)
    if known:
        return known
    if posting.is_open:
        return "open" if row.rest == posting.amount else "partly_assigned"
    if posting.amount > 0 and row.rest < posting.amount:
        return "assigned" if row.rest <= 0 else "partly_assigned"
    if posting.no_assignment:
        return "no_assignment"
    if posting.is_return:
        return "return"
    return "outgoing" if posting.amount < 0 else "nothing"


def _set_aside(posting: Posting) -> str | None:
    """Why a posting does not simply wait."""
    reasons = {
        "ignored": posting.ignored_at is not None,
        "replaced": posting.is_replaced,
        "passed_on": posting.is_passed_on,
        "pending": posting.is_pending,
        "possible_duplicate": posting.duplicate_of_id is not None,
    }
    return next((word for word, applies in reasons.items() if applies), None)


def _elsewhere(row: PostingRow) -> str | None:
    """Where the money went that pays no order."""
    if row.posting.is_returned:
        return "returned"
    if row.posting.is_kept:
        return "kept"
    return "goes_back" if row.goes_back and row.rest <= 0 else None


def posting_badge(row: PostingRow) -> Badge:
    word = posting_word(row)
    icon, colour = _POSTING[word]
    return Badge(icon, colour, t(f"posting_state.{word}"))
