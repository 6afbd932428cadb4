"""Which server takes mail for a domain: the smarthost, or the domain's own mail hosts.

A file of its own because it asks the network and knows no rows. What the DNS says about the
recipient's domain is asked in both cases: a domain that does not exist, or takes no mail, is told
apart at once (S6), where a smarthost would accept the mail and send a report hours later.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from random import Random

from server.config import Settings
from server.mail.dns import MailHosts, Resolver, resolver_of
from server.mail.replies import Verdict
from server.mail.smtp import OPPORTUNISTIC, Server, parse_smtp_url

DIRECT = "mx://"
MAX_SERVERS_TRIED = 6


@dataclass(frozen=True, slots=True)
class Route:
    """``servers`` in the order in which they are tried, all under the name of one ``host``.

    Or a ``verdict`` that needs no server, and the ``words`` for it.
    """

    host: str = ""
    servers: tuple[Server, ...] = ()
    verdict: Verdict | None = None
    words: str = ""


class Routes:
    """For many threads at once. ``resolver`` None asks nobody: only with a smarthost."""

    def __init__(
        self,
        smtp_url: str,
        resolver: Resolver | None,
        *,
        mx_port: int = 25,
        chance: Random | None = None,
    ) -> None:
        self.is_direct = smtp_url == DIRECT
        assert resolver is not None or not self.is_direct, "without a smarthost the DNS is asked"
        self.resolver = resolver
        self._relay = None if self.is_direct else parse_smtp_url(smtp_url)
        self._mx_port = mx_port
        self._chance = chance or Random()  # noqa: S311  spreads load, guards nothing

    @classmethod
    def of(cls, settings: Settings, smtp_url: str) -> Routes:
        """Raises ValueError for an address that is none."""
        is_asked = smtp_url == DIRECT or settings.check_domains
        return cls(smtp_url, resolver_of(settings) if is_asked else None, mx_port=settings.mx_port)

    def to(self, domain: str) -> Route:
        """May take some seconds. Never raises: what cannot be known is a verdict as well."""
        if self.resolver is None:
            return self._by_relay()
        found = self.resolver.mail_hosts(domain)
        known = _known(domain, found)
        if known is not None:
            return known
        if self._relay is not None:
            return self._by_relay()
        if found.status == "unknown":
            return _later(f"The name servers of {domain} cannot be asked now ({found.why})")
        return self._direct(domain, found)

    def _by_relay(self) -> Route:
        assert self._relay is not None, "direct mode has a resolver"
        return Route(host=self._relay.host, servers=(self._relay,))

    def _direct(self, domain: str, found: MailHosts) -> Route:
        """The preferred host gives its name to all: domains of one provider share it."""
        assert self.resolver is not None, "direct mode has a resolver"
        servers: list[Server] = []
        unknown = is_private = False
        for name in self._in_order(found):
            answer = self.resolver.addresses(name)
            unknown |= answer.status == "unknown"
            is_private |= answer.status == "private"
            servers += [
                Server(OPPORTUNISTIC, name, self._mx_port, address=address)
                for address in answer.addresses
            ]
            if len(servers) >= MAX_SERVERS_TRIED:
                break
        if servers:
            return Route(host=found.hosts[0][1], servers=tuple(servers[:MAX_SERVERS_TRIED]))
        if unknown:
            return _later(f"The addresses of the mail servers of {domain} cannot be found now")
        why = "only addresses inside private networks" if is_private else "no address"
        return _never("domain_takes_no_mail", f"The mail servers of {domain} have {why}")

    def _in_order(self, found: MailHosts) -> list[str]:
        """By preference, and by chance among equals (RFC 5321, 5.1)."""
        names: list[str] = []
        for _, equals in groupby(found.hosts, key=lambda host: host[0]):
            some = [name for _, name in equals]
            self._chance.shuffle(some)
            names += some
        return names


def _known(domain: str, found: MailHosts) -> Route | None:
    if found.status == "no_such_domain":
        return _never("no_such_domain", f"There is no domain {domain}")
    if found.status == "null_mx":
        return _never("domain_takes_no_mail", f"The domain {domain} says that it takes no mail")
    if found.status == "no_host":
        return _never("domain_takes_no_mail", f"The domain {domain} has no mail server")
    return None


def _never(failure: str, words: str) -> Route:
    return Route(verdict=Verdict(failure, is_final=True), words=words)


def _later(words: str) -> Route:
    return Route(verdict=Verdict("unreachable"), words=words)
