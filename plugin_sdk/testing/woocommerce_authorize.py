"""WooCommerce's one-click connect (wc-auth), as its owner and the program that asks meet it.

``GET /wc-auth/v1/authorize`` asks the owner, who is taken to be logged in. Agreeing makes a key and
posts it to ``callback_url``, unsigned, before the browser goes on to ``return_url``; where the
delivery is not answered with 200 the key is deleted again and the browser stays behind with an
error. https://woocommerce.github.io/woocommerce-rest-api-docs/ (Authentication endpoint)
"""

from __future__ import annotations

import http.client
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from urllib.parse import urlencode, urlsplit

from plugin_sdk.testing.woocommerce_login import Key

ENDPOINT = "/wc-auth/v1/authorize"
GRANTED = "/wc-auth/v1/access_granted"
NEEDED = ("app_name", "user_id", "return_url", "callback_url", "scope")
MAY_WRITE = {"read": False, "write": True, "read_write": True}
DELIVERY_TIMEOUT_SECONDS = 60  # as wp_safe_remote_post is called there
KEY_BYTES = 20


@dataclass(frozen=True, slots=True)
class Shown:
    """A page with its status, or the address that the browser goes on to."""

    status: int
    html: str = ""
    location: str | None = None


@dataclass(slots=True)
class Authorize:
    """The two pages of a shop with these ``keys``.

    ``takes_http``: deliver over plain http too, which no real shop does: for a program that runs
    on this machine without a certificate.
    """

    keys: dict[str, Key]
    takes_http: bool = False
    _nonces: set[str] = field(default_factory=set)
    _next_id: int = 1

    def show(self, path: str, query: Mapping[str, str], shop_name: str) -> Shown:
        problem = self._problem(query)
        if problem is not None:
            return _error(problem)
        if path.rstrip("/") == GRANTED:
            return self._grant(query)
        return self._ask(query, shop_name)

    def _problem(self, query: Mapping[str, str]) -> str | None:
        for name in NEEDED:
            if not query.get(name):
                return f"Missing parameter {name}"
        if query["scope"] not in MAY_WRITE:
            return f"Invalid scope {query['scope']}"
        for name in ("return_url", "callback_url"):
            if urlsplit(query[name]).scheme not in ("http", "https"):
                return f"The {name} is not a valid URL"
        if not self.takes_http and not query["callback_url"].lower().startswith("https://"):
            return "The callback_url needs to be over SSL"
        return None

    def _ask(self, query: Mapping[str, str], shop_name: str) -> Shown:
        nonce = secrets.token_hex(5)
        self._nonces.add(nonce)
        agree = f"{GRANTED}?{urlencode({**query, 'wc_auth_nonce': nonce})}"
        deny = _with(query["return_url"], success="0", user_id=query["user_id"])
        name = escape(query["app_name"])
        return Shown(
            200,
            "<!doctype html><html lang=en><head><meta charset=utf-8>"
            "<meta name=viewport content='width=device-width,initial-scale=1'>"
            f"<title>Application authentication request</title></head><body>"
            f"<h1>{name} would like to connect to your store</h1>"
            f"<p>This will give {name} {escape(query['scope'])} access to {escape(shop_name)}.</p>"
            f"<p><a href='{escape(agree)}'>Approve</a> <a href='{escape(deny)}'>Deny</a></p>"
            "</body></html>",
        )

    def _grant(self, query: Mapping[str, str]) -> Shown:
        nonce = query.get("wc_auth_nonce", "")
        if nonce not in self._nonces:
            return _error("Invalid nonce verification")
        self._nonces.discard(nonce)
        name, secret = (prefix + secrets.token_hex(KEY_BYTES) for prefix in ("ck_", "cs_"))
        self.keys[name] = Key(secret, may_write=MAY_WRITE[query["scope"]])
        key = {
            "key_id": self._next_id,
            "user_id": query["user_id"],
            "consumer_key": name,
            "consumer_secret": secret,
            "key_permissions": query["scope"],
        }
        self._next_id += 1
        if not _delivered(query["callback_url"], key):
            del self.keys[name]
            return _error(
                "An error occurred in the request and at the time were unable to send the "
                "consumer data"
            )
        return Shown(302, location=_with(query["return_url"], success="1", user_id=key["user_id"]))


def _delivered(url: str, key: Mapping[str, object]) -> bool:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=DELIVERY_TIMEOUT_SECONDS)
    headers = {
        "Content-Type": "application/json;charset=UTF-8",
        "User-Agent": "WordPress/6.8; https://shop.example.org",
    }
    try:
        connection.request("POST", parts.path or "/", json.dumps(key), headers)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _with(url: str, **more: object) -> str:
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(more)}"


def _error(text: str) -> Shown:
    return Shown(
        401,
        f"<!doctype html><html lang=en><title>Access denied</title><p>Error: {escape(text)}.</p>",
    )
