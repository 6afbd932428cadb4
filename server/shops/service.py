"""Shops and what is on its way back to them: what is done. Never commits."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import ColumnElement, exists, select, update
from sqlalchemy.orm import aliased

from plugin_sdk import types as wire
from plugin_sdk.schemas import CodeMappingSchema, DiscoverySchema
from server.db import db
from server.merchants.service import log_shop_change, revoke_shop_keys, settings_of
from server.shops import connections
from server.shops.models import (
    UPDATE_LIFETIME,
    OrderRequest,
    PaymentUpdate,
    Shop,
    ShopConnection,
)
from server.shops.rules import (
    ENDING,
    HEALING,
    effective_mapping,
    is_shop_url,
    retry_pause,
)
from server.work import LEASE, announce

ATTEMPTS_BEFORE_ERROR = 4  # half an hour of trying: then it is the shop, not the moment
EXPIRED_AT_ONCE = 500
DISABLED_AFTER = timedelta(days=30)
DISABLED_AT_ONCE = 100
TOUCH_AFTER = timedelta(seconds=10)
SUPERSEDED = "superseded by a newer status"
DEREGISTERED = "the shop was deregistered"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an acknowledgement led to. ``tell`` names the notice that the merchant gets."""

    update: PaymentUpdate
    tell: str | None


def add_shop(merchant_id: int, *, name: str, system: str, url: str, has_url: bool = True) -> Shop:
    """``has_url``: such a system is a shop with an address of its own.

    Raises ValueError with a message key.
    """
    if not name.strip() or len(name) > 200:
        raise ValueError("shop_name_missing")
    if has_url and not is_shop_url(url):
        raise ValueError("shop_url_invalid")
    shop = Shop(merchant_id=merchant_id, name=name.strip(), system=system, url=url)
    db.session.add(shop)
    db.session.flush()
    return shop


def shop_of(merchant_id: int, shop_id: int) -> Shop | None:
    return db.session.scalar(
        select(Shop).where(Shop.merchant_id == merchant_id, Shop.id == shop_id)
    )


def mapping_of(shop: Shop) -> dict[str, dict[str, object]]:
    return effective_mapping(shop.mapping, shop.default_mapping, is_pinned=shop.mapping_pinned)


def connect(shop: Shop, at: datetime) -> None:
    """The first sign of life draws the cut-off (S28); a disabled shop stays disabled.

    In whole seconds, as shops date their orders: one made in that very second is new.
    """
    if shop.status == "not_connected":
        lock(shop)
    if shop.connected_at is None:
        shop.connected_at = at.replace(microsecond=0)
    if shop.status == "not_connected":
        shop.status = "connected"


def touch(shop: Shop, at: datetime) -> None:
    """An order came. Noted every few seconds only: pushes must not wait for one another's row."""
    if touch_is_due(shop.last_order_at, at):
        shop.last_order_at = shop.seen_at = at


def touch_is_due(last: datetime | None, at: datetime) -> bool:
    return last is None or at - last > TOUCH_AFTER


def see(shop: Shop, at: datetime) -> None:
    """It asked for something. Noted every few seconds only: a poll that finds nothing is cheap."""
    connect(shop, at)
    if touch_is_due(shop.seen_at, at):
        shop.seen_at = at


def lock(shop: Shop) -> None:
    """Its row, as it is now: whoever changes its status does so, or what is final comes back."""
    db.session.flush()  # what was noted of it until here would be forgotten
    db.session.refresh(shop, with_for_update={"key_share": True})


def introduce(shop: Shop, heartbeat: wire.Heartbeat) -> None:
    """Store what a connector says of itself and of its shop. No sign of life."""
    shop.connector = heartbeat.connector
    shop.connector_version = heartbeat.connector_version
    shop.capabilities = list(heartbeat.capabilities)
    shop.mapping_pinned = heartbeat.mapping == "pinned"
    if heartbeat.defaults:
        schema = CodeMappingSchema()
        shop.default_mapping = {
            code.value: schema.dump(entry) for code, entry in heartbeat.defaults.items()
        }
    if heartbeat.discovery:  # comes once a day; what is known stays until then
        shop.discovery = DiscoverySchema().dump(heartbeat.discovery)
    shop.compare_seconds = heartbeat.compare_seconds


def hear_heartbeat(shop: Shop, heartbeat: wire.Heartbeat, at: datetime) -> str | None:
    """Store what an agent says of itself. Returns the notice to send, if any."""
    connect(shop, at)
    shop.seen_at = at
    introduce(shop, heartbeat)
    if heartbeat.last_error:
        return _fall_into_error(shop, heartbeat.last_error, "agent", at)
    heal(shop, "agent", at)
    return None


def heal(shop: Shop, source: str, at: datetime) -> None:
    """Connected again, if the error came from there: everything that waited is due now.

    Its row is locked first: who was disabled a moment ago stays so.
    """
    if not _is_ill(shop, source):
        return
    lock(shop)
    if not _is_ill(shop, source):
        return
    shop.status, shop.error, shop.error_since, shop.error_source = "connected", None, None, None
    db.session.execute(
        update(PaymentUpdate)
        .where(PaymentUpdate.shop_id == shop.id, PaymentUpdate.status == "queued")
        .values(due_at=at)
    )


def _is_ill(shop: Shop, source: str) -> bool:
    return shop.status == "error" and shop.error_source == source


def queue_update(
    order: wire.PaymentUpdate, shop: Shop, order_id: int, at: datetime, *, is_only: bool = False
) -> None:
    """Write what the shop is to be told; whatever waits for the same order is superseded.

    A deregistered shop is told nothing any more.
    ``is_only``: the caller knows that nothing waits.
    """
    if not is_only:
        withhold_updates(order_id)
    if shop.status == "deregistered":
        return
    announce(ShopConnection)  # if it is a shop that Kontor visits itself
    db.session.add(
        PaymentUpdate(
            merchant_id=shop.merchant_id,
            shop_id=shop.id,
            order_id=order_id,
            external_id=order.external_id,
            number=order.number,
            payment_status=order.payment_status.value,
            paid_total=order.paid_total,
            currency=order.currency,
            intent=order.intent.value,
            shop_status=order.shop_status,
            open_statuses=list(order.open_statuses),
            created_at=at,
            due_at=at,
        )
    )


def withhold_updates(order_id: int) -> None:
    """Take back what is not on its way: a newer status is about to be told."""
    db.session.execute(
        update(PaymentUpdate)
        .where(PaymentUpdate.order_id == order_id, PaymentUpdate.status == "queued")
        .values(status="withheld", error=SUPERSEDED)
    )


def must_hear_of_unpaid(order_id: int) -> bool:
    """Has the shop heard of a payment that it was not told the end of?

    An update that was handed out counts, however it ended: a time-out does not say what the shop
    did.
    """
    last = db.session.execute(
        select(PaymentUpdate.intent, PaymentUpdate.status)
        .where(PaymentUpdate.order_id == order_id, PaymentUpdate.attempts > 0)
        .order_by(PaymentUpdate.id.desc())
        .limit(1)
    ).first()
    return last is not None and tuple(last) != (wire.Intent.UNPAID.value, "done")


def lease_updates(shop: Shop, limit: int, at: datetime) -> list[PaymentUpdate]:
    """Hand out what is due, leased: not acknowledged in time, it is handed out again.

    One update an order at a time, so they cannot overtake each other. A shop that fails gets one
    probe, then nothing until the schedule of that probe allows the next one.
    """
    db.session.execute(
        update(PaymentUpdate)
        .where(
            PaymentUpdate.shop_id == shop.id,
            PaymentUpdate.status == "running",
            PaymentUpdate.claimed_at < at - LEASE,
        )
        .values(status="queued", due_at=at, error="handed out, but never acknowledged")
    )
    _withhold_superseded(PaymentUpdate.shop_id == shop.id)
    if _is_a_test(shop):
        limit = 0
    elif _is_failing(shop):
        limit = 1 if _may_probe(shop.id, at) else 0
    due = (
        select(PaymentUpdate)
        .where(PaymentUpdate.shop_id == shop.id, *_ready(at))
        .order_by(PaymentUpdate.due_at, PaymentUpdate.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    leased = list(db.session.scalars(due))
    for row in leased:
        row.status, row.claimed_at, row.attempts = "running", at, row.attempts + 1
    return leased


def may_have_updates(shop_id: int, at: datetime) -> bool:
    """One cheap look before ``lease_updates``: almost every poll finds nothing."""
    row = PaymentUpdate
    waits = (row.status == "queued") & (row.due_at <= at)
    forgotten = (row.status == "running") & (row.claimed_at < at - LEASE)
    return bool(
        db.session.scalar(select(exists().where(row.shop_id == shop_id, waits | forgotten)))
    )


def shops_with_due_updates(shop_ids: set[int], at: datetime) -> set[int]:
    """Which of these shops have something to fetch: one query for every waiting poll."""
    due = (
        select(Shop)
        .where(exists().where(PaymentUpdate.shop_id == Shop.id, *_ready(at)))
        .where(Shop.id.in_(shop_ids))
    )
    return {
        shop.id
        for shop in db.session.scalars(due)
        if (not _is_failing(shop) or _may_probe(shop.id, at)) and not _is_a_test(shop)
    }


def _ready(at: datetime) -> tuple[ColumnElement[bool], ...]:
    """Due, not too old, and no other update of the same order on its way."""
    other = aliased(PaymentUpdate)
    return (
        PaymentUpdate.status == "queued",
        PaymentUpdate.due_at <= at,
        PaymentUpdate.created_at > at - UPDATE_LIFETIME,
        ~exists().where(other.order_id == PaymentUpdate.order_id, other.status == "running"),
    )


def _is_a_test(shop: Shop) -> bool:
    """Nothing is written to a shop in test mode, whatever was queued before (K66)."""
    return settings_of(shop.merchant_id, shop.id).mode == "test"


def _is_failing(shop: Shop) -> bool:
    """Writing to it fails. What its agent reports of itself holds up nothing."""
    return shop.status == "error" and shop.error_source == "update"


def _may_probe(shop_id: int, at: datetime) -> bool:
    """Nothing is under way, and the update that was tried last may be tried again.

    Then the one that waits longest goes, so an order that the shop stumbles over does not keep
    it in error.
    """
    row = PaymentUpdate
    last = db.session.execute(
        select(row.status, row.due_at)
        .where(row.shop_id == shop_id, row.status.in_(["queued", "running"]))
        .where(row.claimed_at.is_not(None))
        .order_by(row.status.desc(), row.claimed_at.desc(), row.id.desc())  # running comes first
        .limit(1)
    ).first()
    return last is None or (last.status == "queued" and last.due_at <= at)


def _withhold_superseded(*which: ColumnElement[bool]) -> None:
    """What came back after a newer status of its order was written must not overtake that."""
    newer = aliased(PaymentUpdate)
    overtaken = exists().where(
        newer.order_id == PaymentUpdate.order_id,
        newer.id > PaymentUpdate.id,
        newer.status != "withheld",
    )
    db.session.execute(
        update(PaymentUpdate)
        .where(*which, PaymentUpdate.status == "queued", overtaken)
        .values(status="withheld", error=SUPERSEDED)
    )


def acknowledge(
    shop: Shop, update_id: int, ack: wire.Acknowledgement, at: datetime
) -> Verdict | None:
    """Take in what became of an update. None = this shop has no such update.

    A repeated or late acknowledgement of an update that has ended changes nothing. Where the
    shop's state may change its row is locked first, as wherever both do, so that one fault is
    told once.
    """
    if ack.outcome not in HEALING or shop.status == "error":
        db.session.refresh(shop, with_for_update={"key_share": True})
    row = db.session.scalar(
        select(PaymentUpdate)
        .where(PaymentUpdate.shop_id == shop.id, PaymentUpdate.id == update_id)
        .with_for_update()
    )
    if row is None:
        return None
    if row.status not in {"queued", "running"}:
        return Verdict(row, None)
    row.outcome = ack.outcome.value
    return Verdict(row, _carry_out(shop, row, ack, at))


def _carry_out(
    shop: Shop, row: PaymentUpdate, ack: wire.Acknowledgement, at: datetime
) -> str | None:
    if ack.outcome in ENDING:
        row.succeed(at)
        row.error = ack.reason
        if ack.outcome in HEALING:
            if touch_is_due(shop.last_update_at, at):
                shop.last_update_at = at
            heal(shop, "update", at)
        return None
    reason = ack.reason or ack.outcome.value
    if ack.outcome is wire.Outcome.REJECTED:
        row.give_up(reason, at)
        return "transfer_failed"
    scheduled = row.schedule[min(max(row.attempts, 1), len(row.schedule)) - 1]
    jitter = random.uniform(-1, 1)  # noqa: S311  spreads load, keeps no secret
    row.retry(reason, at, retry_pause(ack.retry_after_seconds, scheduled, jitter))
    _withhold_superseded(PaymentUpdate.order_id == row.order_id)
    lasts = row.attempts >= ATTEMPTS_BEFORE_ERROR
    if ack.outcome is wire.Outcome.MISCONFIGURED or lasts:
        return _fall_into_error(shop, reason, "update", at)
    return None


def _fall_into_error(shop: Shop, reason: str, source: str, at: datetime) -> str | None:
    """Connected, error (K12). Told once per fault, however often it is seen."""
    shop.error = reason
    if shop.status == "error" and source == "update":
        shop.error_source = source  # the graver one: a report without an error does not heal it
    if shop.status == "connected":
        lock(shop)
    if shop.status != "connected":
        return None
    shop.status, shop.error_since, shop.error_source = "error", at, source
    return "shop_error"


def expire_updates(at: datetime) -> list[PaymentUpdate]:
    """End what is 168 h old, whatever the reason of the failures (S42)."""
    _withhold_superseded(PaymentUpdate.created_at <= at - UPDATE_LIFETIME)
    gone = select(Shop.id).where(Shop.status == "deregistered")
    _withhold_deregistered(  # written by whoever had not heard of it yet
        PaymentUpdate.created_at <= at - UPDATE_LIFETIME, PaymentUpdate.shop_id.in_(gone)
    )
    old = (
        select(PaymentUpdate)
        .where(
            PaymentUpdate.status.in_(["queued", "running"]),
            PaymentUpdate.created_at <= at - UPDATE_LIFETIME,
        )
        .order_by(PaymentUpdate.id)
        .limit(EXPIRED_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    ended = list(db.session.scalars(old))
    for row in ended:
        row.give_up(row.error or "the shop's agent did not fetch it", at)
    return ended


def disable_lasting(at: datetime) -> list[Shop]:
    """Disable what has been in error for 30 days without a break (K12), at most 100 shops.

    What went wrong stays written, for whoever looks why. What waits for such a shop ends by its
    age; Kontor's own visits end too.
    """
    lasting = (
        select(Shop)
        .where(*_lasts(at))
        .order_by(Shop.id)
        .limit(DISABLED_AT_ONCE)
        .with_for_update(skip_locked=True, key_share=True)
        .execution_options(populate_existing=True)
    )
    disabled = list(db.session.scalars(lasting))
    for shop in disabled:
        shop.status = "disabled"
        connection = connections.connection_of(shop.merchant_id, shop.id)
        if connection is not None:
            connections.switch_off(connection)
    return disabled


def _lasts(at: datetime) -> tuple[ColumnElement[bool], ...]:
    return Shop.status == "error", Shop.error_since <= at - DISABLED_AFTER


def deregister(shop: Shop, *, actor: str, at: datetime) -> bool:
    """For good (K12): its keys open nothing, nothing goes to it or comes from it. False if it was.

    What waits for it is withheld, and nobody is told of each: a person has just said so. Its
    orders stay. Who calls this calls ``orders.effects.shop_deregistered`` too, for its mails.
    """
    lock(shop)
    before = shop.status
    if before == "deregistered":
        return False
    revoke_shop_keys(shop.merchant_id, shop.id, at)
    connection = connections.connection_of(shop.merchant_id, shop.id)
    if connection is not None:
        connections.remove_connection(connection)
    _withhold_deregistered(PaymentUpdate.shop_id == shop.id)
    db.session.execute(
        update(OrderRequest)
        .where(OrderRequest.shop_id == shop.id, OrderRequest.status.in_(["queued", "running"]))
        .values(status="withheld", error=DEREGISTERED)
    )
    shop.status, shop.error, shop.error_since, shop.error_source = "deregistered", None, None, None
    log_shop_change(
        shop.merchant_id,
        shop.id,
        "shop.status",
        before=before,
        after=shop.status,
        actor=actor,
        at=at,
    )
    return True


def _withhold_deregistered(*which: ColumnElement[bool]) -> None:
    """Also what was handed out: nobody can acknowledge it any more."""
    db.session.execute(
        update(PaymentUpdate)
        .where(*which, PaymentUpdate.status.in_(["queued", "running"]))
        .values(status="withheld", error=DEREGISTERED)
    )


def to_wire(row: PaymentUpdate) -> wire.PaymentUpdate:
    return wire.PaymentUpdate(
        id=str(row.id),
        external_id=row.external_id,
        number=row.number,
        payment_status=wire.PaymentStatus(row.payment_status),
        paid_total=Decimal(row.paid_total),
        currency=row.currency,
        intent=wire.Intent(row.intent),
        shop_status=row.shop_status,
        open_statuses=tuple(row.open_statuses),
        attempt=row.attempts,
        created_at=row.created_at,
    )


def has_expired(at: datetime) -> bool:
    """Is there an update past its 168 h? Asked by the clock."""
    old = select(PaymentUpdate.id).where(
        PaymentUpdate.status == "queued", PaymentUpdate.created_at <= at - UPDATE_LIFETIME
    )
    return bool(db.session.scalar(select(old.exists())))


def has_lasting_error(at: datetime) -> bool:
    """Is there a shop to be disabled? Asked by the clock."""
    return bool(db.session.scalar(select(exists().where(*_lasts(at)))))
