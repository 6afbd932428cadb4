"""Log-in, log-out, forgotten password, and setting a password by a one-time link.

Nothing here tells whether an address is known: same words, same status, and as much time.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256

from flask import Blueprint, Response, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from server.dashboard import access, words
from server.dashboard.access import (
    FAILURES_PER_ACCOUNT,
    FAILURES_PER_ADDRESS,
    RESETS_PER_ACCOUNT,
    RESETS_PER_ADDRESS,
    stop_at_limit,
)
from server.dashboard.pages import page
from server.db import db, now
from server.mail.service import queue_mail, sender_of
from server.mail.theme import KONTOR
from server.merchants import service as merchants
from server.merchants.models import User
from server.merchants.rules import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH, RESET_LIFETIME
from server.visitors import attempt_limits, client_network, settings

pages = Blueprint("login", __name__)

MAX_EMAIL_LENGTH = 320


@pages.get("/login")
def form() -> BaseResponse:
    if g.user is not None:
        return redirect(url_for("dashboard.today.show"), 303)
    return _log_in_page()


def _log_in_page(code: int = 200, *, email: str = "", has_failed: bool = False) -> Response:
    following = access.safe_next(request.values.get("next"))
    response = page("login.html", code, next=following, email=email, has_failed=has_failed)
    return _keep_language(response)


@pages.post("/login")
def submit() -> BaseResponse:
    email, password = _typed("email", MAX_EMAIL_LENGTH), _typed("password", MAX_PASSWORD_LENGTH)
    account, network = _account_key(email), client_network()
    stop_at_limit({FAILURES_PER_ACCOUNT: account, FAILURES_PER_ADDRESS: network})
    token = merchants.log_in(email, password, request.user_agent.string, now())
    if token is None:
        db.session.rollback()
        attempt_limits().count(FAILURES_PER_ACCOUNT, account)
        attempt_limits().count(FAILURES_PER_ADDRESS, network)
        return _log_in_page(422, email=email, has_failed=True)
    held = request.cookies.get(access.cookie_name())
    if held:
        merchants.log_out(held)
    db.session.commit()
    attempt_limits().forget(FAILURES_PER_ACCOUNT, account)
    following = access.safe_next(request.form.get("next"))
    response = redirect(following or url_for("dashboard.today.show"), 303)
    access.set_session_cookie(response, token)
    return response


@pages.post("/logout")
def log_out() -> BaseResponse:
    token = request.cookies.get(access.cookie_name())
    if token:
        merchants.log_out(token)
        db.session.commit()
    response = redirect(url_for("dashboard.login.form", done="logged_out"), 303)
    access.clear_session_cookie(response)
    return response


@pages.get("/forgotten-password")
def forgotten() -> Response:
    return page("forgotten.html", email="", is_sent=False)


@pages.post("/forgotten-password")
def send_link() -> Response:
    email = _typed("email", MAX_EMAIL_LENGTH)
    account, network = _account_key(email), client_network()
    stop_at_limit({RESETS_PER_ADDRESS: network})
    attempt_limits().count(RESETS_PER_ADDRESS, network)
    # Beyond the account's limit nothing is sent, and nothing says so: it would tell strangers
    # that somebody else has just asked.
    if not attempt_limits().is_reached(RESETS_PER_ACCOUNT, account):
        attempt_limits().count(RESETS_PER_ACCOUNT, account)
        request_password_reset(email, now())
        db.session.commit()
    return page("forgotten.html", email=email, is_sent=True)


def request_password_reset(email: str, at: datetime) -> None:
    """Queue the mail with a one-time link, if there is such a user. Never says which."""
    user = merchants.user_by_email(email)
    if user is None or user.deactivated_at is not None:
        return
    token = merchants.open_link(user, RESET_LIFETIME, at)
    g.timezone = user.merchant.timezone
    language = user.language or user.merchant.language
    with words.reading(language):
        valid_until = words.full_moment(at + RESET_LIFETIME)
    queue_mail(
        "password_reset",
        merchant_id=user.merchant_id,
        shop_id=None,
        order_id=None,
        language=language,
        recipient=user.email,
        once=f"password_reset:{sha256(token.encode()).hexdigest()[:32]}",
        facts={
            "email": user.email,
            "recipient_name": user.name,
            "reset_url": settings().url + url_for("dashboard.login.choose", token=token),
            "valid_until": valid_until,
        },
        theme=KONTOR,
        sender_name="Kontor",
        sender_address=sender_of(settings().mail_from)[1],
    )


@pages.get("/password/<token>")
def choose(token: str) -> Response:
    user = merchants.link_user(token, now())
    db.session.rollback()
    return _choose_page(user)


def _choose_page(user: User | None, problem: str | None = None) -> Response:
    if user is None:
        return page("link_over.html", 410)
    facts = {"email": user.email, "problem": problem, "n": MIN_PASSWORD_LENGTH}
    return page("set_password.html", 422 if problem else 200, **facts)


@pages.post("/password/<token>")
def set_password(token: str) -> BaseResponse:
    try:
        merchants.set_password(token, request.form.get("password", ""), now())
    except merchants.InvalidLink:
        db.session.rollback()
        return _choose_page(None)
    except merchants.WrongPassword as refused:
        user = merchants.link_user(token, now())
        db.session.rollback()
        return _choose_page(user, refused.args[0])
    db.session.commit()
    response = redirect(url_for("dashboard.login.form", done="password_set"), 303)
    access.clear_session_cookie(response)
    return response


def _typed(name: str, longest: int) -> str:
    """What was typed; longer than any that could be right is cut and so stays wrong."""
    return request.form.get(name, "").replace("\x00", "")[: longest + 1]


def _account_key(email: str) -> str:
    """Addresses are not written to Redis."""
    return sha256(email.strip().casefold().encode()).hexdigest()


def _keep_language(response: Response) -> Response:
    chosen = request.args.get("language")
    if chosen in words.LANGUAGES:
        access.set_preference(response, "language", chosen)
    return response
