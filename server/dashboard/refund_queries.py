"""What the pages read about repayments (S78) and about the batches that take them to the bank.

Every query takes the merchant and finds nothing of anybody else's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.sql import ColumnElement

from server.banking.models import BankAccount, Posting
from server.dashboard import queries
from server.db import db
from server.orders.models import Order, OrderEvent, Refund
from server.orders.rules import REFUND_ARRANGED
from server.refunds.models import RefundBatch

A_PAGE = 50
BATCHES_SHOWN = 30
EXPORT_SLICE = 1_000
LINES_SHOWN = 100
FORGOTTEN_SHOWN = 3
DOWNLOADS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class RefundFilter:
    """The filter of the list as it stands in the URL. Days are those of the request."""

    status: str = ""
    first_date: date | None = None
    last_date: date | None = None
    text: str = ""

    @property
    def is_narrow(self) -> bool:
        return self != RefundFilter()


@dataclass(frozen=True, slots=True)
class RefundRow:
    """A repayment with its order, and with the posting that its money came by."""

    refund: Refund
    order: Order | None
    posting: Posting | None


@dataclass(frozen=True, slots=True)
class RefundSums:
    """Of a whole filtered list, one a currency."""

    currency: str
    count: int
    total: Decimal


# --- the list ---------------------------------------------------------------------------------


def _rows(merchant_id: int) -> Select[Refund, Order, Posting]:
    return (
        select(Refund, Order, Posting)
        .outerjoin(Order, and_(Order.merchant_id == merchant_id, Order.id == Refund.order_id))
        .outerjoin(
            Posting, and_(Posting.merchant_id == merchant_id, Posting.id == Refund.posting_id)
        )
        .where(Refund.merchant_id == merchant_id)
    )


def matching_refunds(
    merchant_id: int, wanted: RefundFilter, zone: ZoneInfo
) -> Select[Refund, Order, Posting]:
    """Those of the filter, unordered."""
    query = _rows(merchant_id)
    if wanted.status:
        query = query.where(Refund.status == wanted.status)
    if wanted.first_date:
        query = query.where(Refund.requested_at >= queries.midnight(wanted.first_date, zone))
    if wanted.last_date:
        end = queries.midnight(wanted.last_date + timedelta(days=1), zone)
        query = query.where(Refund.requested_at < end)
    if wanted.text:
        query = query.where(_contains(wanted.text))
    return query


def _contains(text: str) -> ColumnElement[bool]:
    """Every word in payee, reference, reason or order; or an IBAN, however it is grouped."""
    columns = (
        Refund.payee_name,
        Refund.reference,
        Refund.external_reference,
        Refund.reason,
        Order.search,
    )
    words = and_(
        *(
            or_(*(column.icontains(word, autoescape=True) for column in columns))
            for word in text.split()
        )
    )
    return or_(words, Refund.payee_iban.startswith("".join(text.split()).upper(), autoescape=True))


def refund_page(
    matching: Select[Refund, Order, Posting], before: int | None, size: int | None = None
) -> tuple[list[RefundRow], bool]:
    """(newest first, are there more): those before the id ``before``."""
    size = size or A_PAGE
    query = matching if before is None else matching.where(Refund.id < before)
    found = db.session.execute(query.order_by(Refund.id.desc()).limit(size + 1)).all()
    return [RefundRow(*row) for row in found[:size]], len(found) > size


def refund_sums(matching: Select[Refund, Order, Posting]) -> list[RefundSums]:
    """The line under the list, the currency with the most repayments first."""
    rows = db.session.execute(
        matching.with_only_columns(
            Refund.currency, func.count(), func.sum(Refund.amount), maintain_column_froms=True
        ).group_by(Refund.currency)
    )
    sums = [RefundSums(*row) for row in rows]
    return sorted(sums, key=lambda one: (-one.count, one.currency))


def all_refunds(matching: Select[Refund, Order, Posting], most: int) -> Iterator[RefundRow]:
    """Read slice by slice, never all at once."""
    before, count = None, 0
    while count < most:
        rows, has_more = refund_page(matching, before, EXPORT_SLICE)
        yield from rows
        if not has_more:
            return
        before, count = rows[-1].refund.id, count + len(rows)


# --- single ones ------------------------------------------------------------------------------


def refund_row(merchant_id: int, refund_id: int) -> RefundRow | None:
    found = db.session.execute(_rows(merchant_id).where(Refund.id == refund_id)).first()
    return RefundRow(*found) if found else None


def refunds_of_order(merchant_id: int, order_id: int) -> list[Refund]:
    """The newest first."""
    return _refunds(merchant_id, Refund.order_id == order_id)


def refunds_of_posting(merchant_id: int, posting_id: int) -> list[Refund]:
    """Of whose money this posting was, be it for an order or not; the newest first."""
    return _refunds(merchant_id, Refund.posting_id == posting_id)


def refunds_of_batch(batch: RefundBatch) -> list[Refund]:
    """At most LINES_SHOWN, the newest first."""
    return _refunds(batch.merchant_id, Refund.batch_id == batch.id)


def _refunds(merchant_id: int, wanted: ColumnElement[bool]) -> list[Refund]:
    query = select(Refund).where(Refund.merchant_id == merchant_id, wanted)
    return list(db.session.scalars(query.order_by(Refund.id.desc()).limit(LINES_SHOWN)))


def posting_of(merchant_id: int, posting_id: int | None) -> Posting | None:
    if posting_id is None:
        return None
    return db.session.scalar(
        select(Posting).where(Posting.merchant_id == merchant_id, Posting.id == posting_id)
    )


def orders_of(merchant_id: int, refunds: Sequence[Refund]) -> dict[int, Order]:
    """By id, of those that are of an order."""
    ids = {one.order_id for one in refunds if one.order_id}
    rows = db.session.scalars(
        select(Order).where(Order.merchant_id == merchant_id, Order.id.in_(ids))
    )
    return {order.id: order for order in rows}


def refund_by(merchant_id: int, posting_id: int) -> Refund | None:
    """The repayment that an outgoing posting executed, or that an incoming one brought back."""
    return db.session.scalar(
        select(Refund)
        .where(
            Refund.merchant_id == merchant_id,
            or_(
                Refund.sent_posting_id == posting_id,
                Refund.returned_posting_id == posting_id,
            ),
        )
        .order_by(Refund.id)
        .limit(1)
    )


def earlier_to(refund: Refund, since: datetime) -> int:
    """How many others went to the same account since then."""
    query = select(func.count()).where(
        Refund.merchant_id == refund.merchant_id,
        Refund.payee_iban == refund.payee_iban,
        Refund.id != refund.id,
        Refund.requested_at > since,
        Refund.status.in_(REFUND_ARRANGED),
    )
    return db.session.scalar(query) or 0


# --- what waits for somebody ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Waiting:
    """Of one status: how many, the id of the oldest, and its order's number, if it has one."""

    count: int
    first_id: int
    number: str | None


def waiting(
    merchant_id: int, status: str, *wanted: ColumnElement[bool], since: datetime | None = None
) -> Waiting | None:
    """Those of a status, with ``since`` only what has not changed since then; None if none."""
    query = select(func.count(), func.min(Refund.id)).where(
        Refund.merchant_id == merchant_id, Refund.status == status, *wanted
    )
    if since is not None:
        query = query.where(Refund.changed_at < since)
    count, first_id = db.session.execute(query).one()
    if not count:
        return None
    number = db.session.scalar(
        select(Order.number).join(Refund, Refund.order_id == Order.id).where(Refund.id == first_id)
    )
    return Waiting(count, first_id, number)


# --- batches ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BatchRow:
    batch: RefundBatch
    account: BankAccount


def batch_rows(merchant_id: int, before: int | None = None) -> tuple[list[BatchRow], bool]:
    """(newest first, are there older ones)."""
    query = _batches(merchant_id)
    if before is not None:
        query = query.where(RefundBatch.id < before)
    found = db.session.execute(query.order_by(RefundBatch.id.desc()).limit(BATCHES_SHOWN + 1)).all()
    return [BatchRow(*row) for row in found[:BATCHES_SHOWN]], len(found) > BATCHES_SHOWN


def batch_row(merchant_id: int, batch_id: int) -> BatchRow | None:
    found = db.session.execute(_batches(merchant_id).where(RefundBatch.id == batch_id)).first()
    return BatchRow(*found) if found else None


def _batches(merchant_id: int) -> Select[RefundBatch, BankAccount]:
    return (
        select(RefundBatch, BankAccount)
        .join(
            BankAccount,
            and_(BankAccount.merchant_id == merchant_id, BankAccount.id == RefundBatch.account_id),
        )
        .where(RefundBatch.merchant_id == merchant_id)
    )


def forgotten_batches(merchant_id: int, before: datetime) -> list[RefundBatch]:
    """Made before then and not handed in; the oldest first, at most FORGOTTEN_SHOWN."""
    query = select(RefundBatch).where(
        RefundBatch.merchant_id == merchant_id,
        RefundBatch.status == "made",
        RefundBatch.created_at < before,
    )
    return list(db.session.scalars(query.order_by(RefundBatch.id).limit(FORGOTTEN_SHOWN)))


DOWNLOADED = "refund_file_downloaded"
"""What the histories of its orders say when somebody takes the file of a batch."""


def orders_of_batch(batch: RefundBatch) -> list[Order]:
    query = select(Order).where(
        Order.merchant_id == batch.merchant_id,
        Order.id.in_(select(Refund.order_id).where(Refund.batch_id == batch.id)),
    )
    return list(db.session.scalars(query.order_by(Order.id)))


def downloads_of(batch: RefundBatch) -> list[OrderEvent]:
    """Who took the file and when, the newest first, as the history of its first order says."""
    first = select(func.min(Refund.order_id)).where(Refund.batch_id == batch.id)
    query = select(OrderEvent).where(
        OrderEvent.merchant_id == batch.merchant_id,
        OrderEvent.order_id == first.scalar_subquery(),
        OrderEvent.kind == DOWNLOADED,
        OrderEvent.facts["batch"].as_string() == str(batch.id),
    )
    return list(db.session.scalars(query.order_by(OrderEvent.id.desc()).limit(DOWNLOADS_SHOWN)))
