"""What the pages of bank accounts and bank accesses read; always of one merchant only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import case, func, select
from sqlalchemy.dialects.postgresql import distinct_on

from server.banking import fetching
from server.banking.models import (
    AccountDay,
    BankAccount,
    BankConnection,
    Posting,
    Statement,
    StatementPeriod,
)
from server.dashboard import queries
from server.db import db
from server.orders.models import Order
from server.orders.notices import ASKS_FOR_MONEY
from server.shops.models import Shop

KINDS_OF_ORDER = 10
STATEMENTS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Balance:
    """What was on the account at the end of a day, as the bank said."""

    amount: Decimal
    on: date


@dataclass(frozen=True, slots=True)
class AccountRow:
    """An account as the list shows it. ``heard_at``: when its bank was last heard, if ever."""

    account: BankAccount
    bank: str
    heard_at: datetime | None
    is_stale: bool
    balance: Balance | None
    waiting: int
    known_from: date | None
    connection: BankConnection | None

    @property
    def name(self) -> str:
        return self.account.label or self.bank


def account_rows(merchant_id: int, at: datetime) -> list[AccountRow]:
    """All accounts; those that customers pay to first."""
    query = select(BankAccount).where(BankAccount.merchant_id == merchant_id)
    accounts = db.session.scalars(query.order_by(BankAccount.is_payee.desc(), BankAccount.id))
    return rows_of(merchant_id, list(accounts), at)


def rows_of(merchant_id: int, accounts: Sequence[BankAccount], at: datetime) -> list[AccountRow]:
    """These accounts with what is known of each."""
    ids = [account.id for account in accounts]
    balances, waiting, known_from = _balances(ids), _waiting(ids), _known_from(ids)
    heard = {one.account.id: one for one in queries.accounts_as_of(merchant_id, at)}
    connections = {one.id: one for one in fetching.connections(merchant_id)}
    rows = []
    for account in accounts:
        connection = connections.get(account.connection_id or 0)
        as_of = heard.get(account.id)
        rows.append(
            AccountRow(
                account,
                queries.bank_name(account.iban),
                as_of.at if as_of else None,
                as_of is not None and as_of.is_stale,
                balances.get(account.id),
                waiting.get(account.id, 0),
                known_from.get(account.id),
                connection,
            )
        )
    return rows


def _balances(account_ids: Sequence[int]) -> dict[int, Balance]:
    rows = db.session.execute(
        select(StatementPeriod.account_id, StatementPeriod.closing, StatementPeriod.to_date)
        .where(
            StatementPeriod.account_id.in_(account_ids),
            StatementPeriod.closing.is_not(None),
            StatementPeriod.to_date.is_not(None),
        )
        .ext(distinct_on(StatementPeriod.account_id))
        .order_by(
            StatementPeriod.account_id, StatementPeriod.to_date.desc(), StatementPeriod.id.desc()
        )
    )
    return {row[0]: Balance(row[1], row[2]) for row in rows if row[1] is not None and row[2]}


def _waiting(account_ids: Sequence[int]) -> dict[int, int]:
    rows = db.session.execute(
        select(Posting.account_id, func.count())
        .where(Posting.account_id.in_(account_ids), Posting.is_open)
        .group_by(Posting.account_id)
    )
    return {row[0]: row[1] for row in rows}


def _known_from(account_ids: Sequence[int]) -> dict[int, date]:
    """The first day of each account that anything is known of."""
    first: dict[int, date] = {}
    for day, account_id in (
        (AccountDay.day, AccountDay.account_id),
        (StatementPeriod.from_date, StatementPeriod.account_id),
    ):
        rows = db.session.execute(
            select(account_id, func.min(day))
            .where(account_id.in_(account_ids))
            .group_by(account_id)
        )
        for found_id, found_day in rows:
            if found_day is not None:
                first[found_id] = min(found_day, first.get(found_id, found_day))
    return first


def accounts_of_connection(merchant_id: int, connection_id: int) -> list[BankAccount]:
    query = select(BankAccount).where(
        BankAccount.merchant_id == merchant_id, BankAccount.connection_id == connection_id
    )
    return list(db.session.scalars(query.order_by(BankAccount.id)))


def account_with(merchant_id: int, iban: str, currency: str) -> BankAccount | None:
    return db.session.scalar(
        select(BankAccount).where(
            BankAccount.merchant_id == merchant_id,
            BankAccount.iban == iban,
            BankAccount.currency == currency,
        )
    )


def older_count(merchant_id: int, account_id: int) -> int:
    """How many postings are kept without assignment because they are from before (K11)."""
    count = select(func.count()).where(
        Posting.merchant_id == merchant_id, Posting.account_id == account_id, Posting.no_assignment
    )
    return int(db.session.scalar(count) or 0)


@dataclass(frozen=True, slots=True)
class AccountStatement:
    """What one statement says of an account, and the file that it came in."""

    period: StatementPeriod
    statement: Statement


def statements_of_account(merchant_id: int, account_id: int) -> list[AccountStatement]:
    """The newest ones."""
    rows = db.session.execute(
        select(StatementPeriod, Statement)
        .join(Statement, Statement.id == StatementPeriod.statement_id)
        .where(StatementPeriod.merchant_id == merchant_id, StatementPeriod.account_id == account_id)
        .order_by(StatementPeriod.to_date.desc().nulls_last(), StatementPeriod.id.desc())
        .limit(STATEMENTS_SHOWN)
    )
    return [AccountStatement(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class KindOfOrder:
    """Where orders come from, and how many did: billing country (None: not known), currency."""

    country: str | None
    currency: str
    shop_id: int
    shop_name: str
    count: int


def kinds_of_orders(merchant_id: int, since: datetime) -> list[KindOfOrder]:
    """The most frequent kinds of orders that ask for a transfer, since then."""
    billing, shipping = Order.wire["billing_address"], Order.wire["shipping_address"]
    address = case((func.json_typeof(billing) == "object", billing), else_=shipping)
    country = func.upper(address["country"].as_string())
    rows = db.session.execute(
        select(country, Order.currency, Shop.id, Shop.name, func.count())
        .join(Shop, Shop.id == Order.shop_id)
        .where(
            Order.merchant_id == merchant_id,
            Order.ordered_at >= since,
            Order.payment_code.in_([code.value for code in ASKS_FOR_MONEY]),
        )
        .group_by(country, Order.currency, Shop.id, Shop.name)
        .order_by(func.count().desc(), Shop.name, Order.currency, country)
        .limit(KINDS_OF_ORDER)
    )
    return [KindOfOrder(*row) for row in rows]
