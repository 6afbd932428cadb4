"""Who is asking: API keys, their scope, and what belongs to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from flask import g, request

from server.api.problems import Problem
from server.db import db, now
from server.merchants.service import KeyFacts, authenticate
from server.orders.receiver import StaleReceiver, forget, receiver_of_key
from server.shops.models import Shop

View = TypeVar("View", bound=Callable[..., Any])
MAX_KEY_LENGTH = 200
RECEIVER_TRIES = 5


def scope(wanted: str) -> Callable[[View], View]:
    """Only for keys of this scope. Sets ``g.api_key``."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            key = _authenticated()
            if key.scope != wanted:
                raise Problem(403, f"This key is for {key.scope!r}; {wanted!r} is needed here.")
            g.api_key = key
            return view(*args, **kwargs)

        guarded.__dict__["api_scope"] = wanted
        return guarded  # type: ignore[return-value]

    return decorate


def receiving(view: View) -> View:
    """Like ``scope("shop")`` for the routes that push orders: sets ``g.receiver`` too.

    What is remembered of the receiver may be out of date; then the view runs once more.
    """

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        for _ in range(RECEIVER_TRIES):
            found = receiver_of_key(_presented(), now())
            if found is None:
                return scope("shop")(view)(*args, **kwargs)  # says what is wrong with the key
            g.api_key, g.receiver = found
            check_is_on(g.receiver.status)
            try:
                return view(*args, **kwargs)
            except StaleReceiver:
                db.session.rollback()
                forget(g.api_key.id)
        raise Problem(503, "The shop is being changed just now. Please repeat.")

    guarded.__dict__["api_scope"] = "shop"
    return guarded  # type: ignore[return-value]


def shop() -> Shop:
    """The shop of the key. Raises Problem if it is switched off."""
    found = db.session.get(Shop, g.api_key.shop_id)
    assert found is not None, "a shop key has a shop"
    check_is_on(found.status)
    return found


def check_is_on(status: str) -> None:
    if status in {"disabled", "deregistered"}:
        raise Problem(403, f"The shop is {status}.")


def _authenticated() -> KeyFacts:
    key = authenticate(_presented(), now())
    if key is None:
        raise Problem(
            401,
            "No valid API key. Send 'Authorization: Bearer kontor_...'.",
            headers={"WWW-Authenticate": 'Bearer realm="kontor"'},
        )
    return key


def _presented() -> str:
    """The bearer token (RFC 6750); empty if there is none."""
    method, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if method.lower() == "bearer" and len(token) <= MAX_KEY_LENGTH else ""
