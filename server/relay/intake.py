"""Taking in a mail of another system: who hands it over, whether he may, and the rows of it.

A file of its own because SMTP and HTTP hand in the same mails. One statement writes a mail with all
its deliveries; the caller commits before he says that it was taken. Never commits.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from secrets import token_urlsafe
from typing import Final

from sqlalchemy import select, text, update

from server.config import installed
from server.db import db
from server.mail.domains import may_sign_rows
from server.mail.models import SendingDomain
from server.mail.rules import AddressError, checked_address
from server.relay.heads import Head, NotAccepted, read_head, with_crlf
from server.relay.models import RelayConnection, RelayDelivery, RelayDomain
from server.work import announce

MAX_MESSAGE_BYTES = 30 * 1024 * 1024
MAX_RECIPIENTS = 100
MAX_PASSWORD = 128
MAX_USER_NAME = 64
HELP_PATH = "/relay/help"


@dataclass(frozen=True, slots=True)
class Caller:
    """A system that has logged in. ``domains``: those it may send from now, to their List-Help."""

    merchant_id: int
    connection_id: int
    user_name: str
    is_paused: bool
    domains: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Origin:
    """How a mail came: ``smtp``, ``http`` or ``resent``, and from where."""

    kind: str
    client_address: str = ""
    client_name: str = ""


# --- who ----------------------------------------------------------------------------------------


def password_hash(password: str) -> bytes:
    """Passwords are ours and random, so a plain hash keeps them as safe as a slow one."""
    return sha256(password.encode("utf-8", "surrogatepass")).digest()


def log_in(user_name: str, password: str, at: datetime) -> RelayConnection | None:
    """Who that is; None for an unknown name, a wrong password and a connection that was removed."""
    if len(user_name) > MAX_USER_NAME or len(password) > MAX_PASSWORD or "\x00" in user_name:
        return None
    row = db.session.scalar(
        select(RelayConnection).where(
            RelayConnection.user_name == user_name, RelayConnection.removed_at.is_(None)
        )
    )
    given = password_hash(password)
    right = row.password_hash if row is not None else None
    is_right = hmac.compare_digest(given, right or bytes(32)) and right is not None
    if row is not None and not is_right and _old_one_holds(row, at):
        is_right = hmac.compare_digest(given, row.old_password_hash or bytes(32))
    return row if is_right else None


def _old_one_holds(row: RelayConnection, at: datetime) -> bool:
    until = row.old_password_until
    return row.old_password_hash is not None and until is not None and at < until


def caller_of(row: RelayConnection) -> Caller:
    """What it may do at this moment."""
    return Caller(
        row.merchant_id,
        row.id,
        row.user_name,
        is_paused=row.paused_at is not None,
        domains=_domains(row.id) if row.paused_at is None else {},
    )


def caller_now(connection_id: int) -> Caller | None:
    """The same, asked anew; None once it was removed."""
    row = db.session.get(RelayConnection, connection_id, populate_existing=True)
    return caller_of(row) if row is not None and row.removed_at is None else None


def _domains(connection_id: int) -> dict[str, str | None]:
    query = (
        select(SendingDomain, RelayDomain.list_help)
        .join(RelayDomain, RelayDomain.sending_domain_id == SendingDomain.id)
        .where(RelayDomain.connection_id == connection_id)
    )
    rows = db.session.execute(query).all()
    signing = may_sign_rows([row for row, _ in rows])
    return {row.name: list_help for row, list_help in rows if row.id in signing}


# --- the mail -----------------------------------------------------------------------------------


def checked_recipient(typed: str) -> str:
    """The bare address, its domain in ASCII. Raises NotAccepted.

    One at-sign and no quotes, percent signs or exclamation marks before it: what other servers
    may read as a way to somewhere else is no address (RFC 5321, appendix C).
    """
    local, _, domain = typed.rpartition("@")
    if not local or not domain or any(c in local for c in '@"%!:\\') or domain.startswith("["):
        raise NotAccepted(553, "5.1.3 This is no address that mails are relayed to")
    try:
        return checked_address(typed)
    except AddressError:
        raise NotAccepted(553, "5.1.3 This is no address that mails are relayed to") from None


def accept(
    caller: Caller,
    raw: bytes,
    *,
    sender: str,
    recipients: Sequence[str],
    origin: Origin,
    at: datetime,
    resent_from_id: int | None = None,
) -> int:
    """Write the mail and one delivery a recipient; the id of the mail. Raises NotAccepted.

    ``recipients`` as ``checked_recipient`` gives them. Lines without CR get it; nothing else of
    ``raw`` is changed.
    """
    if len(raw) > MAX_MESSAGE_BYTES:
        raise NotAccepted(552, "5.3.4 The mail is larger than 30 MB")
    if not recipients:
        raise NotAccepted(554, "5.5.1 No recipient")
    if len(recipients) > MAX_RECIPIENTS:
        raise NotAccepted(452, "4.5.3 Too many recipients")
    raw = with_crlf(raw)
    head = read_head(raw)
    check_may_send(caller, head)
    values = {
        "merchant_id": caller.merchant_id,
        "connection_id": caller.connection_id,
        "received_at": at,
        "origin": origin.kind,
        "client_address": origin.client_address[:45],
        "client_name": _storable(origin.client_name)[:255],
        "sender": _storable(sender)[:320],
        "header_from": head.sender,
        "domain": head.domain,
        "subject": head.subject,
        "message_id": head.message_id or f"<{token_urlsafe(15)}@{head.domain}>",
        "size_bytes": len(raw),
        "content": raw,
        "resent_from_id": resent_from_id,
    }
    number = db.session.execute(_WRITE, {**values, "recipients": list(dict.fromkeys(recipients))})
    announce(RelayDelivery)
    return int(number.scalar_one())


def _storable(said: str) -> str:
    """A stranger's word as text of the database, which has no NUL; only for people to read."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in said)


def check_may_send(caller: Caller, head: Head) -> None:
    """Raises NotAccepted unless From is one of the connection's domains with its key in the DNS."""
    where = f"see {installed().url}{HELP_PATH}"
    if caller.is_paused:
        raise NotAccepted(550, f"5.7.1 This connection is paused; {where}")
    if head.domain not in caller.domains:
        raise NotAccepted(
            550,
            f"5.7.1 {head.domain} is not set up for this connection, or its DKIM key is not in "
            f"the DNS; {where}",
        )


_WRITE: Final = text(
    """
    WITH message AS (
        INSERT INTO relay_message (
            merchant_id, connection_id, received_at, origin, client_address, client_name, sender,
            header_from, domain, subject, message_id, size_bytes, content, resent_from_id
        ) VALUES (
            :merchant_id, :connection_id, :received_at, :origin, :client_address, :client_name,
            :sender, :header_from, :domain, :subject, :message_id, :size_bytes, :content,
            :resent_from_id
        ) RETURNING id
    ), deliveries AS (
        INSERT INTO relay_delivery (
            merchant_id, connection_id, relay_message_id, recipient, status, attempts, created_at,
            due_at
        )
        SELECT :merchant_id, :connection_id, message.id, recipient, 'queued', 0, :received_at,
            :received_at
        FROM message CROSS JOIN unnest(CAST(:recipients AS varchar[])) AS recipient
        RETURNING id
    ), events AS (
        INSERT INTO relay_event (
            merchant_id, connection_id, delivery_id, at, kind, code, words, host, is_counted
        )
        SELECT :merchant_id, :connection_id, id, :received_at, 'received', '', '', '', false
        FROM deliveries
    )
    SELECT id FROM message
    """
)
"""A mail, its deliveries and their first events: one statement, because each mail waits for it."""


def note_used(connection_id: int, at: datetime) -> None:
    """That it is alive (S95); at most once a minute, not with every mail."""
    db.session.execute(
        update(RelayConnection)
        .where(RelayConnection.id == connection_id)
        .values(last_used_at=at)
        .execution_options(synchronize_session=False)
    )
