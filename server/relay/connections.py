"""Systems that may hand over mails: set up, credentials, pause (S89, S92, S95). Never commits.

A connection is complete when each of its domains has a key in the DNS and says where List-Help
leads; only then has it a user and a password. Whoever changes something calls within the
merchant's own request, so nothing here takes a lock.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal
from urllib.parse import urlsplit

from sqlalchemy import select

from server.db import db
from server.mail.domains import domain_of, may_sign_rows
from server.mail.models import SendingDomain
from server.mail.rules import AddressError, checked_address
from server.relay.intake import password_hash
from server.relay.models import RelayConnection, RelayDomain

MAX_CONNECTIONS: Final = 50
MAX_DOMAINS: Final = 20
MAX_NAME: Final = 100
MAX_LIST_HELP: Final = 500
MOST_CONTENT_DAYS: Final = 90
OLD_PASSWORD_LASTS: Final = timedelta(hours=24)
PASSWORD_BYTES: Final = 24
USER_BYTES: Final = 6
State = Literal["incomplete", "ready", "active", "paused"]

_HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+", re.IGNORECASE)


class NotPossible(ValueError):
    """``args[0]`` is the message key."""


@dataclass(frozen=True, slots=True)
class DomainState:
    """A domain of a connection: its DKIM row, whether its key is in the DNS, its List-Help.

    ``list_help`` None: the page that Kontor shows.
    """

    row: RelayDomain
    domain: SendingDomain
    is_signed: bool

    @property
    def list_help(self) -> str | None:
        return self.row.list_help


# --- reading ------------------------------------------------------------------------------------


def connections_of(merchant_id: int) -> list[RelayConnection]:
    """Those that were not removed, by name."""
    query = select(RelayConnection).where(
        RelayConnection.merchant_id == merchant_id, RelayConnection.removed_at.is_(None)
    )
    return list(db.session.scalars(query.order_by(RelayConnection.name, RelayConnection.id)))


def connection_of(merchant_id: int, connection_id: int) -> RelayConnection | None:
    row = db.session.get(RelayConnection, connection_id)
    if row is None or row.merchant_id != merchant_id or row.removed_at is not None:
        return None
    return row


def domains_of(row: RelayConnection) -> list[DomainState]:
    """By name."""
    return domains_of_each([row])[row.id]


def domains_of_each(rows: Sequence[RelayConnection]) -> Mapping[int, list[DomainState]]:
    """The same of several connections, by their id."""
    query = (
        select(RelayDomain, SendingDomain)
        .join(SendingDomain, SendingDomain.id == RelayDomain.sending_domain_id)
        .where(RelayDomain.connection_id.in_([row.id for row in rows]))
        .order_by(SendingDomain.name)
    )
    pairs = db.session.execute(query).all()
    signed = may_sign_rows(list({domain.id: domain for _, domain in pairs}.values()))
    found: dict[int, list[DomainState]] = {row.id: [] for row in rows}
    for one, domain in pairs:
        found[one.connection_id].append(DomainState(one, domain, domain.id in signed))
    return found


def names_using(merchant_id: int, sending_domain_id: int) -> list[str]:
    """Of the systems that send from this domain."""
    query = (
        select(RelayConnection.name)
        .join(RelayDomain, RelayDomain.connection_id == RelayConnection.id)
        .where(
            RelayConnection.merchant_id == merchant_id,
            RelayConnection.removed_at.is_(None),
            RelayDomain.sending_domain_id == sending_domain_id,
        )
    )
    return list(db.session.scalars(query.order_by(RelayConnection.name)))


def state_of(row: RelayConnection, domains: Sequence[DomainState]) -> State:
    """``incomplete`` until all is right, ``ready`` until its first mail (S95)."""
    if row.paused_at is not None:
        return "paused"
    if not is_complete(domains):
        return "incomplete"
    return "active" if row.last_used_at is not None else "ready"


def is_complete(domains: Sequence[DomainState]) -> bool:
    return bool(domains) and all(one.is_signed for one in domains)


# --- changing -----------------------------------------------------------------------------------


def add_connection(merchant_id: int, name: str, *, actor: str, at: datetime) -> RelayConnection:
    """Raises NotPossible: no name, or too many."""
    if len(connections_of(merchant_id)) >= MAX_CONNECTIONS:
        raise NotPossible("relay_too_many")
    row = RelayConnection(
        merchant_id=merchant_id,
        name=_checked_name(name),
        user_name=f"relay-{secrets.token_hex(USER_BYTES)}",
        created_at=at,
        created_by=actor,
    )
    db.session.add(row)
    db.session.flush()
    return row


def rename(row: RelayConnection, name: str) -> None:
    row.name = _checked_name(name)


def _checked_name(name: str) -> str:
    plain = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    if not plain:
        raise NotPossible("relay_no_name")
    if len(plain) > MAX_NAME:
        raise NotPossible("relay_name_too_long")
    return plain


def set_domain(
    row: RelayConnection, sending_domain_id: int, list_help: str, at: datetime
) -> RelayDomain:
    """Add a domain, or change where its List-Help leads; "" is the page that Kontor shows.

    Raises NotPossible.
    """
    if domain_of(row.merchant_id, sending_domain_id) is None:
        raise NotPossible("relay_domain_unknown")
    help_url = checked_list_help(list_help)
    known = {one.domain.id: one.row for one in domains_of(row)}
    found = known.get(sending_domain_id)
    if found is None:
        if len(known) >= MAX_DOMAINS:
            raise NotPossible("relay_too_many_domains")
        found = RelayDomain(
            merchant_id=row.merchant_id,
            connection_id=row.id,
            sending_domain_id=sending_domain_id,
            added_at=at,
        )
        db.session.add(found)
    found.list_help = help_url
    db.session.flush()
    return found


def remove_domain(row: RelayConnection, relay_domain_id: int) -> None:
    found = db.session.get(RelayDomain, relay_domain_id)
    if found is None or found.connection_id != row.id:
        raise NotPossible("relay_domain_unknown")
    db.session.delete(found)
    db.session.flush()


def checked_list_help(typed: str) -> str | None:
    """An https or mailto URL as it goes between angle brackets (RFC 2369); None for "".

    Raises NotPossible.
    """
    typed = typed.strip()
    if not typed:
        return None
    is_plain = typed.isascii() and typed.isprintable() and not set(typed) & set(' <>"\\,')
    if not is_plain or len(typed) > MAX_LIST_HELP:
        raise NotPossible("relay_list_help_invalid")
    try:
        parts = urlsplit(typed)
        is_page = parts.scheme == "https" and bool(_HOST.fullmatch(parts.hostname or ""))
        is_known = is_page and parts.port != 0 and parts.username is None
        if parts.scheme == "mailto":
            checked_address(parts.path)
            is_known = True
    except (ValueError, AddressError):
        is_known = False
    if not is_known:
        raise NotPossible("relay_list_help_invalid")
    return typed


def new_password(row: RelayConnection, at: datetime) -> str:
    """Shown once. The one before holds for a day, so that nothing stops meanwhile.

    Raises NotPossible while the connection is not complete (S92).
    """
    if not is_complete(domains_of(row)):
        raise NotPossible("relay_not_complete")
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    if row.password_hash is not None:
        row.old_password_hash, row.old_password_until = row.password_hash, at + OLD_PASSWORD_LASTS
    row.password_hash = password_hash(password)
    return password


def end_old_password(row: RelayConnection) -> None:
    row.old_password_hash = row.old_password_until = None


def pause(row: RelayConnection, at: datetime) -> None:
    row.paused_at = row.paused_at or at


def go_on(row: RelayConnection) -> None:
    row.paused_at = None


def remove(row: RelayConnection, at: datetime) -> None:
    """Nobody logs in with it any more; what it sent stays in the log."""
    row.removed_at = at
    row.password_hash = row.old_password_hash = row.old_password_until = None


def keep_content(row: RelayConnection, days: int) -> None:
    """Raises NotPossible."""
    if not 0 <= days <= MOST_CONTENT_DAYS:
        raise NotPossible("relay_days_out_of_range")
    row.keep_content_days = days
