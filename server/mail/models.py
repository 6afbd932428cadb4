"""Outgoing mail as it is stored: what it says (facts), what was sent, how it fared."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar
from zlib import crc32

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    case,
    or_,
    text,
    update,
)
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from server.db import Base, Id, Ref, Time, db, now
from server.mail.kinds import KINDS
from server.work import LEASE, WorkItem, work_indexes

MAX_AGE = timedelta(hours=72)
"""A mail that was tried and is older is not tried again."""
JITTER = 0.2  # of a pause, in both directions, so that what failed together does not come together
WORKER_STOPPED = "the worker stopped while at it"
TEST_ONCE = "test:"
"""How ``once`` begins of a mail that somebody sent to try it: its order is invented (S9)."""
IMPORTANT_KINDS = tuple(name for name, kind in KINDS.items() if kind.is_important)


class Sending(WorkItem):
    """Mixin of what is handed to mail servers: when it is tried again, and when no more.

    ``failure`` says in one word why it was not sent (``replies.FAILURES``).
    """

    # 1, 5, 15, 30 min, 1, 2, 4 h, then every 6 h until 72 h (RFC 5321, 4.5.4.1).
    schedule: ClassVar[Sequence[timedelta]] = (
        *(timedelta(minutes=m) for m in (1, 5, 15, 30, 60, 120, 240)),
        *(timedelta(hours=6) for _ in range(11)),
    )

    id: Mapped[Id]
    failure: Mapped[str | None] = mapped_column(String(24))

    def succeed(self, at: datetime) -> None:
        super().succeed(at)
        self.failure = None

    def retry(self, why: str, at: datetime, after: timedelta | None = None) -> None:
        """Back on the schedule; past its end, or after three days, the mail is given up."""
        if self.attempts > len(self.schedule) or (self._is_old(at) and self.attempts > 1):
            self.expire(why, at)
            return
        self.status, self.error = "queued", why
        pause = self.schedule[self.attempts - 1] * self._jitter()
        self.due_at = at + max(after or timedelta(0), pause)

    def wait_until(
        self, due_at: datetime, why: str, at: datetime, *, is_host_dead: bool = False
    ) -> None:
        """The host takes none now: back to the queue, and no attempt is counted.

        After three days it is given up, if it was tried itself or ``is_host_dead``.
        """
        if self._is_old(at) and (is_host_dead or self.attempts > 1):
            self.expire(why, at)
            return
        self.put_back(due_at)
        self.error, self.failure = why, "unreachable"

    def expire(self, why: str, at: datetime) -> None:
        self.give_up(why, at)
        self.failure = "expired"

    def _is_old(self, at: datetime) -> bool:
        return at - self.created_at >= MAX_AGE

    def _jitter(self) -> float:
        """The same for the same attempt, so that what happens can be told and tested."""
        return 1 + JITTER * (crc32(f"{self.id}:{self.attempts}".encode()) / 2**31 - 1)


class Mail(Sending, Base):
    """One mail. ``once`` makes it at most one, ever; ``facts`` is the snapshot of what it says.

    ``order_id`` is None for account mails and merchant notices of no order. ``message_id`` is
    made with the row and gets its domain before the first attempt, so a second copy after a crash
    carries the same one. ``redirected_to``: the shop was in test mode, so it went there and not to
    the customer (K66). ``headers`` is the header block as it was signed and sent, ``sent_via`` the
    server that took it. ``delivery``: what is known since the server took it: `accepted`,
    `delivered`, `delayed`, `bounced`, `complained`; ``delivery_words`` are the reporting server's.
    """

    __tablename__ = "mail"

    @declared_attr.directive
    def __table_args__(cls) -> Any:
        return (
            Index("ix_mail_merchant_id_created_at", "merchant_id", "created_at"),
            Index("ix_mail_merchant_id_kind", "merchant_id", "kind", "created_at"),
            Index(
                "ix_mail_wrong",
                "merchant_id",
                "created_at",
                postgresql_where=text(
                    "status IN ('failed', 'unknown') OR delivery IN ('bounced', 'complained')"
                ),
            ),
            Index("ix_mail_order_id", "order_id"),
            *work_indexes("mail"),
        )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    shop_id: Mapped[int | None] = mapped_column(BigInteger)
    order_id: Mapped[int | None] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(String(48))
    language: Mapped[str] = mapped_column(String(8))
    recipient: Mapped[str] = mapped_column(String(320))
    redirected_to: Mapped[str | None] = mapped_column(String(320))
    once: Mapped[str] = mapped_column(String(200), unique=True)
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)
    theme: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    sender_name: Mapped[str] = mapped_column(String(200), default="")
    sender_address: Mapped[str] = mapped_column(String(320), default="")
    reply_to: Mapped[str | None] = mapped_column(String(320))
    message_id: Mapped[str] = mapped_column(String(200))
    subject: Mapped[str | None] = mapped_column(Text)
    html: Mapped[str | None] = mapped_column(Text)
    text: Mapped[str | None] = mapped_column(Text)
    smtp_response: Mapped[str | None] = mapped_column(Text)
    delivery: Mapped[str | None] = mapped_column(String(16))
    delivery_words: Mapped[str | None] = mapped_column(Text)
    delivered_at: Mapped[Time | None]
    headers: Mapped[str | None] = mapped_column(Text)
    sent_via: Mapped[str | None] = mapped_column(String(253))

    @property
    def is_test(self) -> bool:
        """Sent to try it; nothing of it is true, and nobody is asked for money."""
        return self.once.startswith(TEST_ONCE)

    @property
    def is_important(self) -> bool:
        """Rather twice than never, where that is the choice."""
        return self.kind in IMPORTANT_KINDS

    @classmethod
    def release_abandoned(cls, at: datetime) -> int:
        """Workers died holding these. What may have arrived is sent again only if important.

        Of other kinds ``sent_via`` is written before the mail is handed over, so those that have
        none were not begun.
        """
        again = or_(cls.sent_via.is_(None), cls.kind.in_(IMPORTANT_KINDS))
        lost = (
            update(cls)
            .where(cls.status == "running", cls.claimed_at < at - LEASE)
            .values(
                status=case((again, "queued"), else_="unknown"), due_at=at, error=WORKER_STOPPED
            )
            .execution_options(synchronize_session=False)
        )
        count = db.session.execute(lost).rowcount  # type: ignore[attr-defined]
        db.session.commit()
        return int(count)

    def in_doubt(self, why: str, at: datetime) -> None:
        """Handed over, and no answer came: important ones again, others wait for a person."""
        if self.is_important:
            self.retry(why, at)
        else:
            self.status, self.error = "unknown", why

    def break_off(self, why: str, at: datetime) -> None:
        """``sent_via`` tells, as in ``release_abandoned``, whether it may have arrived."""
        if self.sent_via is None:
            self.retry(why, at)
        else:
            self.in_doubt(why, at)


class SendingDomain(WorkItem, Base):
    """A domain that mails may come from, and what its DNS says (S13 to S17, N14).

    The row is its own work: it is checked when ``due_at`` comes, once a day. ``merchant_id`` None
    is the domain of Kontor's own address. ``proven_at``: since when DKIM and SPF are right, None
    if they are not; ``failing_since``: the first of the definite failures that no good answer has
    followed. ``report`` is the last check as ``domain_rules.Report``. ``failed_at``: when the
    merchant was told that a proven domain broke.
    """

    __tablename__ = "sending_domain"

    @declared_attr.directive
    def __table_args__(cls) -> Any:
        return (
            Index(
                "ix_sending_domain_name",
                text("coalesce(merchant_id, 0)"),
                "name",
                unique=True,
            ),
            *work_indexes("sending_domain"),
        )

    id: Mapped[Id]
    merchant_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("merchant.id"))
    name: Mapped[str] = mapped_column(String(253))
    proven_at: Mapped[Time | None]
    failing_since: Mapped[Time | None]
    failed_at: Mapped[Time | None]
    checked_at: Mapped[Time | None]
    report: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class DkimKey(Base):
    """A key that signs for one domain under one selector (RFC 6376, 3.1).

    ``private_key`` is PKCS #8, encrypted by the vault; ``public_key`` is base64 of the DER as it
    stands in the DNS record. ``status``: `current` signs, `next` waits to, `retired` signs no
    more but stays published until the mails that it signed have arrived.
    """

    __tablename__ = "dkim_key"
    __table_args__ = (UniqueConstraint("sending_domain_id", "selector", "created_at"),)

    id: Mapped[Id]
    sending_domain_id: Mapped[Ref] = mapped_column(
        ForeignKey("sending_domain.id", ondelete="CASCADE")
    )
    selector: Mapped[str] = mapped_column(String(63))
    private_key: Mapped[bytes] = mapped_column(LargeBinary)
    public_key: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(8), default="next")
    created_at: Mapped[Time] = mapped_column(default=now)
    retired_at: Mapped[Time | None]


class MailHost(Base):
    """A mail server that we hand over to: how it fared and how much it may get.

    ``paused_until``: nothing is tried before, because of ``because``. ``window_at`` begins the
    minute in which ``window_sent`` mails were handed over.
    """

    __tablename__ = "mail_host"

    host: Mapped[str] = mapped_column(String(253), primary_key=True)
    failures: Mapped[int] = mapped_column(default=0)
    paused_until: Mapped[Time | None]
    because: Mapped[str | None] = mapped_column(Text)
    window_at: Mapped[Time] = mapped_column(default=now)
    window_sent: Mapped[int] = mapped_column(default=0)


class MailReport(Base):
    """What came back about a mail: a bounce, a delay, a complaint, an automatic answer.

    ``kind``: `bounced`, `delayed`, `delivered`, `complaint`, `auto_reply`, `other`. ``mail_id`` is
    None for what names no mail of ours; that is kept for a while and shown to the operator.
    ``digest`` makes each report count once.
    """

    __tablename__ = "mail_report"
    __table_args__ = (
        Index("ix_mail_report_mail_id", "mail_id"),
        Index("ix_mail_report_merchant_id", "merchant_id", "received_at"),
    )

    id: Mapped[Id]
    merchant_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("merchant.id"))
    mail_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("mail.id", ondelete="CASCADE")
    )
    kind: Mapped[str] = mapped_column(String(16))
    status_code: Mapped[str] = mapped_column(String(16), default="")
    words: Mapped[str] = mapped_column(Text, default="")
    raw: Mapped[bytes] = mapped_column(LargeBinary)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    received_at: Mapped[Time] = mapped_column(default=now)


class Suppression(Base):
    """An address that gets no mail of this merchant, or none of one kind.

    ``address_hash`` is SHA-256 of the address in lower case, so that it holds when the address
    itself was removed (S86). ``kind`` None is every kind. ``reason``: `bounced`, `complaint`,
    `opt_out`, `manual`. ``evidence`` are the words that it stands on. In force until
    ``expires_at`` or ``ended_at``.
    """

    __tablename__ = "suppression"
    __table_args__ = (
        Index("ix_suppression_merchant_id", "merchant_id", "address_hash"),
        Index("ix_suppression_mail_id", "mail_id"),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    address_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    address: Mapped[str] = mapped_column(String(320), default="")
    kind: Mapped[str | None] = mapped_column(String(48))
    reason: Mapped[str] = mapped_column(String(16))
    evidence: Mapped[str] = mapped_column(Text, default="")
    mail_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("mail.id", ondelete="SET NULL")
    )
    created_at: Mapped[Time] = mapped_column(default=now)
    created_by: Mapped[str] = mapped_column(String(320), default="")
    expires_at: Mapped[Time | None]
    ended_at: Mapped[Time | None]
    ended_by: Mapped[str | None] = mapped_column(String(320))


class MailText(Base):
    """A merchant's own words of one kind and language (K39). Append-only: the newest counts.

    ``shop_id`` None is for all shops. ``words`` are {block: text}; None goes back to what is
    inherited.
    """

    __tablename__ = "mail_text"
    __table_args__ = (
        Index("ix_mail_text_merchant_id", "merchant_id", "kind", "language", "shop_id", "id"),
    )

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"))
    shop_id: Mapped[int | None] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(String(48))
    language: Mapped[str] = mapped_column(String(8))
    words: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[Time] = mapped_column(default=now)
    created_by: Mapped[str] = mapped_column(String(320), default="")


class Picture(Base):
    """A header picture that a merchant uploaded, under the address that mails link it by."""

    __tablename__ = "picture"

    id: Mapped[Id]
    merchant_id: Mapped[Ref] = mapped_column(ForeignKey("merchant.id"), index=True)
    token: Mapped[str] = mapped_column(String(43), unique=True)
    content_type: Mapped[str] = mapped_column(String(32))
    width: Mapped[int]
    height: Mapped[int]
    content: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[Time] = mapped_column(default=now)
