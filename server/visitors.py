"""What every door with pages knows of who knocks: from where, how often, and what they are told.

A file of its own because the merchants' dashboard and the customers' page must not see each other.
"""

from __future__ import annotations

import ipaddress
import logging
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, request
from limits import RateLimitItem
from limits.errors import StorageError
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from server.config import Settings

log = logging.getLogger(__name__)

IPV6_NETWORK_BITS = 64
REDIS_TIMEOUT_SECONDS = 0.5


def settings() -> Settings:
    found = current_app.config["SETTINGS"]
    assert isinstance(found, Settings)
    return found


def is_https() -> bool:
    return settings().url.startswith("https:")


# --- from where -----------------------------------------------------------------------------------


def sent_origin() -> str | None:
    """The page that a form came from, as the browser says; None if it does not."""
    return request.headers.get("Origin") or request.headers.get("Referer")


def is_own_origin(sent: str) -> bool:
    own = {_origin(settings().url), _origin(request.host_url)}
    return _origin(sent) in own


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


def client_network() -> str:
    """Who is asking: the address, of IPv6 the /64, because a customer is given that many."""
    return network_of(request.remote_addr or "")


def network_of(address: str) -> str:
    """The same of any address; ``unknown`` for what is none."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if found.version == 4:
        return str(found)
    return str(ipaddress.ip_network((found, IPV6_NETWORK_BITS), strict=False))


# --- how often ------------------------------------------------------------------------------------


class AttemptLimits:
    """Counts attempts in Redis; while Redis is away, in this process: nobody is locked out."""

    def __init__(self, redis_url: str) -> None:
        self._shared = FixedWindowRateLimiter(_storage(redis_url))
        self._own = FixedWindowRateLimiter(MemoryStorage())

    def is_reached(self, limit: RateLimitItem, key: str) -> bool:
        try:
            return not self._shared.test(limit, key)
        except StorageError:
            return not self._own.test(limit, key)

    def take(self, limit: RateLimitItem, key: str) -> bool:
        """Count one, and say whether it was still within the limit: one look at Redis."""
        try:
            return self._shared.hit(limit, key)
        except StorageError:
            log.warning("Redis is away; attempts are counted in this process only")
            return self._own.hit(limit, key)

    def count(self, limit: RateLimitItem, key: str) -> None:
        self.take(limit, key)

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


def register(app: Flask) -> None:
    app.extensions["kontor.attempt_limits"] = AttemptLimits(app.config["SETTINGS"].redis_url)


# --- what they are told ---------------------------------------------------------------------------


def secure(response: Response) -> Response:
    """The headers of every page. A view that has set one of them keeps its own."""
    headers = response.headers
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
    headers.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
    if is_https():
        headers.setdefault("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
    return response
