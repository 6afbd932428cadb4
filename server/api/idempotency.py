"""Idempotency-Key: the same request twice gets the same answer once (24 h, per API key)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, TypeVar

from flask import Response, g, make_response, request
from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert

from server.api.problems import Problem
from server.db import db, now
from server.merchants.models import IdempotencyKey

View = TypeVar("View", bound=Callable[..., Any])
KEPT = timedelta(hours=24)
GIVEN_UP = timedelta(minutes=2)
MAX_KEPT_BODY = 256 * 1024


def idempotent(view: View) -> View:
    """Below ``scope``: the key is remembered per API key, with the answer it led to."""

    @wraps(view)
    def once(*args: Any, **kwargs: Any) -> Any:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return view(*args, **kwargs)
        if not 1 <= len(key) <= 200 or not key.isprintable():
            raise Problem(422, "An Idempotency-Key has 1 to 200 printable characters.")
        stored = _begin(key)
        if stored is not None:
            return stored
        try:
            response = make_response(view(*args, **kwargs))
        except BaseException:
            db.session.rollback()
            _forget(key)
            raise
        _finish(key, response)
        return response

    return once  # type: ignore[return-value]


def _begin(key: str) -> Response | None:
    """None = we are the first. Raises Problem for another body or a request still running."""
    at = now()
    api_key_id = g.api_key.id
    digest = hashlib.sha256(request.method.encode() + request.full_path.encode())
    digest.update(request.get_data(cache=True))
    db.session.execute(
        delete(IdempotencyKey).where(
            IdempotencyKey.api_key_id == api_key_id,
            (IdempotencyKey.created_at < at - KEPT)
            | (
                (IdempotencyKey.key == key)
                & IdempotencyKey.status_code.is_(None)
                & (IdempotencyKey.created_at < at - GIVEN_UP)
            ),
        )
    )
    first = db.session.execute(
        insert(IdempotencyKey)
        .values(api_key_id=api_key_id, key=key, request_hash=digest.digest(), created_at=at)
        .on_conflict_do_nothing()
        .returning(IdempotencyKey.key)
    ).first()
    db.session.commit()
    if first is not None:
        return None
    known = db.session.scalar(
        select(IdempotencyKey).where(
            IdempotencyKey.api_key_id == api_key_id, IdempotencyKey.key == key
        )
    )
    if known is None or known.status_code is None:
        raise Problem(409, "A request with this Idempotency-Key is still running.")
    if known.request_hash != digest.digest():
        raise Problem(422, "This Idempotency-Key was used with another body.")
    answer = Response(known.body, known.status_code, content_type="application/json")
    answer.headers["Idempotency-Replayed"] = "true"
    return answer


def _finish(key: str, response: Response) -> None:
    body = response.get_data()
    if response.status_code >= 500 or len(body) > MAX_KEPT_BODY:
        _forget(key)
        return
    db.session.execute(
        update(IdempotencyKey)
        .where(IdempotencyKey.api_key_id == g.api_key.id, IdempotencyKey.key == key)
        .values(status_code=response.status_code, body=body)
    )
    db.session.commit()


def _forget(key: str) -> None:
    db.session.execute(
        delete(IdempotencyKey).where(
            IdempotencyKey.api_key_id == g.api_key.id, IdempotencyKey.key == key
        )
    )
    db.session.commit()
