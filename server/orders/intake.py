"""Orders that arrive from shops: stored once, decided by mapping and cut-off, in bulk.

A file of its own because it is the hot path: a fixed number of statements however many orders
come at once. Never commits.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from sqlalchemy import select

from plugin_sdk import types as wire
from plugin_sdk.connector import Capability
from plugin_sdk.schemas import OrderSchema, amount_text
from server.db import db
from server.mail.models import Mail
from server.merchants.service import lock_merchant
from server.orders.asking import ask_new_by_letter, asks_now, follow_change
from server.orders.keys import keys_of, rewrite_keys, search_text
from server.orders.ledger import NotPossible, note, order_now
from server.orders.models import Invoice, MatchRequest, Order
from server.orders.notices import (
    payee_for,
    payment_information,
    recipient_name,
    request_of,
)
from server.orders.order_notices import tell_of_new_orders
from server.orders.receiver import (
    CURRENT,
    Receiver,
    StaleReceiver,
    check_is_current,
    forget,
    receiver_of,
)
from server.orders.removal import LOST_IF_CLOSED, NOT_OPEN, forget_order, remove
from server.orders.rules import make_payment_reference, payment_status
from server.orders.service import request_match
from server.orders.settlement import settle
from server.shops.models import OrderRequest, PaymentUpdate, Shop
from server.shops.order_requests import answer_request, is_the_one
from server.shops.rules import is_open_status, is_watched, payment_code
from server.shops.service import connect, touch, touch_is_due
from server.work import announce

ZERO = Decimal(0)
REFERENCE_TRIES = 5
ORDER_SCHEMA = OrderSchema()
EVIDENCE = {
    wire.RequestOutcome.GONE: wire.Evidence.GONE,
    wire.RequestOutcome.TRASHED: wire.Evidence.TRASHED,
}


@dataclass(frozen=True, slots=True)
class Arrival:
    """An order as loaded, beside the JSON it came in (stored as it is) and its digest."""

    order: wire.Order
    raw: Mapping[str, Any]

    @property
    def digest(self) -> bytes:
        text = json.dumps(self.raw, sort_keys=True, ensure_ascii=False)
        return hashlib.blake2b(text.encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class _Plan:
    """What an arrival will be here. ``monitor_at``: watched, and not counted before then (S55)."""

    arrival: Arrival
    code: wire.PaymentCode
    is_open: bool
    is_managed: bool
    monitor_at: datetime | None = None

    @property
    def external_id(self) -> str:
        return self.arrival.order.external_id

    @property
    def outcome(self) -> str:
        if self.is_managed and self.monitor_at is None:
            return "created"
        return "not_managed" if self.is_open else "ignored"


def receive_orders(shop: Receiver, arrivals: Sequence[Arrival], at: datetime) -> list[str]:
    """Store what the shop sent; sending it twice is harmless. One outcome per arrival:

    `created` managed from now on · `updated` · `unchanged` · `not_managed` kept, but nothing is
    sent (older than the cut-off, or no payment code of ours) · `ignored` no longer open, so it
    does not come in (S28 to S30). Raises StaleReceiver if ``shop`` is remembered and has changed.
    """
    shop = _note_sign_of_life(shop, at)
    # Sorted: two pushes of the same orders must not wait for each other's rows in a circle.
    latest = {one.order.external_id: one for one in arrivals}
    latest = dict(sorted(latest.items()))
    plans = {external_id: _plan(shop, one, at) for external_id, one in latest.items()}
    outcomes = {external_id: plan.outcome for external_id, plan in plans.items()}
    wanted = {key: plan for key, plan in plans.items() if plan.outcome != "ignored"}
    if wanted:
        stored = _store(shop, list(wanted.values()), at)
    else:
        stored = set()
        check_is_current(shop)
    new = [external_id for external_id in stored if outcomes[external_id] == "created"]
    tell_of_new_orders(shop.merchant_id, shop.id, new, at)
    known = _known(shop, [external_id for external_id in latest if external_id not in stored])
    changed = {key: one for key, one in known.items() if one[1] != plans[key].arrival.digest}
    outcomes |= dict.fromkeys(known, "unchanged")
    for external_id, (order_id, _) in changed.items():
        outcomes[external_id] = _compare(shop, order_id, plans[external_id], at)
    if any(outcomes[external_id] == "updated" for external_id in known):
        request_match(shop.merchant_id, at)
    return [outcomes[arrival.order.external_id] for arrival in arrivals]


def _note_sign_of_life(shop: Receiver, at: datetime) -> Receiver:
    """Connected now, if it was not yet; the shop as it then is."""
    if shop.connected_at is not None and not touch_is_due(shop.last_order_at, at):
        return shop
    row = db.session.get_one(Shop, shop.id)
    connect(row, at)
    touch(row, at)
    db.session.flush()
    if shop.key_id is not None:
        forget(shop.key_id)
    return receiver_of(shop.id)


def _known(shop: Receiver, external_ids: list[str]) -> dict[str, tuple[int, bytes]]:
    if not external_ids:
        return {}
    query = select(Order.external_id, Order.id, Order.content_hash).where(
        Order.shop_id == shop.id, Order.external_id.in_(external_ids)
    )
    return {row[0]: (row[1], row[2]) for row in db.session.execute(query)}


def _plan(shop: Receiver, arrival: Arrival, at: datetime) -> _Plan:
    order = arrival.order
    code = payment_code(
        {} if shop.mapping_pinned else shop.mapping, order.payment_method, order.payment_code
    )
    is_open = is_open_status(shop.mapping, code, order.shop_status)
    assert shop.connected_at is not None, "a sign of life came first"
    is_new = order.ordered_at >= shop.connected_at
    is_ours = code is not wire.PaymentCode.OTHER or is_watched(shop.mapping, order.payment_method)
    monitor_at = None
    if code is wire.PaymentCode.OTHER:
        monitor_at = order.ordered_at + timedelta(hours=shop.settings.monitoring_delay_hours)
    waits = monitor_at is not None and monitor_at > at
    is_managed = is_open and is_new and is_ours
    return _Plan(arrival, code, is_open, is_managed, monitor_at if waits and is_managed else None)


# --- new orders --------------------------------------------------------------------------------

# One statement, one round trip: the order and all that goes with it, or nothing. What is there
# already is left alone and not returned. A null says that the receiver is not current. Written
# for the driver, because this is the one statement that every push waits for.
_STORE = f"""
WITH current AS ({CURRENT}), arrived AS (
    SELECT * FROM json_to_recordset(CAST(%(arrived)s AS json)) AS one (
        external_id text, number text, ordered_at timestamptz, currency text, total numeric,
        payment_method text, payment_code text, shop_status text, customer_name text,
        customer_email text, language text, search text, wire json, content_hash text,
        payment_reference text, payment_status text, is_managed boolean,
        monitor_at timestamptz, keys json, invoices json, mail json
    )
), stored AS (
    INSERT INTO "order" (
        merchant_id, shop_id, external_id, number, ordered_at, currency, total, payment_method,
        payment_code, shop_status, customer_name, customer_email, language, search, wire,
        content_hash, payment_reference, payment_status, is_managed, monitor_at, needs_match,
        created_at, changed_at
    )
    SELECT %(merchant_id)s, %(shop_id)s, external_id, number, ordered_at, currency, total,
        payment_method, payment_code, shop_status, customer_name, customer_email, language,
        search, wire, decode(content_hash, 'hex'), payment_reference, payment_status, is_managed,
        monitor_at, true, %(at)s, %(at)s
    FROM arrived WHERE EXISTS (SELECT FROM current)
    ON CONFLICT DO NOTHING
    RETURNING id, external_id
), keyed AS (
    INSERT INTO order_key (merchant_id, order_id, key, kind)
    SELECT %(merchant_id)s, id, pair ->> 0, pair ->> 1
    FROM stored JOIN arrived USING (external_id), json_array_elements(keys) AS pair
    ON CONFLICT DO NOTHING
), invoiced AS (
    INSERT INTO invoice (merchant_id, order_id, number, date)
    SELECT %(merchant_id)s, id, pair ->> 0, CAST(pair ->> 1 AS date)
    FROM stored JOIN arrived USING (external_id), json_array_elements(invoices) AS pair
    ON CONFLICT DO NOTHING
), mailed AS (
    INSERT INTO mail (
        merchant_id, shop_id, order_id, once, kind, language, recipient, facts, theme,
        sender_name, sender_address, reply_to, message_id, status, attempts, created_at, due_at
    )
    SELECT %(merchant_id)s, %(shop_id)s, id, 'order:' || id || ':' || (mail ->> 'kind'),
        mail ->> 'kind', mail ->> 'language', mail ->> 'recipient', mail -> 'facts',
        mail -> 'theme', mail ->> 'sender_name', mail ->> 'sender_address', mail ->> 'reply_to',
        mail ->> 'message_id', 'queued', 0, %(at)s, %(mail_due_at)s
    FROM stored JOIN arrived USING (external_id)
    WHERE json_typeof(mail) = 'object'
    ON CONFLICT (once) DO NOTHING
), asked AS (
    INSERT INTO match_request (merchant_id, status, attempts, created_at, due_at)
    SELECT %(merchant_id)s, 'queued', 0, %(at)s, %(at)s
    WHERE EXISTS (SELECT FROM stored) AND NOT EXISTS (
        SELECT FROM match_request
        WHERE merchant_id = %(merchant_id)s AND status = 'queued' AND due_at <= %(at)s
    )
)
SELECT external_id FROM stored
UNION ALL SELECT NULL WHERE NOT EXISTS (SELECT FROM current)
"""  # noqa: S608  our own words


def _store(shop: Receiver, plans: Sequence[_Plan], at: datetime) -> set[str]:
    """External ids of those orders that were not there yet."""
    stored: set[str] = set()
    left = list(plans)
    for _ in range(REFERENCE_TRIES):
        rows = [_row(shop, plan, at) for plan in left]
        found = db.session.connection().exec_driver_sql(
            _STORE,
            {
                "arrived": json.dumps(rows, ensure_ascii=False),
                "merchant_id": shop.merchant_id,
                "shop_id": shop.id,
                "at": at,
                "mail_due_at": at + timedelta(seconds=shop.settings.mail_wait_seconds),
                **shop.proof,
            },
        )
        names = [row[0] for row in found]
        if None in names:
            raise StaleReceiver
        stored.update(names)
        left = [plan for plan in left if plan.external_id not in stored]
        known = _known(shop, [plan.external_id for plan in left])
        left = [plan for plan in left if plan.external_id not in known]
        if not left:
            break  # else two orders drew the same payment reference: once more, with others
    if stored and shop.settings.letter_payment_information != "never":
        ask_new_by_letter(shop.id, stored, at)
    announce(Mail)
    announce(MatchRequest)
    return stored


def _row(shop: Receiver, plan: _Plan, at: datetime) -> dict[str, Any]:
    order, settings = plan.arrival.order, shop.settings
    is_managed = plan.is_managed and plan.monitor_at is None
    status = payment_status(
        order.total, ZERO, managed=is_managed, zero_is_paid=settings.zero_is_paid
    )
    reference = make_payment_reference(Random(secrets.randbits(64)))  # noqa: S311  no secret
    asks = is_managed and order.total > 0
    asks = asks and asks_now(settings, plan.code.value, has_invoice=bool(order.invoices))
    asks = asks and settings.assignment != "shadow"  # the process of today asks for it (N3)
    payee = payee_for(order, shop.id, shop.payees) if asks else None
    asked = request_of(order, plan.code, reference, payee, settings, shop.zone) if payee else None
    content = _content(plan.arrival)
    return content | {
        "external_id": order.external_id,
        "ordered_at": order.ordered_at.isoformat(),
        "total": str(order.total),
        "content_hash": content["content_hash"].hex(),
        "payment_code": plan.code.value,
        "payment_reference": reference,
        "payment_status": status.value,
        "is_managed": is_managed,
        "monitor_at": plan.monitor_at.isoformat() if plan.monitor_at else None,
        "keys": keys_of(order, reference),
        "invoices": [
            (invoice.number, invoice.date.isoformat() if invoice.date else None)
            for invoice in order.invoices
        ],
        "mail": payment_information(shop, asked.made(at)) if asked else None,
    }


def _content(arrival: Arrival) -> dict[str, Any]:
    order = arrival.order
    return {
        "number": order.number,
        "ordered_at": order.ordered_at,
        "currency": order.currency,
        "total": order.total,
        "payment_method": order.payment_method,
        "shop_status": order.shop_status,
        "customer_name": recipient_name(order)[:500],
        "customer_email": order.customer.email,
        "language": (order.customer.language or "")[:8],
        "search": search_text(order),
        "wire": dict(arrival.raw),
        "content_hash": arrival.digest,
    }


# --- known orders ------------------------------------------------------------------------------


def _compare(shop: Receiver, order_id: int, plan: _Plan, at: datetime) -> str:
    """Take over what the shop changed (S35, S38); whatever we know about payments stays.

    An order that was edited here (S66), made here or erased does not follow its shop any more.
    """
    arrival = plan.arrival
    lock_merchant(shop.merchant_id)
    row = order_now(shop.merchant_id, order_id)
    if row.sync != "shop":
        return "unchanged"
    if row.monitor_at is not None and not plan.is_open:
        forget_order(row)  # watched, and paid or gone before its time: it never came in (S55)
        return "ignored"
    total, email, digest = row.total, row.customer_email, arrival.digest
    if Capability.FORGETS_PEOPLE in db.session.get_one(Shop, shop.id).capabilities:
        arrival = _remembering(arrival, row.wire)
    for name, value in {**_content(arrival), "content_hash": digest}.items():
        setattr(row, name, value)
    row.changed_at, row.needs_match = at, True
    row.gone_evidence = None
    row.payment_code = plan.code.value
    _follow_status(row, plan.is_open, at)
    rewrite_keys(row, arrival.order)
    _add_invoices(row, arrival.order)
    if total != row.total:
        note(row, "total_changed", "", at, before=amount_text(total), after=amount_text(row.total))
    settle(row, at)
    db.session.flush()
    follow_change(row, total, email, at)
    return "updated"


def _remembering(arrival: Arrival, known: Mapping[str, Any]) -> Arrival:
    """With what is known of the people, where the shop only tells less than before.

    Marketplaces forget who a buyer was after some weeks. An address of which anything differs is
    another address, and taken as it is.
    """
    merged = dict(arrival.raw)
    for part in ("customer", "billing_address", "shipping_address"):
        before, given = known.get(part) or {}, merged.get(part) or {}
        told = {name: value for name, value in given.items() if value is not None}
        if all(before.get(name) == value for name, value in told.items()):
            merged[part] = before or None
    if merged == arrival.raw:
        return arrival
    merged = {name: value for name, value in merged.items() if value is not None}
    return Arrival(ORDER_SCHEMA.load(merged), merged)


def _follow_status(row: Order, is_open: bool, at: datetime) -> None:
    """Not open in the shop any more and not paid here: removed externally (S38, S39)."""
    if is_open:
        row.held_removal = None
        if row.removed_at is not None:
            row.removed_at = None
            note(row, "open_again", "", at)
    elif row.removed_at is None and row.payment_status in LOST_IF_CLOSED and not _told_so(row):
        remove(row, NOT_OPEN, at, shop_status=row.shop_status or "")


def _told_so(row: Order) -> bool:
    """Does the shop only repeat the status that we wrote last? A cancelled order may still be paid
    (S51, S54), and one whose total was raised after it was paid still owes the rest (K3)."""
    cancelled = PaymentUpdate.intent == wire.Intent.CANCELLED.value
    last = db.session.execute(
        select(PaymentUpdate.shop_status)
        .where(PaymentUpdate.order_id == row.id, PaymentUpdate.attempts > 0)
        .where(PaymentUpdate.shop_status.is_not(None) | cancelled)
        .order_by(PaymentUpdate.id.desc())
        .limit(1)
    ).first()
    return last is not None and last.shop_status in (None, row.shop_status)


def _add_invoices(row: Order, order: wire.Order) -> None:
    numbers = set(db.session.scalars(select(Invoice.number).where(Invoice.order_id == row.id)))
    for invoice in order.invoices:
        if invoice.number not in numbers:
            db.session.add(
                Invoice(
                    merchant_id=row.merchant_id,
                    order_id=row.id,
                    number=invoice.number,
                    date=invoice.date,
                )
            )


def orders_gone(
    shop: Shop, external_ids: Sequence[str], evidence: wire.Evidence, at: datetime
) -> int:
    """The shop was asked by id and does not have these (S41): removed, unless they are paid.

    One answer alone does not remove an order: the first is noted, a second one confirms it, also
    if it is gone now and was in the trash then. Returns how many are removed now. One that the shop
    sends again after all is judged anew, even if it looks the same as before.
    """
    lock_merchant(shop.merchant_id)
    query = select(Order).where(Order.shop_id == shop.id, Order.external_id.in_(external_ids))
    removed = 0
    for row in db.session.scalars(query.with_for_update()):
        if row.sync != "shop":
            continue
        row.content_hash = b""
        if row.gone_evidence is None:
            row.gone_evidence = evidence.value
        elif row.monitor_at is not None:
            forget_order(row)
        elif row.removed_at is None and row.payment_status in LOST_IF_CLOSED:
            removed += remove(row, evidence.value, at, evidence=evidence.value)
    return removed


# --- orders that a person asked for --------------------------------------------------------------


def receive_wanted(shop: Shop, arrival: Arrival, *, actor: str, at: datetime) -> str:
    """Store an order that a person asked the shop for (K64, S74); the outcome as of any arrival.

    Whatever cut-off and open statuses say of a new one, a person wants it: it is managed from now
    on. A known one is compared like any other, and stays not managed if it was.
    """
    receiver = _note_sign_of_life(receiver_of(shop.id), at)
    external_id = arrival.order.external_id
    known = _known(receiver, [external_id])
    if not known:
        row = _store_managed(receiver, arrival, at)
        if row is not None:
            note(row, "imported", actor, at)
            return "created"
        known = _known(receiver, [external_id])
    order_id, digest = known[external_id]
    row = order_now(shop.merchant_id, order_id)
    note(row, "read_again", actor, at)
    if digest == arrival.digest:
        return "unchanged"
    outcome = _compare(receiver, order_id, _plan(receiver, arrival, at), at)
    request_match(shop.merchant_id, at)
    return outcome


def receive_answer(
    shop: Shop,
    request: OrderRequest,
    answer: wire.RequestAnswer,
    raw: Mapping[str, Any] | None,
    at: datetime,
) -> None:
    """What the shop says about an order that was asked for, and what it means for the order.

    ``raw``: the answer's order as JSON. The request must be waiting. Raises NotPossible
    ("other_order") for an order that nobody asked for.
    """
    if answer.order is not None:
        if not is_the_one(request, answer.order):
            raise NotPossible("other_order")
        arrival = Arrival(answer.order, raw or {})
        receive_wanted(shop, arrival, actor=request.asked_by, at=at)
        request.order_id = db.session.scalar(
            select(Order.id).where(
                Order.shop_id == shop.id, Order.external_id == answer.order.external_id
            )
        )
    elif answer.outcome in EVIDENCE and request.external_id is not None:
        orders_gone(shop, [request.external_id], EVIDENCE[answer.outcome], at)
    answer_request(request, answer, at)


def store_by_hand(shop: Shop, arrival: Arrival, at: datetime) -> Order:
    """Store an order that a person entered, with an external id that nobody has; managed."""
    row = _store_managed(receiver_of(shop.id), arrival, at)
    assert row is not None, "its external id is new"
    return row


def _store_managed(shop: Receiver, arrival: Arrival, at: datetime) -> Order | None:
    """None if it is there already."""
    order = arrival.order
    mapping = {} if shop.mapping_pinned else shop.mapping
    code = payment_code(mapping, order.payment_method, order.payment_code)
    if order.external_id not in _store(shop, [_Plan(arrival, code, True, True)], at):
        return None
    query = select(Order).where(Order.shop_id == shop.id, Order.external_id == order.external_id)
    return db.session.scalars(query).one()
