"""How repayments leave for the bank: files, lists and orders of several at once (C15).

A file of its own beside ``service`` because it is about the bank's side: what goes together from
which account, and what became of it. A repayment is in at most one batch that lives (``made`` or
``sent``). Never commits.
"""

from __future__ import annotations

import csv
import io
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final, Literal

from sqlalchemy import select

from server.banking.models import BankAccount, Posting
from server.banking.payments.pain001 import (
    MAX_PAYMENTS,
    CreditTransfer,
    Payer,
    PaymentRefused,
    credit_transfer_file,
    refusal_of,
)
from server.check_digits import iban_is_valid
from server.db import db
from server.merchants.service import lock_merchant
from server.orders.ledger import ZERO, NotPossible, is_any, note, orders_now
from server.orders.models import Order, Refund
from server.refunds.models import RefundBatch
from server.refunds.proposals import local_day
from server.refunds.rules import next_bank_day, transfer_text
from server.refunds.service import failed_now, is_held, move

Channel = Literal["pain001", "csv", "fints"]
CHANNELS: Final[tuple[Channel, ...]] = ("pain001", "csv", "fints")
MARK: Final = "KR"
"""How our message ids begin, so that a bank's answer is known as one about repayments."""
CSV_COLUMNS: Final = (
    "reference name iban bic amount currency remittance_information execution_date".split()
)
FORMULA_SIGNS: Final = ("=", "+", "-", "@", "\t", "\r")
MOST_SHOWN: Final = 10_000


@dataclass(frozen=True, slots=True)
class Payable:
    """Repayments that wait for the bank, by the account from which they are proposed to go.

    ``total`` is their sum in the account's currency.
    """

    account: BankAccount
    refunds: Sequence[Refund]
    total: Decimal


def payable(merchant_id: int) -> list[Payable]:
    """What may go to the bank now, each once: from the account that its money came to, else from
    the first that can pay. Without any account that can pay, nothing."""
    accounts = paying_accounts(merchant_id)
    if not accounts:
        return []
    query = (
        select(Refund)
        .where(Refund.merchant_id == merchant_id, Refund.status == "new")
        .order_by(Refund.id)
        .limit(MOST_SHOWN)
    )
    refunds = list(db.session.scalars(query))
    came_to = _accounts_of(merchant_id, refunds)
    by_id = {account.id: account for account in accounts}
    waiting: dict[int, list[Refund]] = {account.id: [] for account in accounts}
    for refund in refunds:
        own = by_id.get(came_to.get(refund.posting_id or 0, 0))
        fitting = own if own is not None and own.currency == refund.currency else None
        same = (one for one in accounts if one.currency == refund.currency)
        chosen = fitting or next(same, None)
        if chosen is not None:
            waiting[chosen.id].append(refund)
    return [
        Payable(account, waiting[account.id], _total(waiting[account.id]))
        for account in accounts
        if waiting[account.id]
    ]


def paying_accounts(merchant_id: int) -> list[BankAccount]:
    """Own accounts from which money can be sent: with an IBAN and a holder, not the operator's
    shared one. Those that customers pay to first."""
    query = select(BankAccount).where(
        BankAccount.merchant_id == merchant_id, BankAccount.shared_account_id.is_(None)
    )
    rows = db.session.scalars(query.order_by(BankAccount.is_payee.desc(), BankAccount.id))
    return [row for row in rows if iban_is_valid(row.iban) and row.creditor_name]


def _accounts_of(merchant_id: int, refunds: Collection[Refund]) -> dict[int, int]:
    """Posting id to its account's."""
    ids = {refund.posting_id for refund in refunds if refund.posting_id is not None}
    if not ids:
        return {}
    query = select(Posting.id, Posting.account_id).where(
        Posting.merchant_id == merchant_id, is_any(Posting.id, ids)
    )
    return {row.id: row.account_id for row in db.session.execute(query)}


def _total(refunds: Collection[Refund]) -> Decimal:
    return sum((refund.amount for refund in refunds), ZERO)


# --- making ------------------------------------------------------------------------------------


def make_batch(
    merchant_id: int,
    account_id: int,
    refund_ids: Collection[int],
    *,
    channel: Channel,
    execution_date: date | None = None,
    actor: str,
    at: datetime,
) -> RefundBatch:
    """These repayments together, from one account, on one bank day (the next if None).

    What cannot be written stays out, stays ``new`` and says why in its ``error``; so does what
    somebody else took meanwhile. Raises NotPossible if nothing remains. ``count`` 1 is a single
    payment, which the payee's bank compares with the holder's name whatever was agreed; two or
    more may be handed in as a batch.
    """
    lock_merchant(merchant_id)
    if channel not in CHANNELS:
        raise NotPossible("refund_channel_unknown")
    account = _paying_account(merchant_id, account_id)
    today = local_day(merchant_id, at)
    day = next_bank_day(today) if execution_date is None else execution_date
    if day < today or next_bank_day(day) != day or (day - today).days > 366:
        raise NotPossible("refund_day_impossible")
    refunds = _waiting(merchant_id, refund_ids, account.currency)
    batch = RefundBatch(
        merchant_id=merchant_id,
        account_id=account.id,
        channel=channel,
        status="made",
        message_id=_message_id(at),
        execution_date=day,
        currency=account.currency,
        created_at=at,
        created_by=actor,
    )
    written = _write(batch, account, refunds)
    db.session.add(batch)
    db.session.flush()
    for refund in written:
        move(refund, "in_process", at)
        refund.batch_id = batch.id
    return batch


def _paying_account(merchant_id: int, account_id: int) -> BankAccount:
    found = [one for one in paying_accounts(merchant_id) if one.id == account_id]
    if not found:
        raise NotPossible("refund_account_cannot_pay")
    return found[0]


def _waiting(merchant_id: int, refund_ids: Collection[int], currency: str) -> list[Refund]:
    if len(refund_ids) > MAX_PAYMENTS:
        raise NotPossible("refund_batch_too_large", most=str(MAX_PAYMENTS))
    query = select(Refund).where(
        Refund.merchant_id == merchant_id,
        is_any(Refund.id, refund_ids),
        Refund.status == "new",
        Refund.currency == currency,
        Refund.payee_iban.is_not(None),
    )
    rows = db.session.scalars(query.order_by(Refund.id).execution_options(populate_existing=True))
    return list(rows) if refund_ids else []


def _transfers(merchant_id: int, refunds: Collection[Refund]) -> dict[int, CreditTransfer]:
    """Refund id to the payment that the bank is asked for."""
    ids = {refund.order_id for refund in refunds if refund.order_id is not None}
    numbers = {}
    if ids:
        query = select(Order.id, Order.number).where(
            Order.merchant_id == merchant_id, is_any(Order.id, ids)
        )
        numbers = {row.id: row.number for row in db.session.execute(query)}
    return {
        refund.id: CreditTransfer(
            end_to_end_id=refund.reference,
            name=refund.payee_name or "",
            iban=refund.payee_iban or "",
            amount=refund.amount,
            remittance_information=transfer_text(
                numbers.get(refund.order_id or 0, ""), refund.reference, refund.reason
            ),
            bic=refund.payee_bic or "",
            currency=refund.currency,
        )
        for refund in refunds
    }


def _write(batch: RefundBatch, account: BankAccount, refunds: Sequence[Refund]) -> list[Refund]:
    """Fill the batch with what can be written; returns that. Raises NotPossible if nothing can."""
    transfers = _transfers(batch.merchant_id, refunds)
    written = list(refunds)
    try:
        batch.content = _content(batch, account, list(transfers.values()))
    except PaymentRefused:  # looked at one by one only where something is wrong: it takes as long
        written = _without_refused(refunds, transfers)
        batch.content = b""
    if not written:
        raise NotPossible("refund_batch_empty")
    if not batch.content:
        try:
            batch.content = _content(batch, account, [transfers[one.id] for one in written])
        except PaymentRefused:  # no payment is wrong, so the account is: its holder's name, say
            raise NotPossible("refund_account_cannot_pay") from None
    batch.count, batch.total = len(written), _total(written)
    return written


def _without_refused(
    refunds: Sequence[Refund], transfers: dict[int, CreditTransfer]
) -> list[Refund]:
    kept = []
    for refund in refunds:
        why = refusal_of(transfers[refund.id])
        refund.error = f"payment_refused.{why}" if why else None
        if why is None:
            kept.append(refund)
    return kept


def _message_id(at: datetime) -> str:
    return f"{MARK}{at.astimezone(UTC):%Y%m%d%H%M%S}-{secrets.token_hex(4).upper()}"


def _content(
    batch: RefundBatch, account: BankAccount, transfers: Sequence[CreditTransfer]
) -> bytes:
    if batch.channel == "csv":
        return _csv(batch, transfers)
    payer = Payer(account.creditor_name or "", account.iban, account.bic or "")
    return credit_transfer_file(
        payer,
        transfers,
        message_id=batch.message_id,
        created_at=batch.created_at,
        execution_date=batch.execution_date,
        batch=len(transfers) > 1,
    )


def _csv(batch: RefundBatch, transfers: Sequence[CreditTransfer]) -> bytes:
    """Semicolons, UTF-8 with a mark, decimal points; nothing in it is a formula."""
    text = io.StringIO()
    lines = csv.writer(text, delimiter=";", lineterminator="\r\n")
    lines.writerow(CSV_COLUMNS)
    for one in transfers:
        cells = (
            one.end_to_end_id,
            one.name,
            one.iban,
            one.bic,
            f"{one.amount:.2f}",
            one.currency,
            one.remittance_information,
            batch.execution_date.isoformat(),
        )
        lines.writerow([f"'{cell}" if cell.startswith(FORMULA_SIGNS) else cell for cell in cells])
    return text.getvalue().encode("utf-8-sig")


# --- what became of it -------------------------------------------------------------------------


def batch_of(merchant_id: int, batch_id: int) -> RefundBatch | None:
    """One of the merchant's."""
    query = select(RefundBatch).where(
        RefundBatch.merchant_id == merchant_id, RefundBatch.id == batch_id
    )
    return db.session.scalar(query)


def refunds_of_batch(batch: RefundBatch) -> list[Refund]:
    """Its repayments as they are now; a failed one that was tried again is not among them."""
    query = select(Refund).where(
        Refund.merchant_id == batch.merchant_id, Refund.batch_id == batch.id
    )
    rows = db.session.scalars(query.order_by(Refund.id).execution_options(populate_existing=True))
    return list(rows)


def mark_batch_sent(batch: RefundBatch, *, actor: str, at: datetime) -> RefundBatch:
    """It was handed in: from now on the bank has it. A second time changes nothing."""
    row = _now(batch)
    if row.status == "sent":
        return row
    if row.status != "made":
        raise NotPossible("refund_batch_over")
    row.status, row.sent_at, row.sent_by = "sent", at, actor
    _close_step(row)
    refunds = [one for one in refunds_of_batch(row) if one.status == "in_process"]
    for refund in refunds:
        refund.sent_at = refund.changed_at = at
    _note_all(refunds, "refund_sent", actor, at)
    return row


def drop_batch(batch: RefundBatch, *, actor: str, at: datetime) -> RefundBatch:
    """It was never handed in: its repayments wait again. Raises NotPossible once it was sent.

    One whose money the bank took back meanwhile is held.
    """
    row = _now(batch)
    if row.status == "dropped":
        return row
    if row.status != "made":
        raise NotPossible("refund_batch_over")
    _check_not_at_bank(row)
    row.status = "dropped"
    _close_step(row)
    for refund in refunds_of_batch(row):
        if refund.status == "in_process":
            move(refund, "new", at)
            refund.batch_id = None
            if is_held(refund):
                move(refund, "held", at)
    return row


def fail_batch(batch: RefundBatch, error: str, *, actor: str, at: datetime) -> RefundBatch:
    """The bank refused all of it. Raises NotPossible if it was dropped or has failed already."""
    row = _now(batch)
    if row.status not in ("made", "sent"):
        raise NotPossible("refund_batch_over")
    _check_not_at_bank(row)
    row.status, row.error = "failed", error[:1000]
    _close_step(row)
    refunds = [one for one in refunds_of_batch(row) if one.status == "in_process"]
    orders = _orders_of(refunds)
    for refund in refunds:
        failed_now(refund, orders.get(refund.order_id or 0), row.error, actor=actor, at=at)
    return row


def _now(batch: RefundBatch) -> RefundBatch:
    lock_merchant(batch.merchant_id)
    query = select(RefundBatch).where(
        RefundBatch.merchant_id == batch.merchant_id, RefundBatch.id == batch.id
    )
    row = db.session.scalar(query.execution_options(populate_existing=True))
    if row is None:
        raise NotPossible("refund_batch_unknown")
    return row


def _check_not_at_bank(batch: RefundBatch) -> None:
    """What FinTS may be carrying out ends in ``fints``, or the money could go twice."""
    if batch.step is not None:
        raise NotPossible("refund_batch_at_bank")


def _close_step(batch: RefundBatch) -> None:
    """Whatever the bank's dialog had asked is over."""
    batch.step = batch.dialog = None


def _note_all(refunds: Sequence[Refund], kind: str, actor: str, at: datetime) -> None:
    orders = _orders_of(refunds)
    for refund in refunds:
        if refund.order_id in orders:
            note(orders[refund.order_id], kind, actor, at, reference=refund.reference)


def _orders_of(refunds: Sequence[Refund]) -> dict[int, Order]:
    """Their orders by id, in one query: a batch may have thousands."""
    if not refunds:
        return {}
    ids = {one.order_id for one in refunds if one.order_id is not None}
    return orders_now(refunds[0].merchant_id, ids)
