"""Queueing mails and handing them over. Nothing here commits."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from email.headerregistry import Address
from email.utils import parseaddr
from functools import cache, lru_cache
from typing import Any

from sqlalchemy.dialects.postgresql import insert

from plugin_sdk.errors import Misconfigured, Rejected
from server.db import db, now
from server.mail.models import Mail
from server.mail.rules import (
    AddressError,
    Facts,
    Message,
    build_mime,
    check_fact_names,
    checked_address,
    compose,
    mailbox,
    marked_as_test,
)
from server.mail.smtp import SmtpSession
from server.mail.theme import Theme
from server.work import announce

__all__ = [
    "SmtpSession",
    "deliver_mail",
    "insert_mail",
    "mail_content",
    "preview_mail",
    "queue_mail",
    "sender_of",
]

FALLBACK_DOMAIN = "kontor.invalid"  # RFC 2606; only where the sender address is no address
RANDOM_BYTES = 15


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
    sender_address: str,
    reply_to: str | None = None,
    at: datetime | None = None,
    outbox: list[dict[str, Any]] | None = None,
) -> bool:
    """Write the mail in the caller's transaction; False if this ``once`` was ever queued.

    ``at`` is the moment of what it tells, for those whose next mail goes on from there. Into an
    ``outbox`` it is only laid; the caller writes what is in it by ``insert_mails``.

    The address is checked when the mail is delivered, not here: a typing error in it must not
    keep an order out, and the merchant sees it on the mail (S5). Facts that the kind does not
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
    sender_address: str,
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
        "sender_address": sender_address,
        "reply_to": reply_to,
        "message_id": _new_message_id(sender_address),
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


def deliver_mail(mail: Mail, session: SmtpSession) -> None:
    """Compose, keep what is sent on the row, hand it over, keep the answer. One SMTP dialogue.

    Raises Rejected (facts or address no mail can be made of, or refused by the server),
    Temporary and Misconfigured; the row's subject, html and text are set in every case that got
    that far. Asks the database nothing, so no transaction waits for the mail server. The caller
    commits at once: between the server's 250 and that commit lies the only moment in which a
    crash means a second copy, which then has the same Message-ID.

    A mail that is ``redirected_to`` another address goes only there; whose it is stands in its
    subject. An address or a fact that would stop the real one stops it as well.
    """
    try:
        recipient = mailbox(mail.recipient)
        message = _composed(mail)
    except ValueError as problem:
        raise Rejected(str(problem)) from problem
    mail.subject, mail.html, mail.text = message.subject, message.html, message.text
    sender, reply_to = _sender(mail)
    if mail.redirected_to is not None:
        recipient = _test_address(mail.redirected_to)
    raw = build_mime(
        message,
        sender=sender,
        recipient=recipient,
        reply_to=reply_to,
        message_id=mail.message_id,
        date=now(),
        extra_headers=_list_headers(mail.facts),
    )
    mail.smtp_response = session.send(sender.addr_spec, recipient.addr_spec, raw)


def preview_mail(mail: Mail) -> Message:
    """What a mail says, sent or not. Raises ValueError if it cannot be written.

    A sent one is shown as it was sent; its picture is drawn again from the same facts.
    """
    message = _composed(mail)
    if mail.html is None or mail.text is None or mail.subject is None:
        return message
    return Message(mail.subject, mail.text, mail.html, message.inline)


@cache
def sender_of(address_line: str) -> tuple[str, str]:
    """``Kontor <kontor@example.org>`` to name and address. Raises ValueError."""
    name, address = parseaddr(address_line)
    return name, checked_address(address)


def _composed(mail: Mail) -> Message:
    """Raises FactError, or ValueError if the theme is none."""
    message = compose(mail.kind, mail.language, mail.facts, Theme(**mail.theme))
    if mail.redirected_to is None:
        return message
    return marked_as_test(message, mail.language, mail.recipient)


def _test_address(address: str) -> Address:
    try:
        return mailbox(address)
    except AddressError as problem:
        raise Misconfigured(f"Address of the shop's test mode: {problem}") from problem


def _sender(mail: Mail) -> tuple[Address, Address | None]:
    try:
        sender = mailbox(mail.sender_address, mail.sender_name)
        return sender, mailbox(mail.reply_to) if mail.reply_to else None
    except AddressError as problem:
        raise Misconfigured(f"Sender or reply address of the shop: {problem}") from problem


def _list_headers(facts: Mapping[str, object]) -> dict[str, str]:
    """RFC 2369 and 8058: one click in the mail program, if the link can take it."""
    headers = {}
    unsubscribe, help_page = str(facts.get("unsubscribe_url", "")), str(facts.get("help_url", ""))
    if help_page:
        headers["List-Help"] = f"<{help_page}>"
    if unsubscribe:
        headers["List-Unsubscribe"] = f"<{unsubscribe}>"
    if unsubscribe.startswith("https://"):
        headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return headers


def _new_message_id(sender_address: str) -> str:
    """Made with the row, so that a second copy carries the same one."""
    return f"<{secrets.token_urlsafe(RANDOM_BYTES)}@{_domain_of(sender_address)}>"


@lru_cache(maxsize=1024)
def _columns_of(theme: Theme) -> dict[str, Any]:
    return asdict(theme)


@lru_cache(maxsize=1024)
def _domain_of(sender_address: str) -> str:
    try:
        return checked_address(sender_address).rpartition("@")[2]
    except AddressError:
        return FALLBACK_DOMAIN
