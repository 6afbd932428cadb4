"""What customers send: "I have paid", "I need more time", an account (S61, N8, K33).

A file of its own because these are the only ways in which a stranger may change anything. Each
form is answered by a redirect to the page, or by the page with what was typed and why it cannot
be; how often is limited by order and by address.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import g, redirect, request, url_for
from limits import RateLimitItemPerMinute
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Response as BaseResponse

from server.customer.pages import door, looked_at, order_of, page, stop_at
from server.customer.rules import MAX_TYPED_IBAN, typed_date
from server.customer.shown import Shown
from server.customer.words import say
from server.db import db, now
from server.mail.rules import grouped_iban
from server.orders.claims import MAX_MESSAGE, MAX_PROOF_BYTES, ProofFile, claim_paid
from server.orders.deferrals import ask_for_time
from server.orders.ledger import NotPossible
from server.orders.models import Order
from server.refunds.service import confirm_details, waiting_for_customer
from server.visitors import attempt_limits, client_network

ANSWERS_PER_ADDRESS = RateLimitItemPerMinute(30, 60, namespace="customer-address")
ANSWERS_PER_ORDER = RateLimitItemPerMinute(15, 60, namespace="customer-order")
MAX_TYPED_NAME = 200
HEARD_IN = ("owing", "ended", "collection")
MAX_DIGITS = 18


@door.post("/pay/<token>")
def claim(token: str) -> BaseResponse:
    """Note that the customer says that he has paid, with a proof if he sends one."""
    return _answer(token, "claim", _claim)


@door.post("/pay/<token>/more-time")
def more_time(token: str) -> BaseResponse:
    """Note the wish; the merchant decides."""
    return _answer(token, "more", _more_time)


@door.post("/pay/<token>/bank-details")
def bank_details(token: str) -> BaseResponse:
    """Where a repayment shall go: the account that is shown, or another."""
    return _answer(token, "bank", _bank_details)


def _answer(token: str, form: str, do: Callable[[Shown], object]) -> BaseResponse:
    order = order_of(token)
    for limit, key in (
        (ANSWERS_PER_ADDRESS, client_network()),
        (ANSWERS_PER_ORDER, str(order.id)),
    ):
        stop_at(limit, key)
        attempt_limits().count(limit, key)
    try:
        _read_form()
        db.session.refresh(order)
        do(looked_at(order))
    except (NotPossible, ValueError, RequestEntityTooLarge) as refused:
        db.session.rollback()
        return _again(order_of(token), token, form, refused)
    db.session.commit()
    return redirect(url_for(".show", token=token), 303)


def _read_form() -> None:
    """All of it, while no connection is kept from others: a phone may send its file for minutes.

    Raises RequestEntityTooLarge.
    """
    db.session.commit()
    request.form.keys()


def _again(order: Order, token: str, form: str, refused: Exception) -> BaseResponse:
    """The page with the form as it was typed; nothing of an upload that was too large was read."""
    if isinstance(refused, RequestEntityTooLarge):
        key, facts, typed = "proof_too_large", {}, {}
    else:
        key, typed = str(refused.args[0]), dict(request.form)
        facts = refused.facts if isinstance(refused, NotPossible) else {}
    if form == "bank" and "iban" in typed:
        typed["iban"] = grouped_iban(typed["iban"][:MAX_TYPED_IBAN])
    code = 413 if isinstance(refused, RequestEntityTooLarge) else 422
    return page(
        order,
        token,
        code,
        form=form,
        problem=_sentence(order, key, facts),
        problem_key=key,
        typed=typed,
    )


def _sentence(order: Order, key: str, facts: Mapping[str, str]) -> Any:
    if key == "more_date_impossible":
        facts = {"date": looked_at(order).last_day()}
    return say(g.language, key, **facts)


def _claim(shown: Shown) -> None:
    """Raises NotPossible, ValueError with a message key, or RequestEntityTooLarge."""
    if shown.state not in HEARD_IN:
        return
    message = _message()
    upload = request.files.get("proof")
    proof = None
    if upload is not None and upload.filename:
        content = upload.stream.read(MAX_PROOF_BYTES + 1)
        proof = ProofFile(upload.filename, content)
    paid_on = typed_date(request.form.get("paid_on", ""))
    claim_paid(shown.order, paid_on=paid_on, message=message, proof=proof, at=now())


def _more_time(shown: Shown) -> None:
    """Raises NotPossible, or ValueError with a message key."""
    if shown.state != "owing":
        return
    until = typed_date(request.form.get("until", ""))
    ask_for_time(shown.order, until=until, message=_message(), at=now())


def _bank_details(shown: Shown) -> None:
    """Raises NotPossible."""
    if shown.state == "over":
        return
    typed = request.form.get("refund", "")
    refund_id = int(typed) if typed.isascii() and typed.isdigit() and len(typed) < MAX_DIGITS else 0
    name = request.form.get("name", "")[: MAX_TYPED_NAME + 1]
    iban = request.form.get("iban", "")[: MAX_TYPED_IBAN + 1]
    if request.form.get("confirm") == "yes":
        known = next(
            (one for one in waiting_for_customer(shown.order) if one.id == refund_id), None
        )
        if known is None or not known.payee_iban:
            raise NotPossible("refund_not_waiting")
        name, iban = known.payee_name or "", known.payee_iban
    confirm_details(shown.order, refund_id, name=name, iban=iban, at=now())


def _message() -> str:
    message = request.form.get("message", "").replace("\r\n", "\n")
    if len(message) > MAX_MESSAGE:
        raise ValueError("message_too_long")
    return message
