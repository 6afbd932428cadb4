"""What came back about a mail: kept, and written on the mail that it is about. Never commits.

A file of its own because the receiver and the mailbox both hand reports in. Whose report it is
says the signed return path alone, never what stands in the report; so a stranger can change
nothing, and a recipient only what is known of the mail that he got. Each report counts once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from server.config import installed
from server.db import db
from server.mail import suppression
from server.mail.domain_rules import is_return_path_name
from server.mail.models import Mail, MailReport
from server.mail.replies import classify
from server.mail.reports import Report, read_report
from server.mail.verp import Sort, mail_id_of

log = logging.getLogger(__name__)

KEPT_BYTES: Final = 256 * 1024
KEPT_BYTES_UNMATCHED: Final = 32 * 1024
MAX_REPORTS_OF_MAIL: Final = 20
"""A delay every few hours for days, and then the bounce. Who sends more wants to fill our disk."""
MAX_UNMATCHED: Final = 500
UNMATCHED_LIFETIME: Final = timedelta(days=30)

_DELIVERY: Final = {
    "delayed": "delayed",
    "delivered": "delivered",
    "bounced": "bounced",
    "complaint": "complained",
}
_ORDER: Final = (None, "accepted", "delayed", "delivered", "bounced", "complained")
"""News never turn back: a mail that bounced after it was delivered was forwarded and bounced."""


class StillSending(Exception):
    """The mail is just being handed over: come again when its row says how that went."""


def mail_of(addresses: Iterable[str], sort: Sort = "b") -> int | None:
    """The id of the mail whose return path is among these; None where bounces are not received.

    ``sort`` ``r``: of the relay's delivery.
    """
    settings = installed()
    if settings.bounce_domain is None:
        return None
    for address in addresses:
        bare = address.strip("<> ")
        domain = bare.rpartition("@")[2]
        if not is_return_path_name(domain):  # a merchant's own name for our domain
            domain = settings.bounce_domain
        mail_id = mail_id_of(bare, settings.secret_key, domain, sort)
        if mail_id is not None:
            return mail_id
    return None


def receive(raw: bytes, recipient: str, at: datetime) -> MailReport | None:
    """Keep a report and let the mail say what it says; None if it has been received before.

    ``recipient`` is the address that it was sent to. A complaint may come to another one; then it
    is the signed return path that it names. Reports of no mail of ours are kept for 30 days, at
    most ``MAX_UNMATCHED``, with ``mail_id`` None. Raises StillSending where a report overtakes the
    answer of the server that took the mail: the worker would write over it.
    """
    report = read_report(raw)
    mail = _locked_mail(mail_of((recipient, report.return_path)))
    if mail is not None and mail.status == "running":
        raise StillSending(mail.id)
    if mail is not None and _report_count(mail) >= MAX_REPORTS_OF_MAIL:
        log.warning("mail %d has too many reports; one more is not kept", mail.id)
        return None
    row = _kept(raw, report, mail, at)
    if row is None:
        return None
    if mail is None:
        log.info("a report of no mail of ours, from %s", report.reporter)
        forget_old_reports(at)
    else:
        _tell(mail, report, at)
    db.session.flush()
    return row


def reports_of(mail: Mail) -> list[MailReport]:
    """What came back about a mail, the newest first."""
    of_mail = select(MailReport).where(MailReport.mail_id == mail.id)
    return list(db.session.scalars(of_mail.order_by(MailReport.id.desc())))


def forget_old_reports(at: datetime) -> int:
    """Those of no mail of ours: what is too old, and the oldest where there are too many."""
    newest = (
        select(MailReport.id)
        .where(MailReport.mail_id.is_(None))
        .order_by(MailReport.id.desc())
        .limit(MAX_UNMATCHED)
    )
    gone = delete(MailReport).where(
        MailReport.mail_id.is_(None),
        (MailReport.received_at < at - UNMATCHED_LIFETIME) | MailReport.id.not_in(newest),
    )
    return int(db.session.execute(gone).rowcount)  # type: ignore[attr-defined]


def _locked_mail(mail_id: int | None) -> Mail | None:
    """As it is now: its worker may have written its row a moment ago."""
    if mail_id is None:
        return None
    row = select(Mail).where(Mail.id == mail_id).with_for_update()
    return db.session.scalar(row.execution_options(populate_existing=True))


def _report_count(mail: Mail) -> int:
    counted = select(func.count()).select_from(MailReport).where(MailReport.mail_id == mail.id)
    return db.session.scalar(counted) or 0


def _kept(raw: bytes, report: Report, mail: Mail | None, at: datetime) -> MailReport | None:
    """The row; None if this report is there. What a server on the way adds is above the body."""
    body = raw.replace(b"\r\n", b"\n").partition(b"\n\n")[2]
    whose = f"{mail.id if mail else 0}\n{report.kind}\n{report.words}\n".encode()
    values = {
        "merchant_id": mail.merchant_id if mail else None,
        "mail_id": mail.id if mail else None,
        "kind": report.kind,
        "status_code": report.status_code,
        "words": report.words,
        "raw": raw[: KEPT_BYTES if mail else KEPT_BYTES_UNMATCHED],
        "digest": sha256(whose + body).digest(),
        "received_at": at,
    }
    stored = insert(MailReport).values(values).on_conflict_do_nothing(index_elements=["digest"])
    return db.session.scalar(stored.returning(MailReport))


def _tell(mail: Mail, report: Report, at: datetime) -> None:
    """On the mail, and on the address if it is about the address."""
    news = _DELIVERY.get(report.kind)
    if news is None:
        return
    if _ORDER.index(news) >= _ORDER.index(mail.delivery):
        mail.delivery, mail.delivery_words = news, report.words
    if news == "delivered":
        mail.delivered_at = at
    reason = reason_to_suppress(report)
    if reason is not None:
        suppression.suppress_reader(mail, reason, at=at, evidence=report.words)


def reason_to_suppress(report: Report) -> str | None:
    """Why the address gets no more mails, if that is what the report means.

    A server that says neither code nor known phrase has said nothing about the address.
    """
    if report.kind == "complaint":
        return "complaint"
    if report.kind != "bounced" or not report.status_code:
        return None
    basic = int(report.status_code) if report.status_code.isdigit() else 0
    verdict = classify(basic, f"{report.status_code} {report.words}")
    return "bounced" if verdict.suppress else None
