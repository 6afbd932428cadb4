"""What a bank's return codes mean for what happens next.

* Temporary            the bank is away or busy: try again on the schedule
* Rejected             this one request will not work
  + NotConfirmed       the TAN was wrong or too late, or the app said no: begin again
  + OrderRefused       the bank looked at an order to pay and refuses it
* Misconfigured        ask the merchant; never try again by itself
  + WrongPin           another attempt with the same PIN may lock the access for good
  + AccessLocked       the bank has locked the access already
  + InDoubt            the bank was given an order to pay and nobody knows what became of it

Codes: FinTS 3.0, Rückmeldungscodes (Deutsche Kreditwirtschaft, 2023-03-27), and what banks are
known to send besides. Banks lock an access after three wrong PINs, so whatever could be about
the log-in and is not understood stops and asks a person.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from plugin_sdk.errors import ConnectorError, Misconfigured, Rejected, Temporary

PRODUCT_SETTING = "KONTOR_FINTS_PRODUCT_ID"
MAX_QUOTED = 300
SHORTEST_SECRET = 3

NEW_SYSTEM_ID = "9391"
MORE_FOLLOWS = "3040"
CONFIRMATION_NEEDED = frozenset({"0030", "3955"})
DECOUPLED = "3955"
NOT_YET_CONFIRMED = "3956"
METHODS_ALLOWED = "3920"
NO_CHECK_NEEDED = "3091"
CHECK_MUST_BE_CONFIRMED = "3945"
ACCEPTED = frozenset({"0010", "0020"})
STRONG_AUTHENTICATION = "9075"
ENDED = "9800"

_LOCKED = frozenset({"3931", "3938"})
_PIN = frozenset({"9340", "9910", "9930", "9931", "9942"})
_NOT_CONFIRMED = frozenset({"9941", "9943", "9951"})
_PRODUCT = frozenset({"9078"})
_ANNOUNCE_OTHERS = frozenset({"9000", "9040", "9050", ENDED})
_NOT_DONE = "9010"
AND_ENDS = _ANNOUNCE_OTHERS | {STRONG_AUTHENTICATION}
_AWAY = re.compile(r"nicht verfügbar|wartung|später|vorübergehend|zeitüberschreitung|timeout", re.I)
_ABOUT_ACCESS = re.compile(r"sperr|anmelde|passwort|kennwort|zugangsdaten", re.I)


class WrongPin(Misconfigured):
    """The bank refused PIN or user. The stored PIN must not be tried again."""


class AccessLocked(Misconfigured):
    """The bank has locked the access; only the bank's own pages or its staff open it again."""


class InDoubt(Misconfigured):
    """An order to pay may have been carried out. Never send it again before a person has looked."""


class OrderRefused(Rejected):
    """The bank refused an order to pay; nothing was carried out."""


class NotConfirmed(Rejected):
    """The TAN was wrong or too late, or the request was refused in the app."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One return code with the bank's words (HIRMG, HIRMS)."""

    code: str
    text: str
    parameters: tuple[str, ...] = ()


def failure(
    replies: Sequence[Reply], *, is_login: bool, secrets: Iterable[str] = ()
) -> ConnectorError | None:
    """What went wrong according to these replies, or None; the bank's words are quoted in it.

    ``is_login``: they answer the opening of a dialog, where what is not known is about the access.
    ``secrets`` are cut out of what is quoted.
    """
    codes = {reply.code for reply in replies}
    bad = [reply for reply in replies if reply.code.startswith("9") or reply.code in _LOCKED]
    if not bad:
        return None
    said = _quoted(bad, secrets)
    for meant, kind, advice in (
        (_PRODUCT, Misconfigured, f"The bank does not know this software; check {PRODUCT_SETTING}"),
        (_PIN, WrongPin, "The bank refused the log-in; check user and PIN before trying again"),
        (_LOCKED, AccessLocked, "The bank has locked the access; unlock it with the bank"),
        (_NOT_CONFIRMED, NotConfirmed, "The TAN was wrong or too late, or the app said no"),
    ):
        if codes & meant:
            return kind(f"{advice}. {said}")
    if STRONG_AUTHENTICATION in codes:
        return Misconfigured(f"The bank wants the access to be confirmed again. {said}")
    return _other(bad, said, is_login)


def _other(bad: Sequence[Reply], said: str, is_login: bool) -> ConnectorError:
    specific = [reply for reply in bad if reply.code not in _ANNOUNCE_OTHERS]
    if specific and all(_is_away(reply, is_login) for reply in specific):
        return Temporary(f"The bank cannot answer now. {said}")
    if is_login:
        return Misconfigured(f"The bank refused the dialog. {said}")
    if not specific:
        return Temporary(f"The bank ended the dialog. {said}")
    return Rejected(f"The bank refused the request. {said}")


def _is_away(reply: Reply, is_login: bool) -> bool:
    """In a dialog, banks answer 9010 to a request that they will never fulfil as well."""
    if _ABOUT_ACCESS.search(reply.text):
        return False
    return (is_login and reply.code == _NOT_DONE) or _AWAY.search(reply.text) is not None


def _quoted(replies: Sequence[Reply], secrets: Iterable[str]) -> str:
    words = "; ".join(
        f"{reply.code} {reply.text}".strip()
        for reply in sorted(replies, key=lambda one: one.code in _ANNOUNCE_OTHERS)
    )
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            words = words.replace(secret, "•••")
    return f"The bank says: {' '.join(words.split())[:MAX_QUOTED]}"
