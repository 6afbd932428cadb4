"""Queueing mails and handing them over. Nothing here commits."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from server.db import db
from server.mail.delivery import UNSETTLED_DOMAIN, preview_mail, sender_of, source_of
from server.mail.models import Mail
from server.mail.rules import Facts, check_fact_names
from server.mail.theme import Theme
from server.work import announce

__all__ = [
    "insert_mail",
    "let_rest",
    "mail_content",
    "preview_mail",
    "queue_mail",
    "resend",
    "send_again",
    "sender_of",
    "source_of",
]

RANDOM_BYTES = 15
ONE_CLICK = timedelta(seconds=60)
"""Who asks for the same again within it has clicked twice."""
LEFT_TO_REST = "nobody knows whether it arrived, and it was decided not to send it again"
REPEATABLE = ("unknown", "failed")
COPIED = (
    "merchant_id shop_id order_id kind language theme sender_name sender_address reply_to"
).split()

log = logging.getLogger(__name__)


def queue_mail(  # noqa: PLR0913  a mail has that many columns
    kind: str,
    *,
    merchant_id: int,
    shop_id: int | None,
    order_id: int | None,
    language: str,
    recipient: str,
    once: str,
    facts: Facts,
    theme: Theme,
    sender_name: str,
    sender_address: str | None,
    reply_to: str | None = None,
    at: datetime | None = None,
    outbox: list[dict[str, Any]] | None = None,
) -> bool:
    """Write the mail in the caller's transaction; False if this ``once`` was ever queued.

    ``at`` is the moment of what it tells, for those whose next mail goes on from there. Into an
    ``outbox`` it is only laid; the caller writes what is in it by ``insert_mails``.

    The address is checked when the mail is delivered, not here: a typing error in it must not
    keep an order out, and the merchant sees it on the mail (S5). ``sender_address`` is the one that
    the shop wishes for, None for the system's; which one it comes from is decided when it is sent
    (S17). Facts that the kind does not
    know or that are missing raise FactError, because they are a mistake of the caller.
    """
    content = mail_content(
        kind,
        language=language,
        recipient=recipient,
        facts=facts,
        theme=theme,
        sender_name=sender_name,
        sender_address=sender_address,
        reply_to=reply_to,
    )
    ids = {"merchant_id": merchant_id, "shop_id": shop_id, "order_id": order_id, "once": once}
    values = content | ids | ({"created_at": at} if at is not None else {})
    if outbox is None:
        return insert_mail(values)
    outbox.append(values)
    return True


def mail_content(
    kind: str,
    *,
    language: str,
    recipient: str,
    facts: Facts,
    theme: Theme,
    sender_name: str,
    sender_address: str | None,
    reply_to: str | None,
) -> dict[str, Any]:
    """The columns of a mail that say what it says; the caller adds whose it is and ``once``."""
    check_fact_names(kind, facts)
    return {
        "kind": kind,
        "language": language,
        "recipient": recipient,
        "facts": dict(facts),
        "theme": _columns_of(theme),
        "sender_name": sender_name,
        "sender_address": sender_address or "",
        "reply_to": reply_to,
        "message_id": _new_message_id(),
    }


def insert_mail(values: Mapping[str, Any]) -> bool:
    """Write ``mail_content`` with merchant, shop, order and ``once``; False if that was there."""
    stored = insert(Mail).values(values).on_conflict_do_nothing(index_elements=["once"])
    written = db.session.execute(stored.returning(Mail.id)).first() is not None
    if written:
        announce(Mail)
    return written


def insert_mails(many: Sequence[Mapping[str, Any]]) -> None:
    """As ``insert_mail``, for many at once: those whose ``once`` is there are left out."""
    if many:
        stored = insert(Mail).on_conflict_do_nothing(index_elements=["once"])
        db.session.execute(stored, [dict(values) for values in many])
        announce(Mail)


# --- once more ----------------------------------------------------------------------------------


def send_again(mail: Mail, at: datetime) -> None:
    """The same row with the same Message-ID, after a person decided so.

    For a mail of which nobody knows whether it arrived, and for one that failed. Raises ValueError
    for any other.
    """
    if mail.status not in REPEATABLE:
        raise ValueError(f"a mail that is {mail.status} is not sent again")
    mail.status, mail.error, mail.failure = "queued", None, None
    mail.attempts, mail.due_at, mail.finished_at, mail.sent_via = 0, at, None, None
    announce(Mail)


def let_rest(mail: Mail, at: datetime) -> None:
    """Not sent again, after a person decided so. Raises ValueError unless its fate is unknown."""
    if mail.status != "unknown":
        raise ValueError(f"a mail that is {mail.status} needs no decision")
    mail.withhold(LEFT_TO_REST)
    mail.finished_at = at


def resend(
    mail: Mail,
    *,
    recipient: str | None = None,
    links: Mapping[str, str] | None = None,
    actor: str,
    at: datetime,
) -> tuple[Mail, bool]:
    """The same words as a new mail with a Message-ID of its own, also to another address (S70).

    ``links`` are the facts that are each recipient's own, such as where to unsubscribe.
    Twice to one address within ONE_CLICK is once: then it is (the mail of the first click, False),
    else (the new one, True). Raises ValueError if the content was erased.
    """
    if not mail.facts:
        raise ValueError("the content of this mail was erased")
    to = recipient or mail.recipient
    digest = sha256(to.lower().encode("utf-8", "surrogatepass")).hexdigest()[:16]
    begin = f"mail:{mail.id}:again:{digest}:"
    db.session.execute(select(Mail.id).where(Mail.id == mail.id).with_for_update())
    before = _copied_since(mail, begin, at - ONE_CLICK)
    if before is not None:
        return before, False
    values = {name: getattr(mail, name) for name in COPIED}
    once = f"{begin}{at:%Y%m%d%H%M%S%f}"
    values["facts"] = mail.facts | dict(links or {})
    values |= {"recipient": to, "once": once, "created_at": at, "due_at": at}
    values["message_id"] = _new_message_id()
    insert_mail(values)
    log.info("mail %s is sent once more, asked for by %s", mail.id, actor or "nobody")
    return db.session.execute(select(Mail).where(Mail.once == once)).scalar_one(), True


def _copied_since(mail: Mail, once_begins: str, since: datetime) -> Mail | None:
    copies = select(Mail).where(
        Mail.merchant_id == mail.merchant_id,
        Mail.kind == mail.kind,
        Mail.created_at > since,
        Mail.once.startswith(once_begins, autoescape=True),
    )
    return db.session.scalar(copies.order_by(Mail.id.desc()).limit(1))


def _new_message_id() -> str:
    """Its random part; the domain is that of the sender when it leaves (``settle_message_ids``)."""
    return f"<{secrets.token_urlsafe(RANDOM_BYTES)}@{UNSETTLED_DOMAIN}>"


@lru_cache(maxsize=1024)
def _columns_of(theme: Theme) -> dict[str, Any]:
    return asdict(theme)
