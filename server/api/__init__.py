"""The JSON door: what shop plugins, agents and bank tools talk to (docs/api.md)."""

from __future__ import annotations

from flask import Flask

from server.api import (
    exports,
    heartbeat,
    order_requests,
    orders,
    polls,
    postings,
    problems,
    refunds,
    relay,
    shop_webhooks,
    statements,
    updates,
)

MAX_BODY_BYTES = 66 * 1024 * 1024
"""The largest body of any route: a statement of 64 MB and its form around it."""

OPENAPI = {
    "API_TITLE": "Kontor",
    "API_VERSION": "v1",
    "OPENAPI_VERSION": "3.1.0",
    "OPENAPI_URL_PREFIX": "/api/v1",
    "OPENAPI_JSON_PATH": "openapi.json",
    "API_SPEC_OPTIONS": {
        "info": {"description": "Orders in, payment updates out; bank statements in."},
        "components": {
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "connection": {"type": "http", "scheme": "basic"},
            },
        },
        "security": [{"key": []}],
    },
}


def register(app: Flask) -> None:
    app.config.update(OPENAPI)
    api = problems.ProblemApi(app)
    problems.register(app)
    polls.register(app)
    for part in (
        orders, refunds, updates, order_requests, statements, postings, heartbeat, relay, exports
    ):  # fmt: skip
        api.register_blueprint(part.blueprint)
    app.register_blueprint(shop_webhooks.blueprint)
