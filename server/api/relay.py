"""The relay's entrance beside SMTP, for systems whose host lets no SMTP out (S87).

The log-in is the connection's own user and password (RFC 7617), so one thing is set up in the
other system, and nothing of the merchant's orders can be reached with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from email.utils import getaddresses
from functools import wraps
from typing import Any, Final

from flask import g, request
from flask_smorest import Blueprint
from marshmallow import Schema, fields
from sqlalchemy import func, select
from werkzeug.exceptions import RequestEntityTooLarge

from server.api.access import View
from server.api.problems import Problem
from server.db import db, now
from server.relay import intake
from server.relay.heads import Head, NotAccepted, read_head, with_crlf
from server.relay.intake import MAX_MESSAGE_BYTES, MAX_RECIPIENTS, Caller, Origin
from server.relay.log import deliveries_of
from server.relay.logins import TooManyFailures, log_in_within_limits
from server.relay.models import RelayDelivery, RelayMessage
from server.visitors import attempt_limits

blueprint = Blueprint("relay", __name__, url_prefix="/api/v1/relay")

TAKEN_ONCE: Final = timedelta(hours=24)
"""So long the same mail, byte for byte, is the same mail."""
STATUSES: Final = {452: 422, 550: 422, 552: 413, 553: 422, 554: 422}
RECIPIENT_FIELDS: Final = (b"to", b"cc", b"bcc")


class RecipientAnswer(Schema):
    """``status``: queued, running, done (a server took it), failed, withheld (suppressed)."""

    recipient = fields.String(required=True)
    status = fields.String(required=True)
    delivery = fields.String(allow_none=True)
    words = fields.String(allow_none=True)


class MessageAnswer(Schema):
    id = fields.String(required=True)
    message_id = fields.String(required=True)
    recipients = fields.List(fields.Nested(RecipientAnswer), required=True)


def connected(view: View) -> View:
    """Only with a connection's user and password. Sets ``g.caller``."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        given = request.authorization
        user, password = (given.username, given.password) if given else (None, None)
        if given is None or given.type != "basic" or user is None or password is None:
            raise _not_logged_in()
        address = request.remote_addr or ""
        try:
            found = log_in_within_limits(user, password, address, attempt_limits(), now())
        except TooManyFailures:
            raise Problem(
                429, "Too many failed log-ins. Try again later.", headers={"Retry-After": "900"}
            ) from None
        if found is None:
            raise _not_logged_in()
        g.caller = intake.caller_of(found)
        return view(*args, **kwargs)

    guarded.__dict__["api_scope"] = "relay"
    return guarded  # type: ignore[return-value]


def _not_logged_in() -> Problem:
    return Problem(
        401,
        "User and password of a relay connection are needed (HTTP Basic).",
        headers={"WWW-Authenticate": 'Basic realm="kontor relay", charset="UTF-8"'},
    )


@blueprint.post("/messages")
@connected
@blueprint.doc(
    security=[{"connection": []}],
    parameters=[
        {
            "in": "query",
            "name": "to",
            "schema": {"type": "array", "items": {"type": "string"}},
            "description": "recipients; without any those of To, Cc and Bcc",
        }
    ],
    requestBody={
        "required": True,
        "content": {"message/rfc822": {"schema": {"type": "string", "format": "binary"}}},
    },
)
@blueprint.response(202, MessageAnswer)
def post_message() -> dict[str, Any]:
    """Hand over one complete mail as it is, at most 30 MB; it was stored when this answers.

    The same mail once more within a day, byte for byte, with a Message-ID and to the same
    recipients, is taken once.
    """
    request.max_content_length = MAX_MESSAGE_BYTES
    db.session.commit()  # a host may send its mail for minutes, and keeps no connection meanwhile
    try:
        raw = with_crlf(request.get_data(cache=False))
    except RequestEntityTooLarge:
        raise Problem(413, "The mail is larger than 30 MB.") from None
    try:
        head = read_head(raw)
        intake.check_may_send(g.caller, head)
        recipients = _recipients(head)
        known = _known(g.caller, head, raw, recipients)
        if known is not None:
            return _answer(known)
        number = intake.accept(
            g.caller,
            raw,
            sender=request.args.get("from", "")[:320] or head.sender,
            recipients=recipients,
            origin=Origin("http", request.remote_addr or ""),
            at=now(),
        )
    except NotAccepted as refused:
        raise Problem(STATUSES[refused.code], refused.words) from None
    intake.note_used(g.caller.connection_id, now())
    db.session.commit()
    return _answer(db.session.get_one(RelayMessage, number))


@blueprint.get("/messages/<int:relayed_id>")
@connected
@blueprint.doc(security=[{"connection": []}])
@blueprint.response(200, MessageAnswer)
def get_message(relayed_id: int) -> dict[str, Any]:
    """What became of a mail, recipient by recipient."""
    row = db.session.get(RelayMessage, relayed_id) if relayed_id < 2**63 else None
    if row is None or row.connection_id != g.caller.connection_id:
        raise Problem(404, "No such mail of this connection.")
    return _answer(row)


def _recipients(head: Head) -> list[str]:
    named = request.args.getlist("to")
    if not named:
        values = [
            field.partition(b":")[2].decode("utf-8", "replace")
            for name, field in head.fields
            if name in RECIPIENT_FIELDS
        ]
        named = [address for _, address in getaddresses(values) if address]
    return [intake.checked_recipient(one) for one in named]


def _known(
    caller: Caller, head: Head, raw: bytes, recipients: Sequence[str]
) -> RelayMessage | None:
    """The same mail to the same recipients, as it was taken before.

    Nobody else hands it in meanwhile. Where its content is not kept any more, its size must do.
    """
    if not head.message_id or not recipients:
        return None
    key = func.hashtextextended(f"relay {caller.connection_id} {head.message_id}", 0)
    db.session.execute(select(func.pg_advisory_xact_lock(key)))
    to_first = select(RelayDelivery.relay_message_id).where(
        RelayDelivery.relay_message_id == RelayMessage.id, RelayDelivery.recipient == recipients[0]
    )
    is_same = (RelayMessage.content == raw) | (
        RelayMessage.content.is_(None) & (RelayMessage.size_bytes == len(raw))
    )
    same = select(RelayMessage).where(
        RelayMessage.merchant_id == caller.merchant_id,
        RelayMessage.message_id == head.message_id,
        RelayMessage.connection_id == caller.connection_id,
        RelayMessage.origin == "http",
        RelayMessage.received_at > now() - TAKEN_ONCE,
        to_first.exists(),
        is_same,
    )
    found = db.session.scalars(same.order_by(RelayMessage.id).limit(MAX_RECIPIENTS)).all()
    to = deliveries_of(found)
    wanted = set(recipients)
    return next((one for one in found if {row.recipient for row in to[one.id]} == wanted), None)


def _answer(row: RelayMessage) -> dict[str, Any]:
    deliveries = select(RelayDelivery).where(RelayDelivery.relay_message_id == row.id)
    return {
        "id": str(row.id),
        "message_id": row.message_id,
        "recipients": [
            {
                "recipient": one.recipient,
                "status": one.status,
                "delivery": one.delivery,
                "words": one.delivery_words or one.smtp_response or one.error,
            }
            for one in db.session.scalars(deliveries.order_by(RelayDelivery.id))
        ],
    }
