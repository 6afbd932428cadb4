"""One callback is posted, and what came of it. Knows no database.

A file of its own because it runs in threads, several at a time: one address that hangs holds up
no other. What it raises is a bug; whatever the other side does is an Attempt.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy

import requests
from urllib3.exceptions import HTTPError

from plugin_sdk.http import NoAuth
from server.callbacks.rules import first_words, outcome_of
from server.config import Settings
from server.egress import AddressRefused, Guard, Policy

CONNECT_TIMEOUT_SECONDS = 5.0
READ_TIMEOUT_SECONDS = 15.0
DEADLINE_SECONDS = 20.0
MAX_READ_BYTES = 2_000
MAX_WISH_DIGITS = 6
USER_AGENT = "Kontor"


@dataclass(frozen=True, slots=True)
class Parcel:
    """Everything that one attempt needs. ``headers`` hold the signatures."""

    callback_id: int
    url: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Attempt:
    """``outcome`` is one of ``rules.OUTCOMES``; ``status`` and ``words`` are what was answered."""

    outcome: str
    status: int | None = None
    words: str = ""
    wish_seconds: int | None = None


class Sender:
    """Posts, from as many threads as one likes; keeps connections for what comes next."""

    def __init__(self, settings: Settings) -> None:
        guard = Guard(Policy.of(settings), deadline_seconds=DEADLINE_SECONDS)
        self._session = requests.Session()
        self._session.headers["User-Agent"] = USER_AGENT
        self._session.headers["Accept-Encoding"] = "identity"
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, guard)

    def send(self, parcel: Parcel) -> Attempt:
        """One POST, no second try, no redirect followed."""
        try:
            with self._session.post(
                parcel.url,
                data=parcel.body,
                headers=parcel.headers,
                auth=NoAuth(),
                timeout=(CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS),
                allow_redirects=False,
                stream=True,
            ) as response:
                return _attempt(response, parcel)
        except AddressRefused as refused:
            return Attempt(refused.reason)
        except requests.Timeout:
            return Attempt("timeout")
        except requests.exceptions.SSLError:
            return Attempt("tls")
        except (requests.exceptions.InvalidURL, UnicodeError):
            return Attempt("unreadable")
        except (requests.RequestException, HTTPError, OSError):
            return Attempt("unreachable")

    def close(self) -> None:
        """Close what is idle."""
        self._session.close()


def _attempt(response: requests.Response, parcel: Parcel) -> Attempt:
    """The status decides, whatever becomes of the words."""
    raw = b""
    with suppress(requests.RequestException, HTTPError, OSError):
        parts = response.iter_content(MAX_READ_BYTES)
        raw = next(parts, b"")
        if len(raw) < MAX_READ_BYTES:
            next(parts, b"")  # the end, after which the connection can be used again
    signatures = parcel.headers["webhook-signature"].split(" ")
    wish = response.headers.get("Retry-After", "").strip()
    is_number = wish.isascii() and wish.isdecimal() and len(wish) <= MAX_WISH_DIGITS
    return Attempt(
        outcome_of(response.status_code),
        response.status_code,
        first_words(raw, signatures),
        int(wish) if is_number else None,
    )
