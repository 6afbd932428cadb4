"""Accounts of the operator that several merchants share (S20, K50, K52). Never commits.

The bank's postings belong to the operator. One whose merchant is known is passed on: the merchant
gets a copy on a row of the account that is his own, and everything else (matching, assigning,
who may see what) is as with any other posting. A merchant's balance is the sum of what was passed
on to him and of what was paid out, charged or corrected.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Select, func, literal, select, union_all
from sqlalchemy.orm import aliased

from server.banking.models import AccountMovement, BankAccount, Posting
from server.banking.payments.pain001 import CreditTransfer, Payer, credit_transfer_file
from server.banking.service import account_of, checked_iban
from server.db import db
from server.merchants.models import Merchant

KINDS = ("payout", "fee", "refund", "correction")
MAX_MEMBERS = 10_000
MAX_REFERENCE_LENGTH = 140
LARGEST_MOVEMENT = Decimal(10) ** 9
ZERO = Decimal(0)


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
    row.bic, row.creditor_name, row.is_payee = shared.bic, shared.creditor_name, True
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


def take_back(posting: Posting) -> Posting | None:
    """It was another merchant's: the operator's posting is open again, the copy counts nothing.

    Returns the copy, None if there was none. Raises ValueError if the merchant has assigned it.
    """
    copy = db.session.scalars(select(Posting).filter_by(passed_on_from_id=posting.id)).first()
    if copy is None:
        return None
    if copy.is_assigned:
        raise ValueError("posting_taken")
    copy.fingerprint, copy.passed_on_from_id = f"taken back {copy.id}", None
    copy.ignored_at, copy.ignored_because = func.now(), TAKEN_BACK
    copy.is_open = copy.needs_match = False
    posting.is_passed_on = False
    posting.is_open = posting.needs_match = posting.may_be_open
    db.session.flush()
    return copy


TAKEN_BACK = "taken_back"


# --- balances ----------------------------------------------------------------------------------


def balance_of(account: BankAccount) -> Decimal:
    """What the operator owes the merchant of this row."""
    return _balances([account.id])[account.id]


def _balances(account_ids: Collection[int]) -> dict[int, Decimal]:
    balances = dict.fromkeys(account_ids, ZERO)
    posted = select(Posting.account_id, func.sum(Posting.amount)).where(
        Posting.account_id.in_(account_ids), Posting.ignored_because.is_distinct_from(TAKEN_BACK)
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
    if amount == 0 or abs(amount) > LARGEST_MOVEMENT or amount != amount.quantize(Decimal("0.01")):
        raise ValueError("movement_amount_invalid")
    if kind in ("payout", "fee") and amount > 0:
        raise ValueError("movement_amount_invalid")
    movement = AccountMovement(
        merchant_id=merchant_id,
        account_id=row.id,
        kind=kind,
        amount=amount,
        booked_on=on,
        reference=" ".join(reference.split())[:MAX_REFERENCE_LENGTH],
        created_by=actor,
    )
    db.session.add(movement)
    db.session.flush()
    return movement


def set_payout(merchant_id: int, account_id: int, iban: str, name: str) -> BankAccount | None:
    """Where the merchant's balance goes. Raises ValueError with a message key."""
    account = account_of(merchant_id, account_id)
    if account is None or account.shared_account_id is None:
        return None
    payee = " ".join(name.split())
    if not payee or len(payee) > MAX_REFERENCE_LENGTH:
        raise ValueError("payout_name_missing")
    account.payout_iban, account.payout_name = checked_iban(iban), payee
    return account


def pay_out(operator: Merchant, account_id: int, *, at: datetime, on: date, actor: str) -> bytes:
    """A pain.001 file that pays out every positive balance with an account to go to, and the
    movements of it. Raises ValueError with a message key.

    The operator hands the file to the bank; what the bank does not execute is corrected by hand.
    """
    shared = _shared(operator, account_id)
    message_id = f"KONTOR-{shared.id}-{at:%Y%m%d%H%M%S}"
    payments = []
    for member in members(operator, account_id):
        account = member.account
        if member.balance <= 0 or account.payout_iban is None or account.payout_name is None:
            continue
        movement = add_movement(
            operator,
            account_id,
            member.merchant.id,
            kind="payout",
            amount=-member.balance.quantize(Decimal("0.01")),
            reference=message_id,
            on=on,
            actor=actor,
        )
        payments.append(
            CreditTransfer(
                end_to_end_id=f"KTP{movement.id}",
                name=account.payout_name,
                iban=account.payout_iban,
                amount=-movement.amount,
                remittance_information=f"Kontor {at:%d.%m.%Y}",
                currency=shared.currency,
            )
        )
    payer = Payer(shared.creditor_name or "", shared.iban, shared.bic or "")
    return credit_transfer_file(
        payer, payments, message_id=message_id, created_at=at, execution_date=on
    )


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
    both = union_all(_posted(account.id), _moved(account.id)).subquery()
    query = select(both).order_by(both.c.booked_on.desc().nulls_last(), both.c.id.desc())
    if kinds:
        query = query.where(both.c.kind.in_(list(kinds)))
    if since is not None:
        query = query.where(both.c.booked_on >= since)
    if until is not None:
        query = query.where(both.c.booked_on <= until)
    for word in text.lower().split()[:5]:
        query = query.where(func.lower(both.c.text).contains(word, autoescape=True))
    rows = db.session.execute(query.limit(limit))
    return [Movement(row.id, row.kind, row.booked_on, row.amount, row.text or "") for row in rows]


def _posted(account_id: int) -> Select[*tuple[Any, ...]]:
    return select(
        Posting.id,
        literal("posting").label("kind"),
        Posting.booking_date.label("booked_on"),
        Posting.amount,
        func.concat_ws(" · ", Posting.counterparty_name, Posting.remittance_information).label(
            "text"
        ),
    ).where(Posting.account_id == account_id, Posting.ignored_because.is_distinct_from(TAKEN_BACK))


def _moved(account_id: int) -> Select[*tuple[Any, ...]]:
    return select(
        AccountMovement.id,
        AccountMovement.kind,
        AccountMovement.booked_on,
        AccountMovement.amount,
        AccountMovement.reference.label("text"),
    ).where(AccountMovement.account_id == account_id)


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
