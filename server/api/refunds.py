"""Repayments: a shop asks for money to go back (K78), and sees what became of it."""

from __future__ import annotations

from typing import Any, Final

from flask_smorest import Blueprint
from marshmallow import Schema, fields

from plugin_sdk.schemas import Amount, RefundRequestSchema
from plugin_sdk.types import RefundRequest
from server.api.access import scope, shop
from server.api.idempotency import idempotent
from server.api.orders import order_of_shop
from server.api.problems import Problem
from server.api.wire import json_body, load
from server.db import db, now
from server.orders.ledger import NotPossible
from server.orders.models import Order, Refund
from server.refunds.rules import BankDetails
from server.refunds.service import arrange, refunds_of_order

blueprint = Blueprint("refunds", __name__, url_prefix="/api/v1")


class RefundAnswer(Schema):
    """A repayment as it stands here. Bank details are not told back."""

    reference = fields.String(required=True)
    external_reference = fields.String(allow_none=True)
    amount = Amount(required=True)
    currency = fields.String(required=True)
    reason = fields.String(required=True)
    status = fields.String(required=True)
    planned_for = fields.Date(allow_none=True)
    requested_at = fields.AwareDateTime(required=True)
    processed_at = fields.AwareDateTime(allow_none=True)
    error = fields.String(allow_none=True)


class RefundsAnswer(Schema):
    refunds = fields.List(fields.Nested(RefundAnswer), required=True)


@blueprint.post("/orders/<path:external_id>/refunds")
@scope("shop")
@idempotent
@blueprint.doc(
    requestBody={
        "required": True,
        "content": {"application/json": {"schema": RefundRequestSchema}},
    }
)
@blueprint.response(201, RefundAnswer)
def post_refund(external_id: str) -> Refund:
    """Ask for a repayment of an order; an external reference is taken once a shop.

    Without bank details it goes to where the money came from; where that cannot be, the customer
    is asked for them.
    """
    row = order_of_shop(external_id)
    asked: RefundRequest = load(RefundRequestSchema(), json_body()).value
    payee = None
    if asked.payee_iban is not None:
        payee = BankDetails(asked.payee_name or row.customer_name, asked.payee_iban)
    try:
        refund = arrange(
            row.merchant_id,
            order_id=row.id,
            amount=asked.amount,
            reason=asked.reason or "",
            payee=payee,
            planned_for=asked.planned_for,
            external_reference=asked.external_reference,
            details_by="shop",
            actor=f"{shop().name} (API)"[:320],
            at=now(),
        )
    except NotPossible as problem:
        raise _problem(problem) from None
    db.session.commit()
    return refund


@blueprint.get("/orders/<path:external_id>/refunds")
@scope("shop")
@blueprint.response(200, RefundsAnswer)
def get_refunds(external_id: str) -> dict[str, Any]:
    """The repayments of an order, the newest first."""
    order: Order = order_of_shop(external_id)
    return {"refunds": refunds_of_order(order)}


_PROBLEMS: Final = {
    "refund_nothing_paid": "Nothing was paid of this order.",
    "refund_all_arranged": "All that may go back of this order is arranged already.",
    "refund_amount_invalid": "The amount is above zero, with at most two decimals.",
    "refund_above_limit": "At most {largest} may go back of this order.",
    "refund_reason_too_long": "A reason has at most {longest} characters.",
    "refund_reference_taken": "This external reference is taken: by {reference}.",
    "refund_too_many": "This order has too many repayments.",
    "date_out_of_range": "The planned day is today or later, within a year.",
    "iban_invalid": "This is no IBAN.",
    "refund_iban_not_sepa": "This IBAN is of a country outside of SEPA.",
    "refund_own_account": "This is the merchant's own account.",
    "refund_name_missing": "The account's holder is missing.",
    "refund_name_too_long": "The holder's name has at most {longest} characters.",
    "refund_name_not_latin": "The holder's name needs Latin letters.",
}


def _problem(problem: NotPossible) -> Problem:
    key = str(problem.args[0])
    said = _PROBLEMS.get(key, "This repayment is not possible.").format(**problem.facts)
    return Problem(409 if key == "refund_reference_taken" else 422, said)
