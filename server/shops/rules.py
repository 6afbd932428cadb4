"""What is decided about shops and payment updates: pure, time comes in as an argument."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from plugin_sdk.types import Intent, Outcome, PaymentCode, PaymentStatus

CODES = tuple(code.value for code in PaymentCode)
"""What a mapping may have; the methods of ``other`` are watched, after a while (S55)."""
SILENT_AFTER = timedelta(minutes=15)
"""An agent sends a heartbeat a minute; after this long the merchant sees that it is away."""

ENDING = frozenset(
    {Outcome.APPLIED, Outcome.ALREADY_THERE, Outcome.NO_LONGER_OPEN, Outcome.NOT_SUPPORTED}
)
"""Outcomes after which nothing more is to be done."""

HEALING = frozenset({Outcome.APPLIED, Outcome.ALREADY_THERE, Outcome.NO_LONGER_OPEN})
"""Outcomes that show that the shop can be reached and written to."""


def effective_mapping(
    own: Mapping[str, Any], defaults: Mapping[str, Any], *, is_pinned: bool = False
) -> dict[str, Any]:
    """{payment code: mapping}: the merchant's own where there is one, else the connector's.

    ``is_pinned``: the plugin decides, whatever the merchant had typed before.
    """
    own = {} if is_pinned else own
    return {
        code: own[code] if code in own else defaults[code]
        for code in CODES
        if code in own or code in defaults
    }


def payment_code(mapping: Mapping[str, Any], method: str | None, sent: str | None) -> PaymentCode:
    """The mapping of the shop's method wins over a code that was sent; else `other` (S22, S23)."""
    for code, entry in mapping.items():
        if method is not None and method in entry.get("methods", ()):
            return PaymentCode(code)
    return PaymentCode(sent) if sent else PaymentCode.OTHER


def is_open_status(mapping: Mapping[str, Any], code: PaymentCode, shop_status: str | None) -> bool:
    """Does the shop still wait for money in this status (S25)? Unknown statuses count as open."""
    statuses = mapping.get(code.value, {}).get("open_statuses") or ()
    return shop_status is None or not statuses or shop_status in statuses


def is_watched(mapping: Mapping[str, Any], method: str | None) -> bool:
    """Is this a method of which the merchant wants to see what stays open (S55)?"""
    watched = mapping.get(PaymentCode.OTHER.value, {}).get("methods", ())
    return method is not None and method in watched


def intent_of(status: PaymentStatus, code: PaymentCode) -> Intent | None:
    """What a shop is told about a payment status; None = nothing."""
    if status is PaymentStatus.CANCELLED:
        is_late = code in (PaymentCode.INVOICE, PaymentCode.CASH_ON_DELIVERY)
        return Intent.OVERDUE if is_late else Intent.CANCELLED
    try:
        return Intent(status.value)
    except ValueError:
        return None


def status_to_write(mapping: Mapping[str, Any], code: PaymentCode, intent: Intent) -> str | None:
    """The shop's own status for an intent (S26, S27); None = the connector's default."""
    entry = mapping.get(code.value, {})
    wanted: str | None = entry.get(f"{intent.value}_status")
    return wanted or None


def retry_pause(wanted_seconds: int | None, scheduled: timedelta, jitter: float) -> timedelta:
    """The schedule's pause, or the shop's own wish if that is longer; jitter within ±20 %."""
    assert -1 <= jitter <= 1
    spread = scheduled * (1 + 0.2 * jitter)
    return max(spread, timedelta(seconds=wanted_seconds or 0))


_URL = re.compile(r"https?://[^\s/?#@]+(?:/[^\s?#]*)?")


def is_shop_url(url: str) -> bool:
    """An http(s) address without user, query and fragment."""
    return len(url) <= 500 and _URL.fullmatch(url) is not None


# --- a mapping that a person writes -------------------------------------------------------------

STATUS_FIELDS: Mapping[str, tuple[str, ...]] = {
    "prepayment": ("paid_status", "cancelled_status"),
    "invoice": ("paid_status", "overdue_status", "collection_status"),
    "cash_on_delivery": ("paid_status", "overdue_status", "collection_status"),
    "other": (),
}
"""What is written to a shop, by payment code (S26, S27); orders of ``other`` are only watched."""

MOST_CODES_OF_A_LIST = 100
MAX_SHOP_CODE_LENGTH = 128


class WrongMapping(ValueError):
    """``args[0]`` is a message key; ``code`` the payment code, ``word`` the shop's own word."""

    def __init__(self, key: str, code: str, word: str = "") -> None:
        super().__init__(key)
        self.code, self.word = code, word


def checked_mapping(typed: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """{payment code: CodeMapping as JSON} of what a person chose or typed, in its order.

    ``methods`` and ``open_statuses`` are lists of the shop's own codes, the statuses one code
    each; empty is the connector's default. No open status at all means that every status counts
    as open. Raises WrongMapping; a method belongs to one payment code only (S23).
    """
    checked = {code: _checked_entry(code, typed[code]) for code in CODES if code in typed}
    owners: dict[str, str] = {}
    for code, entry in checked.items():
        for method in entry["methods"]:
            if method in owners:
                raise WrongMapping("mapping_method_twice", code, method)
            owners[method] = code
    return checked


def _checked_entry(code: str, typed: Mapping[str, Any]) -> dict[str, Any]:
    lists = ("methods", "open_statuses")
    entry: dict[str, Any] = {name: _checked_list(code, typed.get(name, ())) for name in lists}
    for name in STATUS_FIELDS[code]:
        entry[name] = _checked_word(code, str(typed.get(name) or "")) or None
    return entry


def _checked_list(code: str, words: Iterable[str]) -> list[str]:
    """Each once, without empty ones."""
    found = list(dict.fromkeys(filter(None, (_checked_word(code, word) for word in words))))
    if len(found) > MOST_CODES_OF_A_LIST:
        raise WrongMapping("mapping_too_many", code)
    return found


def _checked_word(code: str, word: str) -> str:
    plain = word.strip()
    if len(plain) > MAX_SHOP_CODE_LENGTH or not plain.isprintable():
        raise WrongMapping("mapping_code_wrong", code, plain[:MAX_SHOP_CODE_LENGTH])
    return plain
