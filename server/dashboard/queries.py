"""What the pages read. Every query takes the merchant and finds nothing of anybody else's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from schwifty import IBAN
from schwifty.exceptions import SchwiftyException
from sqlalchemy import and_, case, exists, func, or_, select, union_all
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import aliased
from sqlalchemy.sql import ColumnElement

from server.banking.models import BankAccount, IgnoreRule, Posting, Statement
from server.banking.service import heard_at
from server.db import db
from server.dunning.calendar import banking_hours
from server.merchants.models import ApiKey, SettingChange, UserSession
from server.merchants.service import settings_of
from server.orders.ledger import taken_of_posting
from server.orders.models import Assignment, Order, OrderEvent, Refund, Suggestion
from server.orders.rules import REFUND_ARRANGED
from server.orders.told import zone_of
from server.shops.models import PaymentUpdate, Shop

FAILED_SHOWN = 50
STATEMENTS_SHOWN = 50
EVENTS_SHOWN = 6
ATTENTION_LASTS = timedelta(days=14)
CHART_DAYS = 30
SHORTEST_IBAN = 15
ZERO = Decimal(0)
LIKELY = Decimal("0.5")


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """When that day begins for the merchant."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def assigned() -> ColumnElement[Any]:
    """What of a posting is assigned, or goes back without an order, correlated with it."""
    return taken_of_posting()


# --- every page -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AccountAsOf:
    """An account and when its bank was last heard. ``is_stale``: too old for reminders (N5)."""

    account: BankAccount
    name: str
    at: datetime
    is_stale: bool


def waits(merchant_id: int) -> ColumnElement[bool]:
    """Postings that wait for a person: open ones, and returns of which Kontor knows the payment.

    A merchant who ignores everything unassigned sees only those with a suggestion. The others
    stay open all the same: an order that comes later may still name them (S18).
    """
    money = aliased(Posting)
    offered = exists().where(Suggestion.posting_id == money.id)
    ignores_others = exists().where(
        IgnoreRule.merchant_id == merchant_id, IgnoreRule.kind == "unassigned"
    )
    came_in = select(money.id).where(
        money.merchant_id == merchant_id, money.is_open, or_(~ignores_others, offered)
    )
    taken_back = select(Suggestion.posting_id).where(
        Suggestion.merchant_id == merchant_id, Suggestion.returns_id.is_not(None)
    )
    # Not one condition with "or": that would read every posting of the merchant, on every page.
    return and_(Posting.merchant_id == merchant_id, Posting.id.in_(union_all(came_in, taken_back)))


def waiting_count(merchant_id: int) -> int:
    """Postings without assignment: the number beside the menu entry."""
    return int(db.session.scalar(select(func.count()).where(waits(merchant_id))) or 0)


def accounts_as_of(merchant_id: int, at: datetime) -> list[AccountAsOf]:
    """ "Bank as of" of every account that has ever been heard, the stalest first.

    Counted as ``dunning.circumstances`` counts it, so that the mark means what holds reminders
    back; not read there, because that reads every shop's settings and this stands on every page.
    """
    heard, limit_of = heard_at(merchant_id), _limits(merchant_id)
    zone = zone_of(merchant_id)
    query = select(BankAccount).where(BankAccount.merchant_id == merchant_id)
    accounts = list(db.session.scalars(query.order_by(BankAccount.id)))
    freshest: dict[str, datetime] = {}
    for account in accounts:
        moment = heard[account.id]
        if moment is not None:
            freshest[account.iban] = max(moment, freshest.get(account.iban, moment))
    found = []
    for account in accounts:
        moment = heard[account.id]
        if moment is not None:
            newest, country = freshest[account.iban], bank_country(account.iban)
            hours = banking_hours(newest.astimezone(zone), at.astimezone(zone), country)
            is_stale = hours > limit_of(account)
            found.append(AccountAsOf(account, bank_name(account.iban), moment, is_stale))
    return sorted(found, key=lambda one: one.at)


def _limits(merchant_id: int) -> Callable[[BankAccount], int]:
    """How many hours of banking days an account may be silent: of its shops, the strictest."""
    general = settings_of(merchant_id).bank_data_hours
    own = own_values(merchant_id, "bank_data_hours")
    shop_ids = [shop.id for shop in shops(merchant_id)] if own else []

    def limit_of(account: BankAccount) -> int:
        named = [one for one in shop_ids if not account.for_shops or one in account.for_shops]
        return min((own.get(one, general) for one in named), default=general)

    return limit_of


def own_values(merchant_id: int, name: str) -> dict[int, Any]:
    """Shop id to its own value of a setting; those that inherit it are left out."""
    newest = (
        select(SettingChange.shop_id, SettingChange.value)
        .where(SettingChange.merchant_id == merchant_id, SettingChange.name == name)
        .where(SettingChange.shop_id.is_not(None), ~SettingChange.waits)
        .ext(distinct_on(SettingChange.shop_id))
        .order_by(SettingChange.shop_id, SettingChange.id.desc())
    )
    return {row[0]: row[1] for row in db.session.execute(newest) if row[1] is not None}


def bank_country(iban: str) -> str:
    """Whose banking days count for an account; what is no bank, such as PayPal, has Germany's."""
    return iban[:2] if len(iban) >= SHORTEST_IBAN else "DE"


def bank_name(iban: str) -> str:
    """The bank's name from the registry, else the end of the IBAN; PayPal is called PayPal."""
    if len(iban) < SHORTEST_IBAN:
        return iban or "–"
    try:
        name = IBAN(iban, allow_invalid=True).bank_short_name
    except SchwiftyException:
        name = None
    return name or f"{iban[:2]} … {iban[-4:]}"


# --- postings ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PostingRow:
    """``rest`` is what of the posting has not been assigned; ``probability`` of the best offer.

    ``orders`` are (id, number) of those that it pays. ``goes_back``: to whoever sent it (K55).
    """

    posting: Posting
    rest: Decimal
    probability: Decimal | None = None
    orders: Sequence[tuple[int, str]] = ()
    goes_back: bool = False

    @property
    def is_likely(self) -> bool:
        return self.probability is not None and self.probability >= LIKELY


def posting_row(merchant_id: int, posting_id: int) -> PostingRow | None:
    found = db.session.execute(
        select(Posting, assigned()).where(
            Posting.merchant_id == merchant_id, Posting.id == posting_id
        )
    ).one_or_none()
    if found is None:
        return None
    posting, taken = found
    goes_back = posting.id in going_back([posting.id])
    return PostingRow(posting, posting.amount - taken, goes_back=goes_back)


def going_back(posting_ids: Sequence[int]) -> set[int]:
    """Those of which a repayment without an order is arranged."""
    query = select(Refund.posting_id).where(
        Refund.posting_id.in_(posting_ids),
        Refund.order_id.is_(None),
        Refund.status.in_(REFUND_ARRANGED),
    )
    return {one for one in db.session.scalars(query) if one is not None}


def account_of(merchant_id: int, account_id: int) -> BankAccount | None:
    return db.session.scalar(
        select(BankAccount).where(
            BankAccount.merchant_id == merchant_id, BankAccount.id == account_id
        )
    )


def suggestions_of(merchant_id: int, posting_id: int) -> list[Suggestion]:
    query = select(Suggestion).where(
        Suggestion.merchant_id == merchant_id, Suggestion.posting_id == posting_id
    )
    return list(db.session.scalars(query.order_by(Suggestion.rank)))


def suggestion_of(merchant_id: int, suggestion_id: int) -> Suggestion | None:
    return db.session.scalar(
        select(Suggestion).where(
            Suggestion.merchant_id == merchant_id, Suggestion.id == suggestion_id
        )
    )


@dataclass(frozen=True, slots=True)
class WaitingSums:
    count: int
    amounts: list[tuple[Decimal, str]]
    oldest: datetime | None
    with_suggestion: int


def waiting_sums(merchant_id: int) -> WaitingSums:
    """What waits to be assigned; amounts one a currency."""
    offered = exists().where(Suggestion.posting_id == Posting.id)
    found = (
        select(
            Posting.currency,
            case((Posting.amount > 0, Posting.amount - assigned()), else_=0).label("rest"),
            Posting.created_at,
            case((offered, 1), else_=0).label("offered"),
        )
        .where(waits(merchant_id))
        .subquery()
    )
    rows = db.session.execute(
        select(
            found.c.currency,
            func.count(),
            func.sum(found.c.rest),
            func.min(found.c.created_at),
            func.sum(found.c.offered),
        )
        .group_by(found.c.currency)
        .order_by(func.count().desc())
    ).all()
    return WaitingSums(
        sum(row[1] for row in rows),
        [(row[2], row[0]) for row in rows],
        min((row[3] for row in rows), default=None),
        sum(row[4] for row in rows),
    )


# --- statements and accounts ------------------------------------------------------------------


def statement_of(merchant_id: int, statement_id: int) -> Statement | None:
    return db.session.scalar(
        select(Statement).where(Statement.merchant_id == merchant_id, Statement.id == statement_id)
    )


def statement_head(merchant_id: int, statement_id: int, size: int) -> bytes:
    """The first bytes of the file; it may be large, and nothing more is looked at."""
    head = select(func.substr(Statement.content, 1, size)).where(
        Statement.merchant_id == merchant_id, Statement.id == statement_id
    )
    return bytes(db.session.scalar(head) or b"")


# --- shops ------------------------------------------------------------------------------------


def shops(merchant_id: int) -> list[Shop]:
    """By name; those that were deregistered come last."""
    query = select(Shop).where(Shop.merchant_id == merchant_id)
    is_over = Shop.status == "deregistered"
    return list(db.session.scalars(query.order_by(is_over, Shop.name, Shop.id)))


def living_shops(merchant_id: int) -> list[Shop]:
    """By name, without those that were deregistered."""
    return [shop for shop in shops(merchant_id) if shop.status != "deregistered"]


def waiting_updates(merchant_id: int) -> dict[int, int]:
    """How many payment updates are on their way, by shop."""
    rows = db.session.execute(
        select(PaymentUpdate.shop_id, func.count())
        .where(
            PaymentUpdate.merchant_id == merchant_id,
            PaymentUpdate.status.in_(("queued", "running")),
        )
        .group_by(PaymentUpdate.shop_id)
    )
    return {row[0]: row[1] for row in rows}


def api_keys(merchant_id: int, shop_id: int | None) -> list[ApiKey]:
    """The keys of a shop; of the bank if no shop is given. Working ones first."""
    scope = "bank" if shop_id is None else "shop"
    query = select(ApiKey).where(
        ApiKey.merchant_id == merchant_id, ApiKey.shop_id == shop_id, ApiKey.scope == scope
    )
    return list(
        db.session.scalars(
            query.order_by(ApiKey.revoked_at.desc().nulls_first(), ApiKey.created_at)
        )
    )


def sessions(user_id: int) -> list[UserSession]:
    query = select(UserSession).where(UserSession.user_id == user_id)
    return list(db.session.scalars(query.order_by(UserSession.seen_at.desc())))


# --- today ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DayOfChart:
    """Money that came in on a booking date, and how much of it has an order."""

    day: date
    received: Decimal
    assigned: Decimal


def chart(merchant_id: int, currency: str, last_day: date) -> list[DayOfChart]:
    """The last CHART_DAYS days, without gaps."""
    first_day = last_day - timedelta(days=CHART_DAYS - 1)
    incoming = (
        select(Posting.booking_date, Posting.amount, assigned().label("assigned"))
        .where(
            Posting.merchant_id == merchant_id,
            Posting.currency == currency,
            Posting.amount > 0,
            _counts(),
            Posting.booking_date.between(first_day, last_day),
        )
        .subquery()
    )
    rows = db.session.execute(
        select(
            incoming.c.booking_date,
            func.sum(incoming.c.amount),
            func.sum(func.least(incoming.c.assigned, incoming.c.amount)),
        ).group_by(incoming.c.booking_date)
    )
    found = {day: DayOfChart(day, received, assigned) for day, received, assigned in rows}
    days = [first_day + timedelta(days=number) for number in range(CHART_DAYS)]
    return [found.get(day, DayOfChart(day, ZERO, ZERO)) for day in days]


def _counts() -> ColumnElement[bool]:
    """Money that came in: booked, once, and not of those that nobody needs to look at."""
    return and_(
        Posting.ignored_at.is_(None),
        ~Posting.is_pending,
        ~Posting.is_replaced,
        ~Posting.is_batch_total,
        ~Posting.is_passed_on,
    )


def received_since(merchant_id: int, at: datetime) -> tuple[int, dict[str, Decimal]]:
    """(count, {currency: sum}) of money that Kontor has heard of since then."""
    rows = db.session.execute(
        select(Posting.currency, func.count(), func.sum(Posting.amount))
        .where(
            Posting.merchant_id == merchant_id,
            Posting.created_at >= at,
            Posting.amount > 0,
            _counts(),
        )
        .group_by(Posting.currency)
    ).all()
    return sum(row[1] for row in rows), {row[0]: row[2] for row in rows}


def automatic_share(merchant_id: int, since: datetime) -> Decimal | None:
    """The part of the assignments that nobody had to make, 0 to 1; None if there are none."""
    undo = aliased(Assignment)
    automatic, all_of_them = db.session.execute(
        select(func.count().filter(Assignment.origin == "auto"), func.count()).where(
            Assignment.merchant_id == merchant_id,
            Assignment.created_at >= since,
            Assignment.reverses_id.is_(None),
            Assignment.posting_id.is_not(None),
            ~exists().where(undo.reverses_id == Assignment.id),
        )
    ).one()
    return Decimal(automatic) / all_of_them if all_of_them else None


def failed_updates(merchant_id: int, at: datetime) -> list[PaymentUpdate]:
    """Payment updates that ended without success and that no later one has replaced."""
    later = aliased(PaymentUpdate)
    replaced = exists().where(later.order_id == PaymentUpdate.order_id, later.id > PaymentUpdate.id)
    query = select(PaymentUpdate).where(
        PaymentUpdate.merchant_id == merchant_id,
        PaymentUpdate.status == "failed",
        PaymentUpdate.finished_at > at - ATTENTION_LASTS,
        ~replaced,
    )
    return list(db.session.scalars(query.order_by(PaymentUpdate.id.desc()).limit(FAILED_SHOWN)))


def failed_statements(merchant_id: int, at: datetime) -> list[Statement]:
    """The latest of each file that could not be read, however often it was handed in."""
    query = select(Statement).where(
        Statement.merchant_id == merchant_id,
        Statement.status == "failed",
        Statement.created_at > at - ATTENTION_LASTS,
    )
    rows = db.session.scalars(query.order_by(Statement.id.desc()).limit(STATEMENTS_SHOWN))
    latest: dict[bytes, Statement] = {}
    for row in rows:
        latest.setdefault(row.content_hash, row)
    return list(latest.values())


def latest_statements(merchant_id: int) -> list[Statement]:
    """The last ones that brought something new."""
    query = select(Statement).where(
        Statement.merchant_id == merchant_id,
        Statement.status == "done",
        Statement.postings_new > 0,
        Statement.finished_at.is_not(None),
    )
    return list(db.session.scalars(query.order_by(Statement.id.desc()).limit(EVENTS_SHOWN)))


def has_statement(merchant_id: int) -> bool:
    return bool(
        db.session.scalar(select(exists().where(Statement.merchant_id == merchant_id)))
        or db.session.scalar(select(exists().where(Posting.merchant_id == merchant_id)))
    )


def latest_events(merchant_id: int, kinds: Sequence[str]) -> list[tuple[OrderEvent, Order]]:
    """What happened last, of the kinds that are worth a line."""
    rows = db.session.execute(
        select(OrderEvent, Order)
        .join(Order, Order.id == OrderEvent.order_id)
        .where(
            OrderEvent.merchant_id == merchant_id,
            OrderEvent.kind.in_(kinds),
            Order.monitor_at.is_(None),
        )
        .order_by(OrderEvent.id.desc())
        .limit(EVENTS_SHOWN)
    )
    return [(event, order) for event, order in rows]
