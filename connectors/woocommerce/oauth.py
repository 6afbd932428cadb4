"""OAuth 1.0a, one-legged (RFC 5849, section 3): how WooCommerce wants requests signed over http.

The body is not signed: it is JSON, and only form-encoded bodies are part of the signature.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from base64 import b64encode
from collections.abc import Callable, Iterable
from urllib.parse import parse_qsl, quote, urlsplit

from requests import PreparedRequest
from requests.auth import AuthBase

DIGESTS = {"HMAC-SHA1": hashlib.sha1, "HMAC-SHA256": hashlib.sha256}
DEFAULT_PORTS = {"http": 80, "https": 443}


def signature_base(method: str, url: str, parameters: Iterable[tuple[str, str]]) -> str:
    """The signature base string (RFC 5849, 3.4.1). ``parameters``: decoded, query included."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if parts.port and parts.port != DEFAULT_PORTS.get(parts.scheme):
        host = f"{host}:{parts.port}"
    place = f"{parts.scheme.lower()}://{host}{parts.path or '/'}"
    pairs = sorted((_escape(name), _escape(value)) for name, value in parameters)
    joined = "&".join(f"{name}={value}" for name, value in pairs)
    return "&".join((method.upper(), _escape(place), _escape(joined)))


def signature(
    base: str, consumer_secret: str, token_secret: str = "", method: str = "HMAC-SHA256"
) -> str:
    """The signature of a base string in base64 (RFC 5849, 3.4.2; SHA-256 works alike)."""
    key = f"{_escape(consumer_secret)}&{_escape(token_secret)}".encode()
    return b64encode(hmac.new(key, base.encode(), DIGESTS[method]).digest()).decode()


class OAuth1(AuthBase):
    """Signs a request in its Authorization header, where no access log writes it down.

    ``scheme``: what the shop believes the request came by. Behind a proxy that ends TLS without
    saying so, WordPress believes http although the address is https.
    """

    def __init__(
        self,
        consumer_key: str,
        consumer_secret: str,
        scheme: str | None = None,
        clock: Callable[[], float] = time.time,
        nonce: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self._key = consumer_key
        self._secret = consumer_secret
        self._scheme = scheme
        self._clock = clock
        self._nonce = nonce

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        assert request.url is not None and request.method is not None
        parts = urlsplit(request.url)
        own = {
            "oauth_consumer_key": self._key,
            "oauth_nonce": self._nonce(),
            "oauth_signature_method": "HMAC-SHA256",
            "oauth_timestamp": str(int(self._clock())),
        }
        asked = parse_qsl(parts.query, keep_blank_values=True)
        url = parts._replace(scheme=self._scheme or parts.scheme).geturl()
        base = signature_base(request.method, url, [*asked, *own.items()])
        own["oauth_signature"] = signature(base, self._secret)
        fields = ", ".join(f'{name}="{_escape(value)}"' for name, value in own.items())
        request.headers["Authorization"] = f"OAuth {fields}"
        return request


def _escape(text: str) -> str:
    """Percent encoding as RFC 5849, 3.6 wants it: only unreserved characters stay."""
    return quote(text, safe="-._~")
