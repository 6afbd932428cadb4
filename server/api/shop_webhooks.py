"""What a shop's own server sends us where Kontor talks to it: webhooks, and the keys of a log-in.

Plain routes, no part of the JSON API: the shop system decides their form, and the last part of the
address is the secret. A webhook is a hint: which orders it names is written down, then answered.
"""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from plugin_sdk.connector import ShopCall
from plugin_sdk.errors import ConnectorError, Rejected
from server.db import db, now
from server.forgetting.service import erase_customer
from server.hosting.connecting import address_of, answer_call, connector_of, take_login
from server.shops.connections import (
    add_hints,
    connection_at,
    connection_of_webhook,
)
from server.shops.models import ShopConnection
from server.vault import VaultLocked

MAX_WEBHOOK_BYTES = 2 * 1024 * 1024

blueprint = Blueprint("shop_webhooks", __name__)


@blueprint.before_request
def limit_size() -> None:
    """What says that it is larger is not looked at; of what says nothing, no more is read."""
    request.max_content_length = MAX_WEBHOOK_BYTES
    if (request.content_length or 0) > MAX_WEBHOOK_BYTES:
        raise RequestEntityTooLarge


@blueprint.errorhandler(RequestEntityTooLarge)
def too_large(_error: RequestEntityTooLarge) -> Response:
    """More than that is no webhook."""
    db.session.rollback()
    return _answer(413, "Too large.")


@blueprint.errorhandler(VaultLocked)
def vault_locked(_error: VaultLocked) -> Response:
    """The shop tells again, when its settings can be opened."""
    db.session.rollback()
    return _answer(503, "Not now.")


@blueprint.post("/webhooks/shops/<token>")
def receive(token: str) -> Response:
    """200 when it is safely written down or there is nothing in it; 401 for a forgery."""
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


@blueprint.get("/webhooks/shops/<token>", defaults={"path": ""})
@blueprint.route("/webhooks/shops/<token>/<path:path>", methods=["GET", "POST"])
def answer(token: str, path: str) -> Response:
    """What else a shop system asks: to register an app, to prove that the address is ours."""
    row = connection_at(token)
    if row is None:
        return _answer(404, "Nobody listens here.")
    try:
        reply = answer_call(row, _call(row, path), now(), db.session.commit)
    except Rejected as refused:
        return _refused(str(refused))
    except ConnectorError:
        return _answer(503, "Not now.")
    if reply is None:
        return _answer(404, "Nobody listens here.")
    for customer in reply.forget:
        erase_customer(row.merchant_id, row.shop_id, customer, now())
    db.session.commit()
    answer = jsonify(dict(reply.body))
    answer.status_code = reply.status
    return answer


def _call(row: ShopConnection, path: str) -> ShopCall:
    return ShopCall(
        address=address_of(row),
        method=request.method,
        path=path,
        query=request.query_string.decode("ascii", "replace"),
        headers=dict(request.headers.items()),
        body=request.get_data(cache=False),
    )


@blueprint.post("/logins/shops/<state>")
def receive_login(state: str) -> Response:
    """The keys that a shop made when its owner agreed. The address is good for one log-in."""
    given = request.get_json(silent=True)
    if not isinstance(given, dict):
        return _answer(404, "No log-in is waited for here.")
    try:
        row = take_login(state, given, now(), db.session.commit)
    except Rejected:
        return _answer(422, "This is not what was waited for.")
    except ConnectorError:
        return _answer(503, "Not now.")
    if row is None:
        return _answer(404, "No log-in is waited for here.")
    db.session.commit()
    return _answer(200, "Thank you.")


def _refused(reason: str) -> Response:
    """Shopware shows ``error`` to the person who installs; others only look at the status."""
    answer = jsonify({"error": reason})
    answer.status_code = 401
    return answer


def _answer(status: int, text: str) -> Response:
    return Response(f"{text}\n", status, mimetype="text/plain")
