"""The user's own account: language, look, keyboard, and where they are logged in."""

from __future__ import annotations

from flask import Blueprint, Response, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import access, queries, words
from server.dashboard.access import THEMES
from server.dashboard.pages import page
from server.db import db
from server.merchants import service as merchants

pages = Blueprint("account", __name__)


@pages.get("/account")
def show() -> Response:
    return page(
        "account.html",
        languages=words.LANGUAGES,
        themes=("auto", *THEMES),
        sessions=queries.sessions(g.user.id),
    )


@pages.post("/account")
def save() -> BaseResponse:
    """Language is the user's, everywhere; look and keyboard belong to this browser."""
    language = request.form.get("language")
    if language in words.LANGUAGES:
        g.user.language = language
        db.session.commit()
    response = redirect(url_for(".show", done="account_set"), 303)
    theme = request.form.get("theme", "auto")
    access.set_preference(response, "theme", theme if theme in THEMES else "auto")
    access.set_preference(response, "keys", "on" if request.form.get("keys") else "off")
    return response


@pages.post("/account/log-out-everywhere")
def log_out_everywhere() -> BaseResponse:
    merchants.log_out_everywhere(g.user.id)
    db.session.commit()
    response = redirect(url_for("dashboard.login.form", done="logged_out_everywhere"), 303)
    access.clear_session_cookie(response)
    return response
