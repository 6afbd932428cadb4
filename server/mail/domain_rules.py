"""What a sending domain must say in the DNS, and what is wrong with what it says. Pure.

``wanted`` gives the records ready to copy, ``judge`` compares them with what the DNS answers:
DKIM (RFC 6376), SPF (RFC 7208, ``spf``), DMARC (RFC 7489) and the return path. A server that
cannot be asked makes a check `unknown`, which proves nothing and breaks nothing. Reasons are
words of ``REASONS``; the doors have sentences for them.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from email_validator import EmailNotValidError, validate_email

from server.mail import spf
from server.mail.dkim import KEY_BITS
from server.mail.spf import Answer, Lookup, SpfError

SELECTORS = ("kontor1", "kontor2")
RETURN_PATH_LABEL = "bounce"
STRING_LENGTH = 255  # RFC 1035, 3.3
MAX_DOMAIN_LENGTH = 253
MAX_TYPED_LENGTH = 320
MAX_SHOWN_LENGTH = 2_000  # no SPF record that works is longer, and ours is made of theirs
MAX_SHOWN_RECORDS = 5
FREEMAIL = Path(__file__).with_name("freemail.txt")
SHARED_ENDINGS = frozenset({"co", "com", "org", "net", "ac", "gov", "gv", "edu", "or"})
"""With a country behind them nobody's own: ``co.uk``, ``com.au``, ``or.at``."""
INNER_ENDINGS = frozenset({"localdomain", "lan", "home", "internal", "intern", "corp"})
"""Names inside somebody's network, besides those that RFC 6761 reserves."""

STATES = ("ok", "missing", "wrong", "unknown")
REASONS = frozenset(
    {
        # of any record
        "not_answered", "several", "doubled_name", "escaped",
        # DKIM
        "absent", "no_key", "revoked", "missing_semicolon", "wrong_version", "wrong_key_type",
        "wrong_hash", "wrong_service", "cut", "other_selector", "short_key", "key_mismatch",
        # SPF
        "not_included", "after_all", "syntax", "too_many_lookups", "too_many_void_lookups",
        "include_missing", "include_broken",
        # DMARC, return path
        "invalid", "other_target",
    }
)  # fmt: skip
WARNINGS = frozenset({"lets_all_pass", "testing", "no_policy"})


class DomainError(ValueError):
    """No domain that mails can come from. ``args[0]``: `invalid`, `freemail` or `shared`."""


@dataclass(frozen=True, slots=True)
class Home:
    """What of the installation stands in the merchants' records.

    ``spf_include``: the name whose SPF lists our servers. ``bounce_domain``: where bounces come
    back to, None if nowhere.
    """

    spf_include: str
    bounce_domain: str | None = None


@dataclass(frozen=True, slots=True)
class PublishedKey:
    """The public half of a key; ``status`` as a DkimKey's."""

    selector: str
    public_key: str
    status: str


@dataclass(frozen=True, slots=True)
class Record:
    """One record to copy. ``key`` names the check of it: a selector, `spf`, `dmarc` ..."""

    key: str
    purpose: str  # dkim, spf, return_path, dmarc
    kind: str  # TXT, CNAME
    name: str
    value: str
    is_required: bool

    @property
    def quoted(self) -> str:
        """As a zone file has it: strings of at most 255 characters."""
        if self.kind != "TXT":
            return f"{self.value}."
        parts = [
            self.value[at : at + STRING_LENGTH] for at in range(0, len(self.value), STRING_LENGTH)
        ]
        return " ".join(f'"{part}"' for part in parts)

    def label(self, domain: str) -> str:
        """The name without the domain, as most providers ask for it; ``@`` is the domain."""
        return self.name.removesuffix(domain).removesuffix(".") or "@"


@dataclass(frozen=True, slots=True)
class Check:
    """How one record fared. ``found`` is what the DNS has in its place."""

    key: str
    state: str
    reason: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    found: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """All checks of one look. Of a domain that was never looked at: none."""

    checks: tuple[Check, ...] = ()

    def of(self, key: str) -> Check | None:
        return next((check for check in self.checks if check.key == key), None)

    def verdict(self, current: str) -> str:
        """`good`: SPF and the key of this selector are right; `bad`: one surely is not."""
        states = [check.state if (check := self.of(key)) else "unknown" for key in (current, "spf")]
        if all(state == "ok" for state in states):
            return "good"
        return "bad" if any(state in ("missing", "wrong") for state in states) else "unknown"

    def problems(self, current: str) -> list[Check]:
        """What stands between this domain and being proven, SPF last."""
        checks = [self.of(key) for key in (current, "spf")]
        return [check for check in checks if check is not None and check.state != "ok"]

    def as_json(self) -> dict[str, Any]:
        return {
            "checks": [
                {
                    "key": check.key,
                    "state": check.state,
                    "reason": check.reason,
                    "facts": dict(check.facts),
                    "found": list(check.found),
                    "warnings": list(check.warnings),
                }
                for check in self.checks
            ]
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Report:
        return cls(
            tuple(
                Check(
                    key=one["key"],
                    state=one["state"],
                    reason=one["reason"],
                    facts=one["facts"],
                    found=tuple(one["found"]),
                    warnings=tuple(one["warnings"]),
                )
                for one in stored.get("checks", ())
            )
        )


# --- names --------------------------------------------------------------------------------------


def checked_domain(typed: str) -> str:
    """The domain of what somebody typed, also of an address: ASCII, lower case.

    Raises DomainError: `invalid`, `freemail` (nobody but its provider can sign for it, S14) or
    `shared` (an ending under which others have theirs).
    """
    name = typed[:MAX_TYPED_LENGTH].strip().rpartition("@")[2].strip().rstrip(".")
    try:
        checked = validate_email(f"x@{name}", check_deliverability=False)
    except EmailNotValidError:
        raise DomainError("invalid") from None
    domain = checked.ascii_domain.lower()
    if len(domain) > MAX_DOMAIN_LENGTH:
        raise DomainError("invalid")
    if is_freemail(domain):
        raise DomainError("freemail")
    labels = domain.split(".")
    if labels[-1] in INNER_ENDINGS:
        raise DomainError("invalid")
    if len(labels) == 2 and labels[0] in SHARED_ENDINGS and len(labels[1]) == 2:
        raise DomainError("shared")
    return domain


def is_freemail(domain: str) -> bool:
    """Does it belong to a provider of mailboxes for everybody, itself or a part of it?"""
    labels = domain.lower().split(".")
    return any(".".join(labels[at:]) in freemail_domains() for at in range(len(labels) - 1))


@cache
def freemail_domains() -> frozenset[str]:
    lines = FREEMAIL.read_text("utf-8").splitlines()
    return frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))


# --- what is wanted -----------------------------------------------------------------------------


def wanted(
    domain: str, keys: Sequence[PublishedKey], home: Home, spf_found: Sequence[str] = ()
) -> list[Record]:
    """The records to copy, those that must be first.

    ``spf_found`` are the SPF records that the domain has: there may be one only, so ours is
    theirs with our include in it.
    """
    required = [
        Record(
            key=key.selector,
            purpose="dkim",
            kind="TXT",
            name=_dkim_name(key.selector, domain),
            value=f"v=DKIM1; k=rsa; p={key.public_key}",
            is_required=key.status == "current",
        )
        for key in sorted(keys, key=lambda one: (one.status != "current", one.selector))
        if key.status != "retired"
    ]
    records = [
        *required,
        Record("spf", "spf", "TXT", domain, _spf_value(domain, home, spf_found), True),
    ]
    if home.bounce_domain and home.bounce_domain != domain:
        name = return_path_name(domain)
        records.append(
            Record("return_path", "return_path", "CNAME", name, home.bounce_domain, False)
        )
    records.append(Record("dmarc", "dmarc", "TXT", f"_dmarc.{domain}", "v=DMARC1; p=none", False))
    return records


def return_path_name(domain: str) -> str:
    """A name of the domain's own for where bounces come back to: DMARC sees that they agree."""
    return f"{RETURN_PATH_LABEL}.{domain}"


def is_return_path_name(name: str) -> bool:
    return name.lower().startswith(f"{RETURN_PATH_LABEL}.")


def _dkim_name(selector: str, domain: str) -> str:
    return f"{selector}._domainkey.{domain}"


def _spf_value(domain: str, home: Home, found: Sequence[str]) -> str:
    if domain == home.spf_include:
        return found[0] if len(found) == 1 else "v=spf1 mx ~all"
    return spf.with_include(found, home.spf_include)


# --- what is there ------------------------------------------------------------------------------


def judge(domain: str, keys: Sequence[PublishedKey], home: Home, lookup: Lookup) -> Report:
    """Every check of a domain. ``lookup(name, kind)`` asks the DNS."""
    return Report(tuple(check() for check in checks_of(domain, keys, home, lookup)))


def checks_of(
    domain: str, keys: Sequence[PublishedKey], home: Home, lookup: Lookup
) -> list[Callable[[], Check]]:
    """The same one by one, for whoever asks at the same time what does not depend on each other."""
    live = [key for key in keys if key.status != "retired"]
    checks: list[Callable[[], Check]] = [
        partial(check_dkim, domain, key, keys, lookup) for key in live
    ]
    checks.append(partial(check_spf, domain, home, lookup))
    if home.bounce_domain and home.bounce_domain != domain:
        checks.append(partial(check_return_path, domain, home.bounce_domain, lookup))
    checks.append(partial(check_dmarc, domain, lookup))
    return checks


def _unknown(key: str, answer: Answer) -> Check:
    return Check(key, "unknown", "not_answered", {"why": answer.why})


def _shown(records: Sequence[str]) -> tuple[str, ...]:
    return tuple(_printable(record[:MAX_SHOWN_LENGTH]) for record in records[:MAX_SHOWN_RECORDS])


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


# --- DKIM


def check_dkim(
    domain: str, key: PublishedKey, keys: Sequence[PublishedKey], lookup: Lookup
) -> Check:
    """Is this very key published under its selector?"""
    name = _dkim_name(key.selector, domain)
    answer = lookup(name, "TXT")
    if answer.status == "unknown":
        return _unknown(key.selector, answer)
    if answer.is_absent:
        doubled = f"{name}.{domain}"
        if lookup(doubled, "TXT").status == "found":
            return Check(key.selector, "wrong", "doubled_name", {"name": doubled})
        return Check(key.selector, "missing", "absent")
    found = [text for text in answer.records if re.search(r"(^|[;\s\"])p\s*=", text)]
    shown = _shown(answer.records)
    if len(found) > 1:
        return Check(key.selector, "wrong", "several", {"count": str(len(found))}, shown)
    if not found:
        return Check(key.selector, "wrong", "no_key", {}, shown)
    reason, facts = _wrong_with_key(found[0], key, keys)
    tags = _tags(found[0])
    is_testing = "y" in tags.get("t", "").replace(" ", "").split(":")
    return Check(
        key.selector,
        "wrong" if reason else "ok",
        reason,
        facts,
        shown,
        ("testing",) if is_testing and not reason else (),
    )


def _wrong_with_key(
    text: str, key: PublishedKey, keys: Sequence[PublishedKey]
) -> tuple[str, dict[str, str]]:
    """The reason and its facts; empty if all is right."""
    tags = _tags(text)
    wrong = {
        "escaped": '"' in text or "\\" in text,
        "missing_semicolon": any(re.search(r"\s[vhknpst]\s*=", one) for one in tags.values()),
        "wrong_version": tags.get("v", "DKIM1") != "DKIM1",
        "revoked": tags.get("p") == "",
        "no_key": "p" not in tags,
        "wrong_key_type": tags.get("k", "rsa") != "rsa",
        "wrong_hash": "sha256" not in tags.get("h", "sha256"),
        "wrong_service": not {"*", "email"} & set(tags.get("s", "*").replace(" ", "").split(":")),
    }
    reason = next((name for name, is_so in wrong.items() if is_so), "")
    if reason:
        return reason, {}
    published = re.sub(r"\s", "", tags["p"])
    return ("", {}) if published == key.public_key else _why_another(published, key, keys)


def _why_another(
    published: str, key: PublishedKey, keys: Sequence[PublishedKey]
) -> tuple[str, dict[str, str]]:
    if key.public_key.startswith(published):
        return "cut", {"length": str(len(published)), "expected": str(len(key.public_key))}
    for other in keys:
        if other.public_key == published and other.selector != key.selector:
            return "other_selector", {"selector": other.selector}
    bits = key_bits(published)
    if bits and bits < KEY_BITS:
        return "short_key", {"bits": str(bits)}
    return "key_mismatch", {"bits": str(bits)}


def key_bits(public_key: str) -> int:
    """The size of a published RSA key; 0 if it is none."""
    try:
        key = load_der_public_key(b64decode(public_key, validate=True))
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        return 0
    return key.key_size if isinstance(key, RSAPublicKey) else 0


def _tags(text: str) -> dict[str, str]:
    """The tag list of RFC 6376, 3.2; the case of names counts."""
    pairs = [one.partition("=") for one in text.split(";") if "=" in one]
    return {name.strip(): value.strip() for name, _, value in pairs}


# --- SPF


def check_spf(domain: str, home: Home, lookup: Lookup) -> Check:
    """One record, valid, cheap enough, and ours is in it."""
    answer = lookup(domain, "TXT")
    if answer.status == "unknown":
        return _unknown("spf", answer)
    records = spf.records_in(answer.records)
    shown = _shown(records)
    if not records:
        return Check("spf", "missing", "absent")
    if len(records) > 1:
        return Check("spf", "wrong", "several", {"count": str(len(records))}, shown)
    try:
        terms = spf.parse(records[0])
    except SpfError as problem:
        return Check("spf", "wrong", "syntax", {"word": str(problem.args[0])[:80]}, shown)
    cost = spf.cost_of(domain, terms, lookup)
    reason, facts = _wrong_with_spf(
        terms, cost, "" if domain == home.spf_include else home.spf_include
    )
    facts = {"lookups": str(cost.lookups), "limit": str(spf.MAX_LOOKUPS)} | facts
    if not reason and cost.unknown:
        return Check("spf", "unknown", "not_answered", facts | {"why": cost.unknown[0]}, shown)
    ends = [term for term in spf.effective(terms) if term.name == "all"]
    warnings = ("lets_all_pass",) if ends and ends[0].qualifier == "+" else ()
    return Check("spf", "wrong" if reason else "ok", reason, facts, shown, warnings)


def _wrong_with_spf(
    terms: Sequence[spf.Term], cost: spf.Cost, include: str
) -> tuple[str, dict[str, str]]:
    """What is definitely wrong, whatever could not be asked. No ``include``: none is needed."""
    if include and include.lower() not in cost.passes:
        late = [term for term in terms if term not in spf.effective(terms)]
        if any((one.name, one.value) == ("include", include.lower()) for one in late):
            return "after_all", {"include": include}
        if not cost.unknown:
            return "not_included", {"include": include}
    if cost.broken:
        return "include_broken", {"name": cost.broken[0]}
    if cost.missing:
        return "include_missing", {"name": cost.missing[0]}
    if cost.lookups > spf.MAX_LOOKUPS:
        return "too_many_lookups", {}
    if cost.void_lookups > spf.MAX_VOID_LOOKUPS:
        return "too_many_void_lookups", {"count": str(cost.void_lookups)}
    return "", {}


# --- return path and DMARC


def check_return_path(domain: str, target: str, lookup: Lookup) -> Check:
    """Does the domain's own return path lead to where we take bounces?"""
    name = return_path_name(domain)
    answer = lookup(name, "CNAME")
    if answer.status == "unknown":
        return _unknown("return_path", answer)
    if answer.is_absent:
        doubled = f"{name}.{domain}"
        if lookup(doubled, "CNAME").status == "found":
            return Check("return_path", "wrong", "doubled_name", {"name": doubled})
        return Check("return_path", "missing", "absent")
    if [one.lower() for one in answer.records] != [target.lower()]:
        return Check("return_path", "wrong", "other_target", {}, _shown(answer.records))
    return Check("return_path", "ok", found=_shown(answer.records))


def check_dmarc(domain: str, lookup: Lookup) -> Check:
    """Any valid record will do (S16), also one of a domain above this one."""
    labels = domain.split(".")
    for at in range(len(labels) - 1):
        holder = ".".join(labels[at:])
        answer = lookup(f"_dmarc.{holder}", "TXT")
        if answer.status == "unknown":
            return _unknown("dmarc", answer)
        found = [text for text in answer.records if text.strip().lower().startswith("v=dmarc1")]
        if len(found) > 1:
            return Check("dmarc", "wrong", "several", {"count": str(len(found))}, _shown(found))
        if found:
            return _judged_dmarc(found[0], holder)
        if at == 0 and answer.records:
            return Check("dmarc", "wrong", "invalid", {}, _shown(answer.records))
    return Check("dmarc", "missing", "absent")


def _judged_dmarc(text: str, holder: str) -> Check:
    """``p`` is what receivers are asked to do; without it, reports alone make a record valid."""
    tags = _tags(text)
    policy = tags.get("p", "").lower()
    is_policy = policy in ("none", "quarantine", "reject")
    is_first = text.strip().partition(";")[0].replace(" ", "") == "v=DMARC1"
    if not is_first or (not is_policy and "mailto:" not in tags.get("rua", "")):
        return Check("dmarc", "wrong", "invalid", {}, _shown([text]))
    facts = {
        "policy": policy if is_policy else "none",
        "holder": holder,
        "dkim": "strict" if tags.get("adkim", "r").lower() == "s" else "relaxed",
        "spf": "strict" if tags.get("aspf", "r").lower() == "s" else "relaxed",
    }
    return Check("dmarc", "ok", "", facts, _shown([text]), () if is_policy else ("no_policy",))
