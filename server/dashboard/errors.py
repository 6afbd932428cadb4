"""Pages for what went wrong: one sentence what, one way on. In the reader's language."""

from __future__ import annotations

import logging

from flask import Blueprint, Flask, Response, g, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from server.dashboard import access
from server.dashboard.access import NotAllowed, StaleForm
from server.dashboard.pages import page
from server.db import db
from server.orders.service import NotPossible

log = logging.getLogger(__name__)

CODES = (400, 403, 404, 405, 413, 429, 500)
OTHER_DOORS = ("/api/",)


def register(app: Flask, door: Blueprint) -> None:
    """The door's own errors, and the addresses that no door knows."""
    door.register_error_handler(HTTPException, known)
    door.register_error_handler(StaleForm, stale_form)
    door.register_error_handler(NotAllowed, not_allowed)
    door.register_error_handler(NotPossible, not_possible)
    door.register_error_handler(Exception, unexpected)
    app.register_error_handler(404, _of_no_door)
    app.register_error_handler(405, _of_no_door)


def known(error: HTTPException) -> ResponseReturnValue:
    """A page for an HTTP error; redirects pass."""
    if error.code is None or error.code < 400:
        return error
    return show(error.code)


def stale_form(_error: StaleForm) -> Response:
    return show(403)


def not_allowed(_error: NotAllowed) -> Response:
    return show(403, "error.not_allowed")


def not_possible(error: NotPossible) -> Response:
    """The ledger said no, and no page had anything better to do with it."""
    db.session.rollback()
    return show(409, f"not_possible.{error.args[0]}", **error.facts)


def unexpected(error: Exception) -> Response:
    log.exception("a dashboard page failed", exc_info=error)
    db.session.rollback()
    g.user = None  # the frame asks the database, which may be what failed
    return show(500)


def show(code: int, why: str | None = None, **facts: object) -> Response:
    known_code = code if code in CODES or why else 400
    response = page("error.html", code, code=known_code, why=why, facts=facts)
    return access.secure(response)


def _of_no_door(error: HTTPException) -> ResponseReturnValue:
    """An unknown address. Addresses of the API are answered by the API."""
    if request.path.startswith(OTHER_DOORS):
        return error
    access.open_session()
    assert error.code is not None
    return show(error.code)
