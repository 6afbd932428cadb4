"""Callback addresses and what is told to them, as they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Any, ClassVar, Self

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    Select,
    String,
    Text,
    UniqueConstraint,
    case,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.orm import Mapped, aliased, declared_attr, mapped_column

from server.callbacks.rules import MAIL_KINDS, PAUSES
from server.db import Base, Id, Ref, Time, db, now
from server.work import LEASE, WorkItem, work_indexes

CALLBACK_LIFETIME = timedelta(hours=168)
KEPT = timedelta(days=30)
"""What ended is shown for so long."""
MAILS_KEPT = timedelta(days=7)
"""The same of what was told of mails: there are many of them, and they name the recipient."""
AT_ONCE_A_URL = 4
MAX_URL_LENGTH = 500
MESSAGE_ID_BYTES = 18


class CallbackUrl(Base):
    """An address of a merchant that hears of his orders, or of those of one shop (K79).

    ``secret`` signs, sealed by the vault; ``old_secret`` signs beside it until
    ``old_secret_until``, so that a change loses nothing. ``failing_since``: nothing was delivered
    since then; ``failures`` counts the attempts in a row that failed, and nothing but one probe
    is sent before ``paused_until``. ``told_at``: the merchant was told of it. ``off_because`` is
    `person` or `gone` (the address answered 410); an address that is off hears of nothing.
    """

    __tablename__ = "callback_url"
    __table_args__ = (
        ForeignKeyConstraint(["merchant_id", "shop_id"], ["shop.merchant_id", "shop.id"]),
        UniqueConstraint("merchant_id", "id"),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    shop_id: Mapped[int | None] = mapped_column(BigInteger)
    url: Mapped[str] = mapped_column(String(MAX_URL_LENGTH))
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    old_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    old_secret_until: Mapped[Time | None]
    created_at: Mapped[Time] = mapped_column(default=now)
    created_by: Mapped[str] = mapped_column(String(320), default="")
    delivered_at: Mapped[Time | None]
    failing_since: Mapped[Time | None]
    failures: Mapped[int] = mapped_column(default=0)
    paused_until: Mapped[Time | None]
    told_at: Mapped[Time | None]
    off_at: Mapped[Time | None]
    off_because: Mapped[str | None] = mapped_column(String(8))


def _new_message_id() -> str:
    return f"msg_{token_hex(MESSAGE_ID_BYTES)}"


class Callback(WorkItem, Base):
    """One message on its way to a callback address. Lives 168 h, however often it was tried.

    They count from ``queued_at``: when it was written, or when a person wanted it sent again.

    ``kind`` is one of ``rules.KINDS``; ``body`` is the JSON exactly as it is signed and sent.
    ``message_id`` is the webhook-id and stays the same however often it is sent. ``outcome`` says
    how the last attempt ended (``rules.OUTCOMES``); ``answer_status`` and ``answer`` are the HTTP
    status and the first words of the answer.
    """

    __tablename__ = "callback"
    schedule: ClassVar[Sequence[timedelta]] = PAUSES

    @declared_attr.directive
    def __table_args__(cls) -> Any:
        unfinished = text("status IN ('queued', 'running')")
        return (
            ForeignKeyConstraint(
                ["merchant_id", "url_id"],
                ["callback_url.merchant_id", "callback_url.id"],
                ondelete="CASCADE",
            ),
            UniqueConstraint("message_id"),
            Index("ix_callback_url_id", "url_id", "id"),
            Index(
                "ix_callback_unfinished", "url_id", "order_id", "id", postgresql_where=unfinished
            ),
            Index("ix_callback_finished_at", "finished_at"),
            *work_indexes("callback"),
        )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    url_id: Mapped[Ref]
    order_id: Mapped[int | None] = mapped_column(BigInteger)
    number: Mapped[str] = mapped_column(String(64), default="")
    kind: Mapped[str] = mapped_column(String(48))
    payment_status: Mapped[str | None] = mapped_column(String(24))
    message_id: Mapped[str] = mapped_column(String(48), default=_new_message_id)
    body: Mapped[str] = mapped_column(Text)
    queued_at: Mapped[Time] = mapped_column(default=now)
    queued_by: Mapped[str] = mapped_column(String(320), default="")
    outcome: Mapped[str | None] = mapped_column(String(16))
    answer_status: Mapped[int | None]
    answer: Mapped[str] = mapped_column(Text, default="")

    def retry(self, why: str, at: datetime, after: timedelta | None = None) -> None:
        """Attempts never end it, only its age does; the last one is just before the end."""
        pause = self.schedule[min(max(self.attempts, 1), len(self.schedule)) - 1]
        self.status, self.error = "queued", why
        end = self.queued_at + CALLBACK_LIFETIME
        last = end - LEASE
        self.due_at = min(at + max(after or pause, pause), last) if at < last else end

    @classmethod
    def is_due(cls, at: datetime) -> bool:
        """Is anything to be sent, given up or forgotten?"""
        open_ones = select(cls.id).join(CallbackUrl, CallbackUrl.id == cls.url_id)
        old = select(cls.id).where(cls.is_old(at))
        is_any = or_(open_ones.where(or_(_may_go(at), cls.is_over(at))).exists(), old.exists())
        return bool(db.session.scalar(select(is_any)))

    @classmethod
    def claim(cls, limit: int, at: datetime) -> list[Self]:
        """Take those whose turn it is, and commit: nobody else has them now."""
        ids = list(db.session.scalars(_in_turn(at).limit(limit)))
        taken = (
            update(cls)
            .where(cls.id.in_(ids), cls.status == "queued")
            .values(status="running", attempts=cls.attempts + 1, claimed_at=at)
            .returning(cls.id)
            .execution_options(synchronize_session=False)
        )
        taken_ids = list(db.session.scalars(taken)) if ids else []
        db.session.commit()
        if not taken_ids:
            return []
        rows = select(cls).where(cls.id.in_(taken_ids)).order_by(cls.due_at, cls.id)
        claimed = list(db.session.scalars(rows.execution_options(populate_existing=True)))
        db.session.commit()  # nothing stays open while they are sent
        return claimed

    @classmethod
    def is_over(cls, at: datetime) -> ColumnElement[bool]:
        """Nobody took it in its lifetime."""
        return (cls.status == "queued") & (cls.queued_at <= at - CALLBACK_LIFETIME)

    @classmethod
    def is_old(cls, at: datetime) -> ColumnElement[bool]:
        """It ended so long ago that it is shown no more."""
        of_mail = cls.kind.in_(MAIL_KINDS)
        return (cls.finished_at < at - MAILS_KEPT) & (of_mail | (cls.finished_at < at - KEPT))


def is_unfinished(table: type[Callback]) -> ColumnElement[bool]:
    return table.status.in_(["queued", "running"])


def _may_go(at: datetime) -> ColumnElement[bool]:
    """Of a callback joined with its address. What a person wants sent waits for no pause."""
    older = aliased(Callback)
    is_behind = (
        select(older.id)
        .where(
            older.url_id == Callback.url_id,
            older.order_id == Callback.order_id,
            older.id < Callback.id,
            is_unfinished(older),
        )
        .exists()
    )
    is_paused = CallbackUrl.paused_until.is_not(None) & (CallbackUrl.paused_until > at)
    is_wanted = Callback.queued_by != ""
    is_due = (Callback.status == "queued") & (Callback.due_at <= at)
    return is_due & (~is_paused | is_wanted) & ~is_behind


def _in_turn(at: datetime) -> Select[int]:
    """Ids of the callbacks to send now: the addresses in turn, AT_ONCE_A_URL to each, to one
    that fails a single one."""
    on_their_way = (
        select(Callback.url_id, func.count().label("count"))
        .where(Callback.status == "running")
        .group_by(Callback.url_id)
        .subquery()
    )
    place = func.row_number().over(
        partition_by=Callback.url_id,
        order_by=((Callback.queued_by == ""), Callback.due_at, Callback.id),
    )
    waiting = (
        select(
            Callback.id,
            Callback.due_at,
            (place + func.coalesce(on_their_way.c.count, 0)).label("place"),
            case((CallbackUrl.failing_since.is_(None), AT_ONCE_A_URL), else_=1).label("most"),
        )
        .join(CallbackUrl, CallbackUrl.id == Callback.url_id)
        .outerjoin(on_their_way, on_their_way.c.url_id == Callback.url_id)
        .where(_may_go(at))
        .subquery()
    )
    in_time = select(waiting.c.id).where(waiting.c.place <= waiting.c.most)
    return in_time.order_by(waiting.c.place, waiting.c.due_at)
