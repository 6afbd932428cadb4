"""The guard of every HTTP call to an address that a merchant typed.

Whoever types an address could name a machine inside the operator's network, or a name that leads
there a second later. So nothing is judged by how an address is written: the name is resolved
here, each address it has is looked at, and the connection is made to one that was found good, the
very one (OWASP ASVS 5.0, 1.3.6 and 13.2.4). The certificate is still that of the name. What
redirects is another call, which comes by here again; nobody in this house follows one blindly.

The operator opens what is closed: networks of his own, http, or both (docs/configuration.md).
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from dataclasses import dataclass
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import create_connection

from plugin_sdk.errors import Misconfigured
from plugin_sdk.http import Limits
from server.config import Settings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

READ_TIMEOUT_SECONDS = 30.0
DEADLINE_SECONDS = 60.0
"""From the last byte that was sent to the last byte of the answer, however it drips."""
MAX_URL_LENGTH = 500
MAX_ADDRESSES = 8
PUBLIC_PORTS = frozenset({80, 443, 8080, 8443})
"""Where the web is served; at another port of a stranger somebody else listens."""

GLOBAL_UNICAST = ip_network("2000::/3")
NAT64 = ip_network("64:ff9b::/96")
NOT_THE_INTERNET = tuple(
    ip_network(text)
    for text in (
        "192.0.0.0/24",
        "192.88.99.0/24",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
    )
)
"""Of the special-purpose registries (RFC 6890) what Python 3.11 does not know or calls global."""
METADATA = frozenset(ip_address(text) for text in ("fd00:ec2::254", "fd20:ce::254", "192.0.0.192"))
"""Where clouds serve the keys of a machine, besides the link-local addresses."""


class AddressRefused(Misconfigured):
    """The address must not be called. ``reason`` is `unreadable`, `scheme`, `login`, `port` or
    `private`; ``host`` what it names.
    """

    def __init__(self, reason: str, host: str = "") -> None:
        super().__init__(_WORDS[reason].format(host=host))
        self.reason, self.host = reason, host


_WORDS = {
    "unreadable": "This is no address of the web.",
    "scheme": "The address must begin with https://.",
    "login": "The address must not hold a user name or a password.",
    "port": "The address {host} names a port at which no web page is served.",
    "private": "The address {host} leads into a private network.",
}


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator allows beyond the public internet over https."""

    networks: tuple[Network, ...] = ()
    allows_http: bool = False
    allows_private: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Policy:
        return _policy(
            settings.allowed_networks, settings.allow_http, settings.allow_private_addresses
        )

    def allows(self, address: Address, port: int) -> bool:
        """Whether a connection may be made there."""
        return self.is_own(address) or (is_public(address) and port in PUBLIC_PORTS)

    def is_own(self, address: Address) -> bool:
        """Whether the operator has opened it. ``allows_private`` opens no metadata service."""
        one = unwrapped(address)
        if any(one in network for network in self.networks):
            return True
        is_closed = one.is_link_local or one.is_multicast or one.is_unspecified
        return self.allows_private and one.is_private and not is_closed and one not in METADATA


@lru_cache(maxsize=8)
def _policy(networks: tuple[str, ...], allows_http: bool, allows_private: bool) -> Policy:
    return Policy(
        tuple(ip_network(network) for network in networks),
        allows_http=allows_http or allows_private,
        allows_private=allows_private,
    )


def is_public(address: Address) -> bool:
    """Whether it belongs to the public internet, also where it is wrapped in IPv6."""
    one = unwrapped(address)
    if isinstance(one, IPv6Address) and one not in GLOBAL_UNICAST:
        return False
    is_special = any(one in network for network in NOT_THE_INTERNET)
    return one.is_global and not one.is_multicast and not is_special


def unwrapped(address: Address) -> Address:
    """The IPv4 address that is really meant: mapped (RFC 4291) or translated (RFC 6052)."""
    if isinstance(address, IPv6Address):
        if address in NAT64:
            return IPv4Address(address.packed[-4:])
        return address.ipv4_mapped or address
    return address


def limits(settings: Settings) -> Limits:
    """For an HttpSession that a connector of a merchant's shop speaks through."""
    return Limits(
        read_timeout_seconds=READ_TIMEOUT_SECONDS,
        deadline_seconds=DEADLINE_SECONDS,
        adapter=partial(Guard, Policy.of(settings)),
    )


def check_url(url: str, settings: Settings) -> str:
    """The address as it may be stored; asks no name server. Raises AddressRefused.

    Tells at once what is surely wrong. Whether the name leads somewhere good is found out when it
    is called, each time.
    """
    url, policy = url.strip(), Policy.of(settings)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise AddressRefused("unreadable") from None
    if parts.scheme not in {"http", "https"} or not _is_host(host) or not _is_plain(url):
        raise AddressRefused("unreadable")
    if parts.username is not None or parts.password is not None:
        raise AddressRefused("login")
    if parts.scheme == "http" and not policy.allows_http:
        raise AddressRefused("scheme")
    _check_place(host, port or (443 if parts.scheme == "https" else 80), policy)
    return url


def _is_host(host: str) -> bool:
    """Has it the form of a name or an address? (RFC 1123, and what IDNA makes of other letters)"""
    if ":" in host:
        return _literal(host) is not None
    try:
        name = host.encode("idna").decode()
    except UnicodeError:
        return False
    labels = name.removesuffix(".").split(".")
    return all(each and each.replace("-", "").replace("_", "").isalnum() for each in labels)


def _is_plain(url: str) -> bool:
    return len(url) <= MAX_URL_LENGTH and url.isprintable() and not set(url) & set(' \\"<>')


def _check_place(host: str, port: int, policy: Policy) -> None:
    address = _literal(host)
    if address is not None:
        _check(address, host, port, policy)
    elif port not in PUBLIC_PORTS and not (policy.networks or policy.allows_private):
        raise AddressRefused("port", host)


def _check(address: Address, host: str, port: int, policy: Policy) -> None:
    if not policy.allows(address, port):
        raise AddressRefused("port" if is_public(address) else "private", host)


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


# --- the connection -----------------------------------------------------------------------------


class Guard(HTTPAdapter):
    """Connects to what ``policy`` allows, and to nothing else. Raises AddressRefused.

    Goes through no proxy, since nobody could say where that one connects to.
    """

    def __init__(self, policy: Policy, *, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self.policy, self.deadline_seconds = policy, deadline_seconds
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pools(self)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        kwargs["proxies"] = None
        return super().send(request, *args, **kwargs)

    def connect(self, connection: HTTPConnection) -> socket.socket:
        """A socket to the first good address of the host that answers.

        Raises AddressRefused when none is good, else what urllib3 raises.
        """
        host, port = connection.host.strip("[]"), connection.port
        patience = connection.timeout if isinstance(connection.timeout, int | float) else None
        end = time.monotonic() + (patience or READ_TIMEOUT_SECONDS)
        failure: OSError | None = None
        for address in self._good_addresses(connection, host, port):
            left = end - time.monotonic()
            if left <= 0:
                break
            try:
                return create_connection(
                    (str(address), port), left, socket_options=connection.socket_options
                )
            except OSError as error:
                failure = error
        if failure is None or isinstance(failure, TimeoutError):
            raise ConnectTimeoutError(connection, f"{host} did not answer in time")
        raise NewConnectionError(connection, f"{host}: {failure}") from failure

    def _good_addresses(self, connection: HTTPConnection, host: str, port: int) -> list[Address]:
        if not self.policy.allows_http and not isinstance(connection, HTTPSConnection):
            raise AddressRefused("scheme", host)
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise NameResolutionError(host, connection, error) from error
        except UnicodeError:
            raise AddressRefused("unreadable") from None
        addresses = [ip_address(str(place[0])) for *_, place in found]
        good = [address for address in addresses if self.policy.allows(address, port)]
        if not good:
            _check(addresses[0], host, port, self.policy)
        return good[:MAX_ADDRESSES]


def _pools(guard: Guard) -> dict[str, type[HTTPConnectionPool]]:
    """urllib3's pools, with connections that ask ``guard`` before they connect."""

    class Answer(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
            super().__init__(sock, *args, **kwargs)
            self.fp.close()
            self.fp = io.BufferedReader(_Hurried(sock, guard.deadline_seconds))

    class Http(HTTPConnection):
        response_class = Answer

        def _new_conn(self) -> socket.socket:
            return guard.connect(self)

    class Https(HTTPSConnection):
        response_class = Answer

        def _new_conn(self) -> socket.socket:
            return guard.connect(self)

    class HttpPool(HTTPConnectionPool):
        ConnectionCls = Http

    class HttpsPool(HTTPSConnectionPool):
        ConnectionCls = Https

    return {"http": HttpPool, "https": HttpsPool}


class _Hurried(io.RawIOBase):
    """What a socket receives, until a deadline: a byte a minute passes every other timeout."""

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._sock, self._patience = sock, sock.gettimeout()
        self._raw = sock.makefile("rb", buffering=0)
        self._end = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer took too long")
        self._sock.settimeout(left if self._patience is None else min(left, self._patience))
        try:
            return self._raw.readinto(buffer)
        finally:
            self._sock.settimeout(self._patience)  # the next request is sent over it

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()
