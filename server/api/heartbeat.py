"""POST heartbeat: an agent says that it is there."""

from __future__ import annotations

from typing import Any

from flask_smorest import Blueprint
from marshmallow import Schema, fields

from plugin_sdk.schemas import HeartbeatSchema
from plugin_sdk.types import WIRE_VERSION
from server.api.access import scope, shop
from server.api.wire import json_body, load
from server.db import db, now
from server.orders.service import hear_heartbeat

blueprint = Blueprint("heartbeat", __name__, url_prefix="/api/v1")


class HeartbeatAnswer(Schema):
    wire_version = fields.Integer(required=True)
    shop_status = fields.String(required=True)
    ignored = fields.List(fields.String())


@blueprint.post("/heartbeat")
@scope("shop")
@blueprint.doc(
    requestBody={"required": True, "content": {"application/json": {"schema": HeartbeatSchema}}}
)
@blueprint.response(200, HeartbeatAnswer)
def heartbeat() -> dict[str, Any]:
    """Connector, version, capabilities, and the last error, if there is one."""
    loaded = load(HeartbeatSchema(), json_body())
    asking = shop()
    hear_heartbeat(asking, loaded.value, now())
    db.session.commit()
    return {
        "wire_version": WIRE_VERSION,
        "shop_status": asking.status,
        "ignored": list(loaded.ignored),
    }
