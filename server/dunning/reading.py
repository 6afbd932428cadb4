"""Orders as the plan needs them, read in bulk: a fixed number of queries for any number of orders.

A file of its own because the run, the preview and the screen must not read them differently.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final, overload
from zoneinfo import ZoneInfo

from sqlalchemy import func, or_, select

from server.db import db
from server.dunning.circumstances import Circumstances, Whose
from server.dunning.rules import OrderFacts, Plan, plan
from server.letters.models import Letter
from server.mail.models import Mail
from server.merchants.settings import CodeSettings
from server.orders.charges import is_untold, went_lost
from server.orders.ledger import is_any
from server.orders.letters import LETTER, sent_without_email
from server.orders.models import (
    OWING_STATUSES,
    DeferralRequest,
    Invoice,
    Order,
    OrderEvent,
    PaymentClaim,
    Proof,
    Reminder,
)
from server.shops.models import Shop

IDS_AT_ONCE: Final = 10_000
ENQUIRY: Final = "cod_enquiry"
ASKED: Final = "payment_information"
BROUGHT_BACK: Final = ("reopened", "open_again", "taken_over", "imported")
LEFT_COLLECTION: Final = "collection_ended"
"""Kinds of events after which an order that is old begins anew."""


def resend_once(order_id: int) -> str:
    """The key of the payment information that is sent once more (S45)."""
    return f"order:{order_id}:{ASKED}:resend"


def before_due_once(order_id: int) -> str:
    """The key of the one before the contractual due date (K24)."""
    return f"order:{order_id}:{ASKED}:before_due"


def enquiry_once(order_id: int) -> str:
    return f"order:{order_id}:{ENQUIRY}"


def reminder_once(order_id: int, level: int) -> str:
    return f"order:{order_id}:reminder:{level}"


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order with what the plan and the guards need of it."""

    whose: Whose
    facts: OrderFacts

    @property
    def order_id(self) -> int:
        return self.whose.order_id


@dataclass(slots=True)
class _Sent:
    """Which mails and letters an order had that were not withheld."""

    asked_at: datetime | None = None
    enquired_at: datetime | None = None
    keys: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What belongs to some orders, by id; ``brought_back`` by id and "from collection"."""

    invoices: Mapping[int, date | None]
    sent: Mapping[int, _Sent]
    reminders: Mapping[int, Sequence[tuple[int, date]]]
    brought_back: Mapping[tuple[int, bool], datetime]
    claiming: Collection[int]
    asking_for_time: Collection[int]


def open_ids(merchant_id: int, after_id: int, limit: int = IDS_AT_ONCE) -> list[int]:
    """Ids of orders to which something may still happen by itself, in order, after ``after_id``."""
    overdue = (
        (Order.payment_status == "cancelled")
        & (Order.payment_code == "invoice")
        & Order.collection_at.is_(None)
    )
    deregistered = select(Shop.id).where(
        Shop.merchant_id == merchant_id, Shop.status == "deregistered"
    )
    query = select(Order.id).where(
        Order.merchant_id == merchant_id,
        Order.id > after_id,
        or_(Order.payment_status.in_(OWING_STATUSES), overdue),
        Order.shop_id.not_in(deregistered),
    )
    return list(db.session.scalars(query.order_by(Order.id).limit(limit)))


def read_orders(order_ids: Collection[int], here: Circumstances) -> list[OpenOrder]:
    """In order of their ids; those of other merchants are not there."""
    columns = (
        Order.id,
        Order.shop_id,
        Order.number,
        Order.payment_reference,
        Order.currency,
        Order.total,
        Order.sync,
        Order.payment_code,
        Order.payment_status,
        Order.ordered_at,
        Order.customer_email,
        Order.base_date,
        Order.reminders_blocked_at,
        Order.paused_until,
        Order.held_removal,
        Order.collection_at,
        Order.cancelled_at,
        Order.wire,
    )
    rows = db.session.execute(
        select(*columns)
        .where(Order.merchant_id == here.merchant_id, is_any(Order.id, order_ids))
        .order_by(Order.id)
    ).all()
    ids = [row.id for row in rows]
    parts = _Parts(
        _invoices(ids),
        _sent(ids),
        _reminders(ids, here),
        _brought_back(ids),
        _claiming(ids),
        _asking_for_time(ids),
    )
    return [_open_order(row, here, parts) for row in rows]


def read_order(order: Order, here: Circumstances) -> OpenOrder:
    """One, as it is by now."""
    db.session.flush()
    (one,) = read_orders([order.id], here)
    return one


def plan_for(one: OpenOrder, here: Circumstances) -> Plan:
    settings = here.settings(one.whose.shop_id).of(one.facts.payment_code)
    return plan(one.facts, settings, here.calendar(one.whose), here.today)


def slices(ids: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


# --- the parts ---------------------------------------------------------------------------------


def _invoices(ids: Collection[int]) -> dict[int, date | None]:
    """Order id to the date of the first invoice, for those that have an invoice number."""
    query = select(Invoice.order_id, func.min(Invoice.date)).where(is_any(Invoice.order_id, ids))
    return dict(db.session.execute(query.group_by(Invoice.order_id)).all())


def _sent(ids: Collection[int]) -> Mapping[int, _Sent]:
    found: dict[int, _Sent] = defaultdict(_Sent)
    for order_id, kind, once, at in (*_written(Mail, ids), *_written(Letter, ids)):
        assert order_id is not None, "asked for by order"
        sent = found[order_id]
        sent.keys.add(once.removesuffix(LETTER))
        if kind == ASKED:
            sent.asked_at = at if sent.asked_at is None else min(at, sent.asked_at)
        else:
            sent.enquired_at = at if sent.enquired_at is None else min(at, sent.enquired_at)
    return found


def _written(sent: type[Mail | Letter], ids: Collection[int]) -> Sequence[Any]:
    """(Order, kind, once, when it went) of what asks first, by mail or by letter."""
    went_at = func.coalesce(sent.finished_at, sent.created_at)
    query = select(sent.order_id, sent.kind, sent.once, went_at).where(
        is_any(sent.order_id, ids), sent.kind.in_((ASKED, ENQUIRY)), sent.status != "withheld"
    )
    return db.session.execute(query).all()


@dataclass(frozen=True, slots=True)
class _Reached:
    """A level with what became of its mail or letter; None for one that was removed since."""

    level: int
    sent_on: date
    sent: Sequence[Any]

    def day(self, here: Circumstances) -> date | None:
        """The first day on which the customer had it; None if nothing of it will ever go.

        What was late, or still waits, gives him his time from when it goes out (S49).
        """
        going = [one for one in self.sent if one is None or not is_untold(one.status, one.error)]
        if self.sent and not going:
            return None
        arriving = [one for one in going if one is None or not went_lost(one.status, one.delivery)]
        days = [
            max(self.sent_on, _local(one.finished_at, here.zone) or here.today)
            for one in arriving or going
            if one is not None
        ]
        return min(days, default=self.sent_on)


def _reminders(
    ids: Collection[int], here: Circumstances
) -> Mapping[int, Sequence[tuple[int, date]]]:
    """Levels that are reached, and when. Not those of which nothing will ever be sent (N4)."""
    rows = db.session.execute(
        select(
            Reminder.order_id,
            Reminder.level,
            Reminder.sent_on,
            Reminder.mail_id,
            Reminder.letter_id,
        )
        .where(is_any(Reminder.order_id, ids))
        .order_by(Reminder.level)
    ).all()
    mails = _fates(Mail, [row.mail_id for row in rows])
    letters = _fates(Letter, [row.letter_id for row in rows])
    found: dict[int, list[tuple[int, date]]] = defaultdict(list)
    for row in rows:
        ways = ((row.mail_id, mails), (row.letter_id, letters))
        sent = [known.get(one) for one, known in ways if one is not None]
        day = _Reached(row.level, row.sent_on, sent).day(here)
        if day is not None:
            found[row.order_id].append((row.level, day))
    return found


def _fates(sent: type[Mail | Letter], ids: Sequence[int | None]) -> Mapping[int, Any]:
    """Not a join: with few reminders known, that would read all mails of everybody."""
    wanted = [one for one in ids if one is not None]
    if not wanted:
        return {}
    columns = (sent.id, sent.status, sent.error, sent.delivery, sent.finished_at)
    return {
        row.id: row for row in db.session.execute(select(*columns).where(is_any(sent.id, wanted)))
    }


def _brought_back(ids: Collection[int]) -> Mapping[tuple[int, bool], datetime]:
    """When it was last brought (back) in, or taken back from collection."""
    kinds = (*BROUGHT_BACK, LEFT_COLLECTION)
    query = select(OrderEvent.order_id, OrderEvent.kind, OrderEvent.at).where(
        is_any(OrderEvent.order_id, ids), OrderEvent.kind.in_(kinds)
    )
    rows = db.session.execute(query.order_by(OrderEvent.id))
    return {(order_id, kind == LEFT_COLLECTION): at for order_id, kind, at in rows}


def _claiming(ids: Collection[int]) -> Collection[int]:
    """Whose customers say or show that they paid, and nobody has settled it since."""
    claims = select(PaymentClaim.order_id).where(
        is_any(PaymentClaim.order_id, ids), PaymentClaim.settled_at.is_(None)
    )
    looked_at = select(PaymentClaim.id).where(
        PaymentClaim.order_id == Proof.order_id, PaymentClaim.settled_at >= Proof.received_at
    )
    proofs = select(Proof.order_id).where(is_any(Proof.order_id, ids), ~looked_at.exists())
    return set(db.session.scalars(claims.union(proofs)))


def _asking_for_time(ids: Collection[int]) -> Collection[int]:
    query = select(DeferralRequest.order_id).where(
        is_any(DeferralRequest.order_id, ids), DeferralRequest.status == "open"
    )
    return set(db.session.scalars(query))


def _open_order(
    row: Any,
    here: Circumstances,
    parts: _Parts,
) -> OpenOrder:
    told, sent = row.wire, parts.sent.get(row.id) or _Sent()
    address = told.get("billing_address") or told.get("shipping_address") or {}
    settings = here.settings(row.shop_id).of(row.payment_code)
    order_date, invoice = _local(row.ordered_at, here.zone), parts.invoices.get(row.id)
    whose = Whose(
        row.id,
        row.shop_id,
        row.number,
        row.payment_reference,
        address.get("country"),
        row.currency,
        row.total,
        row.sync,
    )
    facts = OrderFacts(
        payment_code=row.payment_code,
        payment_status=row.payment_status,
        order_date=order_date,
        first_invoice_date=invoice,
        shop_base_date=_date(told.get("reminder_base_date")),
        base_date_by_hand=row.base_date,
        due_date=_due_date(told, settings, invoice or order_date),
        country=whose.country,
        is_business=bool((told.get("customer") or {}).get("vat_id")),
        has_email=bool(row.customer_email),
        letters=_letters_of(row, here),
        has_invoice_number=row.id in parts.invoices,
        asked_on=_local(sent.asked_at, here.zone),
        was_resent=resend_once(row.id) in sent.keys,
        was_asked_before_due=before_due_once(row.id) in sent.keys,
        reminders=tuple(parts.reminders.get(row.id, ())),
        enquired_on=_local(sent.enquired_at, here.zone),
        claims_paid=row.id in parts.claiming,
        asks_for_time=row.id in parts.asking_for_time,
        is_blocked=row.reminders_blocked_at is not None,
        paused_until=row.paused_until,
        removal_is_held=row.held_removal is not None,
        is_collected=row.collection_at is not None,
        is_cancelled=row.cancelled_at is not None,
        resumed_on=_local(parts.brought_back.get((row.id, False)), here.zone),
        left_collection_on=_local(parts.brought_back.get((row.id, True)), here.zone),
    )
    return OpenOrder(whose, facts)


def _letters_of(row: Any, here: Circumstances) -> frozenset[str]:
    """Kinds that can go by letter alone, asked only where there is no e-mail."""
    if row.customer_email:
        return frozenset()
    return sent_without_email(row.wire, here.settings(row.shop_id))


def _due_date(told: Mapping[str, Any], settings: CodeSettings, terms_from: date) -> date | None:
    """The contractual one: the shop's, else so many days net after the invoice or order (S59)."""
    due = _date(told.get("due_date"))
    if due is not None:
        return due
    terms = told.get("payment_terms")
    net_days = terms.get("net_days") if terms else settings.net_days
    return terms_from + timedelta(days=int(net_days)) if net_days else None


def _date(told: str | None) -> date | None:
    return date.fromisoformat(told) if told else None


@overload
def _local(moment: datetime, zone: ZoneInfo) -> date: ...
@overload
def _local(moment: datetime | None, zone: ZoneInfo) -> date | None: ...
def _local(moment: datetime | None, zone: ZoneInfo) -> date | None:
    return moment.astimezone(zone).date() if moment is not None else None
