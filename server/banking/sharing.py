"""Accounts of the operator that several merchants share (S20, K50, K52). Never commits.

The bank's postings belong to the operator. One whose merchant is known is passed on: the merchant
gets a copy on a row of the account that is his own, and everything else (matching, assigning,
who may see what) is as with any other posting. A merchant's balance is the sum of what was passed
on to him and of what was paid out, charged or corrected.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import ROUND_DOWN, Decimal
from hashlib import sha256
from typing import Any

from sqlalchemy import Select, Subquery, false, func, literal, null, or_, select, union_all
from sqlalchemy.orm import aliased
from sqlalchemy.sql import ColumnElement

from server.banking.models import AccountMovement, BankAccount, Posting
from server.banking.payments.pain001 import (
    MAX_AMOUNT,
    MAX_NAME_LENGTH,
    CreditTransfer,
    Payer,
    credit_transfer_file,
)
from server.banking.payments.sepa_text import sepa_name
from server.banking.service import account_of, checked_iban, payee_columns
from server.db import db
from server.merchants.models import Merchant
from server.merchants.service import lock_merchant

KINDS = ("payout", "fee", "refund", "correction")
MAX_MEMBERS = 10_000
MAX_REFERENCE_LENGTH = 140
MAX_GIVEN_AT_ONCE = 200
MOST_SEARCHED_WORDS = 5
LARGEST_MOVEMENT = Decimal(10) ** 9
CENT = Decimal("0.01")
ZERO = Decimal(0)
PAYABLE_CURRENCY = "EUR"
PAYOUT_MARK = "KONTOR-"
_PAYOUT = re.compile(r"(KONTOR-\d+-\d{14}) ([A-Z0-9]+) (.+)", re.ASCII)
"""The reference of a payout by file: message id, IBAN and name that it went to."""


@dataclass(frozen=True, slots=True)
class Member:
    """A merchant on a shared account. ``account`` is the merchant's own row of it."""

    merchant: Merchant
    account: BankAccount
    balance: Decimal


@dataclass(frozen=True, slots=True)
class Movement:
    """A line of a merchant's list: ``kind`` is ``posting`` or one of ``KINDS``."""

    id: int
    kind: str
    booked_on: date | None
    amount: Decimal
    text: str


@dataclass(frozen=True, slots=True)
class PayoutLine:
    """What a member is paid, or why not: ``reason`` is ``no_balance``, ``no_payout_account``,
    ``name_not_latin`` or ``too_large``; None means that it is paid. ``amount`` is whole cents."""

    member: Member
    amount: Decimal
    reason: str | None


@dataclass(frozen=True, slots=True)
class Payout:
    """A file that was made: what identifies it, when and for which day, how many and how much."""

    message_id: str
    created_at: datetime
    booked_on: date
    count: int
    total: Decimal


# --- the operator ------------------------------------------------------------------------------


def share_account(operator: Merchant, account_id: int) -> BankAccount:
    """From now on other merchants may use it. Raises ValueError with a message key."""
    account = _own(operator, account_id)
    if not account.iban or not account.creditor_name:
        raise ValueError("account_not_payable")
    account.is_shared = True
    return account


def add_member(operator: Merchant, account_id: int, merchant_id: int) -> BankAccount:
    """The merchant's customers may pay to the shared account. Raises ValueError."""
    shared = _shared(operator, account_id)
    if merchant_id == operator.id or db.session.get(Merchant, merchant_id) is None:
        raise ValueError("merchant_unknown")
    lock_merchant(operator.id)  # or a button pressed twice adds two rows
    its = {"merchant_id": merchant_id, "iban": shared.iban, "currency": shared.currency}
    row = db.session.scalars(select(BankAccount).filter_by(**its)).first()
    if row is not None and row.shared_account_id is None:
        raise ValueError("merchant_has_this_account")
    if row is None:
        count = select(func.count()).where(BankAccount.shared_account_id == shared.id)
        if (db.session.scalar(count) or 0) >= MAX_MEMBERS:
            raise ValueError("too_many_members")
        row = BankAccount(**its, shared_account_id=shared.id)
        db.session.add(row)
    for name, value in payee_columns(shared).items():
        setattr(row, name, value)
    row.is_payee = True
    db.session.flush()
    return row


def remove_member(operator: Merchant, account_id: int, merchant_id: int) -> None:
    """Nobody is asked any more to pay there for this merchant; what was booked stays."""
    shared = _shared(operator, account_id)
    row = db.session.scalars(
        select(BankAccount).filter_by(merchant_id=merchant_id, shared_account_id=shared.id)
    ).first()
    if row is not None:
        row.is_payee = False


def members(operator: Merchant, account_id: int) -> list[Member]:
    """Everybody on the account, with what is theirs."""
    shared = _shared(operator, account_id)
    rows = db.session.execute(
        select(Merchant, BankAccount)
        .join(BankAccount, BankAccount.merchant_id == Merchant.id)
        .where(BankAccount.shared_account_id == shared.id)
        .order_by(Merchant.name, Merchant.id)
    ).all()
    balances = _balances([account.id for _, account in rows])
    return [Member(merchant, account, balances[account.id]) for merchant, account in rows]


def member_ids(operator_id: int) -> dict[int, list[int]]:
    """Each shared account of the operator with the merchants that use it."""
    shared = aliased(BankAccount)
    rows = db.session.execute(
        select(BankAccount.shared_account_id, BankAccount.merchant_id)
        .join(shared, shared.id == BankAccount.shared_account_id)
        .where(shared.merchant_id == operator_id)
        .order_by(BankAccount.merchant_id)
    )
    found: dict[int, list[int]] = {}
    for row in rows:
        found.setdefault(row.shared_account_id, []).append(row.merchant_id)
    return found


def operators_of(merchant_id: int) -> dict[int, int]:
    """Each shared account that the merchant uses, with the operator who owns it."""
    shared = aliased(BankAccount)
    rows = db.session.execute(
        select(shared.id, shared.merchant_id)
        .join(BankAccount, BankAccount.shared_account_id == shared.id)
        .where(BankAccount.merchant_id == merchant_id)
    )
    return {row.id: row.merchant_id for row in rows}


# --- passing on --------------------------------------------------------------------------------


def pass_on(posting: Posting, merchant_id: int) -> Posting:
    """Give the operator's posting to a merchant of its account; returns the merchant's copy.

    Raises ValueError with a message key.
    """
    if posting.is_passed_on or posting.is_assigned:
        raise ValueError("posting_taken")
    if posting.is_pending or posting.is_replaced:
        raise ValueError("posting_not_final")
    account = db.session.scalars(
        select(BankAccount).filter_by(merchant_id=merchant_id, shared_account_id=posting.account_id)
    ).first()
    if account is None:
        raise ValueError("merchant_not_member")
    told = {name: getattr(posting, name) for name in _PASSED_ON}
    copy = Posting(
        **told,
        merchant_id=merchant_id,
        account_id=account.id,
        passed_on_from_id=posting.id,
        is_open=posting.amount > 0,
        needs_match=posting.amount > 0,
    )
    db.session.add(copy)
    posting.is_passed_on, posting.is_open, posting.needs_match = True, False, False
    db.session.flush()
    return copy


_PASSED_ON = (
    "fingerprint source booking_date value_date amount currency counterparty_name"
    " counterparty_iban counterparty_bic remittance_information creditor_reference end_to_end_id"
    " mandate_id bank_reference transaction_code is_return return_reason is_batch_total"
    " entry_amount particulars"
).split()


def give(operator: Merchant, account_id: int, chosen: Mapping[int, int]) -> list[Posting]:
    """Pass on what the operator decided: posting id to merchant id, all or none.

    Returns the copies. Raises ValueError with a message key.
    """
    shared = _shared(operator, account_id)
    if len(chosen) > MAX_GIVEN_AT_ONCE:
        raise ValueError("too_many_given")
    lock_merchant(operator.id)
    found = {one.id: one for one in _postings_now(shared, chosen)}
    if found.keys() != chosen.keys():
        raise ValueError("posting_unknown")
    return [pass_on(found[posting_id], chosen[posting_id]) for posting_id in sorted(chosen)]


def _postings_now(shared: BankAccount, posting_ids: Collection[int]) -> Sequence[Posting]:
    """As they are now that the lock is held."""
    query = select(Posting).where(Posting.account_id == shared.id, Posting.id.in_(posting_ids))
    return db.session.scalars(query.execution_options(populate_existing=True)).all()


def take_back_one(operator: Merchant, account_id: int, posting_id: int) -> Posting:
    """See ``take_back``; of the operator's account. Raises ValueError with a message key."""
    shared = _shared(operator, account_id)
    lock_merchant(operator.id)
    found = _postings_now(shared, [posting_id])
    if not found:
        raise ValueError("posting_unknown")
    copy = take_back(found[0])
    if copy is None:
        raise ValueError("posting_not_passed_on")
    return copy


def take_back(posting: Posting) -> Posting | None:
    """It was another merchant's: the operator's posting is open again, the copy counts nothing.

    The copy stays because reversed assignments may refer to it; it counts as passed on, so that
    nobody can bring it back. Kontor does not pass the posting on by itself again. Returns the
    copy, None if there was none. Raises ValueError ``posting_taken`` if
    the merchant has assigned it.
    """
    query = select(Posting).filter_by(passed_on_from_id=posting.id)
    copy = db.session.scalars(query).first()
    if copy is None:
        return None
    lock_merchant(copy.merchant_id)  # or the merchant assigns it in this very moment
    db.session.refresh(copy)
    if copy.is_assigned:
        raise ValueError("posting_taken")
    copy.fingerprint, copy.passed_on_from_id = f"taken back {copy.id}", None
    copy.is_open, copy.needs_match, copy.is_passed_on = False, False, True
    posting.is_passed_on, posting.is_blocked = False, True
    posting.is_open = posting.needs_match = posting.may_be_open
    db.session.flush()
    return copy


# --- balances ----------------------------------------------------------------------------------


def balance_of(account: BankAccount) -> Decimal:
    """What the operator owes the merchant of this row."""
    return _balances([account.id])[account.id]


def _balances(account_ids: Collection[int]) -> dict[int, Decimal]:
    balances = dict.fromkeys(account_ids, ZERO)
    posted = select(Posting.account_id, func.sum(Posting.amount)).where(
        Posting.account_id.in_(account_ids), ~Posting.is_passed_on
    )
    moved = select(AccountMovement.account_id, func.sum(AccountMovement.amount)).where(
        AccountMovement.account_id.in_(account_ids)
    )
    for rows in (
        db.session.execute(posted.group_by(Posting.account_id)),
        db.session.execute(moved.group_by(AccountMovement.account_id)),
    ):
        for account_id, total in rows:
            balances[account_id] += total
    return balances


def add_movement(
    operator: Merchant,
    account_id: int,
    merchant_id: int,
    *,
    kind: str,
    amount: Decimal,
    reference: str,
    on: date,
    actor: str,
) -> AccountMovement:
    """A fee, a refund, a correction or a payout made elsewhere. Raises ValueError.

    ``amount`` is signed from the merchant's view.
    """
    row = _member_row(operator, account_id, merchant_id)
    if kind not in KINDS:
        raise ValueError("movement_kind_unknown")
    if amount == 0 or abs(amount) > LARGEST_MOVEMENT or amount != amount.quantize(CENT):
        raise ValueError("movement_amount_invalid")
    if kind in ("payout", "fee") and amount > 0:
        raise ValueError("movement_amount_invalid")
    text = " ".join(reference.split())
    if text.startswith(PAYOUT_MARK):
        raise ValueError("movement_reference_reserved")
    lock_merchant(operator.id)
    movement = AccountMovement(
        merchant_id=merchant_id,
        account_id=row.id,
        kind=kind,
        amount=amount,
        booked_on=on,
        reference=text[:MAX_REFERENCE_LENGTH],
        created_by=actor,
    )
    db.session.add(movement)
    db.session.flush()
    return movement


# --- paying out --------------------------------------------------------------------------------


def set_payout(merchant_id: int, account_id: int, iban: str, name: str) -> BankAccount | None:
    """Where the merchant's balance goes. Raises ValueError with a message key."""
    account = account_of(merchant_id, account_id)
    if account is None or account.shared_account_id is None:
        return None
    payee = " ".join(name.split())
    if not payee or len(payee) > MAX_REFERENCE_LENGTH:
        raise ValueError("payout_name_missing")
    if not _is_writable(payee):
        raise ValueError("payout_name_not_latin")
    account.payout_iban, account.payout_name = checked_iban(iban), payee
    return account


def _is_writable(name: str) -> bool:
    """Whether banks can write the name; one that they cannot would spoil the file for all."""
    try:
        return any(character.isalnum() for character in sepa_name(name))
    except ValueError:
        return False


def payout_plan(operator: Merchant, account_id: int) -> list[PayoutLine]:
    """What a file made now would hold, and who is left out and why. Raises ValueError."""
    return [_payout_line(member) for member in members(operator, account_id)]


def _payout_line(member: Member) -> PayoutLine:
    amount = member.balance.quantize(CENT, ROUND_DOWN)
    reason = None
    if amount <= 0:
        reason = "no_balance"
    elif member.account.payout_iban is None or member.account.payout_name is None:
        reason = "no_payout_account"
    elif not _is_writable(member.account.payout_name):
        reason = "name_not_latin"
    elif amount > MAX_AMOUNT:
        reason = "too_large"
    return PayoutLine(member, amount, reason)


def plan_fingerprint(plan: Collection[PayoutLine]) -> str:
    """Changes with every amount and every account that the plan pays to."""
    told = [
        f"{line.member.account.id} {line.amount:f} {line.member.account.payout_iban}"
        f" {line.member.account.payout_name}"
        for line in plan
        if line.reason is None
    ]
    return sha256("\n".join(told).encode()).hexdigest()[:32]


def pay_out(
    operator: Merchant,
    account_id: int,
    *,
    at: datetime,
    on: date,
    actor: str,
    seen: str | None = None,
) -> bytes:
    """A pain.001 file that pays out every positive balance with an account to go to, and the
    movements of it. Raises ValueError with a message key.

    ``seen``: the fingerprint of the plan that the operator agreed to; refused if it has changed,
    so that a button pressed twice pays once. The operator hands the file to the bank; what the
    bank does not execute is corrected by hand.
    """
    shared = _shared(operator, account_id)
    lock_merchant(operator.id)
    plan = payout_plan(operator, account_id)
    if seen is not None and seen != plan_fingerprint(plan):
        raise ValueError("payout_changed")
    at = at.astimezone(UTC).replace(microsecond=0)
    message_id = f"{PAYOUT_MARK}{shared.id}-{at:%Y%m%d%H%M%S}"
    paid = [line for line in plan if line.reason is None]
    rows = [
        AccountMovement(
            merchant_id=line.member.merchant.id,
            account_id=line.member.account.id,
            kind="payout",
            amount=-line.amount,
            booked_on=on,
            reference=_payout_reference(message_id, line.member.account),
            created_by=actor,
            created_at=at,
        )
        for line in paid
    ]
    if rows and _payout_rows(shared, message_id):
        raise ValueError("payout_too_soon")
    db.session.add_all(rows)
    db.session.flush()
    return _payout_file(shared, message_id, rows)


def _payout_reference(message_id: str, account: BankAccount) -> str:
    """Names the payee, so that the same file can be made again when the account has changed."""
    name = (account.payout_name or "")[:MAX_NAME_LENGTH].rstrip()
    return f"{message_id} {account.payout_iban} {name}"


def rebuild(operator: Merchant, account_id: int, message_id: str) -> bytes | None:
    """The file of that payout once more; None if there was none.

    The same byte for byte, as long as the operator's own name and BIC are the same.
    """
    shared = _shared(operator, account_id)
    rows = _payout_rows(shared, message_id)
    return _payout_file(shared, message_id, rows) if rows else None


def _payout_rows(shared: BankAccount, message_id: str) -> list[AccountMovement]:
    if not re.fullmatch(rf"{PAYOUT_MARK}{shared.id}-\d{{14}}", message_id, re.ASCII):
        return []
    query = _payouts(shared).where(AccountMovement.reference.startswith(f"{message_id} "))
    return list(db.session.scalars(query.order_by(AccountMovement.id)))


def _payouts(shared: BankAccount) -> Select[AccountMovement]:
    return (
        select(AccountMovement)
        .join(BankAccount, BankAccount.id == AccountMovement.account_id)
        .where(
            BankAccount.shared_account_id == shared.id,
            AccountMovement.kind == "payout",
            AccountMovement.reference.startswith(PAYOUT_MARK),
        )
    )


def _payout_file(shared: BankAccount, message_id: str, rows: Sequence[AccountMovement]) -> bytes:
    payments = []
    for row in sorted(rows, key=lambda one: one.id):
        _, iban, name = payout_parts(row.reference)
        payments.append(
            CreditTransfer(
                end_to_end_id=f"KTP{row.id}",
                name=name,
                iban=iban,
                amount=-row.amount,
                remittance_information=f"Kontor {row.booked_on:%d.%m.%Y}",
                currency=shared.currency,
            )
        )
    payer = Payer(shared.creditor_name or "", shared.iban, shared.bic or "")
    return credit_transfer_file(
        payer,
        payments,
        message_id=message_id,
        created_at=rows[0].created_at if rows else datetime.now(UTC),
        execution_date=rows[0].booked_on if rows else date.min,
    )


def payout_parts(reference: str) -> tuple[str, str, str]:
    """(message id, IBAN, name) of a payout by file; empty ones where it was made elsewhere."""
    found = _PAYOUT.fullmatch(reference)
    return (found[1], found[2], found[3]) if found else ("", "", "")


def payouts(operator: Merchant, account_id: int, *, limit: int) -> list[Payout]:
    """The files that were made, newest first."""
    shared = _shared(operator, account_id)
    message_id = func.split_part(AccountMovement.reference, " ", 1)
    rows = db.session.execute(
        _payouts(shared)
        .with_only_columns(
            message_id,
            func.min(AccountMovement.created_at),
            func.min(AccountMovement.booked_on),
            func.count(),
            -func.sum(AccountMovement.amount),
        )
        .group_by(message_id)
        .order_by(func.min(AccountMovement.created_at).desc())
        .limit(limit)
    )
    return [Payout(*row) for row in rows]


def last_payouts_to(accounts: Sequence[BankAccount]) -> dict[int, date]:
    """Account id to the last day that a file paid to the IBAN named now; absent: never yet."""
    iban_of = {account.id: account.payout_iban for account in accounts}
    iban = func.split_part(AccountMovement.reference, " ", 2)
    rows = db.session.execute(
        select(AccountMovement.account_id, iban, func.max(AccountMovement.booked_on))
        .where(
            AccountMovement.account_id.in_(iban_of),
            AccountMovement.kind == "payout",
            AccountMovement.reference.startswith(PAYOUT_MARK),
        )
        .group_by(AccountMovement.account_id, iban)
    )
    return {account_id: day for account_id, paid_to, day in rows if paid_to == iban_of[account_id]}


# --- the list of movements ---------------------------------------------------------------------


def movements(
    merchant_id: int,
    account: BankAccount,
    *,
    kinds: Collection[str] = (),
    since: date | None = None,
    until: date | None = None,
    text: str = "",
    limit: int,
) -> list[Movement]:
    """What moved the merchant's balance, newest first (K52)."""
    assert account.merchant_id == merchant_id, "tenants never mix"
    both = movement_rows(account)
    query = select(both).where(*movement_conditions(both, since=since, until=until, text=text))
    if kinds:
        query = query.where(both.c.kind.in_(list(kinds)))
    query = query.order_by(
        both.c.booked_on.desc().nulls_last(), both.c.source.desc(), both.c.id.desc()
    )
    rows = db.session.execute(query.limit(limit))
    return [
        Movement(row.id, row.kind, row.booked_on, row.amount, _joined(row.name, row.text))
        for row in rows
    ]


def _joined(*texts: str | None) -> str:
    return " · ".join(text for text in texts if text)


def movement_rows(account: BankAccount) -> Subquery:
    """Everything that moved the account: ``source`` (0 posting, 1 movement), ``id``, ``kind``,
    ``booked_on``, ``amount``, ``currency``, ``name``, ``iban``, ``text``, ``is_return``."""
    return union_all(_posted(account), _moved(account)).subquery()


def movement_conditions(
    both: Subquery, *, since: date | None, until: date | None, text: str
) -> list[ColumnElement[bool]]:
    """For ``movement_rows``: the days, and every word somewhere in name, IBAN or text."""
    conditions: list[ColumnElement[bool]] = []
    if since is not None:
        conditions.append(both.c.booked_on >= since)
    if until is not None:
        conditions.append(both.c.booked_on <= until)
    said = func.lower(func.concat_ws(" ", both.c.name, both.c.iban, both.c.text))
    for word in text.lower().split()[:MOST_SEARCHED_WORDS]:
        conditions.append(said.contains(word, autoescape=True))
    return conditions


def _posted(account: BankAccount) -> Select[*tuple[Any, ...]]:
    query = select(
        literal(0).label("source"),
        Posting.id,
        literal("posting").label("kind"),
        Posting.booking_date.label("booked_on"),
        Posting.amount,
        Posting.currency,
        Posting.counterparty_name.label("name"),
        Posting.counterparty_iban.label("iban"),
        Posting.remittance_information.label("text"),
        Posting.is_return,
    ).where(Posting.account_id == account.id)
    if account.shared_account_id is not None:
        return query.where(~Posting.is_passed_on)  # taken back
    return query.where(
        ~Posting.is_pending,
        ~Posting.is_replaced,
        or_(Posting.ignored_because.is_(None), ~Posting.ignored_because.in_(SAME_MONEY)),
    )


SAME_MONEY = ("duplicate", "double")
"""Ignored because they stand for money that another posting brought."""


def _moved(account: BankAccount) -> Select[*tuple[Any, ...]]:
    return select(
        literal(1).label("source"),
        AccountMovement.id,
        AccountMovement.kind,
        AccountMovement.booked_on,
        AccountMovement.amount,
        literal(account.currency).label("currency"),
        null().label("name"),
        null().label("iban"),
        AccountMovement.reference.label("text"),
        false().label("is_return"),
    ).where(AccountMovement.account_id == account.id)


def _own(operator: Merchant, account_id: int) -> BankAccount:
    if not operator.is_operator:
        raise ValueError("not_operator")
    account = account_of(operator.id, account_id)
    if account is None:
        raise ValueError("account_unknown")
    return account


def _shared(operator: Merchant, account_id: int) -> BankAccount:
    account = _own(operator, account_id)
    if not account.is_shared:
        raise ValueError("account_not_shared")
    return account


def _member_row(operator: Merchant, account_id: int, merchant_id: int) -> BankAccount:
    shared = _shared(operator, account_id)
    row = db.session.scalars(
        select(BankAccount).filter_by(merchant_id=merchant_id, shared_account_id=shared.id)
    ).first()
    if row is None:
        raise ValueError("merchant_not_member")
    return row
