"""What a mail server's answer means for a mail (RFC 5321, 4.2; RFC 3463). Pure.

An answer is read in this order: the enhanced status code, because it says most; then the words,
because many servers send "550" with nothing else but a sentence; then the basic code. The basic
code alone decides whether to try again (RFC 5321, 4.2.1), except where experience knows better: a
full mailbox is emptied, and a server that wants us to log in waits for a person.

An address is only ever blocked for later mails (``suppress``) if the answer is about the address.
What is about us, our servers or the content of one mail never is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_WORDS_READ = 2000
MAX_RETRY_AFTER_SECONDS = 12 * 3600

FAILURES = (
    "invalid_address",  # no mail address, so nothing was tried (S5)
    "no_such_domain",  # the domain does not exist (S6)
    "domain_takes_no_mail",  # it exists and says that it wants none (RFC 7505, RFC 7504)
    "no_such_mailbox",  # the server knows nobody of that name, or has closed the mailbox
    "mailbox_full",
    "refused",  # for good, and without a reason that is known here
    "policy",  # sender, reputation, SPF, DKIM, spam: about us, never about the address
    "too_large",
    "blocked",  # this merchant's mails to the address are blocked
    "opted_out",  # the customer does not want this kind
    "expired",  # tried for as long as it makes sense
    "unreachable",  # no connection, no name server, no answer
    "not_writable",  # facts are missing, so there is no mail to send
    "misconfigured",  # our own set-up; a person must change something
    "other",
)
"""Every word that ``Mail.failure`` can have."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from an answer.

    ``is_final``: trying again cannot help. ``suppress``: no later mail can arrive there either.
    ``pause_host``: the server wants to be left alone, whatever the mail.
    ``retry_after_seconds``: its own wish.
    """

    failure: str
    is_final: bool = False
    suppress: bool = False
    pause_host: bool = False
    retry_after_seconds: int | None = None


def classify(code: int, text: str) -> Verdict:
    """The verdict on an answer: its three digits and all its words in one line.

    ``code`` 0: only the words are there, as in some reports; then the class of the enhanced
    status code (2, 4 or 5) decides about trying again, and without one nothing is final.

    >>> classify(550, "5.1.1 <erika@example.org>: Recipient address rejected: User unknown")
    Verdict(failure='no_such_mailbox', is_final=True, suppress=True, pause_host=False, \
retry_after_seconds=None)
    """
    words = text[:MAX_WORDS_READ]
    status = _STATUS.search(words)
    plain = _ADDRESSES.sub(" ", words).lower()
    failure = _meaning(code, status[2] if status else "", plain)
    grade = code // 100 if code else int(status[1]) if status else 0
    is_final = grade == 5 and failure not in _NEVER_FINAL
    return Verdict(
        failure=failure,
        is_final=is_final,
        suppress=is_final and failure in _ABOUT_THE_ADDRESS,
        pause_host=not is_final and _wants_rest(code, status[2] if status else "", plain),
        retry_after_seconds=None if is_final else _wish(plain),
    )


_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3}\.\d{1,3})(?!\.?\d)")
_ADDRESSES = re.compile(r"https?://\S{1,500}|\S{1,64}@\S{1,255}")
"""Links and addresses: "spam-help" in one says nothing about the mail."""

_NEVER_FINAL = {"mailbox_full", "misconfigured"}
_ABOUT_THE_ADDRESS = {"no_such_mailbox", "no_such_domain", "domain_takes_no_mail"}
_BY_STATUS = {
    "1.1": "no_such_mailbox",
    "1.2": "no_such_domain",
    "1.3": "invalid_address",
    "1.6": "no_such_mailbox",
    "1.7": "policy",
    "1.8": "policy",
    "1.10": "no_such_mailbox",  # null MX by RFC 7505; Exchange says it for unknown recipients
    "2.1": "no_such_mailbox",
    "2.2": "mailbox_full",
    "2.3": "too_large",
    "3.4": "too_large",
    "4.1": "unreachable",
    "4.2": "unreachable",
    "4.3": "unreachable",
    "4.4": "no_such_domain",
    "4.6": "unreachable",
    "4.7": "expired",
    "7.8": "misconfigured",
    "7.9": "misconfigured",
    "7.13": "no_such_mailbox",
}
_BY_CODE = {
    521: "domain_takes_no_mail",
    523: "too_large",
    530: "misconfigured",
    534: "misconfigured",
    535: "misconfigured",
    538: "misconfigured",
    551: "no_such_mailbox",
    552: "too_large",
    553: "invalid_address",
    556: "domain_takes_no_mail",
}
_LOG_IN_CODES = {530, 534, 535, 538}


def _meaning(code: int, status: str, plain: str) -> str:
    if code in _LOG_IN_CODES or _RELAY.search(plain):
        return "misconfigured"
    said = _by_words(plain)
    known = _BY_STATUS.get(status, "policy" if status.startswith("7.") else "")
    if known:
        return _corrected(known, status, said, plain)
    return said or _BY_CODE.get(code, "refused" if code // 100 == 5 else "other")


def _corrected(known: str, status: str, said: str, plain: str) -> str:
    """Where servers are known to use a status code for something else, their words count."""
    if known == "no_such_mailbox" and said == "policy":
        return "policy"  # "5.1.1 ... listed at a blocklist": it is not the address
    if status == "1.10" and "null mx" in plain:
        return "domain_takes_no_mail"
    if status == "4.1" and said in {"no_such_mailbox", "policy"}:
        return said  # Exchange Online: "5.4.1 Recipient address rejected: Access denied"
    if known == "no_such_mailbox" and _RATE.search(plain):
        return "other"  # "5.2.1 ... is receiving mail at a rate that ..."
    return known


def _by_words(plain: str) -> str:
    return next((failure for failure, pattern in _WORDS if pattern.search(plain)), "")


def _any(*phrases: str) -> re.Pattern[str]:
    return re.compile("|".join(phrases))


_RELAY = _any(
    r"relay(?:ing)? (?:access )?(?:denied|not (?:permitted|allowed))",
    r"unable to relay",
    r"authentication (?:is )?required",
    r"must (?:authenticate|log ?in)",
)
# The first that fits counts. What is about us stands first: taking it for something about the
# address would block the address.
_WORDS = (
    (
        "policy",
        _any(
            r"\b(?:spf|dkim|dmarc|spamhaus|spamcop|dnsbl|rbl)\b",
            r"\bspam",
            r"(?:black|block|deny) ?-?list",
            r"reputation",
            r"\bpolicy\b",
            r"unsolicited",
            r"\bbanned\b",
            r"reverse dns|ptr record",
            r"unauthenticated (?:mail|e-?mail)",
            r"richtlinie",
        ),
    ),
    (
        "mailbox_full",
        _any(
            r"(?:mailbox|inbox|account|user|postfach|quota)\W{1,3}(?:\w+ )?(?:is |ist )?"
            r"(?:full|voll)\b",
            r"(?:over|exceed\w*|out of) (?:\w+ ){0,3}(?:quota|storage)",
            r"quota (?:is |was )?exceed",
            r"mailbox (?:size )?limit exceeded",
            r"speicherplatz|kontingent",
            r"bo[iî]te (?:\w+ ){0,2}pleine|casella (?:\w+ ){0,2}piena",
        ),
    ),
    (
        "too_large",
        _any(
            r"(?:message|mail|size)\W{1,3}(?:is )?(?:too (?:big|large)|exceed)",
            r"size limit|maximum (?:message )?size",
            r"nachricht (?:ist )?zu gro(?:ß|ss)",
        ),
    ),
    (
        "no_such_domain",
        _any(
            r"domain (?:name )?(?:not found|does not exist|is unknown)",
            r"(?:no such|unknown|non-?existent) domain",
            r"nxdomain",
            r"host (?:or domain name )?not found",
            r"point to non-existent hosts",
        ),
    ),
    ("domain_takes_no_mail", _any(r"null mx", r"does not accept (?:e-?)?mail")),
    (
        "no_such_mailbox",
        _any(
            r"(?:user|recipient|mailbox|address|account|empf[aä]nger)\W{1,3}(?:\w+ ){0,2}"
            r"(?:unknown|not (?:found|exist|known)|unavailable|invalid|disabled|inactive"
            r"|unbekannt)",
            r"(?:unknown|invalid|no such|non-?existent|unbekannter|ung[uü]ltiger) "
            r"(?:local )?(?:user|recipient|mailbox|address|account|person|empf[aä]nger)",
            r"(?:does not|doesn't) (?:exist|have a[n]? \S{1,64} account)",
            r"existiert nicht|nicht vorhanden|nicht gefunden",
            r"no mailbox here|unrouteable address|user not local",
            r"recipient address rejected: access denied",
        ),
    ),
)

_RATE = _any(r"at a rate", r"too (?:quickly|fast|many)", r"rate[ -]limit", r"throttl")
_REST = _any(
    r"rate[ -]limit",
    r"throttl",
    r"too many (?:\w+ ){0,2}(?:connections|sessions|messages|mails|e-?mails)",
    r"temporarily deferred",
    r"(?:service|server|system) (?:is )?(?:not available|unavailable|busy|overloaded)",
    r"load (?:is )?too high",
)
_REST_STATUS = {"3.1", "3.2", "4.5", "7.28"}


def _wants_rest(code: int, status: str, plain: str) -> bool:
    """It is about the server and not about this mail or its recipient (greylisting is)."""
    return code == 421 or status in _REST_STATUS or _REST.search(plain) is not None


_WISH = re.compile(
    r"\b(?:in|after|for|wait|retry|erst in|nach)\s{1,3}(\d{1,6})\s{0,2}"
    r"(s|secs?|seconds?|sekunden?|m|mins?|minutes?|minuten?|h|hours?|stunden?)\b"
)
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}


def _wish(plain: str) -> int | None:
    """ "Greylisted, try again in 5 minutes": 300; at most MAX_RETRY_AFTER_SECONDS."""
    found = _WISH.search(plain)
    if found is None:
        return None
    unit = "h" if found[2].startswith("stunde") else found[2][0]
    return min(int(found[1]) * _UNIT_SECONDS[unit], MAX_RETRY_AFTER_SECONDS)
