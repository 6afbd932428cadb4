"""The signed links of mails, which work without a log-in (S61, N8, S11, S91, K38).

A file of its own because mails carry them and the customer's door reads them. Nothing is stored:
the signature is an HMAC under KONTOR_SECRET_KEY, so a new key ends all links. A link of one
purpose is none of another.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from itsdangerous import BadData, URLSafeTimedSerializer
from sqlalchemy import select

from server.config import installed
from server.db import db
from server.mail.kinds import KINDS
from server.mail.suppression import address_hash
from server.orders.models import Order

LIFETIME_SECONDS = 2 * 365 * 24 * 3600
MAX_TOKEN_LENGTH = 200
HASH_HEX = 16


# --- the page of an order -----------------------------------------------------------------------


def page_url(order: Order) -> str:
    """Where the customer of this order says that he has paid."""
    return f"{installed().url}/pay/{_signer('order page').dumps(order.id)}"


def page_url_of(shop_id: int, payment_reference: str) -> str:
    """The same page, for a mail that is written together with its order, which has no id yet."""
    return f"{installed().url}/pay/{_signer('order page').dumps([shop_id, payment_reference])}"


def read_token(token: str) -> int | None:
    """The id of the order; None for a token that is forged, cut or two years old."""
    match _read("order page", token):
        case int(order_id):
            return order_id
        case [int(shop_id), str(reference)]:
            named = select(Order.id).where(
                Order.shop_id == shop_id, Order.payment_reference == reference
            )
            return db.session.scalar(named)
    return None


# --- what a customer does not want --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OptOut:
    """Whose mails of which kind. The address itself does not stand in a link, only its hash."""

    order_id: int
    kind: str
    hash_begins: str

    def is_of(self, address: str) -> bool:
        return address_hash(address).hex().startswith(self.hash_begins)


def unsubscribe_url(order_id: int, address: str, kind: str) -> str:
    """Where whoever got this mail can opt out of its kind, which must be optional (S11, S12)."""
    assert KINDS[kind].is_optional, f"nobody can opt out of {kind}"
    begins = address_hash(address).hex()[:HASH_HEX]
    return f"{installed().url}/unsubscribe/{_signer('unsubscribe').dumps([order_id, kind, begins])}"


def read_unsubscribe(token: str) -> OptOut | None:
    """None for a token that is forged, cut or old, or whose kind is not optional any more."""
    match _read("unsubscribe", token):
        case [int(order_id), str(kind), str(begins)] if kind in KINDS and KINDS[kind].is_optional:
            return OptOut(order_id, kind, begins)
    return None


def help_url(shop_id: int, language: str) -> str:
    """Why a customer of this shop gets mails, in the words of an edition (S90, S91)."""
    settings = installed()
    return _help_url(settings.url, settings.secret_key, shop_id, language)


@lru_cache(maxsize=4096)
def _help_url(base: str, secret: str, shop_id: int, language: str) -> str:
    """Remembered, because every mail to a customer has it and it says nothing of the order."""
    return f"{base}/why/{_signer('why this mail', secret).dumps([shop_id, language])}"


def read_help(token: str) -> tuple[int, str] | None:
    """Shop and edition; None for a token that is forged, cut or old."""
    match _read("why this mail", token):
        case [int(shop_id), str(language)]:
            return shop_id, language
    return None


# --- what a user does not want ------------------------------------------------------------------


def stop_url(user_id: int, kind: str) -> str:
    """Where a user stops a kind of notice with one click (K38)."""
    assert KINDS[kind].footer == "notice", f"{kind} is no notice"
    return f"{installed().url}/stop-notice/{_signer('stop notice').dumps([user_id, kind])}"


def read_stop(token: str) -> tuple[int, str] | None:
    """User and kind; None for a token that is forged, cut or old, or whose kind is none."""
    match _read("stop notice", token):
        case [int(user_id), str(kind)] if kind in KINDS and KINDS[kind].footer == "notice":
            return user_id, kind
    return None


# --- signing ------------------------------------------------------------------------------------


def _read(purpose: str, token: str) -> Any:
    if len(token) > MAX_TOKEN_LENGTH:
        return None
    try:
        return _signer(purpose).loads(token, max_age=LIFETIME_SECONDS)
    except BadData:
        return None


def _signer(purpose: str, secret: str | None = None) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(secret or installed().secret_key, salt=purpose)
