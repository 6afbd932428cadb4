"""One way to talk HTTP to a shop: limits on everything, failures named by what happens next.

Every request has timeouts, an overall deadline and a cap on the answer's size, and follows no
redirect: a redirect from http to https drops the body of a PUT and answers 200 all the same.
What an answer means is decided by a table (``ErrorRule``) that the connector may put in front of
the general one. No message that leaves here holds a secret or a query string.
"""

from __future__ import annotations

import json as json_module
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.auth import AuthBase

from plugin_sdk.errors import ConnectorError, Misconfigured, Rejected, Temporary
from plugin_sdk.reading import read_object, read_objects

CONNECT_TIMEOUT_SECONDS = 10.0
READ_TIMEOUT_SECONDS = 30.0
DEADLINE_SECONDS = 120.0
MAX_ANSWER_BYTES = 10 * 1024 * 1024
MAX_RETRY_AFTER_SECONDS = 86_400
MAX_QUOTED = 200
SHORTEST_SECRET = 4  # cutting out shorter ones would make every text unreadable
MAX_JSON_STARTS = 20  # places tried where JSON may begin behind PHP's notices
CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """Which failure means what. A rule fits when everything it names fits; the first one wins.

    ``status``: the HTTP status. ``code``: the machine code in a JSON error body. ``words``: a part
    of the message in it. ``advice`` is put before the other side's own words.
    """

    error: type[ConnectorError]
    advice: str
    status: int | None = None
    code: str | None = None
    words: str | None = None

    def fits(self, status: int, code: str, message: str) -> bool:
        """True when this rule speaks about the failure."""
        return (
            (self.status is None or self.status == status)
            and (self.code is None or self.code == code)
            and (self.words is None or self.words in message)
        )


GENERAL_RULES = (
    ErrorRule(Misconfigured, "The key was refused", status=401),
    ErrorRule(
        Misconfigured,
        "Access was refused; a missing permission, a firewall or a security plugin",
        status=403,
    ),
    ErrorRule(Misconfigured, "A proxy asks for a log-in", status=407),
    ErrorRule(Temporary, "The other side took too long", status=408),
    ErrorRule(Temporary, "Another request is in the way", status=423),
    ErrorRule(Temporary, "Too early", status=425),
    ErrorRule(Temporary, "Too many requests", status=429),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How patient a session is, and where it may go.

    ``adapter`` makes what every connection goes through (None: requests' own): a host that runs
    connectors for strangers refuses private addresses there, and is less patient.
    """

    read_timeout_seconds: float | None = None
    deadline_seconds: float | None = None
    adapter: Callable[[], BaseAdapter] | None = None


USUAL = Limits()


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer: ``body`` is the parsed JSON (None when there was no content), or the
    bytes as they came where ``fetch`` asked.
    """

    status: int
    headers: Mapping[str, str]
    body: Any


class _NoQuery(logging.Filter):
    """Cuts query strings out of urllib3's debug lines: some shops want their key in there."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                each.partition("?")[0] if isinstance(each, str) else each for each in record.args
            )
        return True


logging.getLogger("urllib3.connectionpool").addFilter(_NoQuery())


class NoAuth(AuthBase):
    """Adds nothing. Without an explicit choice requests would send what it finds in .netrc."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class HttpSession:
    """Sends requests and returns JSON, or raises Temporary, Rejected or Misconfigured.

    ``peer`` is what messages call the other side ("the shop"). ``secrets`` are cut out of
    everything that is quoted. May be shared between threads: each has connections of its own.
    """

    def __init__(
        self,
        peer: str,
        *,
        user_agent: str,
        rules: Iterable[ErrorRule] = (),
        secrets: Iterable[str] = (),
        limits: Limits = USUAL,
    ) -> None:
        self.peer = peer
        self._limits = limits
        self._rules = (*rules, *GENERAL_RULES)
        self._secrets = tuple(secret for secret in secrets if len(secret) >= SHORTEST_SECRET)
        self._user_agent = user_agent
        self._of_thread = threading.local()

    def request(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        auth: AuthBase | None = None,
        read_timeout_seconds: float | None = None,
    ) -> Answer:
        """Send one request; no retries here, whoever owns the work owns them.

        Raises Temporary (no connection, timeout, 429, 5xx, an answer that is no JSON), Rejected
        (other 4xx, an answer too large), Misconfigured (redirect, 401, 403, a broken address).
        """
        sent_headers = dict(headers or {})
        if json is not None:
            content = json_module.dumps(json, ensure_ascii=False).encode()
            sent_headers["Content-Type"] = "application/json; charset=utf-8"
        response, raw = self._send(method, url, content, sent_headers, auth, read_timeout_seconds)
        return self._answer(response, raw, url)

    def fetch(
        self,
        method: str,
        url: str,
        *,
        accept: str,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        auth: AuthBase | None = None,
    ) -> Answer:
        """As ``request``, for an answer that is no JSON (XML, a PDF): ``body`` is its bytes."""
        sent_headers = {"Accept": accept, **(headers or {})}
        response, raw = self._send(method, url, content, sent_headers, auth, None)
        self._raise_failure(response, raw, url)
        return Answer(response.status_code, response.headers, raw)

    def _send(
        self,
        method: str,
        url: str,
        content: bytes | None,
        headers: Mapping[str, str],
        auth: AuthBase | None,
        read_timeout_seconds: float | None,
    ) -> tuple[requests.Response, bytes]:
        deadline = time.monotonic() + (self._limits.deadline_seconds or DEADLINE_SECONDS)
        patience = read_timeout_seconds or self._limits.read_timeout_seconds or READ_TIMEOUT_SECONDS
        try:
            with self._session().request(
                method,
                url,
                data=content,
                headers=dict(headers),
                auth=auth or NoAuth(),
                timeout=(min(CONNECT_TIMEOUT_SECONDS, patience), patience),
                allow_redirects=False,
                stream=True,
            ) as response:
                return response, self._read(response, deadline)
        except ConnectorError:
            raise
        except (
            requests.exceptions.InvalidURL,
            requests.exceptions.MissingSchema,
            requests.exceptions.InvalidSchema,
            requests.exceptions.InvalidHeader,
        ) as error:
            raise Misconfigured(
                f"The address of {self.peer} cannot be used ({type(error).__name__})."
            ) from None
        except requests.exceptions.SSLError:
            raise Misconfigured(
                f"{_capital(self.peer)} has no valid TLS certificate at {_host(url)}."
            ) from None
        except (requests.exceptions.RequestException, OSError, UnicodeError) as error:
            # The text of these errors holds the whole URL with its query, so only the name goes on.
            raise Temporary(
                f"{_capital(self.peer)} at {_host(url)} cannot be reached ({type(error).__name__})."
            ) from None

    def close(self) -> None:
        """Close the idle connections of this thread."""
        self._session().close()

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._of_thread, "session", None)
        if session is None:
            session = requests.Session()
            session.headers["User-Agent"] = self._user_agent
            session.headers["Accept"] = "application/json"
            if self._limits.adapter is not None:
                adapter = self._limits.adapter()
                session.mount("https://", adapter)
                session.mount("http://", adapter)
            self._of_thread.session = session
        return session

    def _read(self, response: requests.Response, deadline: float) -> bytes:
        chunks: list[bytes] = []
        size = 0
        for chunk in response.iter_content(CHUNK_BYTES):
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                raise Rejected(
                    f"{_capital(self.peer)} answered with more than "
                    f"{MAX_ANSWER_BYTES // 1024 // 1024} MB."
                )
            if time.monotonic() > deadline:
                raise Temporary(f"{_capital(self.peer)} answered too slowly.")
            chunks.append(chunk)
        return b"".join(chunks)

    def _answer(self, response: requests.Response, raw: bytes, url: str) -> Answer:
        self._raise_failure(response, raw, url)
        status, text = response.status_code, raw.decode("utf-8", errors="replace")
        if not text.strip():
            return Answer(status, response.headers, None)
        body = _json_in(text)
        if body is _NO_JSON:
            raise Temporary(self._no_json(text), _retry_after(response.headers))
        return Answer(status, response.headers, body)

    def _raise_failure(self, response: requests.Response, raw: bytes, url: str) -> None:
        status = response.status_code
        if 300 <= status < 400:
            raise self._redirected(response, url)
        if status >= 400:
            text = raw.decode("utf-8", errors="replace")
            raise self._failure(status, response.headers, text)

    def _redirected(self, response: requests.Response, url: str) -> ConnectorError:
        target = urlsplit(urljoin(url, response.headers.get("Location", "")))
        place = f"{target.scheme}://{target.netloc.rpartition('@')[2]}{target.path}"
        text = f"{_capital(self.peer)} redirects to {place}; enter the address it redirects to."
        for rule in self._rules:
            if rule.fits(response.status_code, "", ""):
                return rule.error(self._clean(text))
        return Misconfigured(self._clean(text))

    def _failure(self, status: int, headers: Mapping[str, str], text: str) -> ConnectorError:
        body = _json_in(text)
        code, message = _words_of(body)
        quoted = self._clean(message or ("a web page" if _is_html(text) else text.strip()))
        quoted = quoted[:MAX_QUOTED]
        wait = _retry_after(headers) if "Retry-After" in headers else _wait_in(body)
        for rule in self._rules:
            if rule.fits(status, code, message):
                return self._error(rule.error, rule.advice, status, quoted, wait)
        kind: type[ConnectorError] = Temporary if status >= 500 else Rejected
        return self._error(kind, f"{_capital(self.peer)} refused", status, quoted, wait)

    def _error(
        self,
        kind: type[ConnectorError],
        advice: str,
        status: int,
        quoted: str,
        wait: int | None,
    ) -> ConnectorError:
        text = f"{advice} ({self.peer} answered {status}{': ' + quoted if quoted else ''})."
        if issubclass(kind, Temporary):
            return kind(text, wait)
        return kind(text)

    def _no_json(self, text: str) -> str:
        if _is_html(text):
            return f"{_capital(self.peer)} answered with a web page instead of JSON."
        return f"{_capital(self.peer)} answered with something that is no JSON, or cut off."

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "•••")
        return " ".join(text.split())


_NO_JSON = object()


def _json_in(text: str) -> Any:
    """The JSON value that ends the text. PHP likes to print notices before it."""
    stripped = text.lstrip("\ufeff \t\r\n").rstrip()
    try:
        return json_module.loads(stripped)
    except (ValueError, RecursionError):
        pass
    decoder = json_module.JSONDecoder()
    starts = (at for at, character in enumerate(stripped) if character in "{[")
    for _, at in zip(range(MAX_JSON_STARTS), starts, strict=False):
        try:
            value, end = decoder.raw_decode(stripped, at)
        except (ValueError, RecursionError):
            continue
        if end == len(stripped) and isinstance(value, dict | list):
            return value
    return _NO_JSON


def _words_of(body: Any) -> tuple[str, str]:
    """Code and message of a JSON error: WordPress's {code, message}, a problem of RFC 9457, OAuth's
    {error, error_description} (RFC 6749, 5.2), or the first of {errors: [{code or errorId, ...}]}.
    """
    if not isinstance(body, dict):
        return "", ""
    errors = body.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    if isinstance(first, dict) and ("code" in first or "errorId" in first):
        return _words_of_first(first)
    if isinstance(body.get("error_description"), str):
        return str(body.get("error", "")), body["error_description"]
    code = body.get("code")
    message = body.get("detail") or body.get("message") or body.get("title") or body.get("error")
    text = message if isinstance(message, str) else ""
    if body.get("errors"):
        text = f"{text} {json_module.dumps(body['errors'], ensure_ascii=False)}".strip()
    return code if isinstance(code, str) else "", text


def _words_of_first(error: Mapping[str, Any]) -> tuple[str, str]:
    """JSON:API's {code, title, detail} and eBay's {errorId, message, longMessage}."""
    code = error.get("code", error.get("errorId", ""))
    words = ("detail", "longMessage", "message", "title")
    message = next((error[each] for each in words if isinstance(error.get(each), str)), "")
    return str(code), message


def _wait_in(body: Any) -> int | None:
    """Seconds that a JSON:API error names in its ``meta`` (Shopware's, without a Retry-After)."""
    first = next(iter(read_objects(read_object(body).get("errors"))), {})
    seconds = read_object(read_object(first.get("meta")).get("parameters")).get("seconds")
    if not isinstance(seconds, int) or isinstance(seconds, bool) or seconds < 0:
        return None
    return min(seconds, MAX_RETRY_AFTER_SECONDS)


def _retry_after(headers: Mapping[str, str]) -> int | None:
    """Retry-After in seconds, from either of its forms (RFC 9110, 10.2.3)."""
    wish = headers.get("Retry-After")
    if not wish:
        return None
    wish = wish.strip()
    if wish.isdecimal() and wish.isascii():
        return min(int(wish[:9]), MAX_RETRY_AFTER_SECONDS)
    try:
        moment = parsedate_to_datetime(wish)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = (moment - datetime.now(UTC)).total_seconds()
    return max(0, min(int(seconds), MAX_RETRY_AFTER_SECONDS))


def _is_html(text: str) -> bool:
    return text.lstrip()[:200].lower().startswith(("<!doctype", "<html", "<head", "<body"))


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        return f"{parts.hostname or '?'}{':' + str(parts.port) if parts.port else ''}"
    except ValueError:
        return "?"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
