"""Reading SPF records (RFC 7208): their syntax, what they include, how many look-ups they cost.

Pure: whoever asks hands in the look-up. A file of its own beside ``domain_rules`` because it is a
language of its own, with a record that leads to further records.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Network, IPv6Network, NetmaskValueError

MAX_LOOKUPS = 10  # RFC 7208, 4.6.4
MAX_VOID_LOOKUPS = 2
MAX_MAIL_HOSTS = 10
LOOKUPS_COUNTED = 25
"""Beyond that it is only said that there are too many."""

_VERSION = re.compile(r"v=spf1(?: |$)", re.IGNORECASE)
_MECHANISM = re.compile(r"([+?~-]?)([a-z0-9]+)(?::([^/\s]+))?(?:/(\d{1,3}))?(?://(\d{1,3}))?", re.I)
_ADDRESS = re.compile(r"([+?~-]?)(ip4|ip6):(\S+)", re.IGNORECASE)
_MODIFIER = re.compile(r"([a-z][a-z0-9_.-]*)=(\S*)", re.IGNORECASE)
_PLAIN = {"all", "ptr", "a", "mx"}
_WITH_NAME = {"include", "exists"}
_COSTS = {"include", "a", "mx", "ptr", "exists"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the DNS said: `found`, `no_data`, `no_such_name` or `unknown`; ``why`` it is unknown.

    ``records`` in presentation form without the final dot; texts joined, without quotes.
    """

    status: str
    records: tuple[str, ...] = ()
    why: str = ""

    @property
    def is_absent(self) -> bool:
        return self.status in ("no_data", "no_such_name")


Lookup = Callable[[str, str], Answer]


@dataclass(frozen=True, slots=True)
class Term:
    """One word of a record. ``name`` in lower case; ``value`` is what is behind ``:`` or ``=``."""

    text: str
    name: str
    value: str = ""
    qualifier: str = "+"
    is_modifier: bool = False


class SpfError(ValueError):
    """A word that no SPF record may hold; ``args[0]`` is the word."""


@dataclass
class Cost:
    """What evaluating a record takes, its includes counted in.

    ``missing`` are included names without a usable record, ``unknown`` those that could not be
    asked. ``passes`` are the names whose senders the record lets through.
    """

    lookups: int = 0
    void_lookups: int = 0
    passes: set[str] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def records_in(texts: Sequence[str]) -> list[str]:
    """Those of a name's TXT records that are SPF."""
    return [text for text in texts if _VERSION.match(text)]


def parse(record: str) -> list[Term]:
    """The words after the version. Raises SpfError for the first that is none."""
    return [_term(word) for word in record.split(" ")[1:] if word]


def _term(word: str) -> Term:
    address = _ADDRESS.fullmatch(word)
    if address is not None:
        return _address_term(word, *address.groups())
    modifier = _MODIFIER.fullmatch(word)
    if modifier is not None:
        name, value = modifier[1].lower(), modifier[2]
        if name == "redirect" and not value:
            raise SpfError(word)
        return Term(word, name, value.rstrip("."), is_modifier=True)
    found = _MECHANISM.fullmatch(word)
    if found is None:
        raise SpfError(word)
    qualifier, name, value = found[1] or "+", found[2].lower(), (found[3] or "").rstrip(".")
    has_length = found[4] is not None or found[5] is not None
    if name in _WITH_NAME and (not value or has_length):
        raise SpfError(word)
    if name not in _WITH_NAME | _PLAIN or (name == "all" and (value or has_length)):
        raise SpfError(word)
    if int(found[4] or 0) > 32 or int(found[5] or 0) > 128:
        raise SpfError(word)
    return Term(word, name, value.lower(), qualifier)


def _address_term(word: str, qualifier: str, kind: str, value: str) -> Term:
    network = IPv4Network if kind.lower() == "ip4" else IPv6Network
    try:
        network(value, strict=False)
    except (AddressValueError, NetmaskValueError, ValueError):
        raise SpfError(word) from None
    return Term(word, kind.lower(), value, qualifier or "+")


def cost_of(domain: str, terms: Sequence[Term], lookup: Lookup) -> Cost:
    """Evaluates nothing, follows everything that an unlucky sender would make a receiver follow."""
    cost = Cost()
    _follow(domain, terms, lookup, cost, is_passing=True)
    return cost


def effective(terms: Sequence[Term]) -> list[Term]:
    """What is ever looked at: up to ``all``; a redirect only where there is no ``all``."""
    mechanisms: list[Term] = []
    for term in (one for one in terms if not one.is_modifier):
        mechanisms.append(term)
        if term.name == "all":
            return mechanisms
    return mechanisms + [term for term in terms if term.name == "redirect"]


def _follow(
    domain: str, terms: Sequence[Term], lookup: Lookup, cost: Cost, *, is_passing: bool
) -> None:
    for term in effective(terms):
        if term.name not in _COSTS | {"redirect"}:
            continue
        cost.lookups += 1
        if cost.lookups > LOOKUPS_COUNTED:
            return
        if "%" in term.value or term.name in ("ptr", "exists"):
            continue  # depends on the sender: it costs, and can be followed no further
        if term.name in ("include", "redirect"):
            passes = is_passing and (term.qualifier == "+" or term.is_modifier)
            _follow_name(term.value, lookup, cost, is_passing=passes)
        else:
            _ask_hosts(term, domain, lookup, cost)


def _follow_name(name: str, lookup: Lookup, cost: Cost, *, is_passing: bool) -> None:
    if is_passing:
        cost.passes.add(name.lower())
    answer = lookup(name, "TXT")
    if answer.status == "unknown":
        cost.unknown.append(name)
        return
    cost.void_lookups += answer.is_absent
    records = records_in(answer.records)
    if len(records) != 1:
        cost.missing.append(name)
        return
    try:
        terms = parse(records[0])
    except SpfError:
        cost.broken.append(name)
        return
    _follow(name, terms, lookup, cost, is_passing=is_passing)


def _ask_hosts(term: Term, domain: str, lookup: Lookup, cost: Cost) -> None:
    """``a`` and ``mx``: whether their names are there at all."""
    name = term.value or domain
    answer = lookup(name, term.name.upper())
    if term.name == "a" and answer.is_absent:
        answer = lookup(name, "AAAA")
    if answer.status == "unknown":
        cost.unknown.append(name)
    cost.void_lookups += answer.is_absent
    if term.name == "mx" and len(answer.records) > MAX_MAIL_HOSTS:
        cost.broken.append(name)


def with_include(records: Sequence[str], name: str) -> str:
    """One record that says what these say and includes ``name``; of none, a new one.

    Several records must become one: their mechanisms one after the other, their redirects
    included, the first ``all`` at the end. Words that are none are left out: with one of them the
    whole record means nothing.
    """
    include = f"include:{name}"
    if not records:
        return f"v=spf1 {include} ~all"
    words = [word for record in records for word in record.split(" ")[1:] if _is_term(word)]
    if len(records) > 1:
        words = [re.sub(r"^redirect=", "include:", word, flags=re.IGNORECASE) for word in words]
    kept = list(dict.fromkeys(word for word in words if not _is_end(word)))
    ends = [word for word in words if _is_end(word)] or ["~all"]
    kept = [word for word in kept if word.lower().lstrip("+?~-") != include.lower()]
    return " ".join(["v=spf1", *kept, include, ends[0]])


def _is_term(word: str) -> bool:
    try:
        _term(word)
    except SpfError:
        return False
    return True


def _is_end(word: str) -> bool:
    return word.lower().lstrip("+?~-") == "all" or word.lower().startswith("redirect=")
