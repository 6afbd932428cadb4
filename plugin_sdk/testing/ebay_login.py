"""Who may do what at a fake eBay: consent, tokens, scopes, and keys for signed calls."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from html import escape
from secrets import token_urlsafe
from typing import Any
from urllib.parse import parse_qsl, urlencode

from plugin_sdk.testing.ebay_answers import EbayProblem
from plugin_sdk.testing.fake_shop import Asked, Reply

ACCESS_SECONDS, CODE_SECONDS = 7200, 299
REFRESH_SECONDS = 47_304_000
CLOCK_SECONDS = 300  # a signature may be that much too old or too new
SCOPE = "https://api.ebay.com/oauth/api_scope"
NOT_YOURS = "is invalid or was issued to another client"
COVERED = ("x-ebay-signature-key", "@method", "@path", "@authority")


@dataclass(frozen=True, slots=True)
class Access:
    """What a token may do, and until when. ``user``: None for the application's own."""

    scopes: frozenset[str]
    until: datetime
    user: str | None


@dataclass(slots=True)
class Login:
    """One keyset, one seller. ``accept_url``: what the RuName says where eBay comes back to."""

    now: Callable[[], datetime]
    user: Callable[[], str]
    client_id: str
    client_secret: str
    ru_name: str
    accept_url: str = "https://kontor.example.org/ebay/login"
    codes: dict[str, Access] = field(default_factory=dict)
    refresh: dict[str, frozenset[str]] = field(default_factory=dict)
    access: dict[str, Access] = field(default_factory=dict)
    signing_keys: dict[str, Any] = field(default_factory=dict)
    wants_signatures: bool = True

    def revoke(self) -> None:
        """The seller withdraws the consent, or changes the password."""
        self.refresh.clear()
        self.access.clear()

    def forget_access(self) -> None:
        """Access tokens end early; the consent stands."""
        self.access.clear()

    def authorize(self, asked: Asked) -> Reply:
        """The page on which the seller agrees, and the way back from it."""
        query = asked.query
        if query.get("client_id") != self.client_id or query.get("redirect_uri") != self.ru_name:
            return Reply(400, b"unauthorized_client")
        if query.get("response_type") != "code":
            return Reply(400, b"unsupported_response_type")
        answer = query.get("answer")
        state = {"state": query["state"]} if "state" in query else {}
        if answer == "yes":
            code = f"v^1.1#i^1#{token_urlsafe(24)}"
            until = self.now() + timedelta(seconds=CODE_SECONDS)
            scopes = frozenset(query.get("scope", "").split())
            self.codes[code] = Access(scopes, until, self.user())
            return self._back({**state, "code": code, "expires_in": str(CODE_SECONDS)})
        if answer == "no":
            return self._back({**state, "error": "access_denied"})
        links = "".join(
            f"<p><a href='?{escape(urlencode({**query, 'answer': word}))}'>{text}</a>"
            for word, text in (("yes", "Agree and continue"), ("no", "Not now"))
        )
        return Reply(200, f"<!doctype html><title>eBay</title>{links}".encode())

    def _back(self, query: Mapping[str, str]) -> Reply:
        return Reply(302, b"", {"Location": f"{self.accept_url}?{urlencode(query)}"})

    def token(self, asked: Asked) -> Reply:
        """POST /identity/v1/oauth2/token, with its three kinds of grant."""
        if self._keyset(asked) != (self.client_id, self.client_secret):
            return _oauth_error(401, "invalid_client", "client authentication failed")
        form = dict(parse_qsl(asked.raw.decode("utf-8", "replace")))
        kind = form.pop("grant_type", "")
        allowed = {
            "authorization_code": {"code", "redirect_uri"},
            "refresh_token": {"refresh_token", "scope"},
            "client_credentials": {"scope"},
        }
        if kind not in allowed:
            return _oauth_error(400, "unsupported_grant_type", "grant type is not supported")
        if set(form) - allowed[kind]:
            return _oauth_error(400, "invalid_request", "unknown parameter")
        if kind == "authorization_code":
            return self._by_code(form)
        if kind == "refresh_token":
            return self._by_refresh(form)
        return self._granted(frozenset(form.get("scope", SCOPE).split()), None)

    def _by_code(self, form: Mapping[str, str]) -> Reply:
        found = self.codes.pop(form.get("code", ""), None)
        if found is None or found.until < self.now() or form.get("redirect_uri") != self.ru_name:
            return _oauth_error(400, "invalid_grant", f"the authorization code {NOT_YOURS}")
        refresh = f"v^1.1#i^1#r^1#{token_urlsafe(32)}"
        self.refresh[refresh] = found.scopes
        more = {"refresh_token": refresh, "refresh_token_expires_in": REFRESH_SECONDS}
        return self._granted(found.scopes, found.user, **more)

    def _by_refresh(self, form: Mapping[str, str]) -> Reply:
        scopes = self.refresh.get(form.get("refresh_token", ""))
        if scopes is None:
            return _oauth_error(400, "invalid_grant", f"the refresh token {NOT_YOURS}")
        wanted = frozenset(form["scope"].split()) if "scope" in form else scopes
        if wanted - scopes:
            return _oauth_error(400, "invalid_scope", "The requested scope is invalid")
        return self._granted(wanted, self.user())

    def _granted(self, scopes: frozenset[str], user: str | None, **more: Any) -> Reply:
        token = f"v^1.1#i^1#t^{token_urlsafe(32)}"
        until = self.now() + timedelta(seconds=ACCESS_SECONDS)
        self.access[token] = Access(scopes, until, user)
        kind = "User Access Token" if user else "Application Access Token"
        body = {"access_token": token, "expires_in": ACCESS_SECONDS, "token_type": kind, **more}
        return Reply(200, body)

    def _keyset(self, asked: Asked) -> tuple[str, str]:
        scheme, _, value = asked.headers.get("authorization", "").partition(" ")
        try:
            told = b64decode(value if scheme.lower() == "basic" else "").decode()
            name, _, secret = told.partition(":")
        except ValueError:
            return "", ""
        return name, secret

    def bearer(self, asked: Asked, *scopes: str, of_user: bool = True) -> None:
        """Refuses a request without a good token that has one of the scopes."""
        scheme, _, token = asked.headers.get("authorization", "").partition(" ")
        found = self.access.get(token) if scheme == "Bearer" else None
        if found is None or found.until < self.now():
            raise EbayProblem(401, 1001, "Invalid access token", domain="OAuth")
        if not found.scopes & {SCOPE if not each else f"{SCOPE}/{each}" for each in scopes}:
            raise EbayProblem(403, 1100, "Access denied", "Insufficient permissions.")
        if of_user and found.user is None:
            raise EbayProblem(403, 1100, "Access denied", "Insufficient permissions.")

    def iaf_token(self, token: str) -> bool:
        """May this token call the Trading API?"""
        found = self.access.get(token)
        return bool(found and found.user and found.until >= self.now() and SCOPE in found.scopes)

    # Digital signatures

    def make_signing_key(self) -> dict[str, str]:
        """A pair as the Key Management API hands it out."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
            PublicFormat,
        )

        key = Ed25519PrivateKey.generate()
        private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        jwe = f"eyJ6aXAiOiJERUYifQ.{token_urlsafe(40)}"
        self.signing_keys[jwe] = key.public_key()
        return {
            "signingKeyId": token_urlsafe(16),
            "signingKeyCipher": "ED25519",
            "privateKey": b64encode(private).decode(),
            "publicKey": b64encode(public).decode(),
            "jwe": jwe,
        }

    def check_signature(self, asked: Asked) -> None:
        """Refuses a request of a seller in the EU that is not signed as it should be."""
        if not self.wants_signatures:
            return
        jwe = asked.headers.get("x-ebay-signature-key")
        if not jwe:
            raise EbayProblem(400, 215_001, "Missing x-ebay-signature-key header")
        shape = r'sig1=(\(("[a-z@-]+"(?: "[a-z@-]+")*)\);created=(\d+))'
        told = re.fullmatch(shape, asked.headers.get("signature-input", ""))
        proof = re.fullmatch("sig1=:([A-Za-z0-9+/=]+):", asked.headers.get("signature", ""))
        if not told or not proof or jwe not in self.signing_keys:
            raise EbayProblem(400, 215_122, "Signature validation failed")
        covered = [name.strip('"') for name in told[2].split()]
        is_fresh = abs(int(told[3]) - self.now().timestamp()) <= CLOCK_SECONDS
        if not is_fresh or not set(COVERED) <= set(covered):
            raise EbayProblem(400, 215_122, "Signature validation failed")
        own = {
            "@method": asked.method,
            "@path": asked.path,
            "@authority": asked.headers.get("host", "").lower(),
        }
        lines = [f'"{name}": {own.get(name, asked.headers.get(name, ""))}' for name in covered]
        base = "\n".join([*lines, f'"@signature-params": {told[1]}'])
        from cryptography.exceptions import InvalidSignature

        try:
            self.signing_keys[jwe].verify(b64decode(proof[1]), base.encode())
        except (InvalidSignature, ValueError):
            raise EbayProblem(400, 215_122, "Signature validation failed") from None


def _oauth_error(status: int, code: str, words: str) -> Reply:
    return Reply(status, {"error": code, "error_description": words, "error_uri": None})
