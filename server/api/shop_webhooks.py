"""What a shop's own server sends us where Kontor talks to it: webhooks, and the keys of a log-in.

Plain routes, no part of the JSON API: the shop system decides their form, and the last part of the
address is the secret. A webhook is a hint: which orders it names is written down, then answered.
"""

from __future__ import annotations

from flask import Blueprint, Response, request

from plugin_sdk.errors import ConnectorError, Rejected
from server.db import db, now
from server.hosting.connecting import connector_of, take_login
from server.shops.connections import add_hints, connection_of_login, connection_of_webhook

MAX_WEBHOOK_BYTES = 2 * 1024 * 1024

blueprint = Blueprint("shop_webhooks", __name__)


@blueprint.post("/webhooks/shops/<token>")
def receive(token: str) -> Response:
    """200 when it is safely written down or there is nothing in it; 401 for a forgery."""
    if (request.content_length or 0) > MAX_WEBHOOK_BYTES:
        return _answer(413, "Too large.")
    row = connection_of_webhook(token)
    if row is None:
        return _answer(404, "Nobody listens here.")
    try:
        connector = connector_of(row)
        hint = connector.read_webhook(dict(request.headers.items()), request.get_data(cache=False))
    except Rejected:
        return _answer(401, "Not genuine.")
    except ConnectorError:
        return _answer(503, "Not now.")
    if hint is not None:
        add_hints(row.merchant_id, row.shop_id, hint.ids)  # if there is no room, all are compared
        db.session.commit()
    return _answer(200, "Thank you.")


@blueprint.post("/logins/shops/<state>")
def receive_login(state: str) -> Response:
    """The keys that a shop made when its owner agreed. The address is good for one log-in."""
    if (request.content_length or 0) > MAX_WEBHOOK_BYTES:
        return _answer(413, "Too large.")
    row = connection_of_login(state, now())
    given = request.get_json(silent=True)
    if row is None or not isinstance(given, dict):
        return _answer(404, "No log-in is waited for here.")
    try:
        take_login(row, state, given, now())
    except Rejected:
        return _answer(422, "This is not what was waited for.")
    except ConnectorError:
        return _answer(503, "Not now.")
    db.session.commit()
    return _answer(200, "Thank you.")


def _answer(status: int, text: str) -> Response:
    return Response(f"{text}\n", status, mimetype="text/plain")
