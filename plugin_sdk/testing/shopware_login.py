"""Who may do what in a fake Shopware: integrations, their tokens and rights, and the throttle."""

from __future__ import annotations

import json
import re
import secrets
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

from plugin_sdk.testing.fake_shop import Asked, Reply
from plugin_sdk.testing.shopware_search import Problem

LASTS = timedelta(seconds=600)
MAX_REFUSED = 10
THROTTLED_SECONDS = 10
KEY = re.compile("SW(IA|SC|UA)[A-Z0-9]{22}")
UNAUTHORIZED = "Client authentication failed"
NOT_SUPPORTED = "The authorization grant type is not supported by the authorization server."
DENIED = "The resource owner or authorization server denied the request."


@dataclass(slots=True)
class Integration:
    """A client of the Admin API. ``rights``: as "order:read"; None is an administrator."""

    secret: str
    rights: frozenset[str] | None = None


@dataclass(slots=True)
class _Token:
    client_id: str
    until: datetime


@dataclass(slots=True)
class Logins:
    """The integrations by client id, and the tokens that were given out."""

    integrations: dict[str, Integration]
    now: Callable[[], datetime]
    _tokens: dict[str, _Token] = field(default_factory=dict)
    _refused: int = 0
    _blocked_until: datetime | None = None

    def token(self, asked: Asked) -> Reply:
        """POST /api/oauth/token: JSON, a form, or the two in a Basic header. Raises Problem."""
        self._check_throttle()
        given = _credentials(asked)
        if given.get("grant_type") != "client_credentials":
            raise _oauth(400, "2", NOT_SUPPORTED, "Check that all required parameters were given")
        client_id, secret = given.get("client_id"), given.get("client_secret")
        if not client_id:
            raise _oauth(400, "3", "The request is malformed.", "Check the `client_id` parameter")
        if not secret:
            raise _oauth(400, "2", NOT_SUPPORTED, "Check that all required parameters were given")
        if not KEY.fullmatch(str(client_id)):
            text = "Access key is invalid and could not be identified."
            raise Problem(500, "FRAMEWORK__API_INVALID_ACCESS_KEY", text, [])
        integration = self.integrations.get(str(client_id))
        if integration is None or not secrets.compare_digest(
            integration.secret.encode(), str(secret).encode()
        ):
            self._refused += 1
            raise _oauth(401, "4", UNAUTHORIZED, None)
        self._refused = 0
        token = ".".join(secrets.token_urlsafe(24) for _ in range(3))
        self._tokens[token] = _Token(str(client_id), self.now() + LASTS)
        seconds = int(LASTS.total_seconds())
        return Reply(200, {"token_type": "Bearer", "expires_in": seconds, "access_token": token})

    def forget_tokens(self) -> None:
        """The shop lost them; what comes with one is refused."""
        self._tokens.clear()

    def who(self, asked: Asked) -> Integration:
        """Who asks, by the token. Raises Problem: 401, or 500 once the integration is deleted."""
        header = asked.headers.get("authorization", "")
        if not header:
            raise _oauth(401, "9", DENIED, 'Missing token in "Authorization" header')
        scheme, _, value = header.partition(" ")
        token = self._tokens.get(value) if scheme == "Bearer" else None
        if token is None or self.now() >= token.until:
            raise _oauth(401, "9", DENIED, "Access token could not be verified")
        integration = self.integrations.get(token.client_id)
        if integration is None:
            raise Problem(500, "0", "Argument #1 ($bytes) must be of type string, bool given")
        return integration

    def _check_throttle(self) -> None:
        now = self.now()
        if self._blocked_until is None and self._refused >= MAX_REFUSED:
            self._blocked_until = now + timedelta(seconds=THROTTLED_SECONDS)
        if self._blocked_until is None:
            return
        if now >= self._blocked_until:
            self._blocked_until, self._refused = None, 0
            return
        text = f"Auth throttled for {THROTTLED_SECONDS} seconds."
        raise Problem(
            429,
            "FRAMEWORK__AUTH_THROTTLED",
            text,
            {"seconds": THROTTLED_SECONDS},
            title="Too Many Requests",
        )


def check_rights(who: Integration, needed: list[str]) -> None:
    """Raises the 403 that names what is missing; as an object when something is named twice."""
    if who.rights is None:
        return
    missing = {
        str(at): right
        for at, right in enumerate(needed)
        if right not in who.rights and right not in needed[:at]
    }
    if not missing:
        return
    as_list = list(missing) == [str(at) for at in range(len(missing))]
    detail = json.dumps(
        {
            "message": "Missing privilege",
            "missingPrivileges": list(missing.values()) if as_list else missing,
        },
        separators=(",", ":"),
    )
    raise Problem(403, "FRAMEWORK__MISSING_PRIVILEGE_ERROR", detail, [])


def _credentials(asked: Asked) -> Mapping[str, Any]:
    given: dict[str, Any] = {}
    if asked.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        given = dict(parse_qsl(asked.raw.decode("utf-8", "replace")))
    elif isinstance(asked.body, dict):
        given = dict(asked.body)
    scheme, _, value = asked.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            name, _, secret = b64decode(value).decode().partition(":")
        except ValueError:
            return given
        given |= {"client_id": name, "client_secret": secret}
    return given


def _oauth(status: int, code: str, title: str, detail: str | None) -> Problem:
    return Problem(status, code, detail, title=title)
