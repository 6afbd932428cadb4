"""Who may come in: sessions, form tokens, limits on log-ins, and the headers of every page.

A page is shown to a living session only. A form is accepted if it comes from our own pages
(Origin or Referer) *and* carries the token that was derived for this browser: by HMAC from the
session's token, before the log-in from a random cookie (double submit). Pages are never stored
by caches and load nothing from elsewhere.
"""

from __future__ import annotations

import hmac
import secrets
from hashlib import sha256

from flask import Response, abort, g, redirect, request, url_for
from limits import RateLimitItem, RateLimitItemPerMinute
from werkzeug.wrappers import Response as BaseResponse

from server import visitors
from server.banking.service import MAX_STATEMENT_BYTES
from server.dashboard.words import LANGUAGES, preferred
from server.db import db, now
from server.merchants.rules import SESSION_LIFETIME
from server.merchants.service import session_of
from server.visitors import attempt_limits, is_https, settings

PUBLIC_BLUEPRINT = "dashboard.login"
FORM_TOKEN_FIELD = "form_token"  # noqa: S105
UPLOAD_ENDPOINT = "dashboard.statements.upload"
MAX_FORM_BYTES = 1024**2
MAX_UPLOAD_BYTES = 2 * MAX_STATEMENT_BYTES
FAILURES_PER_ACCOUNT = RateLimitItemPerMinute(10, 15, namespace="login-account")
FAILURES_PER_ADDRESS = RateLimitItemPerMinute(50, 15, namespace="login-address")
RESETS_PER_ACCOUNT = RateLimitItemPerMinute(3, 60, namespace="reset-account")
RESETS_PER_ADDRESS = RateLimitItemPerMinute(20, 60, namespace="reset-address")
THEMES = ("light", "dark")
MAX_ID = 2**63 - 1
PREFERENCE_SECONDS = 400 * 24 * 3600
MAX_NEXT_LENGTH = 2_000

KEPT_FOR_GOOD = "public, max-age=31536000, immutable"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-src 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)


class StaleForm(Exception):
    """The form's token is missing or of another session: shown as "the page is too old"."""


class NotAllowed(Exception):
    """Only administrators change this: shown as that."""


# --- sessions ---------------------------------------------------------------------------------


def cookie_name(name: str = "") -> str:
    """``__Host-`` binds a cookie to this very host and to TLS; browsers refuse it without TLS."""
    prefix = "__Host-kontor" if is_https() else "kontor"
    return f"{prefix}-{name}" if name else prefix


def open_session() -> None:
    """Before every request: whose session is it, and in which language do they read?"""
    g.user = g.session = None
    token = request.cookies.get(cookie_name())
    if token:
        found = session_of(token, now())
        if db.session.dirty or db.session.deleted:
            db.session.commit()
        if found is not None:
            g.session, g.user = found, found.user
            g.merchant = found.user.merchant
            g.merchant_id = found.user.merchant_id
            g.timezone = g.merchant.timezone
    g.language = _language()


def _language() -> str:
    if g.user is not None:
        chosen = g.user.language or g.merchant.language
    else:
        chosen = request.args.get("language") or request.cookies.get(cookie_name("language"), "")
    return chosen if chosen in LANGUAGES else preferred(request.accept_languages)


def require_login() -> BaseResponse | None:
    """Strangers see the log-in page first and come back afterwards."""
    if g.user is not None or request.blueprint == PUBLIC_BLUEPRINT or _is_static():
        return None
    wanted = request.full_path.rstrip("?") if request.method == "GET" else ""
    log_in = url_for("dashboard.login.form", next=wanted if wanted != "/" else None)
    if request.headers.get("HX-Request"):
        return Response(status=401, headers={"HX-Redirect": url_for("dashboard.login.form")})
    return redirect(log_in, 303)


def _is_static() -> bool:
    return request.endpoint == "dashboard.static"


def check_ids() -> None:
    """404 for a number that no row can have; the database would not even look for it."""
    if any(isinstance(one, int) and one > MAX_ID for one in (request.view_args or {}).values()):
        abort(404)


def require_administrator() -> None:
    """Raises NotAllowed for somebody who may look but not change."""
    if not g.user.is_administrator:
        raise NotAllowed


def safe_next(path: str | None) -> str | None:
    """Where to go after the log-in: a path of this server, or None."""
    if not path or len(path) > MAX_NEXT_LENGTH or not path.startswith("/"):
        return None
    if path.startswith(("//", "/\\")) or any(ord(character) < 32 for character in path):
        return None
    return path


def set_session_cookie(response: BaseResponse, token: str) -> None:
    response.set_cookie(
        cookie_name(),
        token,
        max_age=int(SESSION_LIFETIME.total_seconds()),
        secure=is_https(),
        httponly=True,
        samesite="Lax",
        path="/",
    )


def clear_session_cookie(response: BaseResponse) -> None:
    response.delete_cookie(
        cookie_name(), secure=is_https(), httponly=True, samesite="Lax", path="/"
    )


def set_preference(response: BaseResponse, name: str, value: str) -> None:
    """A choice of this browser, such as the theme: no secret, but nobody else's business."""
    response.set_cookie(
        cookie_name(name),
        value,
        max_age=PREFERENCE_SECONDS,
        secure=is_https(),
        httponly=True,
        samesite="Lax",
        path="/",
    )


def preference(name: str) -> str:
    return request.cookies.get(cookie_name(name), "")


# --- forms ------------------------------------------------------------------------------------


def form_token() -> str:
    """What a form of this browser must carry. Makes the cookie of a stranger if needed."""
    secret = request.cookies.get(cookie_name()) if g.user is not None else _stranger()
    assert secret is not None
    return _sign(secret)


def _stranger() -> str:
    held = request.cookies.get(cookie_name("form")) or g.get("new_form_cookie")
    if not held:
        held = g.new_form_cookie = secrets.token_urlsafe(32)
    return str(held)


def _sign(secret: str) -> str:
    key = settings().secret_key.encode()
    return hmac.new(key, b"form:" + secret.encode(), sha256).hexdigest()


def check_form() -> None:
    """Before every POST. Raises StaleForm."""
    if request.method in {"GET", "HEAD", "OPTIONS"}:
        return
    is_upload = request.endpoint == UPLOAD_ENDPOINT
    request.max_content_length = MAX_UPLOAD_BYTES if is_upload else MAX_FORM_BYTES
    sent = visitors.sent_origin()
    if sent is None or not visitors.is_own_origin(sent):
        raise StaleForm
    presented = request.headers.get("X-Form-Token") or request.form.get(FORM_TOKEN_FIELD, "")
    holder = cookie_name() if g.user is not None else cookie_name("form")
    secret = request.cookies.get(holder)
    if not secret or not hmac.compare_digest(_sign(secret).encode(), presented.encode()):
        raise StaleForm


# --- limits -----------------------------------------------------------------------------------


def stop_at_limit(limits: dict[RateLimitItem, str]) -> None:
    """429 if one of the limits is reached for its key."""
    for limit, key in limits.items():
        if attempt_limits().is_reached(limit, key):
            abort(429)


# --- headers ----------------------------------------------------------------------------------


def secure(response: Response) -> Response:
    """The headers of every page. A view that has set one of them keeps its own."""
    headers = visitors.secure(response).headers
    headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    # Not no-referrer: browsers would then send "Origin: null" with our own forms.
    headers.setdefault("Referrer-Policy", "same-origin")
    is_for_good = _is_static() and "v" in request.args
    headers["Cache-Control"] = KEPT_FOR_GOOD if is_for_good else "no-store"
    if g.get("new_form_cookie"):
        response.set_cookie(
            cookie_name("form"),
            g.new_form_cookie,
            secure=is_https(),
            httponly=True,
            samesite="Lax",
            path="/",
        )
    return response
