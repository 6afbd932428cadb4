"""POST order-requests/{id}/answer: what a shop says about an order that a person asked for."""

from __future__ import annotations

from typing import Any

from flask_smorest import Blueprint
from marshmallow import Schema, fields

from plugin_sdk.schemas import RequestAnswerSchema
from server.api.access import scope, shop
from server.api.problems import Problem
from server.api.wire import json_body, load
from server.db import db, now
from server.orders.intake import receive_answer
from server.orders.ledger import NotPossible
from server.shops.order_requests import is_waiting, request_to_answer

MAX_ID = 2**63 - 1

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
        try:
            receive_answer(asking, row, loaded.value, loaded.raw.get("order"), now())
        except NotPossible:
            text = "This is another order than the one that was asked for."
            raise Problem(422, text) from None
    db.session.commit()
    answer = {"id": str(row.id), "state": row.status}
    return {**answer, "ignored": list(loaded.ignored)} if loaded.ignored else answer
