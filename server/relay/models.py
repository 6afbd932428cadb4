"""Systems that hand over mails, the mails, their deliveries, and the quota, as they are stored."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    Numeric,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, declared_attr, deferred, mapped_column

from server.db import Amount, Base, Id, MaybeAmount, Ref, Time, now
from server.mail.models import Sending
from server.work import work_indexes


class RelayConnection(Base):
    """A system that may hand over mails (S89), under ``user_name`` and a password.

    The password is random, shown once and stored as its SHA-256; after a change the old one holds
    until ``old_password_until``. It may send while it is set up completely (S92), ``paused_at`` and
    ``removed_at`` are None. Content can be seen for ``keep_content_days``, then only the envelope.
    """

    __tablename__ = "relay_connection"
    __table_args__ = (UniqueConstraint("merchant_id", "id"), UniqueConstraint("user_name"))

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    name: Mapped[str] = mapped_column(String(100))
    user_name: Mapped[str] = mapped_column(String(64))
    password_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    old_password_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    old_password_until: Mapped[Time | None]
    keep_content_days: Mapped[int] = mapped_column(default=7)
    created_at: Mapped[Time] = mapped_column(default=now)
    created_by: Mapped[str] = mapped_column(String(320), default="")
    paused_at: Mapped[Time | None]
    removed_at: Mapped[Time | None]
    last_used_at: Mapped[Time | None]


class RelayDomain(Base):
    """A domain that a connection may send from, with what its mails say in List-Help (S90).

    ``list_help`` is an https or mailto URL; None: the page that Kontor shows for it.
    """

    __tablename__ = "relay_domain"
    __table_args__ = (
        ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["relay_connection.merchant_id", "relay_connection.id"],
        ),
        UniqueConstraint("connection_id", "sending_domain_id"),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref]
    connection_id: Mapped[Ref]
    sending_domain_id: Mapped[Ref] = mapped_column(
        ForeignKey("sending_domain.id", ondelete="CASCADE")
    )
    list_help: Mapped[str | None] = mapped_column(String(500))
    added_at: Mapped[Time] = mapped_column(default=now)


class RelayMessage(Base):
    """One mail as it was handed over. ``content`` byte for byte; None once its days are over.

    ``sender`` is the envelope's, ``header_from`` the address of From and ``domain`` its domain.
    ``message_id`` is the header's, with its angle brackets; ours where it had none. ``origin``:
    ``smtp``, ``http`` or ``resent`` (then ``resent_from_id``).
    """

    __tablename__ = "relay_message"
    __table_args__ = (
        ForeignKeyConstraint(
            ["merchant_id", "connection_id"],
            ["relay_connection.merchant_id", "relay_connection.id"],
        ),
        UniqueConstraint("merchant_id", "id"),
        Index("ix_relay_message_merchant_id_received_at", "merchant_id", "received_at", "id"),
        Index("ix_relay_message_message_id", "merchant_id", "message_id"),
        Index(
            "ix_relay_message_content",
            "connection_id",
            "received_at",
            postgresql_where=text("content IS NOT NULL"),
        ),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref]
    connection_id: Mapped[Ref]
    received_at: Mapped[Time] = mapped_column(default=now)
    origin: Mapped[str] = mapped_column(String(8), default="smtp")
    client_address: Mapped[str] = mapped_column(String(45), default="")
    client_name: Mapped[str] = mapped_column(String(255), default="")
    sender: Mapped[str] = mapped_column(String(320), default="")
    header_from: Mapped[str] = mapped_column(String(320))
    domain: Mapped[str] = mapped_column(String(253))
    subject: Mapped[str] = mapped_column(Text, default="")
    message_id: Mapped[str] = mapped_column(String(998))
    size_bytes: Mapped[int]
    content: Mapped[bytes | None] = deferred(mapped_column(LargeBinary))
    resent_from_id: Mapped[int | None] = mapped_column(BigInteger)


class RelayDelivery(Sending, Base):
    """One recipient of a mail, on its way. After a crash it is tried again, with the same bytes.

    ``failure``, ``smtp_response``, ``sent_via``, ``delivery`` and ``delivery_words`` are as on
    ``mail.models.Mail``. ``withheld``: the address is suppressed for this merchant.
    """

    __tablename__ = "relay_delivery"
    lease: ClassVar[timedelta] = timedelta(minutes=10)

    @declared_attr.directive
    def __table_args__(cls) -> Any:
        return (
            ForeignKeyConstraint(
                ["merchant_id", "relay_message_id"],
                ["relay_message.merchant_id", "relay_message.id"],
                ondelete="CASCADE",
            ),
            UniqueConstraint("relay_message_id", "recipient"),
            Index("ix_relay_delivery_recipient", "merchant_id", text("lower(recipient)"), "id"),
            Index("ix_relay_delivery_merchant_id_status", "merchant_id", "status", "id"),
            *work_indexes("relay_delivery"),
        )

    id: Mapped[Id]
    merchant_id: Mapped[Ref]
    connection_id: Mapped[Ref]
    relay_message_id: Mapped[Ref]
    recipient: Mapped[str] = mapped_column(String(320))
    smtp_response: Mapped[str | None] = mapped_column(Text)
    sent_via: Mapped[str | None] = mapped_column(String(253))
    delivery: Mapped[str | None] = mapped_column(String(16))
    delivery_words: Mapped[str | None] = mapped_column(Text)
    delivered_at: Mapped[Time | None]

    @property
    def is_addressed(self) -> bool:
        """False once the address was removed."""
        return "@" in self.recipient

    @property
    def is_important(self) -> bool:
        """What kind of mail it is nobody here knows, so rather twice than never."""
        return True

    def in_doubt(self, why: str, at: datetime) -> None:
        """Handed over, and no answer came: again, with the same Message-ID."""
        self.retry(why, at)


class RelayEvent(Base):
    """What happened to a delivery: when, and in the servers' words. Append-only.

    ``kind``: ``received``, ``delivered`` (a server took it), ``deferred``, ``bounced``,
    ``complained``, ``suppressed``. ``is_counted``: it is in the statistics and off the quota.
    """

    __tablename__ = "relay_event"
    __table_args__ = (
        Index("ix_relay_event_delivery_id", "delivery_id", "id"),
        Index("ix_relay_event_uncounted", "id", postgresql_where=text("NOT is_counted")),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref]
    connection_id: Mapped[Ref]
    delivery_id: Mapped[Ref] = mapped_column(ForeignKey("relay_delivery.id", ondelete="CASCADE"))
    at: Mapped[Time] = mapped_column(default=now)
    kind: Mapped[str] = mapped_column(String(16))
    code: Mapped[str] = mapped_column(String(16), default="")
    words: Mapped[str] = mapped_column(Text, default="")
    host: Mapped[str] = mapped_column(String(253), default="")
    is_counted: Mapped[bool] = mapped_column(default=False)


class RelayStat(Base):
    """How many in an hour, by connection and sending domain (S96). ``hour`` is its beginning."""

    __tablename__ = "relay_stat"

    connection_id: Mapped[int] = mapped_column(ForeignKey("relay_connection.id"), primary_key=True)
    domain: Mapped[str] = mapped_column(String(253), primary_key=True)
    hour: Mapped[Time] = mapped_column(primary_key=True)
    merchant_id: Mapped[Ref] = mapped_column(index=True)
    received: Mapped[int] = mapped_column(default=0)
    delivered: Mapped[int] = mapped_column(default=0)
    deferred: Mapped[int] = mapped_column(default=0)
    bounced: Mapped[int] = mapped_column(default=0)
    complained: Mapped[int] = mapped_column(default=0)
    suppressed: Mapped[int] = mapped_column(default=0)


class RelayPlan(Base):
    """What the operator offers (S97): a block of mails for a period. ``price`` is for the block,
    ``unit_price`` for a mail of it, both in EUR."""

    __tablename__ = "relay_plan"

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(100))
    block: Mapped[int]
    period_days: Mapped[int] = mapped_column(default=30)
    price: Mapped[Amount]
    unit_price: Mapped[Any] = mapped_column(Numeric(10, 6))
    is_offered: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[Time] = mapped_column(default=now)


class RelayAccount(Base):
    """A merchant's quota (S97 to S100): the sum of the period is ``granted - used``.

    ``plan_id`` None is the demo, which neither ends nor renews. ``threshold``: below so many left
    the administrators are told, once until it is above again (``is_below``).
    """

    __tablename__ = "relay_account"

    merchant_id: Mapped[int] = mapped_column(ForeignKey("merchant.id"), primary_key=True)
    plan_id: Mapped[int | None] = mapped_column(ForeignKey("relay_plan.id"))
    next_plan_id: Mapped[int | None] = mapped_column(ForeignKey("relay_plan.id"))
    renews: Mapped[bool] = mapped_column(default=True)
    period_began_at: Mapped[Time]
    period_ends_at: Mapped[Time | None]
    granted: Mapped[int]
    used: Mapped[int] = mapped_column(default=0)
    threshold: Mapped[int | None]
    is_below: Mapped[bool] = mapped_column(default=False)


class RelayEntry(Base):
    """A line of the quota's ledger: ``demo``, ``block``, ``use`` (of a day), ``expiry``, ``excess``
    (to be billed), ``correction``. ``mails`` is signed. Append-only, but for the day's use."""

    __tablename__ = "relay_entry"
    __table_args__ = (
        Index("ix_relay_entry_merchant_id", "merchant_id", "id"),
        Index(
            "ix_relay_entry_use",
            "merchant_id",
            "period_began_at",
            "day",
            unique=True,
            postgresql_where=text("kind = 'use'"),
        ),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    at: Mapped[Time] = mapped_column(default=now)
    day: Mapped[date]
    kind: Mapped[str] = mapped_column(String(16))
    mails: Mapped[int]
    price: Mapped[MaybeAmount]
    period_began_at: Mapped[Time]
    words: Mapped[str] = mapped_column(String(200), default="")
    actor: Mapped[str] = mapped_column(String(320), default="")
