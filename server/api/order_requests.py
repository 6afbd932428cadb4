"""POST order-requests/{id}/answer: what a shop says about an order that a person asked for."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask_smorest import Blueprint
from marshmallow import Schema, fields
from sqlalchemy import select

from plugin_sdk.schemas import RequestAnswerSchema
from plugin_sdk.types import Evidence, RequestAnswer, RequestOutcome
from server.api.access import scope, shop
from server.api.problems import Problem
from server.api.wire import Loaded, json_body, load
from server.db import db, now
from server.orders.intake import Arrival, orders_gone, receive_wanted
from server.orders.models import Order
from server.shops.models import OrderRequest, Shop
from server.shops.order_requests import (
    answer_request,
    is_the_one,
    is_waiting,
    request_to_answer,
)

MAX_ID = 2**63 - 1
EVIDENCE = {RequestOutcome.GONE: Evidence.GONE, RequestOutcome.TRASHED: Evidence.TRASHED}

blueprint = Blueprint("order_requests", __name__, url_prefix="/api/v1")


class AnsweredAnswer(Schema):
    id = fields.String(required=True)
    state = fields.String(required=True)
    ignored = fields.List(fields.String())


@blueprint.post("/order-requests/<int:request_id>/answer")
@scope("shop")
@blueprint.doc(
    requestBody={"required": True, "content": {"application/json": {"schema": RequestAnswerSchema}}}
)
@blueprint.response(200, AnsweredAnswer)
def answer_order_request(request_id: int) -> dict[str, Any]:
    """What the shop says about an order that was asked for. Repeating it changes nothing.

    An order that was found is taken into management, or its changes are taken over. One that is
    gone or in the trash counts as evidence, as in `orders/gone`.
    """
    asking = shop()
    row = request_to_answer(asking, request_id) if request_id <= MAX_ID else None
    if row is None:
        raise Problem(404, "This shop has no such request.")
    loaded = load(RequestAnswerSchema(), json_body())
    if is_waiting(row):
        at = now()
        _take_in(asking, row, loaded, at)
        answer_request(row, loaded.value, at)
    db.session.commit()
    answer = {"id": str(row.id), "state": row.status}
    return {**answer, "ignored": list(loaded.ignored)} if loaded.ignored else answer


def _take_in(asking: Shop, row: OrderRequest, loaded: Loaded, at: datetime) -> None:
    """What the answer means for the order itself."""
    answer: RequestAnswer = loaded.value
    if answer.order is not None:
        if not is_the_one(row, answer.order):
            raise Problem(422, "This is another order than the one that was asked for.")
        arrival = Arrival(answer.order, loaded.raw["order"])
        receive_wanted(asking, arrival, actor=row.asked_by, at=at)
        row.order_id = db.session.scalar(
            select(Order.id).where(
                Order.shop_id == asking.id, Order.external_id == answer.order.external_id
            )
        )
    elif answer.outcome in EVIDENCE and row.external_id is not None:
        orders_gone(asking, [row.external_id], EVIDENCE[answer.outcome], at)
