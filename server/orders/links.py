"""The signed link by which a customer reaches the page of one order, without a log-in (S61, N8).

A file of its own because mails carry it and the customer's door reads it. Nothing is stored: the
signature is an HMAC under KONTOR_SECRET_KEY, so a new key ends all links.
"""

from __future__ import annotations

from itsdangerous import BadData, URLSafeTimedSerializer

from server.config import installed
from server.orders.models import Order

LIFETIME_SECONDS = 2 * 365 * 24 * 3600
MAX_TOKEN_LENGTH = 200


def page_url(order: Order) -> str:
    """Where the customer of this order says that he has paid."""
    return f"{installed().url}/pay/{_signer().dumps(order.id)}"


def read_token(token: str) -> int | None:
    """The id of the order; None for a token that is forged, cut or two years old."""
    if len(token) > MAX_TOKEN_LENGTH:
        return None
    try:
        order_id = _signer().loads(token, max_age=LIFETIME_SECONDS)
    except BadData:
        return None
    return order_id if isinstance(order_id, int) else None


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(installed().secret_key, salt="order page")
