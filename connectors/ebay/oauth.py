"""eBay's OAuth 2 (RFC 6749): consent in the browser, tokens for the user and for the application.

An access token lives two hours, the refresh token behind it some 18 months; both end at once when
the user withdraws the consent or changes the password.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from requests.auth import HTTPBasicAuth

from plugin_sdk.errors import LoginNeeded, Misconfigured, Temporary
from plugin_sdk.http import ErrorRule, HttpSession

TOKEN_PATH = "/identity/v1/oauth2/token"  # noqa: S105 - an address
SCOPE = "https://api.ebay.com/oauth/api_scope"
USER_SCOPES = (
    SCOPE,
    f"{SCOPE}/sell.fulfillment",
    f"{SCOPE}/sell.finances",
    f"{SCOPE}/commerce.identity.readonly",
)
EARLY_SECONDS = 60
MAX_LIFE_SECONDS = 7200
MAX_TOKEN = 16_384

RULES = (
    ErrorRule(
        LoginNeeded,
        "The consent was withdrawn or has run out; log in at eBay once more",
        code="invalid_grant",
    ),
    ErrorRule(
        Misconfigured, "The App ID or the Cert ID of the keyset is wrong", code="invalid_client"
    ),
    ErrorRule(
        Misconfigured, "The keyset may not do this; look at it at eBay", code="unauthorized_client"
    ),
    ErrorRule(Misconfigured, "The keyset may not ask for these rights", code="invalid_scope"),
)


@dataclass(frozen=True, slots=True)
class Keyset:
    """An application at eBay, and where tokens come from."""

    client_id: str
    client_secret: str
    address: str


@dataclass(frozen=True, slots=True)
class Grant:
    """What the token endpoint gave. ``refresh_token`` comes with a consent only."""

    access_token: str
    life_seconds: int
    refresh_token: str = ""
    refresh_life_seconds: int = 0

    def __repr__(self) -> str:
        return "Grant()"


def consent_url(address: str, client_id: str, ru_name: str, state: str) -> str:
    """Where the seller agrees. eBay comes back to what the RuName says, with code and state."""
    asked = {
        "client_id": client_id,
        "redirect_uri": ru_name,
        "response_type": "code",
        "scope": " ".join(USER_SCOPES),
        "state": state,
    }
    return f"{address}/oauth2/authorize?{urlencode(asked)}"


def grant(http: HttpSession, keyset: Keyset, **asked: str) -> Grant:
    """Ask the token endpoint. Raises LoginNeeded, Misconfigured or Temporary."""
    answer = http.request(
        "POST",
        f"{keyset.address}{TOKEN_PATH}",
        content=urlencode(asked).encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        auth=HTTPBasicAuth(keyset.client_id, keyset.client_secret),
    )
    return _read(answer.body)


def _read(body: Any) -> Grant:
    found = body if isinstance(body, Mapping) else {}
    access = _token(found.get("access_token"))
    if not access:
        raise Temporary("eBay answered without an access token.")
    return Grant(
        access,
        min(_seconds(found.get("expires_in")), MAX_LIFE_SECONDS),
        _token(found.get("refresh_token")),
        _seconds(found.get("refresh_token_expires_in")),
    )


def _token(value: Any) -> str:
    """It becomes a header: nothing but printable ASCII."""
    usable = isinstance(value, str) and len(value) <= MAX_TOKEN and value.isascii()
    return value if usable and value.isprintable() else ""


def _seconds(value: Any) -> int:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return max(0, value) if is_number else 0


class Tokens:
    """Keeps one access token until a minute before it ends. May be shared between threads."""

    def __init__(
        self,
        http: HttpSession,
        keyset: Keyset,
        asked: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = http
        self._keyset = keyset
        self._asked = dict(asked)
        self._clock = clock
        self._lock = threading.Lock()
        self._token = ""
        self._until = 0.0

    def access_token(self, refused: str = "") -> str:
        """A token to use; ``refused``: the one that eBay did not take. Raises ConnectorError."""
        with self._lock:
            if self._token and self._token != refused and self._clock() < self._until:
                return self._token
            granted = grant(self._http, self._keyset, **self._asked)
            self._token = granted.access_token
            self._until = self._clock() + granted.life_seconds - EARLY_SECONDS
            return self._token
