"""Merchants, users, sessions, one-time links, API keys and settings as they are stored."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    String,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from server.db import Base, Id, Ref, Time, now


class Merchant(Base):
    """A tenant. Its row is also the lock that every change of its money takes.

    ``is_operator``: who runs this installation; may own accounts that other merchants share.
    """

    __tablename__ = "merchant"

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(200))
    language: Mapped[str] = mapped_column(String(8), default="de")
    timezone: Mapped[str] = mapped_column(String(64), default="Europe/Berlin")
    is_operator: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    created_at: Mapped[Time] = mapped_column(default=now)


class User(Base):
    """A person who works for one merchant."""

    __tablename__ = "user"

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"), index=True)
    email: Mapped[str] = mapped_column(String(320), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    language: Mapped[str | None] = mapped_column(String(8))
    is_administrator: Mapped[bool] = mapped_column(default=True)
    password_hash: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[Time] = mapped_column(default=now)
    last_login_at: Mapped[Time | None]
    deactivated_at: Mapped[Time | None]

    merchant: Mapped[Merchant] = relationship()


class UserSession(Base):
    """A log-in. The browser holds the token, the table only its hash."""

    __tablename__ = "user_session"

    id: Mapped[Id]
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    user_id: Mapped[Ref] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[Time] = mapped_column(default=now)
    seen_at: Mapped[Time] = mapped_column(default=now)
    user_agent: Mapped[str] = mapped_column(String(300), default="")

    user: Mapped[User] = relationship()


class OneTimeLink(Base):
    """A mailed or printed link that sets a password: works once, ends by itself."""

    __tablename__ = "one_time_link"

    id: Mapped[Id]
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    user_id: Mapped[Ref] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    expires_at: Mapped[Time]
    used_at: Mapped[Time | None]


class ApiKey(Base):
    """A key with one scope: `shop` (that shop's orders), `bank` (statements and postings) or
    `export` (tables to fetch, nothing else: K34)."""

    __tablename__ = "api_key"
    __table_args__ = (
        ForeignKeyConstraint(["merchant_id", "shop_id"], ["shop.merchant_id", "shop.id"]),
        Index("ix_api_key_merchant_id", "merchant_id"),
    )

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    shop_id: Mapped[int | None] = mapped_column(BigInteger)
    scope: Mapped[str] = mapped_column(String(8))
    name: Mapped[str] = mapped_column(String(100))
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[Time] = mapped_column(default=now)
    last_used_at: Mapped[Time | None]
    revoked_at: Mapped[Time | None]


class SettingChange(Base):
    """A value that somebody set. Append-only: the newest row of a name is in force.

    ``shop_id`` None is the general value; ``value`` None goes back to what is inherited. Names
    and kinds of values are those of ``merchants.settings``. ``waits``: a second person has to
    agree first (N21); a row that waits is not in force, and is none any more once it was refused.
    """

    __tablename__ = "setting_change"
    __table_args__ = (
        ForeignKeyConstraint(["merchant_id", "shop_id"], ["shop.merchant_id", "shop.id"]),
        Index("ix_setting_change_merchant_id", "merchant_id", "shop_id", "name", "id"),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    shop_id: Mapped[int | None] = mapped_column(BigInteger)
    name: Mapped[str] = mapped_column(String(48))
    value: Mapped[Any] = mapped_column(JSON(none_as_null=True), nullable=True)
    changed_at: Mapped[Time] = mapped_column(default=now)
    changed_by: Mapped[str] = mapped_column(String(320), default="")
    waits: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    decided_at: Mapped[Time | None]
    decided_by: Mapped[str | None] = mapped_column(String(320))


class IdempotencyKey(Base):
    """The answer to a request that carried an Idempotency-Key, kept for 24 h.

    ``status_code`` is None while the first request is running.
    """

    __tablename__ = "idempotency_key"

    api_key_id: Mapped[str] = mapped_column(
        ForeignKey("api_key.id", ondelete="CASCADE"), primary_key=True
    )
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    request_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[Time] = mapped_column(default=now, index=True)
    status_code: Mapped[int | None]
    body: Mapped[bytes | None] = mapped_column(LargeBinary)


class NoticeChoice(Base):
    """That a person wants a kind of notice, or wants it no more (K38, K42)."""

    __tablename__ = "notice_choice"

    user_id: Mapped[Ref] = mapped_column(
        ForeignKey("user.id", ondelete="CASCADE"), primary_key=True
    )
    kind: Mapped[str] = mapped_column(String(48), primary_key=True)
    is_wanted: Mapped[bool]
    changed_at: Mapped[Time] = mapped_column(default=now)
