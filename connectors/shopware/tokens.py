"""The bearer token of Shopware's Admin API: ten minutes long, and not to be asked for in a loop.

The eleventh refused request in a row locks everybody out who comes from the same address, with the
right secret too, so a refusal is remembered for a while.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from plugin_sdk.errors import Misconfigured, Temporary
from plugin_sdk.http import HttpSession

EXPIRES_EARLY_SECONDS = 60
REFUSED_PAUSE_SECONDS = 30


class Tokens:
    """Gives the present token, and asks for one when there is none. Shared between threads."""

    def __init__(
        self,
        http: HttpSession,
        url: str,
        client_id: str,
        client_secret: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = http
        self._url = url
        self._asked = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": client_secret,
        }
        self._clock = clock
        self._lock = threading.Lock()
        self._token = ""
        self._until = 0.0
        self._refusal = ""
        self._refused_until = 0.0

    def get(self) -> str:
        """A token that is good for another minute. Raises ConnectorError."""
        with self._lock:
            now = self._clock()
            if self._token and now < self._until:
                return self._token
            if now < self._refused_until:
                raise Misconfigured(self._refusal)
            return self._ask(now)

    def forget(self, token: str) -> None:
        """The shop did not take it; ask for another one next time."""
        with self._lock:
            if self._token == token:
                self._token = ""

    def _ask(self, now: float) -> str:
        try:
            body = self._http.request("POST", self._url, json=self._asked).body
        except Misconfigured as error:
            self._refusal, self._refused_until = str(error), now + REFUSED_PAUSE_SECONDS
            raise
        token = body.get("access_token") if isinstance(body, dict) else None
        if not isinstance(token, str) or not token:
            raise Temporary("The shop answered the log-in with something that is no token.")
        lasts = body.get("expires_in")
        seconds = lasts if isinstance(lasts, int) else 0
        self._token, self._until = token, now + max(0, seconds - EXPIRES_EARLY_SECONDS)
        return token
