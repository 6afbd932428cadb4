"""Callback addresses, and what is on its way to them. Never commits.

The messages about one order arrive in the order in which they happened: the next one leaves when
the one before was delivered or given up. Messages about different orders wait for each other only
while their address fails; then one of them is sent as a probe after each pause, and the first
that arrives lets all the others go.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, or_, select, update

from server import egress, vault
from server.callbacks import rules
from server.callbacks.choices import CallbackError, choose, hearing
from server.callbacks.models import Callback, CallbackUrl, is_unfinished
from server.callbacks.sending import Attempt, Parcel
from server.config import installed
from server.db import db
from server.merchants.service import lock_merchant
from server.vault import Vault

MAX_URLS = 10
"""Of one merchant."""
OLD_SECRET_LIVES = timedelta(hours=24)
TELL_AFTER = timedelta(hours=6)
"""An address that fails for so long is told to the merchant."""
ENDED_AT_ONCE = 500

SWITCHED_OFF = "the address is switched off"
TOO_OLD = "nobody took it within 168 hours"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What the merchant should hear of an address. ``because``: `failing` or `gone`."""

    merchant_id: int
    url_id: int
    url: str
    because: str
    since: datetime


# --- addresses ----------------------------------------------------------------------------------


def urls_of(merchant_id: int) -> list[CallbackUrl]:
    """All of a merchant, the oldest first."""
    query = select(CallbackUrl).where(CallbackUrl.merchant_id == merchant_id)
    return list(db.session.scalars(query.order_by(CallbackUrl.id)))


def url_of(merchant_id: int, url_id: int) -> CallbackUrl | None:
    return db.session.scalar(
        select(CallbackUrl).where(CallbackUrl.merchant_id == merchant_id, CallbackUrl.id == url_id)
    )


def add_url(
    merchant_id: int,
    typed: str,
    *,
    shop_id: int | None,
    actor: str,
    at: datetime,
    kinds: Collection[str] = rules.FIRST_CHOICE,
) -> tuple[CallbackUrl, str]:
    """A new address and its secret, which is told only this once.

    ``shop_id`` None: it hears of the orders of every shop. Raises AddressRefused, and
    CallbackError `already_there`, `too_many` or, as ``choose`` does, `no_kind`.
    """
    url = egress.check_url(typed, installed())
    lock_merchant(merchant_id)
    known = urls_of(merchant_id)
    if any((row.url, row.shop_id) == (url, shop_id) for row in known):
        raise CallbackError("already_there")
    if len(known) >= MAX_URLS:
        raise CallbackError("too_many")
    secret = secrets.token_bytes(rules.SECRET_BYTES)
    row = CallbackUrl(
        merchant_id=merchant_id,
        shop_id=shop_id,
        url=url,
        secret=vault.installed().seal_bytes(secret),
        created_at=at,
        created_by=actor,
    )
    db.session.add(row)
    db.session.flush()
    choose(row, kinds, actor=actor, at=at)
    return row, rules.secret_text(secret)


def rotate_secret(row: CallbackUrl, at: datetime) -> str:
    """A new secret, told only this once; the old one signs as well for OLD_SECRET_LIVES."""
    secret = secrets.token_bytes(rules.SECRET_BYTES)
    row.old_secret, row.old_secret_until = row.secret, at + OLD_SECRET_LIVES
    row.secret = vault.installed().seal_bytes(secret)
    return rules.secret_text(secret)


def switch_off(row: CallbackUrl, because: str, at: datetime) -> None:
    """It hears of nothing from now on, and of nothing that waits. ``because`` as in the model."""
    row.off_at, row.off_because = at, because
    _forget_failures(row)
    db.session.execute(
        update(Callback)
        .where(Callback.url_id == row.id, Callback.status == "queued")
        .values(status="withheld", error=SWITCHED_OFF, finished_at=at)
    )


def switch_on(row: CallbackUrl) -> None:
    """It hears of what happens from now on."""
    row.off_at, row.off_because = None, None


def remove(row: CallbackUrl) -> None:
    """It is gone, with its secret and its log."""
    db.session.delete(row)


def state_of(row: CallbackUrl) -> str:
    """`off`, `gone` (it said so itself), `failing`, `working`, or `new`: nothing was sent yet."""
    if row.off_at is not None:
        return "gone" if row.off_because == "gone" else "off"
    if row.failing_since is not None:
        return "failing"
    return "working" if row.delivered_at is not None else "new"


def reseal_all(with_vault: Vault) -> int:
    """Every secret under the newest encryption key; how many. Raises VaultLocked."""
    rows = list(db.session.scalars(select(CallbackUrl).with_for_update()))
    for row in rows:
        row.secret = with_vault.reseal(row.secret)
        row.old_secret = with_vault.reseal(row.old_secret) if row.old_secret else None
    return len(rows)


# --- what is to be told -------------------------------------------------------------------------


def listening(merchant_id: int, shop_id: int) -> list[int]:
    """Ids of the addresses that hear of this shop's payments; none is removed before the commit."""
    query = select(CallbackUrl.id).where(
        CallbackUrl.merchant_id == merchant_id,
        or_(CallbackUrl.shop_id.is_(None), CallbackUrl.shop_id == shop_id),
        CallbackUrl.off_at.is_(None),
    )
    ids = list(db.session.scalars(query.with_for_update(read=True, key_share=True)))
    chosen = hearing(merchant_id, ids)
    return [url_id for url_id in ids if rules.STATUS_CHANGED in chosen[url_id]]


def tell_of_status(
    merchant_id: int,
    url_ids: Sequence[int],
    facts: Mapping[str, Any],
    *,
    order_id: int,
    at: datetime,
) -> None:
    """That an order has another payment status; ``facts`` is the order as the API tells it."""
    for url_id in url_ids:
        db.session.add(
            Callback(
                merchant_id=merchant_id,
                url_id=url_id,
                order_id=order_id,
                number=facts["number"],
                kind=rules.STATUS_CHANGED,
                payment_status=facts["payment_status"],
                body=rules.body_of(rules.STATUS_CHANGED, at, facts),
                created_at=at,
                queued_at=at,
                due_at=at,
            )
        )


def send_test(row: CallbackUrl, *, actor: str, at: datetime) -> Callback:
    """A message that says nothing but that it is a test; one that waits already is that one."""
    lock_merchant(row.merchant_id)
    waiting = db.session.scalar(
        select(Callback).where(
            Callback.url_id == row.id, Callback.kind == rules.TEST, is_unfinished(Callback)
        )
    )
    if waiting is not None:
        return waiting
    made = Callback(
        merchant_id=row.merchant_id,
        url_id=row.id,
        kind=rules.TEST,
        body=rules.body_of(rules.TEST, at, {"url": row.url}),
        created_at=at,
        queued_at=at,
        due_at=at,
        queued_by=actor,
    )
    db.session.add(made)
    db.session.flush()
    return made


def send_again(row: Callback, *, actor: str, at: datetime) -> bool:
    """The same message once more, under the same webhook-id; False while it is on its way."""
    db.session.refresh(row, with_for_update=True)
    if row.status == "running":
        return False
    row.status, row.error, row.finished_at = "queued", None, None
    row.attempts, row.queued_at, row.due_at, row.queued_by = 0, at, at, actor
    return True


def callbacks_of(url_id: int, limit: int) -> list[Callback]:
    """What was told to an address, the newest first."""
    query = select(Callback).where(Callback.url_id == url_id).order_by(Callback.id.desc())
    return list(db.session.scalars(query.limit(limit)))


def callback_of(merchant_id: int, callback_id: int) -> Callback | None:
    return db.session.scalar(
        select(Callback).where(Callback.merchant_id == merchant_id, Callback.id == callback_id)
    )


# --- sending ------------------------------------------------------------------------------------


def parcel_of(row: Callback, at: datetime) -> Parcel | None:
    """What goes to the address, signed now; None if it was removed. Raises VaultLocked."""
    url = db.session.get(CallbackUrl, row.url_id, populate_existing=True)
    if url is None:
        return None
    opener, body = vault.installed(), row.body.encode()
    keys = [opener.open_bytes(url.secret)]
    if url.old_secret is not None and url.old_secret_until and at < url.old_secret_until:
        keys.append(opener.open_bytes(url.old_secret))
    return Parcel(row.id, url.url, body, rules.headers(row.message_id, at, body, keys))


def settle(callback_id: int, attempt: Attempt, at: datetime) -> Trouble | None:
    """Write how an attempt went, and what follows for the address."""
    known = db.session.get(Callback, callback_id)
    if known is None:
        return None  # the address was removed meanwhile
    url = db.session.get(
        CallbackUrl, known.url_id, with_for_update={"key_share": True}, populate_existing=True
    )
    row = db.session.get(Callback, callback_id, with_for_update=True, populate_existing=True)
    if url is None or row is None:
        return None
    row.outcome, row.answer_status, row.answer = attempt.outcome, attempt.status, attempt.words
    if attempt.outcome == "delivered":
        row.succeed(at)
        url.delivered_at = at
        _forget_failures(url)
        return None
    if attempt.outcome == "gone":
        row.give_up(said(attempt), at)
        if url.off_at is not None:
            return None  # a person did it, or another message that was on its way with this one
        switch_off(url, "gone", at)
        return Trouble(url.merchant_id, url.id, url.url, "gone", at)
    if row.kind == rules.TEST:
        row.give_up(said(attempt), at)
        return None
    return _failed(url, row, attempt, at)


def _failed(url: CallbackUrl, row: Callback, attempt: Attempt, at: datetime) -> Trouble | None:
    chance = random.uniform(-1, 1)  # noqa: S311  no secret
    if url.off_at is not None:
        row.withhold(SWITCHED_OFF)
        row.finished_at = at
        return None
    pause = rules.pause_after(max(row.attempts, 1), attempt.wish_seconds, chance)
    row.retry(said(attempt), at, pause)
    url.failing_since = url.failing_since or at
    if url.paused_until is None or url.paused_until <= at:  # not what was on its way together
        url.failures += 1
        if rules.is_away(attempt.outcome, url.failures):
            pause = rules.pause_after(url.failures, attempt.wish_seconds, chance)
            url.paused_until = at + pause
    if url.told_at is None and at - url.failing_since >= TELL_AFTER:
        url.told_at = at
        return Trouble(url.merchant_id, url.id, url.url, "failing", url.failing_since)
    return None


def said(attempt: Attempt) -> str:
    """An attempt in one line, for the row."""
    answer = f" {attempt.status}" if attempt.status is not None else ""
    return f"{attempt.outcome}{answer}{': ' + attempt.words if attempt.words else ''}"


def _forget_failures(url: CallbackUrl) -> None:
    url.failing_since, url.failures, url.paused_until, url.told_at = None, 0, None, None


def end_what_is_over(at: datetime) -> int:
    """Give up what is 168 h old, and forget what ended KEPT ago; how many. A slice each."""
    over = select(Callback).where(Callback.is_over(at)).limit(ENDED_AT_ONCE)
    rows = list(db.session.scalars(over.with_for_update(skip_locked=True)))
    for row in rows:
        row.give_up(row.error or TOO_OLD, at)
    old = select(Callback.id).where(Callback.is_old(at)).limit(ENDED_AT_ONCE)
    gone = db.session.execute(
        delete(Callback).where(Callback.id.in_(old)).execution_options(synchronize_session=False)
    )
    return len(rows) + int(gone.rowcount)  # type: ignore[attr-defined]


def undelivered(merchant_id: int, since: datetime) -> Sequence[Callback]:
    """What was given up since then, the newest first."""
    return db.session.scalars(
        select(Callback)
        .where(
            Callback.merchant_id == merchant_id,
            Callback.status == "failed",
            Callback.kind != rules.TEST,
            Callback.finished_at >= since,
        )
        .order_by(Callback.id.desc())
        .limit(ENDED_AT_ONCE)
    ).all()
