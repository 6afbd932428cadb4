"""Orders: push one or many, look, deliver an invoice, report what is gone."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Any

from flask import Response, g, jsonify, request
from flask_smorest import Blueprint
from marshmallow import Schema, ValidationError, fields, post_dump, validate
from sqlalchemy import select, tuple_

from plugin_sdk.quick import quick_loader
from plugin_sdk.schemas import BATCH_LIMIT, Amount, OrderResultSchema, OrderSchema, Text
from plugin_sdk.types import Evidence, PaymentStatus
from server.api.access import receiving, scope, shop
from server.api.idempotency import idempotent
from server.api.problems import Problem, in_words, messages_of
from server.api.wire import Loaded, json_body, load
from server.db import db, now
from server.orders.detail import detail_of
from server.orders.intake import (
    Arrival,
    orders_gone,
    receive_orders,
)
from server.orders.ledger import refunded_totals
from server.orders.models import Order
from server.orders.service import MAX_INVOICE_BYTES, NotPossible, paid_totals, store_invoice

MAX_INVOICE_NUMBER = 64

blueprint = Blueprint("orders", __name__, url_prefix="/api/v1")


class BatchSchema(Schema):
    orders = fields.List(
        fields.Nested(OrderSchema), required=True, validate=validate.Length(1, BATCH_LIMIT)
    )


class ResultAnswer(OrderResultSchema):
    """As the SDK reads it: ``external_id`` is always there, null if it could not be read."""

    @post_dump
    def _leave_out_nothing_known(self, dumped: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {
            name: value
            for name, value in dumped.items()
            if value is not None or name == "external_id"
        }


class BatchAnswer(Schema):
    results = fields.List(fields.Nested(ResultAnswer), required=True)


class OrderAnswer(Schema):
    """The order as it stands here."""

    external_id = fields.String(required=True)
    number = fields.String(required=True)
    ordered_at = fields.AwareDateTime(required=True)
    currency = fields.String(required=True)
    total = Amount(required=True)
    paid_total = Amount(required=True)
    refunded_total = Amount(required=True)
    payment_status = fields.String(required=True)
    payment_code = fields.String(required=True)
    payment_reference = fields.String(required=True)
    shop_status = fields.String(allow_none=True)
    changed_at = fields.AwareDateTime(required=True)


class PushAnswer(ResultAnswer):
    ignored = fields.List(fields.String())


class OrdersAnswer(Schema):
    orders = fields.List(fields.Nested(OrderAnswer), required=True)
    cursor = fields.String(allow_none=True)


class OrdersArguments(Schema):
    payment_status = fields.Enum(PaymentStatus, by_value=True)
    changed_since = fields.AwareDateTime()
    cursor = fields.String(validate=validate.Length(max=200))
    limit = fields.Integer(load_default=50, validate=validate.Range(1, 100))


class GoneSchema(Schema):
    external_ids = fields.List(Text(64, 1), required=True, validate=validate.Length(1, BATCH_LIMIT))
    evidence = fields.Enum(Evidence, by_value=True, required=True)


class GoneAnswer(Schema):
    removed = fields.Integer(required=True)


def _takes(schema: type[Schema]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


ORDER_SCHEMA = OrderSchema()
LOAD_ORDER = quick_loader(ORDER_SCHEMA)


@blueprint.post("/orders")
@receiving
@idempotent
@blueprint.doc(requestBody=_takes(OrderSchema))
@blueprint.response(200, PushAnswer)
def post_order() -> Response:
    """Store one order. Sending it again is harmless; a changed one is taken over."""
    loaded = load(ORDER_SCHEMA, json_body(), LOAD_ORDER)
    outcome = receive_orders(g.receiver, [Arrival(loaded.value, loaded.raw)], now())[0]
    db.session.commit()
    answer = {"index": 0, "external_id": loaded.value.external_id, "outcome": outcome}
    return jsonify({**answer, "ignored": list(loaded.ignored)} if loaded.ignored else answer)


@blueprint.post("/orders/batch")
@receiving
@idempotent
@blueprint.doc(requestBody=_takes(BatchSchema))
@blueprint.response(200, BatchAnswer)
def post_orders() -> dict[str, Any]:
    """Store up to 100 orders, each on its own: an invalid one does not hold up the others."""
    body = json_body()
    raws = body.get("orders")
    if not isinstance(raws, list) or not 1 <= len(raws) <= BATCH_LIMIT or len(body) > 1:
        raise Problem(422, f"Send an object with 'orders', a list of 1 to {BATCH_LIMIT}.")
    results: list[dict[str, Any]] = []
    good: list[tuple[int, Loaded]] = []
    for index, raw in enumerate(raws):
        result = {"index": index, "external_id": _external_id(raw), "outcome": "invalid"}
        try:
            loaded = load(ORDER_SCHEMA, raw, LOAD_ORDER)
        except ValidationError as error:
            result["problem"] = in_words(messages_of(error))[:2000]
        else:
            good.append((index, loaded))
        results.append(result)
    arrivals = [Arrival(one.value, one.raw) for _, one in good]
    outcomes = receive_orders(g.receiver, arrivals, now())
    for (index, _), outcome in zip(good, outcomes, strict=True):
        results[index]["outcome"] = outcome
    db.session.commit()
    return {"results": results}


def _external_id(raw: Any) -> str | None:
    found = raw.get("external_id") if isinstance(raw, dict) else None
    return found[:64] if isinstance(found, str) else None


@blueprint.get("/orders/<path:external_id>")
@scope("shop")
@blueprint.response(200, OrderAnswer)
def get_order(external_id: str) -> dict[str, Any]:
    """One order of this shop as it stands here."""
    row = order_of_shop(external_id)
    ids = [row.id]
    return detail_of(row, paid_totals(ids)[row.id], refunded_totals(ids)[row.id])


@blueprint.get("/orders")
@scope("shop")
@blueprint.arguments(OrdersArguments, location="query")
@blueprint.response(200, OrdersAnswer)
def get_orders(arguments: dict[str, Any]) -> dict[str, Any]:
    """The shop's orders by their last change, oldest first; `cursor` leads to the next page."""
    query = select(Order).where(Order.shop_id == shop().id)
    if "payment_status" in arguments:
        query = query.where(Order.payment_status == arguments["payment_status"].value)
    if "changed_since" in arguments:
        query = query.where(Order.changed_at >= arguments["changed_since"])
    if "cursor" in arguments:
        query = query.where(tuple_(Order.changed_at, Order.id) > _from_cursor(arguments["cursor"]))
    limit = arguments["limit"]
    rows = list(db.session.scalars(query.order_by(Order.changed_at, Order.id).limit(limit + 1)))
    page = rows[:limit]
    ids = [row.id for row in page]
    paid, refunded = paid_totals(ids), refunded_totals(ids)
    return {
        "orders": [detail_of(row, paid[row.id], refunded[row.id]) for row in page],
        "cursor": _to_cursor(page[-1]) if len(rows) > limit else None,
    }


@blueprint.put("/orders/<path:external_id>/invoices/<path:number>")
@scope("shop")
@blueprint.doc(
    requestBody={
        "required": True,
        "content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}},
    }
)
@blueprint.response(204)
def put_invoice(external_id: str, number: str) -> None:
    """The PDF of an invoice, any time after the order; the same number again replaces it."""
    row = order_of_shop(external_id)
    if request.mimetype != "application/pdf":
        raise Problem(415, "Send 'Content-Type: application/pdf'.")
    if (request.content_length or 0) > MAX_INVOICE_BYTES:
        raise Problem(413, f"An invoice has at most {MAX_INVOICE_BYTES} bytes.")
    if not 1 <= len(number) <= MAX_INVOICE_NUMBER or "\x00" in number:
        raise Problem(422, f"An invoice number has 1 to {MAX_INVOICE_NUMBER} characters.")
    try:
        store_invoice(row, number, request.get_data(cache=False), now())
    except NotPossible as problem:
        raise Problem(422, _INVOICE_PROBLEMS[problem.args[0]]) from None
    db.session.commit()


_INVOICE_PROBLEMS = {
    "invoice_no_pdf": "The body is no PDF.",
    "invoice_too_large": "The PDF is too large.",
    "invoice_too_many": "The order has too many invoices.",
    "invoice_of_erased": "The personal data of this order was removed; no file of it is kept.",
}


@blueprint.post("/orders/gone")
@scope("shop")
@idempotent
@blueprint.doc(requestBody=_takes(GoneSchema))
@blueprint.response(200, GoneAnswer)
def post_gone() -> dict[str, int]:
    """Orders that the shop, asked by id, does not have any more.

    Said twice it counts: a request that is only sent again carries its `Idempotency-Key`.
    """
    loaded = load(GoneSchema(), json_body()).value
    removed = orders_gone(shop(), loaded["external_ids"], loaded["evidence"], now())
    db.session.commit()
    return {"removed": removed}


def order_of_shop(external_id: str) -> Order:
    """Of the shop whose key it is. Raises Problem."""
    row = None
    if "\x00" not in external_id:
        row = db.session.scalar(
            select(Order).where(Order.shop_id == shop().id, Order.external_id == external_id)
        )
    if row is None:
        raise Problem(404, "This shop has no such order.")
    return row


def _to_cursor(row: Order) -> str:
    text = f"1|{row.changed_at.isoformat()}|{row.id}"
    return base64.urlsafe_b64encode(text.encode()).decode()


def _from_cursor(cursor: str) -> tuple[datetime, int]:
    try:
        version, moment, number = base64.urlsafe_b64decode(cursor).decode().split("|")
        at, row_id = datetime.fromisoformat(moment), int(number)
    except (ValueError, binascii.Error):
        raise Problem(422, "This cursor is not one of ours.") from None
    if version != "1" or at.tzinfo is None or not 0 <= row_id < 2**63:
        raise Problem(422, "This cursor is not one of ours.")
    return at, row_id
