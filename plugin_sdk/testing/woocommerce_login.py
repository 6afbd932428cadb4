"""Who may do what: WooCommerce's three ways to log in, with the answers the real one gives.

Over TLS: Basic, or key and secret in the query. Without TLS: OAuth 1.0a (RFC 5849) alone; a Basic
header is not even looked at there, which is the trap behind proxies that end TLS.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlsplit

MAX_CLOCK_DIFFERENCE_SECONDS = 15 * 60
DIGESTS = {"HMAC-SHA1": hashlib.sha1, "HMAC-SHA256": hashlib.sha256}
OAUTH_PARAMETERS = (
    "oauth_consumer_key",
    "oauth_timestamp",
    "oauth_nonce",
    "oauth_signature",
    "oauth_signature_method",
)
MARK = "wp-json/wc/"  # without it in the address WooCommerce does not look for keys at all


@dataclass(frozen=True, slots=True)
class Key:
    """An API key of the shop."""

    secret: str
    may_write: bool = True


@dataclass(frozen=True, slots=True)
class Refused:
    """A 401 with WooCommerce's code and words."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Call:
    """A request as far as logging in goes. ``url`` is absolute, by the scheme the shop believes."""

    method: str
    url: str
    headers: Mapping[str, str]


class Login:
    """Checks requests against the shop's keys and remembers nonces."""

    def __init__(self, keys: dict[str, Key]) -> None:
        self.keys = keys
        self.skew_seconds = 0.0
        self._nonces: set[tuple[str, str]] = set()

    def check(self, call: Call) -> Key | Refused | None:
        """The key that signed, None for nobody, or what is wrong with the attempt."""
        if MARK not in call.url:
            return None
        found = self._by_password(call) if call.url.startswith("https:") else self._by_oauth(call)
        if isinstance(found, Key) and not found.may_write and call.method not in ("GET", "HEAD"):
            return _error("The API key provided does not have write permissions.")
        return found

    def _by_password(self, call: Call) -> Key | Refused | None:
        query = dict(parse_qsl(urlsplit(call.url).query))
        name, secret = query.get("consumer_key", ""), query.get("consumer_secret", "")
        scheme, _, value = call.headers.get("Authorization", "").partition(" ")
        if not name and scheme.lower() == "basic":
            try:
                name, _, secret = b64decode(value).decode().partition(":")
            except ValueError:
                return None
        key = self.keys.get(name)
        if key is None:
            return None
        if not hmac.compare_digest(key.secret.encode(), secret.encode()):
            return _error("Consumer secret is invalid.")
        return key

    def _by_oauth(self, call: Call) -> Key | Refused | None:
        query = parse_qsl(urlsplit(call.url).query, keep_blank_values=True)
        given = {name: value for name, value in query if name.startswith("oauth_")}
        given |= _in_header(call.headers.get("Authorization", ""))
        if not given:
            return None
        missing = [name for name in OAUTH_PARAMETERS if not given.get(name)]
        if missing:
            text = f"Missing OAuth parameter {', '.join(missing)}"
            return Refused("woocommerce_rest_authentication_missing_parameter", text)
        key = self.keys.get(given["oauth_consumer_key"])
        if key is None:
            return _error("Consumer key is invalid.")
        digest = DIGESTS.get(given["oauth_signature_method"])
        if digest is None:
            return _error("Invalid signature - signature method is invalid.")
        others = [(name, value) for name, value in query if not name.startswith("oauth_")]
        others += [(name, value) for name, value in given.items() if name != "oauth_signature"]
        wanted = hmac.new(
            f"{_escaped(key.secret)}&".encode(), _signed(call, others).encode(), digest
        )
        if not hmac.compare_digest(
            b64encode(wanted.digest()), given["oauth_signature"].encode("utf-8", "replace")
        ):
            return _error("Invalid signature - provided signature does not match.")
        return self._fresh(given) or key

    def _fresh(self, given: Mapping[str, str]) -> Refused | None:
        moment = given["oauth_timestamp"]
        now = time.time() + self.skew_seconds
        if not moment.isdecimal() or abs(int(moment) - now) > MAX_CLOCK_DIFFERENCE_SECONDS:
            return _error("Invalid timestamp.")
        used = (moment, given["oauth_nonce"])
        if used in self._nonces:
            return _error("Invalid nonce - nonce has already been used.")
        self._nonces.add(used)
        return None


def _signed(call: Call, parameters: list[tuple[str, str]]) -> str:
    parts = urlsplit(call.url)
    place = f"{parts.scheme}://{parts.netloc}{parts.path}"
    pairs = sorted((_escaped(name), _escaped(value)) for name, value in parameters)
    text = "&".join("=".join(pair) for pair in pairs)
    return "&".join(map(_escaped, (call.method, place, text)))


def _in_header(header: str) -> dict[str, str]:
    scheme, _, rest = header.partition(" ")
    if scheme.lower() != "oauth":
        return {}
    found = re.findall(r'(oauth_[a-z_]+)="([^"]*)"', rest)
    return {name: unquote(value) for name, value in found}


def _escaped(text: str) -> str:
    return quote(text, safe="-._~")


def _error(message: str) -> Refused:
    return Refused("woocommerce_rest_authentication_error", message)
