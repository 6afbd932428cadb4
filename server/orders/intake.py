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
from datetime import datetime
from decimal import Decimal
from random import Random
from typing import Any

from sqlalchemy import String, cast, func, select

from plugin_sdk import types as wire
from plugin_sdk.schemas import OrderSchema, amount_text
from server.banking.service import payees
from server.db import db
from server.mail.models import Mail
from server.merchants.models import SettingChange
from server.merchants.service import lock_merchant, settings_of
from server.orders.keys import added_search, keys_of, rewrite_keys
from server.orders.ledger import note
from server.orders.models import Invoice, MatchRequest, Order
from server.orders.notices import (
    ASKS_FOR_MONEY,
    payee_for,
    payment_information,
    queue_payment_information,
    recipient_name,
)
from server.orders.receiver import (
    CURRENT,
    Receiver,
    StaleReceiver,
    check_is_current,
    forget,
    receiver_of,
)
from server.orders.rules import make_payment_reference, payment_status
from server.orders.service import request_match
from server.orders.settlement import settle, withhold_mails
from server.shops.models import Shop
from server.shops.rules import is_open_status, payment_code
from server.shops.service import connect, touch, touch_is_due
from server.work import announce

ZERO = Decimal(0)
REFERENCE_TRIES = 5
ASKING_MAILS = ("payment_information", "partially_paid")
LOST_IF_CLOSED = frozenset({"unpaid", "partially_paid", "cancelled"})
"""What becomes "removed externally" when the shop no longer waits for the money."""


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
    """What an arrival will be here."""

    arrival: Arrival
    code: wire.PaymentCode
    is_open: bool
    is_managed: bool

    @property
    def external_id(self) -> str:
        return self.arrival.order.external_id

    @property
    def outcome(self) -> str:
        if self.is_managed:
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
    plans = {external_id: _plan(shop, one) for external_id, one in latest.items()}
    outcomes = {external_id: plan.outcome for external_id, plan in plans.items()}
    wanted = {key: plan for key, plan in plans.items() if plan.outcome != "ignored"}
    if wanted:
        stored = _store(shop, list(wanted.values()), at)
    else:
        stored = set()
        check_is_current(shop)
    known = _known(shop, [external_id for external_id in latest if external_id not in stored])
    for external_id, found in known.items():
        outcomes[external_id] = _compare(shop, found, plans[external_id], at)
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


def _plan(shop: Receiver, arrival: Arrival) -> _Plan:
    order = arrival.order
    code = payment_code(
        {} if shop.mapping_pinned else shop.mapping, order.payment_method, order.payment_code
    )
    is_open = is_open_status(shop.mapping, code, order.shop_status)
    assert shop.connected_at is not None, "a sign of life came first"
    is_new = order.ordered_at >= shop.connected_at
    is_managed = is_open and is_new and code is not wire.PaymentCode.OTHER
    return _Plan(arrival, code, is_open, is_managed)


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
        keys json, invoices json, mail json
    )
), stored AS (
    INSERT INTO "order" (
        merchant_id, shop_id, external_id, number, ordered_at, currency, total, payment_method,
        payment_code, shop_status, customer_name, customer_email, language, search, wire,
        content_hash, payment_reference, payment_status, is_managed, needs_match, created_at,
        changed_at
    )
    SELECT %(merchant_id)s, %(shop_id)s, external_id, number, ordered_at, currency, total,
        payment_method, payment_code, shop_status, customer_name, customer_email, language,
        search, wire, decode(content_hash, 'hex'), payment_reference, payment_status, is_managed,
        true, %(at)s, %(at)s
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
        mail ->> 'message_id', 'queued', 0, %(at)s, %(at)s
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
        rows = [_row(shop, plan) for plan in left]
        found = db.session.connection().exec_driver_sql(
            _STORE,
            {
                "arrived": json.dumps(rows, ensure_ascii=False),
                "merchant_id": shop.merchant_id,
                "shop_id": shop.id,
                "at": at,
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
    announce(Mail)
    announce(MatchRequest)
    return stored


def _row(shop: Receiver, plan: _Plan) -> dict[str, Any]:
    order = plan.arrival.order
    status = payment_status(
        order.total, ZERO, managed=plan.is_managed, zero_is_paid=shop.zero_is_paid
    )
    reference = make_payment_reference(Random(secrets.randbits(64)))  # noqa: S311  no secret
    asks = plan.is_managed and plan.code in ASKS_FOR_MONEY and order.total > 0
    asks = asks and not shop.is_shadow  # the process of today asks for it (N3)
    payee = payee_for(order, shop.id, shop.payees) if asks else None
    content = _content(plan.arrival)
    return content | {
        "external_id": order.external_id,
        "ordered_at": order.ordered_at.isoformat(),
        "total": str(order.total),
        "content_hash": content["content_hash"].hex(),
        "payment_code": plan.code.value,
        "payment_reference": reference,
        "payment_status": status.value,
        "is_managed": plan.is_managed,
        "keys": keys_of(order, reference),
        "invoices": [
            (invoice.number, invoice.date.isoformat() if invoice.date else None)
            for invoice in order.invoices
        ],
        "mail": payment_information(shop, order, plan.code, reference, payee) if payee else None,
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


def search_text(order: wire.Order) -> str:
    """What the list's text filter looks through (K63): numbers, names, e-mail; lower case."""
    addresses = [a for a in (order.billing_address, order.shipping_address) if a is not None]
    parts = [
        order.number,
        order.external_id,
        *(invoice.number for invoice in order.invoices),
        *(part for a in addresses for part in (a.first_name, a.last_name, a.company)),
        order.customer.email,
        order.customer.number,
    ]
    return " ".join(dict.fromkeys(part for part in parts if part)).lower()


def ask_for_money_of_waiting(merchant_id: int) -> int:
    """A bank account was entered: write to whoever is waiting for one. Returns how many.

    Nobody in the shadow, and afterwards nobody whose order came while it lasted (N3).
    """
    accounts = payees(merchant_id)
    if settings_of(merchant_id).assignment == "shadow":
        return 0
    shadow = select(func.max(SettingChange.id)).where(
        SettingChange.merchant_id == merchant_id,
        SettingChange.name == "assignment",
        cast(SettingChange.value, String) == '"shadow"',
    )
    live_since = db.session.scalar(
        select(func.min(SettingChange.changed_at)).where(
            SettingChange.merchant_id == merchant_id,
            SettingChange.name == "assignment",
            SettingChange.id > shadow.scalar_subquery(),
        )
    )
    asked = select(Mail.order_id).where(
        Mail.merchant_id == merchant_id,
        Mail.kind == "payment_information",
        Mail.order_id.is_not(None),
    )
    waiting = select(Order).where(
        Order.merchant_id == merchant_id,
        Order.payment_status == wire.PaymentStatus.UNPAID.value,
        Order.total > 0,
        Order.payment_code.in_([code.value for code in ASKS_FOR_MONEY]),
        Order.id.not_in(asked),
    )
    if live_since is not None:
        waiting = waiting.where(Order.created_at > live_since)
    schema = OrderSchema()
    count = 0
    for row in db.session.scalars(waiting):
        order: wire.Order = schema.load(row.wire)
        shop = db.session.get_one(Shop, row.shop_id)
        code = wire.PaymentCode(row.payment_code)
        account = payee_for(order, shop.id, accounts)
        if account is not None:
            count += queue_payment_information(
                shop, order, code, row.id, row.payment_reference, account
            )
    return count


# --- known orders ------------------------------------------------------------------------------


def _compare(shop: Receiver, known: tuple[int, bytes], plan: _Plan, at: datetime) -> str:
    """Take over what the shop changed (S35, S38); whatever we know about payments stays."""
    order_id, digest = known
    arrival = plan.arrival
    if digest == arrival.digest:
        return "unchanged"
    lock_merchant(shop.merchant_id)
    row = db.session.get_one(Order, order_id, with_for_update=True)
    before = row.total
    for name, value in _content(arrival).items():
        setattr(row, name, value)
    row.search = f"{row.search} {added_search(row)}".rstrip()
    row.changed_at, row.needs_match = at, True
    row.gone_evidence = None
    row.payment_code = plan.code.value
    _follow_status(row, plan.is_open, at)
    rewrite_keys(row, arrival.order)
    _add_invoices(row, arrival.order)
    if before != row.total:
        note(row, "total_changed", "", at, before=amount_text(before), after=amount_text(row.total))
    settle(row, at)
    return "updated"


def _follow_status(row: Order, is_open: bool, at: datetime) -> None:
    """Not open in the shop any more and not paid here: removed externally (S38, S39)."""
    if is_open and row.removed_at is not None:
        row.removed_at = None
        note(row, "open_again", "", at)
    elif not is_open and row.removed_at is None and row.payment_status in LOST_IF_CLOSED:
        row.removed_at = at
        note(row, "removed", "", at, shop_status=row.shop_status or "")
        withhold_mails(row, ASKING_MAILS, "the order is no longer open in the shop")


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

    One answer alone does not remove an order: the first is noted, a second one of the same kind
    confirms it. Returns how many are removed now.
    """
    lock_merchant(shop.merchant_id)
    query = select(Order).where(Order.shop_id == shop.id, Order.external_id.in_(external_ids))
    removed = 0
    for row in db.session.scalars(query.with_for_update()):
        if row.gone_evidence is None:
            row.gone_evidence = evidence.value
        elif row.removed_at is None and row.payment_status in LOST_IF_CLOSED:
            row.removed_at = at
            removed += 1
            note(row, "removed", "", at, evidence=evidence.value)
            withhold_mails(row, ASKING_MAILS, "the order was deleted in the shop")
            settle(row, at)
    return removed
