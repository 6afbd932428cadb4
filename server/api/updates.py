"""GET payment-updates, with the orders that a person asks for, and the acknowledgement."""

from __future__ import annotations

from typing import Any

from flask import g
from flask_smorest import Blueprint
from marshmallow import Schema, fields, validate

from plugin_sdk.schemas import AcknowledgementSchema, OrderRequestSchema, PaymentUpdateSchema
from server.api.access import scope, shop
from server.api.polls import BUSY_RETRY_SECONDS, polls
from server.api.problems import Problem
from server.api.wire import json_body, load
from server.db import db, now
from server.orders.service import acknowledge_update
from server.shops import order_requests
from server.shops.models import Shop
from server.shops.service import lease_updates, may_have_updates, see, to_wire

MAX_ID = 2**63 - 1
REQUESTS_AT_ONCE = 10

blueprint = Blueprint("payment_updates", __name__, url_prefix="/api/v1")


class PollArguments(Schema):
    wait_seconds = fields.Integer(load_default=0, validate=validate.Range(0, 20))
    limit = fields.Integer(load_default=20, validate=validate.Range(1, 100))


class PaymentUpdatesAnswer(Schema):
    payment_updates = fields.List(fields.Nested(PaymentUpdateSchema), required=True)
    order_requests = fields.List(fields.Nested(OrderRequestSchema))
    retry_after_seconds = fields.Integer()


class AcknowledgedAnswer(Schema):
    id = fields.String(required=True)
    state = fields.String(required=True)


@blueprint.get("/payment-updates")
@scope("shop")
@blueprint.arguments(PollArguments, location="query")
@blueprint.response(200, PaymentUpdatesAnswer)
def get_payment_updates(arguments: dict[str, int]) -> dict[str, Any]:
    """What is due for this shop, leased for 120 s; waits until there is something.

    Not acknowledged in time, an update is handed out again. `order_requests` in the answer: orders
    that a person wants looked at now, leased as well. `retry_after_seconds`: the server lets nobody
    else wait just now; ask again after that.
    """
    shop_id = g.api_key.shop_id
    found = _lease(shop(), arguments["limit"])
    if any(found.values()) or not arguments["wait_seconds"]:
        return found
    db.session.remove()  # waiting holds no connection
    if not polls().wait(shop_id, arguments["wait_seconds"]):
        return {"payment_updates": [], "retry_after_seconds": BUSY_RETRY_SECONDS}
    return _lease(shop(), arguments["limit"])


def _lease(asking: Shop, limit: int) -> dict[str, list[Any]]:
    at = now()
    see(asking, at)
    found: dict[str, list[Any]] = {"payment_updates": []}
    if may_have_updates(asking.id, at):
        found["payment_updates"] = [to_wire(row) for row in lease_updates(asking, limit, at)]
    if order_requests.shops_with_requests({asking.id}, at):
        requests = order_requests.lease_requests(asking, REQUESTS_AT_ONCE, at)
        if requests:  # another poll of the same shop may have been faster
            found["order_requests"] = [order_requests.to_wire(row) for row in requests]
    db.session.commit()
    return found


@blueprint.post("/payment-updates/<int:update_id>/acknowledgement")
@scope("shop")
@blueprint.doc(
    requestBody={
        "required": True,
        "content": {"application/json": {"schema": AcknowledgementSchema}},
    }
)
@blueprint.response(200, AcknowledgedAnswer)
def acknowledge(update_id: int) -> dict[str, str]:
    """What became of a payment update. Repeating it changes nothing."""
    loaded = load(AcknowledgementSchema(), json_body())
    row = None
    if update_id <= MAX_ID:
        row = acknowledge_update(shop(), update_id, loaded.value, now())
    if row is None:
        raise Problem(404, "This shop has no such payment update.")
    db.session.commit()
    return {"id": str(row.id), "state": row.status}
