"""What the matcher would have done: with other levels on the past, and in the shadow (N3).

Reads and decides, books nothing. A file of its own: nothing of it is needed to decide.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import distinct_on

from plugin_sdk import types as wire
from server.banking.models import Posting
from server.db import db
from server.matching.models import MatchDecision
from server.matching.payers import memory_of
from server.matching.rules import LEVELS, Decision, Level, MemoryStore, OpenOrder, decide
from server.matching.service import facts_of
from server.matching.store import open_order, policy_of
from server.merchants.service import settings_of
from server.orders.ledger import is_standing
from server.orders.models import Assignment, Order, OrderKey
from server.orders.service import paid_totals
from server.orders.told import zone_of
from server.shops import service as shops
from server.shops.models import Shop
from server.shops.rules import status_to_write

MOST_POSTINGS: Final = 2_000
MOST_ORDERS: Final = 20_000
MOST_EXAMPLES: Final = 20
MOST_ROWS: Final = 1_000
ORDERED_BEFORE: Final = timedelta(days=180)
"""Orders so much older than the first posting may still be paid by it."""
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class LevelResult:
    """What one level would have done.

    ``agreed`` and ``differed`` compare what it would have booked with what stands in the ledger;
    ``examples`` are (posting id, order ids) of those that differ, then of others.
    """

    booked: int
    agreed: int
    differed: int
    open_to_people: int
    examples: list[tuple[int, tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The postings of so many days; ``by_people`` of them were assigned by a person."""

    days: int
    postings: int
    by_people: int
    levels: Mapping[Level, LevelResult]


@dataclass(frozen=True, slots=True)
class ShadowRow:
    """``what``: ``differed``, ``only_kontor`` or ``only_shop``."""

    posting_id: int | None
    order_id: int | None
    what: str


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """Kontor's decisions beside what was done: by people here, or in the shop.

    ``rows`` are where the two are not the same.
    """

    decided: int
    agreed: int
    differed: int
    only_shop: int
    only_kontor: int
    rows: list[ShadowRow]


# --- what if ------------------------------------------------------------------------------------


def what_if(merchant_id: int, *, days: int, at: datetime) -> WhatIf:
    """Each level on the postings of the last days, as if none of them had been booked.

    At most the newest ``MOST_POSTINGS``; orders as they stand now, less what these paid.
    """
    postings = _postings_since(merchant_id, at - timedelta(days=days))
    rows = _standing([posting.id for posting in postings])
    done: dict[int, frozenset[int]] = {
        posting_id: frozenset(row.order_id for row in some) for posting_id, some in rows.items()
    }
    store = _as_it_was(merchant_id, postings, rows)
    settings = settings_of(merchant_id)
    facts = [facts_of(posting, ZERO) for posting in postings]
    today = max((p.booking_date for p in postings if p.booking_date), default=None)
    levels = {}
    for level in LEVELS:
        policy = replace(policy_of(settings), level=level)
        levels[level] = _result(decide(facts, store, policy=policy, today=today), done)
    by_people = sum(any(row.origin == "person" for row in some) for some in rows.values())
    return WhatIf(days, len(postings), by_people, levels)


def _postings_since(merchant_id: int, since: datetime) -> list[Posting]:
    query = select(Posting).where(
        Posting.merchant_id == merchant_id,
        Posting.booking_date >= since.date(),
        Posting.amount > 0,
        Posting.ignored_at.is_(None),
        ~Posting.is_pending,
        ~Posting.is_replaced,
        ~Posting.is_passed_on,
        ~Posting.no_assignment,
    )
    newest = query.order_by(Posting.booking_date.desc(), Posting.id.desc()).limit(MOST_POSTINGS)
    return sorted(db.session.scalars(newest), key=lambda posting: posting.id)


def _standing(posting_ids: Sequence[int]) -> dict[int, list[Assignment]]:
    """The assignments of these postings that were not undone."""
    query = select(Assignment).where(Assignment.posting_id.in_(posting_ids), is_standing())
    rows: dict[int, list[Assignment]] = defaultdict(list)
    for row in db.session.scalars(query) if posting_ids else ():
        assert row.posting_id is not None, "asked by posting"
        rows[row.posting_id].append(row)
    return rows


def _as_it_was(
    merchant_id: int, postings: Sequence[Posting], rows: Mapping[int, Sequence[Assignment]]
) -> MemoryStore:
    """The orders as if these postings had paid none of them."""
    paid_by_them: dict[int, Decimal] = defaultdict(Decimal)
    for some in rows.values():
        for row in some:
            paid_by_them[row.order_id] += row.amount
    first = min(
        (posting.booking_date for posting in postings if posting.booking_date), default=None
    )
    query = select(Order).where(Order.merchant_id == merchant_id)
    if first is not None:
        oldest = datetime.combine(first - ORDERED_BEFORE, time.min, UTC)
        query = query.where(Order.ordered_at >= oldest)
    orders = list(db.session.scalars(query.order_by(Order.id.desc()).limit(MOST_ORDERS)))
    paid = paid_totals([order.id for order in orders])
    keys = _keys(merchant_id, [order.id for order in orders])
    zone = zone_of(merchant_id)
    return MemoryStore(
        [
            _reopened(
                open_order(order, paid[order.id], zone), paid_by_them[order.id], keys[order.id]
            )
            for order in orders
        ],
        memory_of([merchant_id]),
    )


def _reopened(order: OpenOrder, back: Decimal, keys: Sequence[tuple[str, str]]) -> OpenOrder:
    outstanding = min(order.outstanding + back, order.total)
    status = order.payment_status
    if back > ZERO and status in ("paid", "partially_paid"):
        status = "unpaid" if outstanding == order.total else "partially_paid"
    return replace(order, outstanding=outstanding, payment_status=status, keys=tuple(keys))


def _keys(merchant_id: int, order_ids: Sequence[int]) -> Mapping[int, list[tuple[str, str]]]:
    query = select(OrderKey.order_id, OrderKey.key, OrderKey.kind).where(
        OrderKey.merchant_id == merchant_id, OrderKey.order_id.in_(order_ids)
    )
    keys: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for order_id, key, kind in db.session.execute(query):
        keys[order_id].append((key, kind))
    return keys


def _result(decisions: Sequence[Decision], done: Mapping[int, frozenset[int]]) -> LevelResult:
    agreed, differed, unknown = [], [], []
    for decision in decisions:
        if decision.choice != "auto":
            continue
        posting_id = decision.posting.id
        assert isinstance(posting_id, int)
        orders = frozenset(share.order.id for share in decision.shares)
        example = (posting_id, tuple(sorted(orders)))
        if posting_id not in done:
            unknown.append(example)
        elif done[posting_id] == orders:
            agreed.append(example)
        else:
            differed.append(example)
    booked = len(agreed) + len(differed) + len(unknown)
    return LevelResult(
        booked=booked,
        agreed=len(agreed),
        differed=len(differed),
        open_to_people=len(decisions) - booked,
        examples=[*differed, *unknown][:MOST_EXAMPLES],
    )


# --- in the shadow ------------------------------------------------------------------------------


def shadow_report(merchant_id: int, *, since: datetime) -> ShadowReport:
    """What Kontor would have booked in the shadow since then, and whether it was done as well.

    Done is what a person assigned here, or what the shop says: the order is no longer open there
    and has the status that is mapped to paid.
    """
    decisions = _shadow_decisions(merchant_id, since)
    done = _standing([row.posting_id for row in decisions])
    ids = {int(share["order_id"]) for row in decisions for share in row.shares}
    paid_in_shop = _paid_in_shop(merchant_id, since)
    rows = []
    for row in decisions:
        meant = {int(share["order_id"]) for share in row.shares}
        booked = {one.order_id for one in done.get(row.posting_id, ())}
        first = min(meant, default=None)
        if booked:
            what = "agreed" if booked == meant else "differed"
        else:
            what = "agreed" if meant <= paid_in_shop else "only_kontor"
        rows.append(ShadowRow(row.posting_id, first, what))
    rows += [ShadowRow(None, order_id, "only_shop") for order_id in sorted(paid_in_shop - ids)]
    count = {what: sum(row.what == what for row in rows) for what in _WHATS}
    others = [row for row in rows if row.what != "agreed"]
    others.sort(key=lambda row: _WHATS.index(row.what))
    return ShadowReport(decided=len(decisions), rows=others[:MOST_ROWS], **count)


_WHATS: Final = ("differed", "only_shop", "only_kontor", "agreed")


def _shadow_decisions(merchant_id: int, since: datetime) -> list[MatchDecision]:
    """The newest of each posting, if it would have booked."""
    newest = (
        select(MatchDecision.id)
        .ext(distinct_on(MatchDecision.posting_id))
        .where(MatchDecision.merchant_id == merchant_id, MatchDecision.decided_at >= since)
        .order_by(MatchDecision.posting_id, MatchDecision.id.desc())
    )
    query = select(MatchDecision).where(
        MatchDecision.id.in_(newest), MatchDecision.mode == "shadow", MatchDecision.choice == "auto"
    )
    return list(db.session.scalars(query.order_by(MatchDecision.id.desc()).limit(MOST_ROWS)))


def _paid_in_shop(merchant_id: int, since: datetime) -> set[int]:
    """Orders that the shop took from us as paid since then."""
    query = (
        select(Order, Shop)
        .join(Shop, Shop.id == Order.shop_id)
        .where(
            Order.merchant_id == merchant_id,
            Order.removed_at >= since,
            func.coalesce(Order.gone_evidence, "") == "",
        )
        .limit(MOST_ORDERS)
    )
    return {
        order.id
        for order, shop in db.session.execute(query)
        if order.shop_status is not None
        and order.shop_status
        == status_to_write(
            shops.mapping_of(shop), wire.PaymentCode(order.payment_code), wire.Intent.PAID
        )
    }
