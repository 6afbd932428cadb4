"""Shops that Kontor visits itself: what it knows to get in, and what it is to look at there.

A file of its own beside ``service.py``, because an agent's shop has none of this. Never commits.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import undefer

from plugin_sdk.state import Waiting
from server.db import db, now
from server.shops.models import OrderHint, Shop, ShopConnection
from server.vault import Vault
from server.vault import installed as installed_vault
from server.work import announce

MAX_SETTINGS_LENGTH = 20_000
MAX_HINTS = 10_000
MAX_EXTERNAL_ID = 64
LOGIN_LIFETIME = timedelta(minutes=30)
WEBHOOK_TOKEN = "webhook_token"  # noqa: S105 - the name of a setting of ours
KEPT_STATE = ("payouts_cursor",)
"""What a new look at all orders does not begin anew."""
PAUSES = (
    timedelta(seconds=15),
    timedelta(minutes=1),
    timedelta(minutes=3),
    timedelta(minutes=10),
    timedelta(minutes=30),
)
"""How long a shop that failed is left alone, after the first, second, ... failure in a row."""
NOTHING_TO_DO = timedelta(seconds=15)


def add_connection(
    shop: Shop, connector: str, settings: Mapping[str, Any], at: datetime
) -> ShopConnection:
    """Not switched on. Replaces what the shop had. Raises ValueError with a message key."""
    row = connection_of(shop.merchant_id, shop.id)
    token = secrets.token_urlsafe(32)
    if row is None:
        row = ShopConnection(merchant_id=shop.merchant_id, shop_id=shop.id)
        row.version = 1
        db.session.add(row)
    else:
        row.version += 1
    row.connector, row.status, row.due_at, row.state = connector, "withheld", at, {}
    row.webhook_hash = _hash(token)
    row.settings = _sealed({**settings, WEBHOOK_TOKEN: token})
    row.failures, row.rests_until, row.needs_login, row.error = 0, None, False, None
    db.session.flush()
    return row


def change_settings(row: ShopConnection, settings: Mapping[str, Any], at: datetime) -> None:
    """Counts from the next visit, which comes at once. Raises ValueError with a message key."""
    row.settings = _sealed({**settings, WEBHOOK_TOKEN: _opened(row)[WEBHOOK_TOKEN]})
    row.version += 1
    row.failures, row.rests_until, row.needs_login, row.due_at = 0, None, False, at
    announce(ShopConnection)


def settings_of(row: ShopConnection) -> dict[str, Any]:
    """What the connector's Config is made of. Raises VaultLocked."""
    settings = _opened(row)
    settings.pop(WEBHOOK_TOKEN)
    return settings


def webhook_token(row: ShopConnection) -> str:
    """The last part of the address at which this shop's webhooks are taken."""
    return str(_opened(row)[WEBHOOK_TOKEN])


def connection_of(merchant_id: int, shop_id: int) -> ShopConnection | None:
    """With what is sealed in it."""
    return db.session.scalar(
        select(ShopConnection)
        .where(ShopConnection.merchant_id == merchant_id, ShopConnection.shop_id == shop_id)
        .options(undefer(ShopConnection.settings))
    )


def visited_shops(merchant_id: int) -> set[int]:
    """The shops of this merchant that Kontor talks to itself, and is not kept from it."""
    rows = select(ShopConnection.shop_id).where(
        ShopConnection.merchant_id == merchant_id, ShopConnection.status != "withheld"
    )
    return set(db.session.scalars(rows))


def connection_at(token: str) -> ShopConnection | None:
    """Whose address that is, switched on or not: an app registers before. As it is now."""
    return db.session.scalar(
        select(ShopConnection)
        .where(ShopConnection.webhook_hash == _hash(token))
        .options(undefer(ShopConnection.settings))
        .execution_options(populate_existing=True)
    )


def connection_of_webhook(token: str) -> ShopConnection | None:
    """Whose webhooks come to this address, if it is one that is switched on."""
    row = connection_at(token)
    return None if row is None or row.status == "withheld" else row


def switch_on(row: ShopConnection, at: datetime) -> None:
    row.status, row.due_at, row.rests_until, row.failures = "queued", at, None, 0
    announce(ShopConnection)


def switch_off(row: ShopConnection) -> None:
    """What is under way ends; nothing begins."""
    row.status = "withheld"
    db.session.execute(delete(OrderHint).where(OrderHint.shop_id == row.shop_id))


def look_again(row: ShopConnection, at: datetime) -> None:
    """Visit it now and compare everything, not only what changed since the last time (K67)."""
    row.state = {name: row.state[name] for name in KEPT_STATE if name in row.state}
    row.version += 1  # or a visitor that still remembers would go on from where it stood
    row.due_at, row.rests_until = at, None
    if row.status == "failed":
        row.status, row.attempts = "queued", 0
    announce(ShopConnection)


def remove_connection(row: ShopConnection) -> None:
    """The keys of the shop are forgotten."""
    switch_off(row)
    db.session.delete(row)


# --- logging in -----------------------------------------------------------------------------------


def begin_login(row: ShopConnection, at: datetime) -> str:
    """The unguessable one-time name of a log-in at the shop system."""
    state = secrets.token_urlsafe(32)
    row.login_hash, row.login_until = _hash(state), at + LOGIN_LIFETIME
    return state


def connection_of_login(state: str, at: datetime) -> ShopConnection | None:
    """Whose log-in that is, as it is now; None if it is over or was never begun."""
    return db.session.scalar(
        select(ShopConnection)
        .where(ShopConnection.login_hash == _hash(state), ShopConnection.login_until > at)
        .options(undefer(ShopConnection.settings))
        .with_for_update()
        .execution_options(populate_existing=True)
    )


def end_login(row: ShopConnection) -> None:
    """It counts no longer. Whose it was is still known, for the browser that comes back after."""
    row.login_until = None


def connection_that_began(merchant_id: int, state: str) -> ShopConnection | None:
    """Whose last log-in that was, whether it still counts or not."""
    return db.session.scalar(
        select(ShopConnection)
        .where(ShopConnection.merchant_id == merchant_id, ShopConnection.login_hash == _hash(state))
        .options(undefer(ShopConnection.settings))
    )


# --- visits ---------------------------------------------------------------------------------------


def visit_ended(row: ShopConnection, version: int, at: datetime, next_at: datetime) -> None:
    """It went well; the next one is at ``next_at``, or as soon as something waits.

    ``version``: of the settings that it was made with. If they have changed meanwhile, or somebody
    wants the shop looked at anew, the next visit comes at once. What waits still, although nothing
    was left to do, waits for something else (live mode, the hour of a probe): it must not call
    somebody again and again.
    """
    row.failures, row.rests_until, row.needs_login, row.error = 0, None, False, None
    if version != row.version:
        next_at = at
    elif next_at > at and _is_waited_for(row, at):
        row.rests_until = at + NOTHING_TO_DO
    _back(row, at, next_at)


def _is_waited_for(row: ShopConnection, at: datetime) -> bool:
    query = select(ShopConnection.id).where(
        ShopConnection.id == row.id, ShopConnection.is_waited_for(at)
    )
    return db.session.scalar(query) is not None


def visit_failed(
    row: ShopConnection,
    version: int,
    why: str,
    at: datetime,
    wish: timedelta,
    *,
    needs_login: bool,
) -> None:
    """The shop is left alone for a while: growing pauses, never shorter than its own wish."""
    if version != row.version:  # it failed with settings that are the past
        _back(row, at, at)
        return
    row.failures += 1
    pause = max(PAUSES[min(row.failures, len(PAUSES)) - 1], wish)
    row.rests_until, row.error, row.needs_login = at + pause, why, needs_login
    _back(row, at, at + pause)


def _back(row: ShopConnection, at: datetime, next_at: datetime) -> None:
    """To the queue, if nobody switched it off meanwhile. Visits are no attempts at anything."""
    row.visited_at = at
    db.session.flush()
    db.session.execute(
        update(ShopConnection)
        .where(ShopConnection.id == row.id, ShopConnection.status == "running")
        .values(status="queued", due_at=next_at, attempts=0)
    )


def hold(ids: Sequence[int], at: datetime) -> None:
    """They are still being visited: their lease begins anew."""
    db.session.execute(
        update(ShopConnection)
        .where(ShopConnection.id.in_(ids), ShopConnection.status == "running")
        .values(claimed_at=at)
    )


# --- hints ----------------------------------------------------------------------------------------


def add_hints(merchant_id: int, shop_id: int, external_ids: Sequence[str]) -> bool:
    """Look at these orders soon. False: too many wait already, and none was noted."""
    wanted = sorted({each for each in external_ids if 0 < len(each) <= MAX_EXTERNAL_ID})
    waiting = select(func.count()).where(OrderHint.shop_id == shop_id)
    if (db.session.scalar(waiting) or 0) + len(wanted) > MAX_HINTS:
        return False
    if wanted:
        of_shop = {"merchant_id": merchant_id, "shop_id": shop_id, "created_at": now()}
        rows = [{**of_shop, "external_id": each} for each in wanted]
        db.session.execute(
            insert(OrderHint)
            .values(rows)
            .on_conflict_do_update(
                index_elements=[OrderHint.shop_id, OrderHint.external_id],
                set_={"turn": OrderHint.turn + 1},
            )
        )
        announce(ShopConnection)
    return True


def take_hints(shop_id: int, limit: int) -> list[Waiting]:
    """The oldest; each goes on waiting until it is ``done``."""
    rows = db.session.execute(
        select(OrderHint.external_id, OrderHint.turn)
        .where(OrderHint.shop_id == shop_id)
        .order_by(OrderHint.failures, OrderHint.id)
        .limit(limit)
    )
    return [Waiting(external_id, turn) for external_id, turn in rows]


def hints_done(shop_id: int, looked_at: Sequence[Waiting]) -> None:
    """Forget them, except those hinted at again meanwhile."""
    known = [(each.external_id, each.turn) for each in looked_at]
    is_known = tuple_(OrderHint.external_id, OrderHint.turn).in_(known)
    db.session.execute(delete(OrderHint).where(OrderHint.shop_id == shop_id, is_known))


def postpone_hint(shop_id: int, external_id: str) -> None:
    db.session.execute(
        update(OrderHint)
        .where(OrderHint.shop_id == shop_id, OrderHint.external_id == external_id)
        .values(failures=OrderHint.failures + 1)
    )


def reseal_all(vault: Vault) -> int:
    """Under the newest key; returns how many. Raises VaultLocked."""
    rows = db.session.scalars(select(ShopConnection).options(undefer(ShopConnection.settings)))
    count = 0
    for row in rows:
        row.settings = vault.reseal(row.settings)
        count += 1
    return count


def _opened(row: ShopConnection) -> dict[str, Any]:
    opened: dict[str, Any] = json.loads(installed_vault().open(row.settings))
    return opened


def _sealed(settings: Mapping[str, Any]) -> bytes:
    text = json.dumps(dict(settings))
    if len(text) > MAX_SETTINGS_LENGTH:
        raise ValueError("connection_settings_too_long")
    return installed_vault().seal(text)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
