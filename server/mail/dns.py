"""Asking the DNS: what it says, that it says nothing, or that it cannot be known now.

The edge to the network for domains of senders and recipients. Three kinds of answer are told
apart everywhere, because a server that is out of order says nothing about a domain: `found`,
absent (`no_such_name`: NXDOMAIN; `no_data`: the name is there, without such a record) and
`unknown` (timeout, SERVFAIL, refused, garbage).

A file of its own because it knows neither rows nor mails, and both the checks of sending domains
and the delivery to recipients stand on it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

from dns.exception import DNSException, Timeout
from dns.name import Name, from_text
from dns.nameserver import Do53Nameserver
from dns.rdata import Rdata
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.TXT import TXT
from dns.resolver import NXDOMAIN, NoAnswer, NoNameservers
from dns.resolver import Resolver as Asking

from server.config import Settings, address_and_port
from server.egress import is_public
from server.mail.spf import Answer

__all__ = ["Addresses", "Answer", "MailHosts", "Resolver", "resolver_of"]

LOOKUP_SECONDS = 5.0
TRY_SECONDS = 2.0
MAX_FOUND_SECONDS = 3600
ABSENT_SECONDS = 300
MAX_CACHED = 4096
MAX_RECORDS = 100
MAX_MAIL_HOSTS = 20
UDP_BYTES = 1232  # fits through every network; DNS flag day 2020


@dataclass(frozen=True, slots=True)
class MailHosts:
    """Where a domain takes its mail.

    ``status``: `found`; `null_mx`: it says that it takes none (RFC 7505); `no_host`: it is there,
    but neither a mail host nor an address; `no_such_domain`; `unknown`, and ``why``.
    ``hosts`` are (preference, name), the preferred first.
    """

    status: str
    hosts: tuple[tuple[int, str], ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a host can be reached: ``status`` as an Answer's, or `private`: only where we may not.

    Connect to these and ask no more: a second question may be answered differently.
    """

    status: str
    addresses: tuple[str, ...] = ()
    why: str = ""


class Resolver:
    """Asks DNS servers, 5 s at most a question, and remembers for a while. For many threads.

    ``servers`` are addresses, or those of the machine if there are none.
    """

    def __init__(
        self,
        servers: Sequence[str] = (),
        *,
        allows_private: bool = False,
        seconds: float = LOOKUP_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.servers = tuple(servers)
        self.allows_private = allows_private
        self._seconds = seconds
        self._clock = clock
        self._deadline: float | None = None
        self._cache = _Cache(clock)
        self._asking: Asking | None = None

    def fresh(self, seconds: float) -> Resolver:
        """One that has forgotten what it knew, and answers `unknown` once so long has passed."""
        other = Resolver(
            self.servers,
            allows_private=self.allows_private,
            seconds=self._seconds,
            clock=self._clock,
        )
        other._deadline = self._clock() + seconds
        return other

    def lookup(self, name: str, kind: str) -> Answer:
        """The records of ``kind`` (`TXT`, `MX`, `A`, `AAAA`, `CNAME`); CNAMEs are followed."""
        try:
            absolute = from_text(name.rstrip(".") + ".").canonicalize()
        except (DNSException, UnicodeError):
            return Answer("no_such_name")  # nothing in the DNS can have such a name
        key = (absolute, kind)
        known = self._cache.get(key)
        if known is not None:
            return known
        answer, ttl = self._ask(absolute, kind)
        self._cache.put(key, answer, ttl)
        return answer

    def mail_hosts(self, domain: str) -> MailHosts:
        """Where mail for ``domain`` goes (RFC 5321, 5.1): its MX, else the domain itself."""
        answer = self.lookup(domain, "MX")
        if answer.status == "unknown":
            return MailHosts("unknown", why=answer.why)
        if answer.status == "no_such_name":
            return MailHosts("no_such_domain")
        if answer.status == "found":
            hosts = sorted(_preference_and_name(record) for record in answer.records)
            named = tuple(host for host in hosts if host[1])
            return MailHosts("found", named[:MAX_MAIL_HOSTS]) if named else MailHosts("null_mx")
        own = self.addresses(domain)
        if own.status in ("found", "private"):
            return MailHosts("found", ((0, domain.rstrip(".")),))
        if own.status == "unknown":
            return MailHosts("unknown", why=own.why)
        return MailHosts("no_host")

    def addresses(self, host: str) -> Addresses:
        """The addresses of a host, IPv4 first, without those that we must not connect to."""
        answers = [self.lookup(host, kind) for kind in ("A", "AAAA")]
        found = [record for answer in answers for record in answer.records]
        open_ones = tuple(one for one in found if self.allows_private or is_public(ip_address(one)))
        if open_ones:
            return Addresses("found", open_ones)
        unknown = next((answer for answer in answers if answer.status == "unknown"), None)
        if unknown is not None:
            return Addresses("unknown", why=unknown.why)
        return Addresses("private" if found else answers[0].status)

    def _ask(self, name: Name, kind: str) -> tuple[Answer, float]:
        """The answer and for how many seconds it holds."""
        seconds = self._seconds
        if self._deadline is not None:
            seconds = min(seconds, self._deadline - self._clock())
        if seconds <= 0:
            return Answer("unknown", why="no time was left to ask"), 0
        try:
            found = self._asker().resolve(name, kind, lifetime=seconds, search=False)
        except NXDOMAIN:
            return Answer("no_such_name"), ABSENT_SECONDS
        except NoAnswer:
            return Answer("no_data"), ABSENT_SECONDS
        except Timeout:
            return Answer("unknown", why="the DNS server did not answer in time"), 0
        except NoNameservers:
            return Answer("unknown", why="the DNS server could not answer"), 0
        except (DNSException, OSError) as problem:
            return Answer("unknown", why=f"the DNS could not be asked: {problem}"[:200]), 0
        records = tuple(sorted(_as_text(record) for record in found))[:MAX_RECORDS]
        ttl = found.rrset.ttl if found.rrset is not None else 0
        return Answer("found", records), min(ttl, MAX_FOUND_SECONDS)

    def _asker(self) -> Asking:
        if self._asking is None:
            asking = Asking(configure=not self.servers)  # raises NoResolverConfiguration
            if self.servers:
                asking.nameservers = [
                    Do53Nameserver(*address_and_port(server)) for server in self.servers
                ]
            asking.timeout = TRY_SECONDS
            asking.use_edns(0, 0, UDP_BYTES)
            self._asking = asking
        return self._asking


@lru_cache(maxsize=8)
def _resolver(servers: tuple[str, ...], allows_private: bool) -> Resolver:
    return Resolver(servers, allows_private=allows_private)


def resolver_of(settings: Settings) -> Resolver:
    """The resolver of this process under these settings, with all that it remembers."""
    return _resolver(settings.dns_servers, settings.allow_private_addresses)


def _as_text(record: Rdata) -> str:
    if isinstance(record, TXT):
        return b"".join(record.strings).decode("utf-8", "replace")
    if isinstance(record, MX):
        return f"{record.preference} {record.exchange.to_text(omit_final_dot=True)}"
    return record.to_text().rstrip(".")


def _preference_and_name(record: str) -> tuple[int, str]:
    preference, _, name = record.partition(" ")
    return int(preference), name.strip(".").lower()


class _Cache:
    """What was answered, until it is too old or too much. `unknown` is not remembered."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[tuple[Name, str], tuple[float, Answer]] = {}

    def get(self, key: tuple[Name, str]) -> Answer | None:
        with self._lock:
            until, answer = self._kept.get(key, (0.0, None))
            return answer if answer is not None and self._clock() < until else None

    def put(self, key: tuple[Name, str], answer: Answer, seconds: float) -> None:
        if seconds <= 0:
            return
        with self._lock:
            self._kept.pop(key, None)
            while len(self._kept) >= MAX_CACHED:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = (self._clock() + seconds, answer)
