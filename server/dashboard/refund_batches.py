"""Repayments on their way to the bank (C15): what is ready, batches, and what became of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from flask import Response, abort, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.banking.fints.client import MAX_TAN_LENGTH
from server.banking.models import BankAccount
from server.dashboard import refund_queries, words
from server.dashboard.access import require_administrator
from server.dashboard.pages import page, plain, typed_id
from server.dashboard.refund_queries import BatchRow
from server.dashboard.refund_words import why_failed
from server.db import db, now
from server.orders.ledger import note
from server.orders.models import Order, Refund
from server.orders.service import NotPossible
from server.refunds import batches, fints
from server.refunds.batches import Channel, Payable
from server.refunds.models import RefundBatch
from server.refunds.rules import next_bank_day

log = logging.getLogger(__name__)

SHOWN = 200
"""So many are ticked one by one; the others go together with one tick."""
FILE_CHANNELS: tuple[Channel, ...] = ("pain001", "csv")
MEDIA = {"pain001": ("application/xml; charset=utf-8", "xml"), "csv": ("text/csv", "csv")}
HAS_FILE = ("made", "sent")
"""What was dropped or refused is arranged anew: its file must not reach the bank any more."""
FIELD_OF_PROBLEM = {
    "date_unreadable": "day",
    "refund_day_impossible": "day",
    "refund_none_chosen": "chosen",
}


@dataclass(frozen=True, slots=True)
class Group:
    """What is ready for one account. ``others``: how many more than are shown. ``by_fints``: its
    bank takes orders from here."""

    account: BankAccount
    accounts: list[BankAccount]
    shown: list[tuple[Refund, Order | None, str]]
    others: int
    total: Decimal
    count: int
    last_id: int
    by_fints: bool


# --- what is ready ----------------------------------------------------------------------------


def bank() -> Response:
    return _bank_page()


def _bank_page(problem: NotPossible | None = None) -> Response:
    ready = batches.payable(g.merchant_id)
    before = typed_id(request.args.get("before")) or None
    rows, has_older = refund_queries.batch_rows(g.merchant_id, before)
    waiting = refund_queries.waiting(g.merchant_id, "new")
    key = problem.args[0] if problem else ""
    return page(
        "refund_bank.html",
        (422 if key in FIELD_OF_PROBLEM else 409) if problem else 200,
        groups=[_group(one) for one in ready],
        left_over=(waiting.count if waiting else 0) - sum(len(one.refunds) for one in ready),
        channels=FILE_CHANNELS,
        day=request.form.get("day") or next_bank_day(words.today()).isoformat(),
        wrong=FIELD_OF_PROBLEM.get(key),
        problem=problem,
        wrong_account=typed_id(request.form.get("group")),
        batches=rows,
        is_first=before is None,
        older=url_for(".bank", before=rows[-1].batch.id) if has_older else None,
    )


def _group(one: Payable) -> Group:
    shown = list(one.refunds[:SHOWN])
    orders = refund_queries.orders_of(g.merchant_id, shown)
    return Group(
        one.account,
        [
            account
            for account in batches.paying_accounts(g.merchant_id)
            if account.currency == one.account.currency
        ],
        [(r, orders.get(r.order_id or 0), why_failed(r.error) if r.error else "") for r in shown],
        len(one.refunds) - len(shown),
        one.total,
        len(one.refunds),
        one.refunds[-1].id,
        fints.may_send(one.account),
    )


def make() -> BaseResponse:
    """A file or list of what is ticked; it counts as with the bank from then on."""
    require_administrator()
    account_id = typed_id(request.form.get("account"))
    try:
        chosen = _chosen()
        _check_channel(_channel(), account_id, len(chosen))
        batch = batches.make_batch(
            g.merchant_id,
            account_id,
            chosen,
            channel=_channel(),
            execution_date=_day(),
            actor=g.user.email,
            at=now(),
        )
    except NotPossible as problem:
        # What was refused says why in its row, so that stays.
        if problem.args[0] == "refund_batch_empty":
            db.session.commit()
        else:
            db.session.rollback()
        return _bank_page(problem)
    db.session.commit()
    return redirect(url_for(".show_batch", batch_id=batch.id, done="batch_made"), 303)


def _check_channel(channel: Channel, account_id: int, count: int) -> None:
    """Straight to the bank only where it takes that many, before a batch is made of them."""
    if channel != "fints":
        return
    accounts = {one.id: one for one in batches.paying_accounts(g.merchant_id)}
    account = accounts.get(account_id)
    most = fints.most_payments(account) if account is not None else 0
    if most == 0:
        raise NotPossible("refund_not_by_fints")
    if count > most:
        raise NotPossible("refund_batch_too_many", most=str(most))


def _channel() -> Channel:
    """Of the button; a name that is none of them is refused by the room."""
    name = request.form.get("channel", "")
    return next((one for one in batches.CHANNELS if one == name), FILE_CHANNELS[0])


def _chosen() -> list[int]:
    """What was ticked; with ``others`` also what was ready but not shown."""
    ticked = [typed_id(one) for one in request.form.getlist("refund")]
    if request.form.get("others") == "yes":
        group, last = typed_id(request.form.get("group")), typed_id(request.form.get("last"))
        ready = next(
            (one for one in batches.payable(g.merchant_id) if one.account.id == group), None
        )
        if ready is not None:
            ticked += [one.id for one in ready.refunds[SHOWN:] if one.id <= last]
    if not ticked:
        raise NotPossible("refund_none_chosen")
    return ticked


def _day() -> date | None:
    """The bank day on which it is executed: the next one from the day that was typed."""
    typed = plain(request.form.get("day", ""))
    if not typed:
        return None
    try:
        return next_bank_day(date.fromisoformat(typed))
    except (ValueError, OverflowError):
        raise NotPossible("date_unreadable") from None


# --- one batch --------------------------------------------------------------------------------


def show_batch(batch_id: int) -> Response:
    return batch_page(batch_or_404(batch_id))


def batch_page(row: BatchRow, problem: NotPossible | None = None, code: int = 409) -> Response:
    """The batch; with why something is not possible."""
    refunds = refund_queries.refunds_of_batch(row.batch)
    is_typed = problem is not None and problem.args[0] == "refund_reason_missing"
    return page(
        "refund_batch.html",
        (422 if is_typed else code) if problem else 200,
        batch=row.batch,
        account=row.account,
        refunds=refunds,
        orders=refund_queries.orders_of(g.merchant_id, refunds),
        downloads=refund_queries.downloads_of(row.batch),
        stands=fints.stands(row.batch, now()) if row.batch.channel == "fints" else "",
        step=row.batch.step or {},
        longest_tan=MAX_TAN_LENGTH,
        why=why_failed(row.batch.error) if row.batch.error else "",
        reason=plain(request.form.get("reason", "")),
        is_typed=is_typed,
        problem=problem,
    )


def download(batch_id: int) -> BaseResponse:
    """The file, for administrators; each time is noted, because a second one pays twice."""
    batch = batch_or_404(batch_id).batch
    require_administrator()
    if batch.channel not in MEDIA or batch.status not in HAS_FILE:
        abort(404)
    orders = refund_queries.orders_of_batch(batch)
    for order in orders:
        note(order, refund_queries.DOWNLOADED, g.user.email, now(), batch=str(batch.id))
    db.session.commit()
    log.info("Batch %d of repayments was downloaded by user %d", batch.id, g.user.id)
    media_type, ending = MEDIA[batch.channel]
    response = Response(batch.content, content_type=media_type)
    name = f"{batch.message_id}.{ending}"
    response.headers.set("Content-Disposition", "attachment", filename=name)
    return response


def mark_sent(batch_id: int) -> BaseResponse:
    return _attempt(batch_id, _sent, "batch_sent")


def drop(batch_id: int) -> BaseResponse:
    return _attempt(batch_id, _drop, "batch_dropped")


def fail(batch_id: int) -> BaseResponse:
    """The bank refused it; with what the bank said."""
    return _attempt(batch_id, _fail, "batch_failed")


def _fail(batch: RefundBatch) -> None:
    reason = plain(request.form.get("reason", ""))
    if not reason:
        raise NotPossible("refund_reason_missing")
    batches.fail_batch(batch, reason, actor=g.user.email, at=now())


def _sent(batch: RefundBatch) -> None:
    batches.mark_batch_sent(batch, actor=g.user.email, at=now())


def _drop(batch: RefundBatch) -> None:
    batches.drop_batch(batch, actor=g.user.email, at=now())


def _attempt(batch_id: int, do: Callable[[RefundBatch], None], done: str) -> BaseResponse:
    row = batch_or_404(batch_id)
    require_administrator()
    try:
        do(row.batch)
    except NotPossible as problem:
        db.session.rollback()
        return batch_page(batch_or_404(batch_id), problem)
    db.session.commit()
    return redirect(url_for(".show_batch", batch_id=batch_id, done=done), 303)


def batch_or_404(batch_id: int) -> BatchRow:
    """One of the merchant's."""
    row = refund_queries.batch_row(g.merchant_id, batch_id)
    if row is None:
        abort(404)
    return row
