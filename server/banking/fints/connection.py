"""One FinTS message there, one back: HTTP with limits, and nothing of it in any log.

`fints` has a connection of its own. It logs whole messages, hides the PIN in them by a switch
that all threads share (a message sent by another thread meanwhile carries stars for a PIN, and
three of those lock the access), has no timeout, and follows redirects with the PIN in hand.

Standard: FinTS 3.0 PIN/TAN, chapter B.2: base64 in the body of a POST.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import socket
import threading
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from plugin_sdk.errors import Misconfigured, Temporary
from server.banking.fints import wire
from server.egress import is_public

CONNECT_TIMEOUT_SECONDS = 10.0
READ_TIMEOUT_SECONDS = 60.0
DEADLINE_SECONDS = 120.0
MAX_ANSWER_BYTES = 48 * 1024 * 1024
MAX_URL_LENGTH = 500
CHUNK_BYTES = 64 * 1024


class Connection:
    """Sends messages to ``url``. Raises Misconfigured when the address must not be used.

    Only https, only to public addresses, checked again on the connected socket, because a name
    may point elsewhere by then. With ``allows_loopback`` only to this machine, http too.
    """

    def __init__(self, url: str, *, allows_loopback: bool = False) -> None:
        self.url = checked_url(url, allows_loopback=allows_loopback)
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy, no .netrc: nobody else sees the PIN
        self._guard = _Guard(allows_loopback)
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, self._guard)

    def send(self, message: Any) -> Any:
        """The bank's answer (a SegmentSequence). Raises Temporary or Misconfigured."""
        answer = _decoded(self._post(message.render_bytes()))
        try:
            return wire.institute_message(answer)
        except wire.Garbled:
            raise Temporary("The bank's answer is cut off or cannot be read.") from None

    def close(self) -> None:
        """Close the connection to the bank."""
        self._session.close()

    def _post(self, message: bytes) -> bytes:
        # Timeouts are for each read; a bank that sends a byte a minute is ended by this.
        watch = threading.Timer(DEADLINE_SECONDS, self._guard.cut)
        watch.daemon = True
        watch.start()
        try:
            with self._session.post(
                self.url,
                data=base64.b64encode(message),
                headers={"Content-Type": "text/plain", "User-Agent": "Kontor"},
                timeout=(CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS),
                allow_redirects=False,
                stream=True,
            ) as response:
                _check_status(response.status_code)
                return _body(response)
        except requests.exceptions.SSLError:
            raise Misconfigured("The bank's address has no valid TLS certificate.") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise Temporary(f"The bank cannot be reached ({type(error).__name__}).") from None
        finally:
            watch.cancel()


def checked_url(url: str, *, allows_loopback: bool = False) -> str:
    """The address as it may be used. Raises Misconfigured; asks no name server."""
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise Misconfigured("The bank's address cannot be read.") from None
    if len(url) > MAX_URL_LENGTH or not host or parts.username or parts.password:
        raise Misconfigured("The bank's address cannot be used.")
    if allows_loopback and host in {"127.0.0.1", "::1"}:
        return url.strip()
    if parts.scheme != "https":
        raise Misconfigured("The bank's address must begin with https://.")
    if port not in (None, 443) and not 1024 <= port <= 65_535:
        raise Misconfigured("The bank's address names a port that is not for FinTS.")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return url.strip()
    if not is_public(address):
        raise Misconfigured("The bank's address is inside a private network.")
    return url.strip()


class _Guard(HTTPAdapter):
    """Refuses a connection that ended up at an address inside the own network; can cut it off."""

    def __init__(self, allows_loopback: bool) -> None:
        self._allows_loopback = allows_loopback
        self._connected: list[socket.socket] = []
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        https, http = _guarded_pools(self)
        self.poolmanager.pool_classes_by_scheme = {"https": https, "http": http}

    def cut(self) -> None:
        """End what is being read, from another thread."""
        for connected in self._connected:
            with suppress(OSError):
                # The plain socket's own: that of a TLS socket would first take its keys away.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)

    def check(self, connected: socket.socket) -> socket.socket:
        """Raises Misconfigured."""
        address = ipaddress.ip_address(connected.getpeername()[0].partition("%")[0])
        if not (is_public(address) or (self._allows_loopback and address.is_loopback)):
            connected.close()
            raise Misconfigured("The bank's address leads into a private network.")
        return connected

    def keep(self, connected: Any) -> None:
        """The socket that is read from, under TLS where there is TLS."""
        self._connected = [connected]


def _guarded_pools(guard: _Guard) -> tuple[type, type]:
    class Https(urllib3.connection.HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return guard.check(super()._new_conn())

        def connect(self) -> None:
            super().connect()
            guard.keep(self.sock)

    class Http(urllib3.connection.HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return guard.check(super()._new_conn())

        def connect(self) -> None:
            super().connect()
            guard.keep(self.sock)

    class HttpsPool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Https

    class HttpPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Http

    return HttpsPool, HttpPool


def _check_status(status: int) -> None:
    if status == 200:
        return
    if 300 <= status < 400:
        raise Misconfigured("The bank's address has moved; enter the new one.")
    if status >= 500 or status in {408, 423, 425, 429}:
        raise Temporary(f"The bank's server is out of order (it answered {status}).")
    raise Misconfigured(f"This is not the bank's address for FinTS (it answered {status}).")


def _body(response: requests.Response) -> bytes:
    chunks: list[bytes] = []
    size = 0
    for chunk in response.iter_content(CHUNK_BYTES):
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            raise Temporary(f"The bank answered with more than {MAX_ANSWER_BYTES >> 20} MB.")
        chunks.append(chunk)
    return b"".join(chunks)


def _decoded(body: bytes) -> bytes:
    try:
        message = base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error:
        message = b""
    if not message.startswith(b"HNHBK:"):
        raise Temporary(
            "The bank's address answers with something that is no FinTS message; "
            "maintenance, or not the address for FinTS."
        )
    return message
