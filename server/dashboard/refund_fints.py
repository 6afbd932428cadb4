"""Handing a batch of repayments in by FinTS, with the person whom the bank asks (C15).

A file of its own because it is a conversation: the bank compares names, wants a TAN, needs time.
What may be done when is in ``server.refunds.fints``; here are its pages.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

from flask import Response, abort, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.banking.fints.client import MAX_TAN_LENGTH
from server.dashboard.access import require_administrator
from server.dashboard.pages import plain
from server.dashboard.refund_batches import batch_or_404, batch_page
from server.db import db, now
from server.orders.service import NotPossible
from server.refunds import fints
from server.refunds.models import RefundBatch

TYPED_WRONG = {"refund_tan_missing"}


def begin(batch_id: int) -> BaseResponse:
    """Hand it in; the bank may ask something first."""
    return _talk(batch_id, lambda one: fints.begin(one, actor=g.user.email, at=now()))


def answer(batch_id: int) -> BaseResponse:
    """The TAN, or "I have confirmed it", or "is it ready by now?"."""
    tan = plain(request.form.get("tan", ""))[: MAX_TAN_LENGTH + 1] or None

    def do(batch: RefundBatch) -> RefundBatch:
        return fints.answer_step(batch, tan=tan, actor=g.user.email, at=now())

    return _talk(batch_id, do)


def accept(batch_id: int) -> BaseResponse:
    """The names differ, and it goes all the same."""
    return _talk(batch_id, lambda one: fints.accept(one, actor=g.user.email, at=now()))


def refuse(batch_id: int) -> BaseResponse:
    """It does not go; its repayments wait again."""
    return _talk(batch_id, lambda one: fints.refuse(one, actor=g.user.email, at=now()))


def settle_doubt(batch_id: int) -> BaseResponse:
    """Somebody has looked at the account."""
    answers = {"yes": True, "no": False}
    was_carried_out = answers.get(request.form.get("carried_out", ""))

    def do(batch: RefundBatch) -> RefundBatch:
        if was_carried_out is None:
            raise NotPossible("refund_doubt_unanswered")
        return fints.settle_doubt(
            batch, was_carried_out=was_carried_out, actor=g.user.email, at=now()
        )

    return _talk(batch_id, do)


def picture(batch_id: int) -> Response:
    """The picture of the challenge, to be scanned from the screen."""
    step = batch_or_404(batch_id).batch.step or {}
    if not step.get("picture"):
        abort(404)
    return Response(base64.b64decode(step["picture"]), mimetype=step["picture_mime"])


def _talk(batch_id: int, do: Callable[[RefundBatch], RefundBatch]) -> BaseResponse:
    row = batch_or_404(batch_id)
    require_administrator()
    try:
        do(row.batch)
    except NotPossible as problem:
        db.session.rollback()
        code = 422 if problem.args[0] in TYPED_WRONG else 409
        return batch_page(batch_or_404(batch_id), problem, code)
    db.session.commit()
    done = "batch_sent" if row.batch.status == "sent" else None
    return redirect(url_for("dashboard.refunds.show_batch", batch_id=batch_id, done=done), 303)
