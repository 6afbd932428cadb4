"""Bank accounts, statements and ignore rules: what is done. Never commits.

What arrives is in ``intake.py``, which is written for bulk.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from schwifty import BIC, IBAN
from schwifty.exceptions import SchwiftyException
from sqlalchemy import ColumnElement, DateTime, Select, cast, func, select, update
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert

from server.banking import formats
from server.banking.accounts import find_or_add_account
from server.banking.models import (
    AccountDay,
    BankAccount,
    BankConnection,
    CsvLayout,
    IgnoreRule,
    Posting,
    Statement,
    StatementPeriod,
)
from server.banking.payments.swiss_qr import Party, checked_creditor, is_qr_iban
from server.banking.rules.accounts import Payee
from server.banking.rules.coverage import Break, Day, Period, breaks, calendar
from server.banking.rules.ignoring import Rule, checked_rule, rule_for
from server.db import db
from server.merchants.models import Merchant

MAX_STATEMENT_BYTES = 64 * 1024 * 1024
MAX_FILENAME_LENGTH = 255
CREDITOR_NAME_LENGTH = 70  # EPC069-12
ADDRESS_FIELDS = ("street", "building_number", "postcode", "city", "country")
LABEL_LENGTH = 100
MAX_ACCOUNTS = 200
MAX_RULES = 500
MAX_LAYOUTS = 200
HEAD_BYTES = 16 * 1024
PERIODS_READ = 2_000
PAST_LOOKED_AT = 5_000
PAST_SHOWN = 20
FILES_LOOKED_AT = 200


# --- accounts ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AccountTerms:
    """What a person enters for an account; see ``banking.models.BankAccount``.

    A ``creditor_address`` that names nothing but a country is none.
    """

    iban: str
    bic: str = ""
    creditor_name: str = ""
    currency: str = "EUR"
    label: str = ""
    is_payee: bool = True
    for_countries: Sequence[str] = ()
    for_currencies: Sequence[str] = ()
    for_shops: Sequence[int] = ()
    ignores_doubles: bool = False
    assign_from: date | None = None
    creditor_address: Mapping[str, str] = field(default_factory=dict)
    qr_iban: str = ""


def add_account(merchant_id: int, terms: AccountTerms) -> BankAccount:
    """An own account; one that statements have named already is completed.

    Raises ValueError with a message key.
    """
    checked = _checked(IBAN, terms.iban, "iban_invalid")
    count = select(func.count()).where(BankAccount.merchant_id == merchant_id)
    if (db.session.scalar(count) or 0) >= MAX_ACCOUNTS:
        raise ValueError("too_many_accounts")
    account = find_or_add_account(merchant_id, checked.compact, _currency(terms.currency))
    given = terms.bic or (checked.bic.compact if checked.bic else "")
    _write_terms(account, terms, given)
    return account


def change_account(merchant_id: int, account_id: int, terms: AccountTerms) -> BankAccount | None:
    """All but IBAN and currency, which say what account it is. Raises ValueError."""
    account = account_of(merchant_id, account_id)
    if account is not None:
        _write_terms(account, terms, terms.bic)
    return account


def checked_iban(text: str) -> str:
    """Without blanks. Raises ValueError with a message key."""
    compact: str = _checked(IBAN, text, "iban_invalid").compact
    return compact


def _write_terms(account: BankAccount, terms: AccountTerms, bic: str) -> None:
    countries = [country.strip().upper() for country in terms.for_countries]
    if not all(len(country) == 2 and country.isalpha() for country in countries):
        raise ValueError("country_invalid")
    if account.shared_account_id is None:  # else the operator says who is paid, and whether
        _write_payee(account, terms, bic)
    account.label = " ".join(terms.label.split())[:LABEL_LENGTH]
    account.for_countries = sorted(set(countries))
    account.for_currencies = sorted({_currency(one) for one in terms.for_currencies})
    account.for_shops = sorted(set(terms.for_shops))
    account.ignores_doubles, account.assign_from = terms.ignores_doubles, terms.assign_from


def _write_payee(account: BankAccount, terms: AccountTerms, bic: str) -> None:
    given = _checked(BIC, bic, "bic_invalid").compact if bic.strip() else None
    name = " ".join(terms.creditor_name.split())
    if terms.is_payee:
        checked_iban(account.iban)
    is_asked_for = terms.is_payee or account.is_shared
    if len(name) > CREDITOR_NAME_LENGTH or (is_asked_for and not name):
        raise ValueError("creditor_name_invalid")
    account.creditor_address = _checked_address(name, terms.creditor_address)
    account.qr_iban = _checked_qr_iban(terms.qr_iban)
    account.bic, account.creditor_name, account.is_payee = given, name or None, terms.is_payee
    if account.is_shared:
        members = update(BankAccount).where(BankAccount.shared_account_id == account.id)
        db.session.execute(members.values(**payee_columns(account)))


def payee_columns(shared: BankAccount) -> dict[str, Any]:
    """What members of a shared account have from it: who is paid there."""
    names = ("bic", "creditor_name", "creditor_address", "qr_iban")
    return {name: getattr(shared, name) for name in names}


def _checked_address(name: str, typed: Mapping[str, str]) -> dict[str, str]:
    """As a QR-bill's code takes it (SIX, type S); ValueError with a message key."""
    said = {key: " ".join(typed.get(key, "").split()) for key in ADDRESS_FIELDS}
    if not any(text for key, text in said.items() if key != "country"):
        return {}
    if said["postcode"][:3].upper() == f"{said['country'].upper()}-":
        said["postcode"] = said["postcode"][3:]  # the standard names the country once
    said["country"] = said["country"].upper()
    try:
        checked = checked_creditor(Party(name=name, **said))
    except ValueError as refused:
        if name and refused.args[0] == "creditor_name_invalid":
            raise ValueError("creditor_name_not_latin") from None
        raise
    return {key: getattr(checked, key) for key in ADDRESS_FIELDS}


def _checked_qr_iban(text: str) -> str | None:
    if not text.strip():
        return None
    iban: str = _checked(IBAN, text, "qr_iban_invalid").compact
    if not is_qr_iban(iban):
        raise ValueError("qr_iban_invalid")
    return iban


def _currency(printed: str) -> str:
    code = printed.strip().upper()
    if len(code) != 3 or not (code.isascii() and code.isalpha()):
        raise ValueError("currency_invalid")
    return code


def _checked(kind: Any, text: str, message_key: str) -> Any:
    """An IBAN or BIC of schwifty; ValueError with the message key if it is none."""
    try:
        return kind(text)
    except (SchwiftyException, ValueError):
        raise ValueError(message_key) from None


def account_of(merchant_id: int, account_id: int) -> BankAccount | None:
    return db.session.scalar(
        select(BankAccount).where(
            BankAccount.merchant_id == merchant_id, BankAccount.id == account_id
        )
    )


def account_by_iban(merchant_id: int, iban: str) -> BankAccount | None:
    """The oldest with this IBAN; there is one for each currency."""
    compact = "".join(iban.split()).upper()
    return db.session.scalar(
        select(BankAccount)
        .where(BankAccount.merchant_id == merchant_id, BankAccount.iban == compact)
        .order_by(BankAccount.id)
        .limit(1)
    )


def payees(merchant_id: int) -> tuple[Payee, ...]:
    """The accounts that customers may be asked to pay to, oldest first."""
    return read_payees(db.session.scalar(payees_of(merchant_id)))


def payees_of(merchant_id: Any) -> Select[Any]:
    """One JSON list of a merchant's payee accounts, as a query that others can join."""
    told = func.json_build_array(
        BankAccount.iban,
        BankAccount.bic,
        BankAccount.creditor_name,
        BankAccount.currency,
        BankAccount.for_countries,
        BankAccount.for_currencies,
        BankAccount.for_shops,
        BankAccount.creditor_address,
        BankAccount.qr_iban,
    )
    return select(func.json_agg(aggregate_order_by(told, BankAccount.id)).label("payees")).where(
        BankAccount.merchant_id == merchant_id, BankAccount.is_payee
    )


def read_payees(rows: list[list[Any]] | None) -> tuple[Payee, ...]:
    """What ``payees_of`` gave."""
    return tuple(
        Payee(
            iban,
            bic or "",
            name or "",
            currency,
            frozenset(countries),
            frozenset(currencies),
            frozenset(shops),
            Party(name=name or "", **address) if address else None,
            qr_iban or "",
        )
        for iban, bic, name, currency, countries, currencies, shops, address, qr_iban in rows or ()
    )


def coverage(
    merchant_id: int, account: BankAccount, first: date, last: date
) -> tuple[list[Day], list[Break]]:
    """The account's days from ``first`` to ``last``, and where its balances do not add up."""
    assert account.merchant_id == merchant_id, "tenants never mix"
    rows = db.session.scalars(
        select(StatementPeriod)
        .where(StatementPeriod.account_id == account.id, StatementPeriod.to_date >= first)
        .order_by(StatementPeriod.from_date.desc(), StatementPeriod.id)
        .limit(PERIODS_READ)
    )
    told = [
        Period(
            row.statement_id,
            row.from_date,
            row.to_date,
            row.opening,
            row.closing,
            row.booked_total,
            row.is_complete,
        )
        for row in rows
        if row.from_date is not None and row.to_date is not None
    ]
    counts = db.session.execute(
        select(AccountDay.day, func.sum(AccountDay.postings))
        .where(AccountDay.account_id == account.id, AccountDay.day.between(first, last))
        .group_by(AccountDay.day)
    )
    wrong = breaks(told, _held(account.id, told))
    return calendar(told, {row[0]: int(row[1]) for row in counts}, first, last, wrong), wrong


def _held(account_id: int, told: Sequence[Period]) -> dict[date, Decimal]:
    """The sums of the postings that count, by day, for the days that the bank tells."""
    if not told:
        return {}
    first, last = min(one.from_date for one in told), max(one.to_date for one in told)
    rows = db.session.execute(
        select(Posting.booking_date, func.sum(Posting.amount))
        .where(
            Posting.account_id == account_id,
            Posting.booking_date.between(first, last),
            Posting.is_pending.is_(False),
            Posting.is_replaced.is_(False),
            Posting.ignored_because.is_distinct_from("duplicate"),
            Posting.ignored_because.is_distinct_from("double"),
        )
        .group_by(Posting.booking_date)
    )
    return {on: total for on, total in rows if on is not None}


# --- how fresh -----------------------------------------------------------------------------------


def heard_at(merchant_id: int) -> dict[int, datetime | None]:
    """Account id to the moment up to which its bank has told us everything; None = never (N5).

    A fetch is as fresh as the moment of the fetch. A file is as fresh as its last day: the end of
    the period that it names, else the day of its newest posting, else the day it came; never
    fresher than the moment at which it was read. Postings that came by the API, the moment they
    came. On a shared account the operator's bank counts.
    """
    shared = select(BankAccount.shared_account_id).where(
        BankAccount.merchant_id == merchant_id, BankAccount.shared_account_id.is_not(None)
    )
    rows = db.session.execute(
        select(
            BankAccount.id,
            BankAccount.merchant_id,
            BankAccount.shared_account_id,
            BankAccount.iban,
            BankConnection.fetched_at,
            BankConnection.error,
        )
        .outerjoin(BankConnection, BankConnection.id == BankAccount.connection_id)
        .where((BankAccount.merchant_id == merchant_id) | BankAccount.id.in_(shared))
    ).all()
    told = _told_until([row.id for row in rows])
    heard: dict[int, datetime | None] = {}
    for row in rows:
        is_refused = f"{row.iban}:" in (row.error or "")  # the bank left this account out
        fetched = None if is_refused else row.fetched_at
        moments = [one for one in (fetched, told.get(row.id)) if one is not None]
        heard[row.id] = max(moments, default=None)
    return {
        row.id: heard[row.shared_account_id or row.id]
        for row in rows
        if row.merchant_id == merchant_id
    }


def _told_until(account_ids: Sequence[int]) -> dict[int, datetime]:
    """By files and by the API; an account that was never told of is not there."""
    read_at = func.coalesce(Statement.finished_at, Statement.created_at)
    of_file = (
        select(
            StatementPeriod.account_id.label("account_id"),
            func.least(_end_of(StatementPeriod.to_date), read_at).label("until"),
        )
        .join(Statement, Statement.id == StatementPeriod.statement_id)
        .join(Merchant, Merchant.id == Statement.merchant_id)
        .where(
            StatementPeriod.account_id.in_(account_ids),
            StatementPeriod.to_date.is_not(None),
            Statement.status == "done",
            ~Statement.is_pending,
        )
    )
    found: dict[int, datetime] = {}
    for query in (of_file, _without_period(account_ids, read_at), _by_api(account_ids)):
        each = query.subquery()
        newest = select(each.c.account_id, func.max(each.c.until)).group_by(each.c.account_id)
        for account_id, until in db.session.execute(newest):
            found[account_id] = max(until, found.get(account_id, until))
    return found


def _without_period(account_ids: Sequence[int], read_at: Any) -> Select[int, Any]:
    """Files that do not say which days they are about: as fresh as what is in them."""
    newest = (
        select(func.max(Posting.booking_date))
        .where(Posting.statement_id == Statement.id, Posting.account_id == BankAccount.id)
        .correlate(Statement, BankAccount)
        .scalar_subquery()
    )
    named = select(StatementPeriod.id).where(
        StatementPeriod.statement_id == Statement.id, StatementPeriod.to_date.is_not(None)
    )
    whose = select(BankAccount.merchant_id).where(BankAccount.id.in_(account_ids))
    latest = (
        select(Statement.id)
        .where(Statement.merchant_id.in_(whose), Statement.status == "done")
        .order_by(Statement.id.desc())
        .limit(FILES_LOOKED_AT)
    )
    return (
        select(
            BankAccount.id.label("account_id"),
            func.least(_end_of(newest), read_at).label("until"),
        )
        .join(Statement, Statement.merchant_id == BankAccount.merchant_id)
        .join(Merchant, Merchant.id == BankAccount.merchant_id)
        .where(
            BankAccount.id.in_(account_ids),
            Statement.account_iban == BankAccount.iban,
            Statement.id.in_(latest),
            ~Statement.is_pending,
            ~named.exists(),
        )
    )


def _by_api(account_ids: Sequence[int]) -> Select[int, datetime]:
    return (
        select(Posting.account_id.label("account_id"), func.max(Posting.created_at).label("until"))
        .where(
            Posting.account_id.in_(account_ids),
            Posting.statement_id.is_(None),
            Posting.passed_on_from_id.is_(None),
        )
        .group_by(Posting.account_id)
    )


def _end_of(day: Any) -> ColumnElement[Any]:
    """The midnight that ends a day where the merchant lives; null where there is no day."""
    return func.timezone(Merchant.timezone, cast(day + 1, DateTime))


# --- statements --------------------------------------------------------------------------------


def store_statement(
    merchant_id: int,
    filename: str,
    content: bytes,
    *,
    uploaded_by: str,
    columns: dict[str, Any] | None = None,
    account_id: int | None = None,
    is_pending: bool = False,
) -> Statement:
    """Keep the file as it came; a worker reads it. Raises ValueError with a message key.

    ``is_pending``: the bank says that nothing in it is booked yet.
    """
    if not content:
        raise ValueError("statement_empty")
    if len(content) > MAX_STATEMENT_BYTES:
        raise ValueError("statement_too_large")
    if account_id is not None and account_of(merchant_id, account_id) is None:
        raise ValueError("account_unknown")
    statement = Statement(
        merchant_id=merchant_id,
        filename=filename.replace("\x00", "")[-MAX_FILENAME_LENGTH:] or "statement",
        content=content,
        size_bytes=len(content),
        content_hash=hashlib.sha256(content).digest(),
        columns=columns,
        account_id=account_id,
        is_pending=is_pending,
        uploaded_by=uploaded_by,
    )
    db.session.add(statement)
    db.session.flush()
    return statement


def statement_of(merchant_id: int, statement_id: int) -> Statement | None:
    return db.session.scalar(
        select(Statement).where(Statement.merchant_id == merchant_id, Statement.id == statement_id)
    )


def retry_statement(
    merchant_id: int,
    statement_id: int,
    columns: dict[str, Any] | None,
    at: datetime,
    *,
    account_id: int | None = None,
) -> Statement | None:
    """Read a failed statement again, now with the columns or the account that a person named.

    Columns are remembered for the next file with this header (C2). Raises ValueError.
    """
    statement = statement_of(merchant_id, statement_id)
    if statement is None or statement.status != "failed":
        return None
    if account_id is not None and account_of(merchant_id, account_id) is None:
        raise ValueError("account_unknown")
    if columns is not None:
        key = formats.header_key(io.BytesIO(statement.content))
        if key is not None:
            _remember_columns(merchant_id, key, columns, account_id)
        statement.columns = columns
    statement.account_id = account_id or statement.account_id
    _begin_again(statement, at)
    return statement


def use_remembered_columns(statement: Statement) -> bool:
    """Whether columns named for an earlier file with this header let it be read; then it is
    queued anew. Called when a file turns out to be a CSV of unknown layout."""
    if statement.columns is not None:
        return False
    key = formats.header_key(io.BytesIO(statement.content))
    layout = db.session.scalar(
        select(CsvLayout).where(
            CsvLayout.merchant_id == statement.merchant_id, CsvLayout.header_key == (key or "")
        )
    )
    if layout is None:
        return False
    statement.columns = layout.columns
    statement.account_id = statement.account_id or layout.account_id
    return True


def has_columns(statement: Statement) -> bool:
    """Whether a person could name the columns: it is a table."""
    return formats.table_head(statement.content[:HEAD_BYTES]) is not None


def _remember_columns(
    merchant_id: int, key: str, columns: dict[str, Any], account_id: int | None
) -> None:
    count = select(func.count()).where(CsvLayout.merchant_id == merchant_id)
    if (db.session.scalar(count) or 0) >= MAX_LAYOUTS:
        return
    remembered = {"columns": columns, "account_id": account_id}
    db.session.execute(
        insert(CsvLayout)
        .values(merchant_id=merchant_id, header_key=key, **remembered)
        .on_conflict_do_update(index_elements=["merchant_id", "header_key"], set_=remembered)
    )


def _begin_again(statement: Statement, at: datetime) -> None:
    statement.entries_read = statement.postings_new = statement.postings_known = 0
    statement.postings_pending = statement.postings_doubtful = statement.postings_ignored = 0
    statement.problem_count, statement.problems = 0, []
    statement.error, statement.attempts = None, 0
    statement.asks_columns = statement.asks_account = False
    statement.put_back(at)


# --- ignore rules ------------------------------------------------------------------------------


def add_rule(
    merchant_id: int, kind: str, value: str, *, tells_merchant: bool, actor: str
) -> IgnoreRule:
    """From now on such postings are ignored (K44, K45). Raises ValueError with a message key."""
    rule = checked_rule(kind, value, tells_merchant=tells_merchant)
    count = select(func.count()).where(IgnoreRule.merchant_id == merchant_id)
    if (db.session.scalar(count) or 0) >= MAX_RULES:
        raise ValueError("too_many_rules")
    key = {"merchant_id": merchant_id, "kind": rule.kind, "value": rule.value}
    db.session.execute(
        insert(IgnoreRule)
        .values(**key, tells_merchant=rule.tells_merchant, created_by=actor)
        .on_conflict_do_update(
            index_elements=["merchant_id", "kind", "value"],
            set_={"tells_merchant": rule.tells_merchant},
        )
    )
    found = select(IgnoreRule).filter_by(**key).execution_options(populate_existing=True)
    return db.session.scalars(found).one()


def delete_rule(merchant_id: int, rule_id: int) -> bool:
    """True if there was one. What it ignored before stays ignored."""
    rule = db.session.scalar(
        select(IgnoreRule).where(IgnoreRule.merchant_id == merchant_id, IgnoreRule.id == rule_id)
    )
    if rule is not None:
        db.session.delete(rule)
    return rule is not None


def rules_of(merchant_id: int) -> list[IgnoreRule]:
    query = select(IgnoreRule).where(IgnoreRule.merchant_id == merchant_id)
    return list(db.session.scalars(query.order_by(IgnoreRule.kind, IgnoreRule.id)))


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a rule whose hits the merchant wants to hear of took off the list, of one file."""

    rule_id: int
    pattern: str
    currency: str
    count: int
    total: Decimal


def recognised_in(statement: Statement) -> list[Recognised]:
    """One a rule and currency."""
    rows = db.session.execute(
        select(
            IgnoreRule.id,
            IgnoreRule.value,
            Posting.currency,
            func.count(),
            func.sum(Posting.amount),
        )
        .join(
            IgnoreRule,
            (IgnoreRule.merchant_id == Posting.merchant_id)
            & (IgnoreRule.kind == Posting.ignored_because)
            & (func.left(IgnoreRule.value, 320) == Posting.ignored_by),
        )
        .where(Posting.statement_id == statement.id, IgnoreRule.tells_merchant)
        .group_by(IgnoreRule.id, Posting.currency)
        .order_by(IgnoreRule.id, Posting.currency)
    )
    return [Recognised(*row) for row in rows]


def past_hits(merchant_id: int, kind: str, value: str) -> tuple[int, list[Posting]]:
    """How many of the last ``PAST_LOOKED_AT`` credits a rule would have ignored, and the newest.

    Raises ValueError with a message key.
    """
    rule = checked_rule(kind, value)
    only = [rule] if rule.kind == "keep_providers" else [rule, Rule("keep_providers")]
    query = (
        select(Posting)
        .where(Posting.merchant_id == merchant_id, Posting.amount > 0)
        .order_by(Posting.booking_date.desc(), Posting.id.desc())
        .limit(PAST_LOOKED_AT)
    )
    hits = [row for row in db.session.scalars(query) if rule_for(row, only) is not None]
    return len(hits), hits[:PAST_SHOWN]
