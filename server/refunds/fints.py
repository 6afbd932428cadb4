"""Batches handed in at the bank by Kontor itself, step by step with a person (S78, C15).

A file of its own beside ``batches``: this is a conversation. Before an order may leave, the
batch says ``sending`` and that is committed; whatever happens then, a batch is begun a second
time only after somebody has looked at the account (``settle_doubt``) or the bank has said that
nothing was carried out. Two who press at once: the second finds it ``sending``.

``RefundBatch.step`` holds ``asks`` (see ``stands``), ``since``, ``by``, and what `bank_connection`
steps hold for a TAN; for ``payees`` the names that differ.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import undefer

from server.banking import transfers
from server.banking.fints.client import MAX_TAN_LENGTH, is_sendable
from server.banking.models import BankAccount
from server.banking.transfers import Outcome
from server.db import db
from server.merchants.service import lock_merchant
from server.orders.ledger import NotPossible
from server.orders.models import Refund
from server.refunds.batches import drop_batch, fail_batch, mark_batch_sent
from server.refunds.models import RefundBatch
from server.refunds.proposals import local_day
from server.refunds.rules import next_bank_day
from server.vault import Vault

SENDING_LASTS: Final = timedelta(minutes=15)
"""No step takes longer (seven messages of two minutes); what still seems to run was cut off."""
MAX_WHY: Final = 1000


def may_send(account: BankAccount) -> bool:
    """True where batches of this account can be handed in by FinTS."""
    return transfers.may_transfer(account)


def most_payments(account: BankAccount) -> int:
    """How many repayments its bank takes at once; 0 where it takes none."""
    return transfers.most_payments(account)


def stands(batch: RefundBatch, at: datetime) -> str:
    """What comes next.

    ``idle`` (``begin``), ``tan`` and ``wait`` (``answer_step``), ``payees`` (``accept`` or
    ``refuse``), ``sending`` (somebody is at it), ``doubt`` (``settle_doubt``), or ``over``.
    """
    if batch.status != "made":
        return "over"
    asks = str((batch.step or {}).get("asks", "idle"))
    if asks == "sending" and at - _since(batch) > SENDING_LASTS:
        return "doubt"
    return asks


def begin(batch: RefundBatch, *, actor: str, at: datetime) -> RefundBatch:
    """Hand it in. Commits before the bank is asked.

    Raises NotPossible: ``refund_not_by_fints``, ``refund_batch_over``, ``refund_batch_too_early``
    (FinTS carries out at once), ``refund_batch_too_many`` (``most``), ``refund_batch_at_bank``,
    ``refund_batch_changed`` (one of its repayments was executed, failed or held meanwhile).
    """
    row = _claim(batch, ("idle",), at)
    account = _account(row)
    if row.channel != "fints":
        raise NotPossible("refund_not_by_fints")
    _check_whole(row)
    if row.execution_date > next_bank_day(local_day(row.merchant_id, at)):
        raise NotPossible("refund_batch_too_early")
    most = transfers.most_payments(account)
    if most == 0:
        raise NotPossible("refund_not_by_fints")
    if row.count > most:
        raise NotPossible("refund_batch_too_many", most=str(most))
    content = bytes(row.content)
    _sending(row, actor, at)
    return _after(row, transfers.begin(account, content, at), actor, at)


def answer_step(
    batch: RefundBatch, *, tan: str | None = None, actor: str, at: datetime
) -> RefundBatch:
    """The TAN; for an app or a bank that needs time: ask whether it is done by now.

    Raises NotPossible: ``refund_tan_missing``, ``refund_batch_at_bank``, ``refund_batch_over``,
    ``refund_batch_changed``.
    """
    row = _claim(batch, ("tan", "wait"), at)
    step, dialog = row.step or {}, row.dialog or b""
    typed = None if step.get("is_decoupled") else "".join((tan or "").split())
    if typed is not None and not (0 < len(typed) <= MAX_TAN_LENGTH and is_sendable(typed)):
        raise NotPossible("refund_tan_missing")
    if typed is not None:  # who uses an app may have confirmed it by now, so that is asked for
        _check_whole(row)
    is_app = step["asks"] == "tan" and typed is None
    _sending(row, actor, at)
    outcome = transfers.confirm(_account(row), dialog, typed, at, is_app=is_app)
    return _after(row, outcome, actor, at)


def accept(batch: RefundBatch, *, actor: str, at: datetime) -> RefundBatch:
    """Send it although names differ; the merchant answers for it. Raises NotPossible."""
    row = _claim(batch, ("payees",), at)
    _check_whole(row)
    dialog = row.dialog or b""
    _sending(row, actor, at)
    return _after(row, transfers.accept(_account(row), dialog, at), actor, at)


def refuse(batch: RefundBatch, *, actor: str, at: datetime) -> RefundBatch:
    """Do not send it: its repayments wait again, to be changed. Raises NotPossible.

    An order that an app may have confirmed meanwhile is in doubt instead.
    """
    row = _claim(batch, ("payees", "tan", "wait"), at)
    step, dialog = row.step or {}, row.dialog or b""
    is_app = step["asks"] == "tan" and bool(step.get("is_decoupled"))
    _sending(row, actor, at)
    outcome = transfers.give_up(_account(row), dialog, at, is_app=is_app)
    row = _after(row, outcome, actor, at)
    return drop_batch(row, actor=actor, at=at) if outcome.kind == "stopped" else row


def settle_doubt(
    batch: RefundBatch, *, was_carried_out: bool, actor: str, at: datetime
) -> RefundBatch:
    """Somebody has looked at the account: the bank has it, or it may be begun again.

    Raises NotPossible: ``refund_batch_at_bank``, ``refund_batch_over``, ``refund_batch_changed``
    (the account itself says that it was carried out).
    """
    row = _claim(batch, ("doubt",), at)
    if not was_carried_out:
        _check_whole(row)
    row.step = row.dialog = row.error = None
    return mark_batch_sent(row, actor=actor, at=at) if was_carried_out else row


def reseal_all(vault: Vault) -> int:
    """The dialogs of batches under the newest key. Returns how many."""
    query = select(RefundBatch).where(RefundBatch.dialog.is_not(None))
    rows = db.session.scalars(query.options(undefer(RefundBatch.dialog)).with_for_update())
    count = 0
    for row in rows:
        row.dialog = vault.reseal(row.dialog) if row.dialog else None
        count += 1
    return count


# --- between two steps -------------------------------------------------------------------------


def _claim(batch: RefundBatch, when: tuple[str, ...], at: datetime) -> RefundBatch:
    """The row as it is now, locked, if it stands where this may be done."""
    lock_merchant(batch.merchant_id)
    query = (
        select(RefundBatch)
        .where(RefundBatch.merchant_id == batch.merchant_id, RefundBatch.id == batch.id)
        .options(undefer(RefundBatch.dialog), undefer(RefundBatch.content))
        .execution_options(populate_existing=True)
    )
    row = db.session.scalars(query).one()
    now_at = stands(row, at)
    if now_at == "over":
        raise NotPossible("refund_batch_over")
    if now_at not in when:
        raise NotPossible("refund_batch_at_bank")
    return row


def _check_whole(row: RefundBatch) -> None:
    """All that it pays is still to be paid: a posting or a person may have closed some of it, or
    the bank taken back the money that it would repay."""
    query = select(func.count()).where(
        Refund.merchant_id == row.merchant_id,
        Refund.batch_id == row.id,
        Refund.status == "in_process",
        (func.json_array_length(Refund.holds) == 0) | Refund.approved_at.is_not(None),
    )
    if db.session.scalar(query) != row.count:
        raise NotPossible("refund_batch_changed")


def _sending(row: RefundBatch, actor: str, at: datetime) -> None:
    """From here on it may be at the bank; kept before anything is said to it."""
    row.step = _step_of_sending(actor, at)
    row.error = None
    db.session.commit()


def _step_of_sending(actor: str, at: datetime) -> dict[str, Any]:
    return {"asks": "sending", "since": at.isoformat(), "by": actor}


def _after(row: RefundBatch, outcome: Outcome, actor: str, at: datetime) -> RefundBatch:
    """What the bank said, written down. Of another's hands nothing is undone: after SENDING_LASTS
    it may have been begun anew, and only that money may have left still counts then."""
    lock_merchant(row.merchant_id)
    db.session.refresh(row)
    is_ours = row.step == _step_of_sending(actor, at)
    if row.status != "made" or not (is_ours or outcome.kind in ("sent", "doubt")):
        return row
    stamp = {"since": at.isoformat(), "by": actor}
    why = outcome.why[:MAX_WHY]
    by_kind: dict[str, Callable[[], None]] = {
        "asks": lambda: _keep(row, _with_names(row, outcome.step or {}) | stamp, outcome.dialog),
        "doubt": lambda: _keep(row, {"asks": "doubt"} | stamp, None),
        "stopped": lambda: _keep(row, None, None),
        "sent": lambda: _keep(row, None, None),
        "refused": lambda: _keep(row, None, None),
    }
    by_kind[outcome.kind]()
    row.error = why if outcome.kind in ("doubt", "stopped") and why else None
    if outcome.kind == "sent":
        return mark_batch_sent(row, actor=actor, at=at)
    if outcome.kind == "refused":
        return fail_batch(row, why, actor=actor, at=at)
    return row


def _keep(row: RefundBatch, step: dict[str, Any] | None, dialog: bytes | None) -> None:
    row.step, row.dialog = step, dialog


def _with_names(row: RefundBatch, step: dict[str, Any]) -> dict[str, Any]:
    """Beside each name that differs, the repayment it is about; one file, one payee: that one."""
    if step.get("asks") != "payees":
        return step
    query = select(Refund).where(Refund.merchant_id == row.merchant_id, Refund.batch_id == row.id)
    refunds = list(db.session.scalars(query))
    by_reference = {refund.reference: refund for refund in refunds}
    by_iban = {refund.payee_iban: refund for refund in refunds}
    alone = refunds[0] if len(refunds) == 1 else None
    checks = []
    for check in step["checks"]:
        found = by_reference.get(check["reference"]) or by_iban.get(check["iban"]) or alone
        about = {
            "refund_id": found.id if found else None,
            "reference": found.reference if found else check["reference"],
            "iban": found.payee_iban if found else check["iban"],
            "payee_name": found.payee_name if found else None,
        }
        checks.append(check | about)
    return step | {"checks": checks}


def _account(row: RefundBatch) -> BankAccount:
    query = select(BankAccount).where(
        BankAccount.merchant_id == row.merchant_id, BankAccount.id == row.account_id
    )
    return db.session.scalars(query).one()


def _since(batch: RefundBatch) -> datetime:
    return datetime.fromisoformat(str((batch.step or {})["since"]))
