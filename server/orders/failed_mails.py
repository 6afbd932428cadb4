"""Mails to customers that did not arrive: which they are, and the digest of them (K41, S5 to S7).

A file of its own because the digest, the day's page and the log ask the same question. Whoever
gets no mail pays nothing, so the merchant hears of it once a day. Never commits.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, case, func, literal, or_, select
from sqlalchemy.orm import aliased

from server.config import installed
from server.db import db
from server.mail.models import Mail, MailReport
from server.orders.brakes import CUSTOMER_KINDS
from server.orders.merchant_notices import counted, is_told, last_told, once_a_day, tell_people

KIND: Final = "mails_failed"
WRONG_STATUSES: Final = ("failed", "unknown")
WRONG_DELIVERIES: Final = ("bounced", "complained")
LISTED: Final = 20
FIRST_LOOK: Final = timedelta(days=1)
LONGEST_LOOK: Final = timedelta(days=7)
"""A digest tells what happened since the one before, at most so long ago."""
STILL_UNDER_WAY: Final = timedelta(days=14)
"""After so long nothing happens to a mail any more: servers give up after five days."""
WORDS_LENGTH: Final = 200

KIND_WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "de": {
        "payment_information": "Zahlungsinformation",
        "payment_received": "Zahlung erhalten",
        "partially_paid": "Teilzahlung erhalten",
        "overpaid": "Zu viel gezahlt",
        "reminder": "Zahlungserinnerung",
        "dunning_notice": "Mahnung",
        "cod_enquiry": "Nachfrage zur Nachnahme",
        "order_cancelled": "Bestellung storniert",
        "order_overdue": "Rechnung überfällig",
        "more_time_answer": "Antwort auf Bitte um Zeit",
        "refund_announced": "Erstattung angekündigt",
        "refund_executed": "Erstattung ausgeführt",
        "bank_details_request": "Bitte um Bankverbindung",
        "direct_debit_announced": "Ankündigung der Lastschrift",
    },
    "en": {
        "payment_information": "Payment information",
        "payment_received": "Payment received",
        "partially_paid": "Part payment received",
        "overpaid": "Paid too much",
        "reminder": "Payment reminder",
        "dunning_notice": "Dunning notice",
        "cod_enquiry": "Cash on delivery enquiry",
        "order_cancelled": "Order cancelled",
        "order_overdue": "Invoice overdue",
        "more_time_answer": "Answer about more time",
        "refund_announced": "Refund announced",
        "refund_executed": "Refund executed",
        "bank_details_request": "Request for bank details",
        "direct_debit_announced": "Direct debit announced",
    },
}
WHY_WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "de": {
        "invalid_address": "Das ist keine gültige Adresse.",
        "no_such_domain": "Die Domain der Adresse gibt es nicht.",
        "domain_takes_no_mail": "Diese Domain nimmt keine E-Mails an.",
        "no_such_mailbox": "Dieses Postfach gibt es nicht.",
        "mailbox_full": "Das Postfach ist voll.",
        "policy": "Der Server nimmt von diesem Absender nichts an.",
        "too_large": "Die E-Mail ist dem Server zu groß.",
        "blocked": "Die Adresse ist gesperrt.",
        "expired": "Der Server war tagelang nicht zu erreichen.",
        "unreachable": "Der Server ist nicht zu erreichen.",
        "not_writable": "Es fehlen Angaben, um sie zu schreiben.",
        "misconfigured": "Der Versand ist nicht richtig eingerichtet.",
        "unknown": "Ob sie ankam, weiß niemand. Bitte entscheiden Sie.",
        "bounced": "Sie kam zurück.",
        "complained": "Sie wurde als Spam gemeldet.",
        "other": "Der Server hat sie abgelehnt.",
    },
    "en": {
        "invalid_address": "This is no valid address.",
        "no_such_domain": "The domain of the address does not exist.",
        "domain_takes_no_mail": "This domain takes no mail.",
        "no_such_mailbox": "This mailbox does not exist.",
        "mailbox_full": "The mailbox is full.",
        "policy": "The server takes nothing from this sender.",
        "too_large": "The mail is too large for the server.",
        "blocked": "The address is blocked.",
        "expired": "The server could not be reached for days.",
        "unreachable": "The server cannot be reached.",
        "not_writable": "Facts are missing to write it.",
        "misconfigured": "Sending is not set up properly.",
        "unknown": "Nobody knows whether it arrived. Please decide.",
        "bounced": "It came back.",
        "complained": "It was marked as spam.",
        "other": "The server refused it.",
    },
}
"""In a few words; the dashboard says more."""


def went_wrong() -> ColumnElement[bool]:
    """Of ``Mail``: did not arrive, or nobody knows. Written as the index of it is, value for
    value, so that a prepared statement finds it too."""
    statuses = [literal(word, literal_execute=True) for word in WRONG_STATUSES]
    deliveries = [literal(word, literal_execute=True) for word in WRONG_DELIVERIES]
    return or_(Mail.status.in_(statuses), Mail.delivery.in_(deliveries))


def did_get_lost() -> ColumnElement[bool]:
    """Of ``Mail``: did not arrive, for all that is known; asked so that the same index finds it."""
    return and_(went_wrong(), or_(Mail.status == "failed", Mail.delivery == "bounced"))


def is_settled() -> ColumnElement[bool]:
    """Of ``Mail``: a later one of its kind for the same order took its place."""
    later = aliased(Mail)
    return (
        select(later.id)
        .where(
            later.order_id == Mail.order_id,
            later.kind == Mail.kind,
            later.id > Mail.id,
            later.status != "withheld",
        )
        .exists()
    )


def failed_mails(merchant_id: int, after: datetime) -> Select[Mail]:
    """Mails to customers that went wrong after this moment and that nothing has replaced, the
    newest first."""
    reported = (
        select(func.max(MailReport.received_at))
        .where(MailReport.mail_id == Mail.id, MailReport.kind.in_(("bounced", "complaint")))
        .scalar_subquery()
    )
    happened = case(
        (Mail.delivery.in_(WRONG_DELIVERIES), func.coalesce(reported, Mail.finished_at)),
        else_=func.coalesce(Mail.finished_at, Mail.claimed_at, Mail.created_at),
    )
    return (
        select(Mail)
        .where(
            Mail.merchant_id == merchant_id,
            Mail.created_at > after - STILL_UNDER_WAY,
            went_wrong(),
            and_(Mail.kind.in_(CUSTOMER_KINDS), Mail.order_id.is_not(None)),
            happened > after,
            ~is_settled(),
        )
        .order_by(Mail.created_at.desc(), Mail.id.desc())
    )


def tell_of_failed_mails(merchant_id: int, at: datetime) -> bool:
    """To those who hear of it, at most once in a day of the merchant: what did not arrive since
    the last such mail."""
    once = once_a_day(KIND, merchant_id, at)
    if is_told(KIND, once, merchant_id):
        return False
    last = last_told(KIND, merchant_id)
    after = max(last or at - FIRST_LOOK, at - LONGEST_LOOK)
    failed = failed_mails(merchant_id, after)
    listed = list(db.session.scalars(failed.limit(LISTED)))
    if not listed:
        return False
    count = db.session.scalar(select(func.count()).select_from(failed.order_by(None).subquery()))
    base = f"{installed().url}/mails"

    def facts(language: str) -> dict[str, Any]:
        return {
            **counted(count or 0, len(listed)),
            "mails": [_line(mail, language, base) for mail in listed],
            "mails_url": f"{base}?state=wrong",
        }

    return tell_people(KIND, merchant_id, once, facts, at=at)


def _line(mail: Mail, language: str, base: str) -> dict[str, str]:
    words = WHY_WORDS[language]
    said = " ".join((mail.delivery_words or mail.smtp_response or "").split())[:WORDS_LENGTH]
    return {
        "recipient": mail.recipient,
        "kind": KIND_WORDS[language][mail.kind],
        "words": " ".join(part for part in (words[why_of(mail)], said) if part),
        "mail_url": f"{base}/{mail.id}",
    }


def why_of(mail: Mail) -> str:
    """Why a mail went wrong, as a key of ``WHY_WORDS``."""
    if mail.delivery in WRONG_DELIVERIES:
        return str(mail.delivery)
    if mail.status == "unknown":
        return "unknown"
    failure = mail.failure or ""
    return failure if failure in WHY_WORDS["en"] else "other"
