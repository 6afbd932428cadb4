"""Log-ins, users and API keys: what is done. Never commits."""

from __future__ import annotations

import hmac
import secrets
import string
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from sqlalchemy import Row, Select, bindparam, delete, or_, select, update
from sqlalchemy.dialects.postgresql import distinct_on

from server.db import db
from server.merchants.models import (
    ApiKey,
    Merchant,
    OneTimeLink,
    SettingChange,
    User,
    UserSession,
)
from server.merchants.rules import (
    INVITATION_LIFETIME,
    SESSION_IDLE,
    password_problem,
    session_is_over,
    split_api_key,
    token_hash,
)
from server.merchants.settings import SCHEMA, MerchantSettings, checked, in_force

# OWASP's second recommended setting: 41 ms here, and no more memory than many log-ins can have.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_DUMMY_HASH = _HASHER.hash("nobody has this password")
TOUCH_AFTER = timedelta(minutes=1)
EXPORT = "export"
"""The scope of keys that fetch tables."""
EXPORT_KEYS = "export_key."
"""Of their names in the log of changes; the key's id follows."""
MAX_EXPORT_KEYS = 20
"""That work, of one merchant."""


class WrongPassword(ValueError):
    """The new password is refused; ``args[0]`` is the message key."""


class InvalidLink(ValueError):
    """The one-time link is unknown, used or too old."""


class TooManyKeys(ValueError):
    """As many as there may be work already."""


class AlreadyThere(ValueError):
    """A user with this address exists."""


def add_merchant(name: str, email: str, at: datetime, *, language: str = "de") -> tuple[User, str]:
    """A tenant with its first user; also the token of the link that sets the password."""
    email = email.strip()
    if user_by_email(email) is not None:
        raise AlreadyThere(f"a user with the address {email} exists")
    merchant = Merchant(name=name.strip(), language=language)
    user = User(merchant=merchant, email=email, name=name.strip(), language=language)
    db.session.add(user)
    db.session.flush()
    return user, open_link(user, INVITATION_LIFETIME, at)


def lock_merchant(merchant_id: int) -> Merchant:
    """Every change of money takes this lock first, so two of them never see the same rest.

    FOR NO KEY UPDATE: rows that only refer to the merchant (an order that arrives) need not wait.
    """
    return db.session.get_one(Merchant, merchant_id, with_for_update={"key_share": True})


def user_by_email(email: str) -> User | None:
    return db.session.scalar(select(User).where(User.email.ilike(_literal(email.strip()))))


def administrators(merchant_id: int) -> list[User]:
    """Who gets the notices that nobody else has chosen (K42)."""
    query = select(User).where(
        User.merchant_id == merchant_id, User.is_administrator, User.deactivated_at.is_(None)
    )
    return list(db.session.scalars(query.order_by(User.id)))


def log_in(email: str, password: str, user_agent: str, at: datetime) -> str | None:
    """A new session's token, or None. Takes as long for unknown addresses as for wrong words."""
    user = user_by_email(email)
    stored = user.password_hash if user and user.password_hash else _DUMMY_HASH
    try:
        _HASHER.verify(stored, password)
    except (Argon2Error, InvalidHashError):
        return None
    if user is None or user.password_hash is None or user.deactivated_at is not None:
        return None
    if _HASHER.check_needs_rehash(stored):
        user.password_hash = _HASHER.hash(password)
    user.last_login_at = at
    db.session.execute(
        delete(UserSession).where(
            UserSession.user_id == user.id, UserSession.seen_at < at - SESSION_IDLE
        )
    )
    token = secrets.token_urlsafe(32)
    db.session.add(
        UserSession(
            token_hash=token_hash(token),
            user_id=user.id,
            created_at=at,
            seen_at=at,
            user_agent=user_agent[:300],
        )
    )
    return token


def session_of(token: str, at: datetime) -> UserSession | None:
    """The living session of a token. A session that is over is deleted."""
    found = db.session.scalar(
        select(UserSession).where(UserSession.token_hash == token_hash(token))
    )
    if found is None:
        return None
    if session_is_over(found.created_at, found.seen_at, at) or found.user.deactivated_at:
        db.session.delete(found)
        return None
    if at - found.seen_at > TOUCH_AFTER:
        found.seen_at = at
    return found


def log_out(token: str) -> None:
    db.session.execute(delete(UserSession).where(UserSession.token_hash == token_hash(token)))


def log_out_everywhere(user_id: int) -> None:
    db.session.execute(delete(UserSession).where(UserSession.user_id == user_id))


def open_link(user: User, lifetime: timedelta, at: datetime) -> str:
    """A one-time token; older ones of the same user stop working."""
    db.session.execute(
        update(OneTimeLink)
        .where(OneTimeLink.user_id == user.id, OneTimeLink.used_at.is_(None))
        .values(used_at=at)
    )
    token = secrets.token_urlsafe(32)
    db.session.add(
        OneTimeLink(token_hash=token_hash(token), user_id=user.id, expires_at=at + lifetime)
    )
    return token


def link_user(token: str, at: datetime) -> User | None:
    """Whose link this is; None if it is unknown, used or too old."""
    link = _open_link_of(token, at)
    return db.session.get(User, link.user_id) if link else None


def set_password(token: str, password: str, at: datetime) -> User:
    """Raises InvalidLink or WrongPassword. Ends every session of the user."""
    link = _open_link_of(token, at)
    if link is None:
        raise InvalidLink
    user = db.session.get_one(User, link.user_id)
    problem = password_problem(password, user.email)
    if problem:
        raise WrongPassword(problem)
    user.password_hash = _HASHER.hash(password)
    link.used_at = at
    log_out_everywhere(user.id)
    return user


def _open_link_of(token: str, at: datetime) -> OneTimeLink | None:
    query = select(OneTimeLink).where(
        OneTimeLink.token_hash == token_hash(token),
        OneTimeLink.used_at.is_(None),
        OneTimeLink.expires_at > at,
    )
    return db.session.scalar(query.with_for_update())


def create_api_key(
    merchant_id: int, *, scope: str, name: str, shop_id: int | None
) -> tuple[ApiKey, str]:
    """The stored key and the text to show once. A `shop` key belongs to exactly one shop."""
    assert (scope == "shop") == (shop_id is not None), "a shop key has a shop, others none"
    alphabet = string.ascii_lowercase + string.digits
    key_id = "".join(secrets.choice(alphabet) for _ in range(12))
    secret = secrets.token_urlsafe(32)
    key = ApiKey(
        id=key_id,
        merchant_id=merchant_id,
        shop_id=shop_id,
        scope=scope,
        name=name,
        secret_hash=token_hash(secret),
    )
    db.session.add(key)
    return key, f"kontor_{key_id}_{secret}"


def revoke_api_key(merchant_id: int, key_id: str, at: datetime) -> bool:
    """True if there was such a key and it worked until now."""
    revoked = db.session.execute(
        update(ApiKey)
        .where(ApiKey.merchant_id == merchant_id, ApiKey.id == key_id, ApiKey.revoked_at.is_(None))
        .values(revoked_at=at)
    )
    return bool(revoked.rowcount)  # type: ignore[attr-defined]


def create_export_key(
    merchant_id: int, name: str, *, actor: str, at: datetime
) -> tuple[ApiKey, str]:
    """A key that fetches tables and can do nothing else (K34), and the text to show once.

    Raises TooManyKeys.
    """
    lock_merchant(merchant_id)
    if sum(key.revoked_at is None for key in export_keys(merchant_id)) >= MAX_EXPORT_KEYS:
        raise TooManyKeys
    created = create_api_key(merchant_id, scope=EXPORT, name=name, shop_id=None)
    _log_export_key(created[0], is_valid=True, actor=actor, at=at)
    return created


def revoke_export_key(key: ApiKey, *, actor: str, at: datetime) -> None:
    """Whatever uses it is refused from now on; what is revoked already stays so."""
    if revoke_api_key(key.merchant_id, key.id, at):
        _log_export_key(key, is_valid=False, actor=actor, at=at)


def export_keys(merchant_id: int) -> list[ApiKey]:
    """Working ones first."""
    query = select(ApiKey).where(ApiKey.merchant_id == merchant_id, ApiKey.scope == EXPORT)
    newest = query.order_by(ApiKey.revoked_at.desc().nulls_first(), ApiKey.created_at)
    return list(db.session.scalars(newest))


def _log_export_key(key: ApiKey, *, is_valid: bool, actor: str, at: datetime) -> None:
    value = {"name": key.name, "is_valid": is_valid}
    set_of_thing(key.merchant_id, f"{EXPORT_KEYS}{key.id}", value, actor=actor, at=at)


def revoke_shop_keys(merchant_id: int, shop_id: int, at: datetime) -> None:
    """All of a shop that work until now."""
    db.session.execute(
        update(ApiKey)
        .where(
            ApiKey.merchant_id == merchant_id,
            ApiKey.shop_id == shop_id,
            ApiKey.revoked_at.is_(None),
        )
        .values(revoked_at=at)
    )


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What a request needs to know of the key that it came with."""

    id: str
    merchant_id: int
    shop_id: int | None
    scope: str
    name: str


def key_columns(query: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    """``query`` with what ``checked_key`` needs of the key named by ``:key_id``.

    The query joins ``ApiKey`` itself, so that a hot path can ask for more in the same look.
    """
    return query.add_columns(
        ApiKey.id.label("key_id"),
        ApiKey.merchant_id.label("key_merchant_id"),
        ApiKey.shop_id.label("key_shop_id"),
        ApiKey.scope,
        ApiKey.name.label("key_name"),
        ApiKey.secret_hash,
        ApiKey.last_used_at,
    ).where(ApiKey.id == bindparam("key_id"), ApiKey.revoked_at.is_(None))


_KEY = key_columns(select())


def authenticate(presented: str, at: datetime) -> KeyFacts | None:
    """The key behind a bearer token; None if it is unknown, wrong or revoked."""
    parts = split_api_key(presented)
    if parts is None:
        return None
    return checked_key(presented, db.session.execute(_KEY, {"key_id": parts[0]}).first(), at)


def checked_key(presented: str, row: Row[Any] | None, at: datetime) -> KeyFacts | None:
    """The key of a row of ``key_columns``, if the secret is right. Notes its use by the minute."""
    parts = split_api_key(presented)
    wanted = row.secret_hash if row is not None else bytes(32)
    if parts is None or not hmac.compare_digest(token_hash(parts[1]), wanted) or row is None:
        return None
    if row.last_used_at is None or at - row.last_used_at > TOUCH_AFTER:
        db.session.execute(update(ApiKey).where(ApiKey.id == row.key_id).values(last_used_at=at))
    return KeyFacts(row.key_id, row.key_merchant_id, row.key_shop_id, row.scope, row.key_name)


def _literal(text: str) -> str:
    """For ILIKE: the text itself, without wildcards."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


# --- settings ----------------------------------------------------------------------------------


def settings_of(merchant_id: int, shop_id: int | None = None) -> MerchantSettings:
    """The values in force: defaults, what the merchant set, what is the shop's own (S43)."""
    general: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for row in _newest(merchant_id, None, shop_id):
        (general if row.shop_id is None else own)[row.name] = row.value
    return in_force(general | own)


def set_values(merchant_id: int, shop_id: int | None = None) -> dict[str, Any]:
    """Name to value, of what was set for the merchant (``shop_id`` None) or for one shop."""
    return {row.name: row.value for row in _newest(merchant_id, shop_id)}


def _newest(merchant_id: int, *shop_ids: int | None) -> Iterator[Row[Any]]:
    """What stands for these shops (None: for the merchant), without what is inherited."""
    columns = (SettingChange.shop_id, SettingChange.name, SettingChange.value)
    newest = (
        select(*columns)
        .where(SettingChange.merchant_id == merchant_id, ~SettingChange.waits)
        .where(or_(*(SettingChange.shop_id == one for one in dict.fromkeys(shop_ids))))
        .ext(distinct_on(SettingChange.shop_id, SettingChange.name))
        .order_by(SettingChange.shop_id, SettingChange.name, SettingChange.id.desc())
    )
    return (row for row in db.session.execute(newest) if row.value is not None)


def change_setting(
    merchant_id: int,
    name: str,
    typed: str | None,
    *,
    actor: str,
    at: datetime,
    shop_id: int | None = None,
) -> SettingChange | None:
    """Set a value, or with None go back to the inherited one. None if that changes nothing.

    Where the merchant wants a second person for what may hurt customers (N21), the change
    ``waits`` until ``decide_change``; a newer change of the same name replaces one that waits.
    Raises ValueError with a message key where the value is none of this setting.
    """
    value = None if typed is None else checked(name, typed)
    if shop_id is not None and name in SCHEMA and not SCHEMA[name].per_shop:
        raise ValueError("setting_not_of_a_shop")
    _drop_waiting(merchant_id, shop_id, name, actor, at)
    if set_values(merchant_id, shop_id).get(name) == value:
        return None
    row = SettingChange(
        merchant_id=merchant_id,
        shop_id=shop_id,
        name=name,
        value=value,
        changed_at=at,
        changed_by=actor,
        waits=needs_approval(merchant_id, name, actor),
    )
    db.session.add(row)
    db.session.flush()
    return row


def needs_approval(merchant_id: int, name: str, actor: str) -> bool:
    """Does somebody else have to agree? Only where there is somebody else.

    That nobody needs to agree any more is itself something to agree to.
    """
    is_risky = name == "approve_changes" or (name in SCHEMA and SCHEMA[name].is_risky)
    if not is_risky or not settings_of(merchant_id).approve_changes:
        return False
    return any(user.email != actor for user in administrators(merchant_id))


def _drop_waiting(
    merchant_id: int, shop_id: int | None, name: str, actor: str, at: datetime
) -> None:
    waiting = select(SettingChange).where(
        SettingChange.merchant_id == merchant_id,
        SettingChange.shop_id == shop_id,
        SettingChange.name == name,
        SettingChange.waits,
        SettingChange.decided_at.is_(None),
    )
    for row in db.session.scalars(waiting.with_for_update()):
        row.decided_at, row.decided_by = at, actor


def waiting_changes(merchant_id: int) -> list[SettingChange]:
    """What waits for a second person, oldest first."""
    query = select(SettingChange).where(
        SettingChange.merchant_id == merchant_id,
        SettingChange.waits,
        SettingChange.decided_at.is_(None),
    )
    return list(db.session.scalars(query.order_by(SettingChange.id)))


def decide_change(
    merchant_id: int, change_id: int, *, agrees: bool, actor: str, at: datetime
) -> SettingChange:
    """A second person agrees or refuses. Raises ValueError with a message key.

    What is agreed to is in force from now on: it becomes the newest row of its name.
    """
    row = db.session.scalar(
        select(SettingChange)
        .where(SettingChange.merchant_id == merchant_id, SettingChange.id == change_id)
        .with_for_update()
    )
    if row is None or not row.waits or row.decided_at is not None:
        raise ValueError("setting_change_gone")
    if row.changed_by == actor and agrees:
        raise ValueError("setting_change_own")
    row.decided_at, row.decided_by = at, actor
    if not agrees:
        return row
    agreed = SettingChange(
        merchant_id=merchant_id,
        shop_id=row.shop_id,
        name=row.name,
        value=row.value,
        changed_at=at,
        changed_by=row.changed_by,
        decided_at=at,
        decided_by=actor,
    )
    db.session.add(agreed)
    db.session.flush()
    return agreed


def log_shop_change(
    merchant_id: int, shop_id: int, name: str, *, before: Any, after: Any, actor: str, at: datetime
) -> None:
    """What somebody changed about a shop itself, in the same log as its settings.

    ``name`` has a prefix (``shop.url``), so that it is no name of a setting. Both values are kept:
    nobody wrote down what a shop was called at first.
    """
    assert name not in SCHEMA, "a setting goes through change_setting"
    db.session.add(
        SettingChange(
            merchant_id=merchant_id,
            shop_id=shop_id,
            name=name,
            value={"before": before, "after": after},
            changed_at=at,
            changed_by=actor,
        )
    )


def set_of_thing(merchant_id: int, name: str, value: Any, *, actor: str, at: datetime) -> None:
    """What is in force for one thing of the merchant's, in the same log as his settings.

    ``name`` is a prefix with the thing's id (``callback.7``), so that it is no name of a setting.
    """
    assert name not in SCHEMA, "a setting goes through change_setting"
    db.session.add(
        SettingChange(
            merchant_id=merchant_id, name=name, value=value, changed_at=at, changed_by=actor
        )
    )
    db.session.flush()


def values_of_things(merchant_id: int, names: Collection[str]) -> dict[str, Any]:
    """Name to the value in force, of those of which one was set."""
    newest = (
        select(SettingChange.name, SettingChange.value)
        .where(SettingChange.merchant_id == merchant_id, SettingChange.shop_id.is_(None))
        .where(SettingChange.name.in_(names))
        .ext(distinct_on(SettingChange.name))
        .order_by(SettingChange.name, SettingChange.id.desc())
    )
    return {row.name: row.value for row in db.session.execute(newest)} if names else {}
