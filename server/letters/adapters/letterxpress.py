"""LetterXpress, a German print and mail service over HTTP (LXP API 3.0 of 1 December 2024).

Documented at https://www.letterxpress.de/versandwege/api. Every request holds its credentials in
the body, the questions too; the content type must be ``application/json`` and nothing more. The
address is read from the PDF's window. In the mode ``test`` letters go into the account's basket,
are not printed and vanish after seven days.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final

import requests
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
)

from plugin_sdk.errors import Misconfigured, Rejected, Temporary
from plugin_sdk.http import NoAuth
from plugin_sdk.reading import read_object, read_objects
from server.config import Settings
from server.egress import Guard, Policy, check_url
from server.letters.adapters import HandoverInDoubt, Parcel, Receipt, Status

URL: Final = "https://api.letterxpress.de/v3"
CURRENCY: Final = "EUR"
MODES: Final = ("live", "test")
COLOURS: Final = {"": "1", "no": "1", "yes": "4"}
HOME: Final = "DE"
REGISTERED: Final = "r1"
"""Put into the letter box with a proof; ``r2`` wants a signature and comes back more often."""
MAX_ANSWER_BYTES: Final = 1024 * 1024
MAX_QUOTED: Final = 200
CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 45.0
DEADLINE_SECONDS: Final = 60.0
TOO_MANY_SECONDS: Final = 60  # 120 requests a minute

_DELIVERIES: Final = {
    "queue": "accepted",
    "hold": "accepted",
    "draft": "accepted",
    "done": "sent",
    "sent": "sent",
    "canceled": "failed",
    "returned": "returned",
}
_HOLD: Final = "The service holds the letter; its balance may be used up."


class LetterXpress:
    """Settings: ``username``, ``apikey``, ``mode`` (`live` or `test`), ``color`` (`yes` or `no`)
    and ``url`` of another installation of the same interface.

    Raises Misconfigured for a mode or colour that there is not, AddressRefused for the URL.
    """

    def __init__(self, settings: Mapping[str, str], house: Settings) -> None:
        mode, colour = settings.get("mode") or "live", settings.get("color", "")
        if mode not in MODES or colour not in COLOURS:
            raise Misconfigured("The mode is live or test, the colour yes or no.")
        self._auth = {"username": settings["username"], "apikey": settings["apikey"], "mode": mode}
        self._colour = COLOURS[colour]
        self._url = check_url(settings.get("url") or URL, house).rstrip("/")
        self._session = requests.Session()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        guard = Guard(Policy.of(house), deadline_seconds=DEADLINE_SECONDS)
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, guard)

    def hand_over(self, parcel: Parcel) -> Receipt:
        file = base64.b64encode(parcel.pdf).decode()
        letter: dict[str, Any] = {
            "base64_file": file,
            "base64_file_checksum": hashlib.md5(file.encode(), usedforsecurity=False).hexdigest(),
            "filename_original": f"{parcel.name}.pdf",
            "notice": parcel.name,
            "specification": {
                "color": self._colour,
                "mode": "simplex",
                "shipping": "national" if parcel.country == HOME else "international",
            },
        }
        if parcel.is_registered:
            letter["registered"] = REGISTERED
        job = self._asked("POST", "/printjobs", {"letter": letter}, is_order=True)
        if not isinstance(job.get("id"), int):
            raise HandoverInDoubt("The print service took the letter and named no number for it.")
        words = _HOLD if job.get("status") == "hold" else ""
        return Receipt(str(job["id"]), _cost(job), CURRENCY, words)

    def status(self, reference: str) -> Status | None:
        job = self._asked("GET", f"/printjobs/{reference}", {})
        items = list(read_objects(job.get("items")))
        states = [str(job.get("status") or ""), *(str(each.get("status") or "") for each in items)]
        known = [_DELIVERIES[state] for state in states if state in _DELIVERIES]
        # What went wrong with one sheet went wrong with the letter; what is furthest counts else.
        order = ("returned", "failed", "sent", "accepted")
        delivery = next((state for state in order if state in known), "accepted")
        words = " ".join(str(each.get("tracking_status") or "") for each in items).strip()
        return Status(delivery, (_HOLD if states[0] == "hold" else words)[:MAX_QUOTED])

    def check(self) -> str:
        """The balance. Raises Misconfigured where nothing is left."""
        found = self._asked("GET", "/balance", {})
        balance = found.get("balance")
        if not isinstance(balance, int | Decimal):
            raise Temporary("The print service did not say its balance.")
        if balance <= 0:
            raise Misconfigured(f"The balance at the print service is used up ({balance}).")
        return f"{balance} {found.get('currency') or CURRENCY}"

    def finish(self) -> None:
        """Each letter is a job of its own."""

    def close(self) -> None:
        self._session.close()

    def _asked(
        self, method: str, path: str, content: Mapping[str, Any], *, is_order: bool = False
    ) -> dict[str, Any]:
        """The ``data`` of the answer. ``is_order``: doing it twice costs twice."""
        body = json.dumps({"auth": self._auth, **content}).encode()
        try:
            with self._session.request(
                method,
                self._url + path,
                data=body,
                headers={"Content-Type": "application/json", "Accept": "application/json"},
                auth=NoAuth(),
                timeout=(CONNECT_SECONDS, READ_SECONDS),
                allow_redirects=False,
                stream=True,
            ) as response:
                status, raw = response.status_code, _read(response)
        except (requests.RequestException, HTTPError, OSError) as error:
            raise _broken_off(error, is_order=is_order) from None
        return self._judged(status, raw, is_order=is_order)

    def _judged(self, status: int, raw: bytes, *, is_order: bool) -> dict[str, Any]:
        answer = _json(raw)
        said = self._quoted(answer)
        if status in (401, 403):
            raise Misconfigured(f"The print service refused the user name or the key{said}.")
        if status == 402:
            raise Misconfigured(f"The balance at the print service is used up{said}.")
        if status == 429:
            raise Temporary(f"Too many requests to the print service{said}.", TOO_MANY_SECONDS)
        if status == 503 or (status >= 500 and not is_order):
            raise Temporary(f"The print service answered {status}{said}.")
        if status >= 500:  # it failed somewhere between taking and answering
            raise HandoverInDoubt(f"The print service answered {status}{said}.")
        if 300 <= status < 400:
            raise Misconfigured("The address of the print service leads elsewhere.")
        if status >= 400:
            raise Rejected(f"The print service refused ({status}){said}.")
        found = read_object(answer).get("data")
        if not isinstance(found, dict):
            raise _unreadable(is_order=is_order)
        return found

    def _quoted(self, answer: Any) -> str:
        message = read_object(answer).get("message")
        text = " ".join(str(message or "").split()).replace(self._auth["apikey"], "•••")
        return f": {text[:MAX_QUOTED].rstrip('.')}" if text else ""


def _broken_off(error: Exception, *, is_order: bool) -> Temporary:
    name = type(error).__name__
    if not is_order or _never_left(error):
        return Temporary(f"The print service cannot be reached ({name}).")
    return HandoverInDoubt(f"The letter went out and the print service did not answer ({name}).")


def _never_left(error: Exception) -> bool:
    """Whether no connection was made at all."""
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.SSLError):
        return True
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    return isinstance(reason, NewConnectionError | NameResolutionError | ConnectTimeoutError)


def _unreadable(*, is_order: bool) -> Temporary:
    words = "The print service gave an answer that cannot be read."
    return HandoverInDoubt(words) if is_order else Temporary(words)


def _read(response: requests.Response) -> bytes:
    raw = b""
    for part in response.iter_content(64 * 1024):
        raw += part
        if len(raw) > MAX_ANSWER_BYTES:
            raise requests.exceptions.ContentDecodingError("an answer without end")
    return raw


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw, parse_float=Decimal)
    except (ValueError, RecursionError):
        return None


def _cost(job: Mapping[str, Any]) -> Decimal | None:
    """Net and tax of all its items."""
    parts = [
        Decimal(each[name])
        for each in read_objects(job.get("items"))
        for name in ("amount", "vat")
        if isinstance(each.get(name), int | Decimal)
    ]
    return sum(parts, Decimal(0)) if parts else None
