"""Who may come in: sessions, form tokens, limits on log-ins, and the headers of every page.

A page is shown to a living session only. A form is accepted if it comes from our own pages
(Origin or Referer) *and* carries the token that was derived for this browser: by HMAC from the
session's token, before the log-in from a random cookie (double submit). Pages are never stored
by caches and load nothing from elsewhere.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
import secrets
from hashlib import sha256
from urllib.parse import urlsplit

from flask import Flask, Response, abort, current_app, g, redirect, request, url_for
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter
from werkzeug.wrappers import Response as BaseResponse

from server.banking.service import MAX_STATEMENT_BYTES
from server.config import Settings
from server.dashboard.words import LANGUAGES, preferred
from server.db import db, now
from server.merchants.rules import SESSION_LIFETIME
from server.merchants.service import session_of

log = logging.getLogger(__name__)

PUBLIC_BLUEPRINT = "dashboard.login"
FORM_TOKEN_FIELD = "form_token"  # noqa: S105
UPLOAD_ENDPOINT = "dashboard.statements.upload"
MAX_FORM_BYTES = 1024**2
MAX_UPLOAD_BYTES = 2 * MAX_STATEMENT_BYTES
FAILURES_PER_ACCOUNT = RateLimitItemPerMinute(10, 15, namespace="login-account")
FAILURES_PER_ADDRESS = RateLimitItemPerMinute(50, 15, namespace="login-address")
RESETS_PER_ACCOUNT = RateLimitItemPerMinute(3, 60, namespace="reset-account")
RESETS_PER_ADDRESS = RateLimitItemPerMinute(20, 60, namespace="reset-address")
IPV6_NETWORK_BITS = 64
REDIS_TIMEOUT_SECONDS = 0.5
THEMES = ("light", "dark")
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


# --- sessions ---------------------------------------------------------------------------------


def settings() -> Settings:
    found = current_app.config["SETTINGS"]
    assert isinstance(found, Settings)
    return found


def is_https() -> bool:
    return settings().url.startswith("https:")


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
    if not _is_own_origin():
        raise StaleForm
    presented = request.headers.get("X-Form-Token") or request.form.get(FORM_TOKEN_FIELD, "")
    holder = cookie_name() if g.user is not None else cookie_name("form")
    secret = request.cookies.get(holder)
    if not secret or not hmac.compare_digest(_sign(secret).encode(), presented.encode()):
        raise StaleForm


def _is_own_origin() -> bool:
    sent = request.headers.get("Origin") or request.headers.get("Referer")
    if not sent:
        return False
    own = {_origin(settings().url), _origin(request.host_url)}
    return _origin(sent) in own


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


# --- limits -----------------------------------------------------------------------------------


class AttemptLimits:
    """Counts failed log-ins in Redis; while Redis is away, in this process: never locked out."""

    def __init__(self, redis_url: str) -> None:
        self._shared = FixedWindowRateLimiter(_storage(redis_url))
        self._own = FixedWindowRateLimiter(MemoryStorage())

    def is_reached(self, limit: RateLimitItem, key: str) -> bool:
        try:
            return not self._shared.test(limit, key)
        except StorageError:
            return not self._own.test(limit, key)

    def count(self, limit: RateLimitItem, key: str) -> None:
        try:
            self._shared.hit(limit, key)
        except StorageError:
            log.warning("Redis is away; log-in attempts are counted in this process only")
            self._own.hit(limit, key)

    def forget(self, limit: RateLimitItem, key: str) -> None:
        try:
            self._shared.clear(limit, key)
        except StorageError:
            self._own.clear(limit, key)


def _storage(redis_url: str) -> Storage:
    if redis_url.startswith("unix:"):
        redis_url = "redis+" + redis_url  # the library's own name for a socket
    storage = storage_from_string(
        redis_url,
        wrap_exceptions=True,
        socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
        socket_timeout=REDIS_TIMEOUT_SECONDS,
    )
    assert isinstance(storage, Storage), "the URL asked for an asynchronous one"
    return storage


def attempt_limits() -> AttemptLimits:
    found = current_app.extensions["kontor.attempt_limits"]
    assert isinstance(found, AttemptLimits)
    return found


def stop_at_limit(limits: dict[RateLimitItem, str]) -> None:
    """429 if one of the limits is reached for its key."""
    for limit, key in limits.items():
        if attempt_limits().is_reached(limit, key):
            abort(429)


def client_network() -> str:
    """Who is asking: the address, of IPv6 the /64, because a customer is given that many."""
    try:
        address = ipaddress.ip_address(request.remote_addr or "")
    except ValueError:
        return "unknown"
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, IPV6_NETWORK_BITS), strict=False))


# --- headers ----------------------------------------------------------------------------------


def secure(response: Response) -> Response:
    """The headers of every page. A view that has set one of them keeps its own."""
    headers = response.headers
    headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    headers.setdefault("X-Content-Type-Options", "nosniff")
    # Not no-referrer: browsers would then send "Origin: null" with our own forms.
    headers.setdefault("Referrer-Policy", "same-origin")
    headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
    headers.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
    if is_https():
        headers.setdefault("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
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


def register(app: Flask) -> None:
    app.extensions["kontor.attempt_limits"] = AttemptLimits(app.config["SETTINGS"].redis_url)
