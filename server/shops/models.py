"""Shops and payment updates as they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    exists,
    or_,
)
from sqlalchemy.orm import Mapped, declared_attr, deferred, mapped_column, relationship

from server.db import Amount, Base, Id, Ref, Time, now
from server.work import LEASE, WorkItem, work_indexes

UPDATE_LIFETIME = timedelta(hours=168)


class Shop(Base):
    """One connected shop system and how it is doing (K12, S42).

    ``connected_at`` is the cut-off of S28: set by the first sign of life, never moved.
    ``error_source`` is `update` (a write failed; only a write that works heals it) or `agent` (its
    own report; healed by the next report without one). ``mapping`` is {payment code: CodeMapping
    as JSON}; empty = the connector's defaults. ``discovery`` is what the shop reports of itself,
    as wire.Discovery. ``look`` are the colours, font and picture of its mails, as mail.theme.Theme;
    empty = the standard look. ``compare_seconds``: how often its agent looks for new orders.
    """

    __tablename__ = "shop"
    __table_args__ = (UniqueConstraint("merchant_id", "id"),)

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    system: Mapped[str] = mapped_column(String(64))
    url: Mapped[str] = mapped_column(String(500), default="")
    status: Mapped[str] = mapped_column(String(16), default="not_connected")
    mapping: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    default_mapping: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    mapping_pinned: Mapped[bool] = mapped_column(default=False)
    language: Mapped[str] = mapped_column(String(8), default="de")
    sender_name: Mapped[str] = mapped_column(String(200), default="")
    sender_address: Mapped[str | None] = mapped_column(String(320))
    reply_to: Mapped[str | None] = mapped_column(String(320))
    look: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict, server_default="{}")
    connector: Mapped[str | None] = mapped_column(String(64))
    connector_version: Mapped[str | None] = mapped_column(String(64))
    capabilities: Mapped[list[str]] = mapped_column(JSON, default=list)
    discovery: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict, server_default="{}")
    compare_seconds: Mapped[int | None]
    created_at: Mapped[Time] = mapped_column(default=now)
    connected_at: Mapped[Time | None]
    seen_at: Mapped[Time | None]
    last_order_at: Mapped[Time | None]
    last_update_at: Mapped[Time | None]
    error: Mapped[str | None] = mapped_column(Text)
    error_source: Mapped[str | None] = mapped_column(String(8))
    error_since: Mapped[Time | None]


class PaymentUpdate(WorkItem, Base):
    """One payment status on its way to a shop. Lives 168 h, then the merchant is told (S42)."""

    __tablename__ = "payment_update"
    schedule: ClassVar[Sequence[timedelta]] = (
        timedelta(seconds=30),
        timedelta(minutes=5),
        timedelta(minutes=30),
        timedelta(hours=2),
        timedelta(hours=4),
    )

    @declared_attr.directive
    def __table_args__(cls) -> Any:
        return (
            ForeignKeyConstraint(["merchant_id", "shop_id"], ["shop.merchant_id", "shop.id"]),
            Index("ix_payment_update_shop_id_status", "shop_id", "status", "due_at"),
            Index("ix_payment_update_order_id", "order_id"),
            *work_indexes("payment_update"),
        )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    shop_id: Mapped[Ref]
    order_id: Mapped[Ref]
    external_id: Mapped[str] = mapped_column(String(64))
    number: Mapped[str] = mapped_column(String(64))
    payment_status: Mapped[str] = mapped_column(String(24))
    paid_total: Mapped[Amount]
    currency: Mapped[str] = mapped_column(String(3))
    intent: Mapped[str] = mapped_column(String(24))
    shop_status: Mapped[str | None] = mapped_column(String(128))
    open_statuses: Mapped[list[str]] = mapped_column(JSON, default=list)
    outcome: Mapped[str | None] = mapped_column(String(24))

    def retry(self, why: str, at: datetime, after: timedelta | None = None) -> None:
        """Attempts never end it, only its age does; the last one is just before the end."""
        pause = self.schedule[min(max(self.attempts, 1), len(self.schedule)) - 1]
        self.status, self.error = "queued", why
        end = self.created_at + UPDATE_LIFETIME
        last = end - LEASE
        self.due_at = min(at + (after or pause), last) if at < last else end

    shop: Mapped[Shop] = relationship(
        primaryjoin="PaymentUpdate.shop_id == Shop.id",
        foreign_keys="PaymentUpdate.shop_id",
        viewonly=True,
    )


class OrderRequest(WorkItem, Base):
    """ "Look at this order now": asked by a person, carried out by the shop's agent (S74, K64).

    ``external_id`` or ``number`` says which; ``order_id`` is the order where it is known here.
    ``outcome`` is the agent's word. Lives 24 h.
    """

    __tablename__ = "order_request"
    schedule: ClassVar[Sequence[timedelta]] = (
        timedelta(seconds=30),
        timedelta(minutes=5),
        timedelta(minutes=30),
        *(timedelta(hours=2) for _ in range(12)),
    )

    @declared_attr.directive
    def __table_args__(cls) -> Any:
        return (
            ForeignKeyConstraint(["merchant_id", "shop_id"], ["shop.merchant_id", "shop.id"]),
            Index("ix_order_request_shop_id", "shop_id", "status", "due_at"),
            *work_indexes("order_request"),
        )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    shop_id: Mapped[Ref]
    external_id: Mapped[str | None] = mapped_column(String(64))
    number: Mapped[str | None] = mapped_column(String(64))
    order_id: Mapped[int | None] = mapped_column(BigInteger)
    asked_by: Mapped[str] = mapped_column(String(320), default="")
    outcome: Mapped[str | None] = mapped_column(String(16))


class ShopConnection(WorkItem, Base):
    """A shop that Kontor itself talks to, without an agent. As work, it is the next visit.

    ``settings`` are those of the connector's Config, as JSON sealed by the vault; with each change
    ``version`` grows. ``state`` is where the comparison stands (``plugin_sdk.sync.Memory``). While
    it is not switched on the row is ``withheld``. ``rests_until``: the shop failed, and whatever
    waits for it waits until then; ``failures`` in a row. ``needs_login``: only the merchant can
    help, by logging in at the shop system once more. ``webhook_hash`` and ``login_hash`` are the
    SHA-256 of the unguessable names under which the shop's own server reaches us; a log-in counts
    until ``login_until``.
    """

    __tablename__ = "shop_connection"

    @declared_attr.directive
    def __table_args__(cls) -> Any:
        return (
            ForeignKeyConstraint(["merchant_id", "shop_id"], ["shop.merchant_id", "shop.id"]),
            UniqueConstraint("shop_id"),
            UniqueConstraint("webhook_hash"),
            UniqueConstraint("login_hash"),
            *work_indexes("shop_connection"),
        )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    shop_id: Mapped[Ref]
    connector: Mapped[str] = mapped_column(String(64))
    settings: Mapped[bytes] = deferred(mapped_column(LargeBinary, nullable=False))
    version: Mapped[int] = mapped_column(default=1)
    state: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    failures: Mapped[int] = mapped_column(default=0)
    rests_until: Mapped[Time | None]
    needs_login: Mapped[bool] = mapped_column(default=False)
    visited_at: Mapped[Time | None]
    webhook_hash: Mapped[bytes] = mapped_column(LargeBinary)
    login_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    login_until: Mapped[Time | None]

    @classmethod
    def ready(cls, at: datetime) -> ColumnElement[bool]:
        """Its time has come, or something waits for the shop and it does not rest."""
        may = or_(cls.rests_until.is_(None), cls.rests_until <= at)
        return (cls.status == "queued") & ((cls.due_at <= at) | (may & cls.is_waited_for(at)))

    @classmethod
    def is_waited_for(cls, at: datetime) -> ColumnElement[bool]:
        """Is there a hint, a payment update or a request for the shop?"""
        return or_(
            exists().where(OrderHint.shop_id == cls.shop_id),
            exists().where(
                PaymentUpdate.shop_id == cls.shop_id,
                PaymentUpdate.status == "queued",
                PaymentUpdate.due_at <= at,
            ),
            exists().where(
                OrderRequest.shop_id == cls.shop_id,
                OrderRequest.status == "queued",
                OrderRequest.due_at <= at,
            ),
        )

    def retry(self, why: str, at: datetime, after: timedelta | None = None) -> None:
        """No visit is the last one, whatever went wrong; what waits for the shop waits as well."""
        pause = self.schedule[min(max(self.attempts, 1), len(self.schedule)) - 1]
        self.status, self.error = "queued", why
        self.due_at = self.rests_until = at + max(after or timedelta(0), pause)


class OrderHint(Base):
    """An order of a shop that Kontor visits, to be looked at: a webhook named it, or it vanished.

    ``turn`` tells a hint from a later one for the same order; what failed stands behind the rest.
    """

    __tablename__ = "order_hint"
    __table_args__ = (
        ForeignKeyConstraint(["merchant_id", "shop_id"], ["shop.merchant_id", "shop.id"]),
        UniqueConstraint("shop_id", "external_id"),
        Index("ix_order_hint_shop_id_failures", "shop_id", "failures", "id"),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    shop_id: Mapped[Ref]
    external_id: Mapped[str] = mapped_column(String(64))
    turn: Mapped[int] = mapped_column(default=1)
    failures: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[Time] = mapped_column(default=now)
