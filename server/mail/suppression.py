"""Addresses that get no mail: after hard bounces, complaints, an opt-out, or by hand.

A file of its own because deliveries, reports, the customer's page and the dashboard share it. What
a row blocks is decided in one place, ``_blocks``: an opt-out holds for its own optional kind and
never for a mandatory one (S11, S12); everything else holds for every mail of that merchant but
those of an account, which a person asks for at that very moment. Never commits.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress as suppress_error
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from sqlalchemy import ColumnElement, Select, func, or_, select, tuple_

from server.db import db
from server.mail.kinds import KINDS
from server.mail.models import Mail, Suppression
from server.mail.rules import AddressError, checked_address

REASONS: Final = ("complaint", "manual", "bounced", "opt_out")
"""The first one that holds is the one that is shown."""
BOUNCE_LIFETIME: Final = timedelta(days=90)
"""Mailboxes are made anew, and domains are put right."""
MAX_EVIDENCE: Final = 2_000


@dataclass(frozen=True, slots=True)
class Block:
    """Why a mail must not go out; ``words`` are the evidence, such as the server's answer."""

    reason: str
    words: str
    is_opt_out: bool


def address_hash(address: str) -> bytes:
    """SHA-256 of the address in lower case; spellings of one IDN domain are the same."""
    plain = unicodedata.normalize("NFC", address.strip())
    with suppress_error(AddressError):  # else blocked as it is written: no mail goes there anyway
        plain = checked_address(plain)
    return sha256(plain.lower().encode("utf-8", "surrogatepass")).digest()


def is_optional(kind: str) -> bool:
    """Whether a customer may opt out of this kind (S11); all others are mandatory (S12)."""
    return kind in KINDS and KINDS[kind].is_optional


# --- reading ------------------------------------------------------------------------------------


def blocked(mails: Sequence[Mail], at: datetime) -> dict[int, Block]:
    """Which of these must not go out, and why. One query for all of them.

    Of a shop in test mode both count: whom the mail would have gone to, and where it goes.
    """
    return _blocks_of({mail.id: (mail.kind, _keys(mail)) for mail in mails}, at)


def blocked_addresses(
    wanted: Mapping[int, tuple[int, str]], kind: str, at: datetime
) -> dict[int, Block]:
    """Of (merchant id, address) by any number: which get no mail of this kind, and why."""
    keys = {
        one: (kind, ((merchant_id, address_hash(address)),))
        for one, (merchant_id, address) in wanted.items()
    }
    return _blocks_of(keys, at)


def block_of(merchant_id: int, address: str, kind: str, at: datetime) -> Block | None:
    """Why a mail of this kind to this address would not go out."""
    return _blocks_of({0: (kind, ((merchant_id, address_hash(address)),))}, at).get(0)


_Key = tuple[int, bytes]


def _blocks_of(wanted: Mapping[int, tuple[str, Sequence[_Key]]], at: datetime) -> dict[int, Block]:
    """Of (kind, keys of its addresses) by any number."""
    wanted = {one: mail for one, mail in wanted.items() if not _is_of_account(mail[0])}
    keys = {key for _, of_mail in wanted.values() for key in of_mail}
    if not keys:
        return {}
    rows = select(Suppression).where(
        tuple_(Suppression.merchant_id, Suppression.address_hash).in_(keys), in_force(at)
    )
    found: defaultdict[_Key, list[Suppression]] = defaultdict(list)
    for row in db.session.scalars(rows):
        found[row.merchant_id, row.address_hash].append(row)
    blocks = {}
    for one, (kind, of_mail) in wanted.items():
        holding = [row for key in of_mail for row in found.get(key, ()) if _blocks(row, kind)]
        if holding:
            first = min(holding, key=lambda row: REASONS.index(row.reason))
            blocks[one] = Block(first.reason, first.evidence, first.reason == "opt_out")
    return blocks


def _keys(mail: Mail) -> tuple[_Key, ...]:
    addresses = (mail.recipient, *([mail.redirected_to] if mail.redirected_to else []))
    return tuple((mail.merchant_id, address_hash(address)) for address in addresses)


def _is_of_account(kind: str) -> bool:
    return kind in KINDS and KINDS[kind].footer == "account"


def _blocks(row: Suppression, kind: str) -> bool:
    if row.reason == "opt_out":
        return row.kind == kind and is_optional(kind)
    return row.kind is None or row.kind == kind


def in_force(at: datetime) -> ColumnElement[bool]:
    """The condition of a query: neither ended nor over."""
    return Suppression.ended_at.is_(None) & or_(
        Suppression.expires_at.is_(None), Suppression.expires_at > at
    )


def has_opted_out(merchant_id: int, address: str, kind: str, at: datetime) -> bool:
    """Whether this address gets no more mails of this optional kind."""
    standing = _standing(merchant_id, address, "opt_out", kind, at=at)
    return db.session.scalar(standing.limit(1)) is not None


def _standing(
    merchant_id: int, address: str, reason: str, kind: str | None = None, *, at: datetime
) -> Select[Suppression]:
    return select(Suppression).where(
        Suppression.merchant_id == merchant_id,
        Suppression.address_hash == address_hash(address),
        Suppression.kind == kind,  # IS NULL for None
        Suppression.reason == reason,
        in_force(at),
    )


def suppressions_of(
    merchant_id: int,
    at: datetime,
    *,
    text: str = "",
    before: int | None = None,
    limit: int,
) -> list[Suppression]:
    """What holds for this merchant, the newest first; ``before`` is the id of the last one shown.

    ``text`` is a part of the address. A whole one is found also where the address was removed.
    """
    rows = select(Suppression).where(Suppression.merchant_id == merchant_id, in_force(at))
    if text:
        is_part = func.lower(Suppression.address).contains(text.lower(), autoescape=True)
        rows = rows.where(is_part | (Suppression.address_hash == address_hash(text)))
    if before is not None:
        rows = rows.where(Suppression.id < before)
    return list(db.session.scalars(rows.order_by(Suppression.id.desc()).limit(limit)))


def suppression_of(merchant_id: int, suppression_id: int, at: datetime) -> Suppression | None:
    """One that holds; None if this merchant has no such one."""
    row = db.session.get(Suppression, suppression_id)
    if row is None or row.merchant_id != merchant_id or row.ended_at is not None:
        return None
    return row if row.expires_at is None or row.expires_at > at else None


# --- writing ------------------------------------------------------------------------------------


def suppress(
    merchant_id: int,
    address: str,
    reason: str,
    *,
    at: datetime,
    evidence: str = "",
    mail_id: int | None = None,
    by: str = "",
) -> Suppression:
    """No mail of this merchant to this address any more; the row that says so.

    ``reason`` is `bounced` (for 90 days), `complaint` or `manual` (both until somebody ends it).
    Where that very reason is in force already, its row is renewed.
    """
    assert reason in REASONS and reason != "opt_out", reason
    _lock(address)
    row = db.session.scalar(_standing(merchant_id, address, reason, at=at).limit(1))
    if row is None:
        row = Suppression(
            merchant_id=merchant_id,
            address_hash=address_hash(address),
            address=address,
            reason=reason,
            created_at=at,
            created_by=by,
            mail_id=mail_id,
            evidence=evidence[:MAX_EVIDENCE],
        )
        db.session.add(row)
    row.expires_at = at + BOUNCE_LIFETIME if reason == "bounced" else None
    db.session.flush()
    return row


def suppress_reader(mail: Mail, reason: str, *, at: datetime, evidence: str) -> None:
    """Of a mail that came back: as ``suppress``, the address that it was for.

    Nobody where a tester got it: that says nothing about the customer, and the tester gets other
    mails too. Nobody where the address was erased.
    """
    if mail.recipient and mail.redirected_to is None:
        suppress(
            mail.merchant_id,
            mail.recipient,
            reason,
            at=at,
            evidence=evidence,
            mail_id=mail.id,
        )


def opt_out(
    merchant_id: int,
    address: str,
    kind: str,
    *,
    at: datetime,
    by: str = "",
    mail_id: int | None = None,
) -> bool:
    """No more mails of this optional kind (S11, S72); False if that was so already.

    ``by`` is the user who did it, "" for the customer. Raises ValueError for a mandatory kind.
    """
    if not is_optional(kind):
        raise ValueError(f"nobody can opt out of {kind}")
    _lock(address)
    if has_opted_out(merchant_id, address, kind, at):
        return False
    db.session.add(
        Suppression(
            merchant_id=merchant_id,
            address_hash=address_hash(address),
            address=address,
            kind=kind,
            reason="opt_out",
            created_at=at,
            created_by=by,
            mail_id=mail_id,
        )
    )
    db.session.flush()
    return True


def opt_in(merchant_id: int, address: str, kind: str, *, at: datetime, by: str = "") -> bool:
    """Takes an opt-out back; False if there was none."""
    _lock(address)
    rows = list(db.session.scalars(_standing(merchant_id, address, "opt_out", kind, at=at)))
    for row in rows:
        _end(row, at, by)
    return bool(rows)


def end(merchant_id: int, suppression_id: int, *, at: datetime, by: str) -> Suppression | None:
    """Mails may go there again; None if this merchant has no such row that still holds."""
    row = db.session.scalar(
        select(Suppression)
        .where(
            Suppression.merchant_id == merchant_id, Suppression.id == suppression_id, in_force(at)
        )
        .with_for_update()
    )
    if row is not None:
        _end(row, at, by)
    return row


def _end(row: Suppression, at: datetime, by: str) -> None:
    row.ended_at, row.ended_by = at, by
    db.session.flush()


def _lock(address: str) -> None:
    """Two reports of one address at once write one row, not two."""
    key = int.from_bytes(address_hash(address)[:8], "big", signed=True)
    db.session.execute(select(func.pg_advisory_xact_lock(key)))
