"""Who is asking: API keys, their scope, and what belongs to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from flask import g, request
from sqlalchemy import select

from server.api.problems import Problem
from server.db import db, now
from server.merchants.models import ApiKey
from server.merchants.rules import split_api_key
from server.merchants.service import authenticate
from server.shops.models import Shop

View = TypeVar("View", bound=Callable[..., Any])
MAX_KEY_LENGTH = 200


def scope(wanted: str) -> Callable[[View], View]:
    """Only for keys of this scope. Sets ``g.api_key`` and, for `shop`, ``g.shop``."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            key = _authenticated()
            if key.scope != wanted:
                raise Problem(403, f"This key is for {key.scope!r}; {wanted!r} is needed here.")
            g.api_key = key
            if wanted == "shop":
                g.shop = _shop_of(key)
            return view(*args, **kwargs)

        guarded.__dict__["api_scope"] = wanted
        return guarded  # type: ignore[return-value]

    return decorate


def _authenticated() -> ApiKey:
    method, _, presented = request.headers.get("Authorization", "").partition(" ")
    key = None
    if method.lower() == "bearer" and len(presented) <= MAX_KEY_LENGTH:
        _look_up(presented.strip())
        key = authenticate(presented.strip(), now())
    if key is None:
        raise Problem(
            401,
            "No valid API key. Send 'Authorization: Bearer kontor_...'.",
            headers={"WWW-Authenticate": 'Bearer realm="kontor"'},
        )
    return key


def _look_up(presented: str) -> None:
    """Key and shop in one query; what follows finds them in the session."""
    parts = split_api_key(presented)
    if parts is not None:
        both = select(ApiKey, Shop).outerjoin(Shop, Shop.id == ApiKey.shop_id)
        g.looked_up = db.session.execute(both.where(ApiKey.id == parts[0])).first()


def _shop_of(key: ApiKey) -> Shop:
    shop = db.session.get(Shop, key.shop_id)
    assert shop is not None, "a shop key has a shop"
    if shop.status in {"disabled", "deregistered"}:
        raise Problem(403, f"The shop is {shop.status}.")
    return shop
