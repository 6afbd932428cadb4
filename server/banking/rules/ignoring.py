"""Postings that nobody needs to look at: payouts of payment providers, and what merchants say.

Patterns are matched by RE2, which needs linear time whatever a person writes.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import re2

from server.banking.rules.identity import squash

KINDS = ("iban", "name", "text", "amount_above", "unassigned", "keep_providers")
PATTERN_PREFIX = "{regex}"
MAX_VALUE_LENGTH = 500
LEAST_NAME_CHARACTERS = 3
LEAST_CUT_NAME = 12
PROVIDERS = Path(__file__).with_name("providers.toml")


class Seen(Protocol):
    """A posting, as far as rules look at it."""

    @property
    def amount(self) -> Decimal: ...
    @property
    def counterparty_name(self) -> str | None: ...
    @property
    def counterparty_iban(self) -> str | None: ...
    @property
    def remittance_information(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Rule:
    """One ignore rule; see ``banking.models.IgnoreRule``."""

    kind: str
    value: str = ""
    tells_merchant: bool = False


def checked_rule(kind: str, value: str, *, tells_merchant: bool = False) -> Rule:
    """A rule as it is stored. Raises ValueError with a message key."""
    value = " ".join(value.replace("\x00", "").split())
    if kind not in KINDS:
        raise ValueError("ignore_kind_unknown")
    if kind in ("unassigned", "keep_providers"):
        return Rule(kind, "", tells_merchant)
    if not value or len(value) > MAX_VALUE_LENGTH:
        raise ValueError("ignore_value_missing")
    check = {"iban": _iban, "name": _name, "text": _text, "amount_above": _amount}[kind]
    return Rule(kind, check(value), tells_merchant)


def _iban(value: str) -> str:
    compact = value.replace(" ", "").upper()
    if not re.fullmatch(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}", compact):
        raise ValueError("ignore_iban_invalid")
    return compact


def _name(value: str) -> str:
    if len(squash(value)) < LEAST_NAME_CHARACTERS:
        raise ValueError("ignore_value_missing")
    return value


def _text(value: str) -> str:
    if value.startswith(PATTERN_PREFIX):
        _pattern(value.removeprefix(PATTERN_PREFIX))
    elif not squash(value):
        raise ValueError("ignore_value_missing")
    return value


def _amount(value: str) -> str:
    try:
        amount = Decimal(value.replace(",", "."))
    except InvalidOperation:
        raise ValueError("ignore_amount_invalid") from None
    if not amount.is_finite() or amount <= 0 or amount >= 10**12:
        raise ValueError("ignore_amount_invalid")
    return f"{amount:f}"


@cache
def _pattern(expression: str) -> Any:
    """A compiled pattern. Raises ValueError with a message key."""
    options = re2.Options()
    options.case_sensitive = False
    options.dot_nl = True
    options.max_mem = 1 << 20
    options.log_errors = False
    try:
        return re2.compile(expression, options)
    except re2.error:
        raise ValueError("ignore_pattern_invalid") from None


def rule_for(posting: Seen, rules: Sequence[Rule]) -> Rule | None:
    """The first rule by which this posting is ignored; only money that came in is."""
    if posting.amount <= 0:
        return None
    for rule in rules:
        if _applies(rule, posting):
            return rule
    if any(rule.kind == "keep_providers" for rule in rules):
        return None
    provider = provider_of(posting)
    return Rule("provider", provider) if provider else None


def _applies(rule: Rule, posting: Seen) -> bool:
    match rule.kind:
        case "iban":
            return posting.counterparty_iban == rule.value
        case "name":
            return squash(posting.counterparty_name) == squash(rule.value)
        case "amount_above":
            return posting.amount > Decimal(rule.value)
        case "text":
            return text_fits(rule.value, posting.remittance_information or "")
    return False


def text_fits(value: str, remittance_information: str) -> bool:
    """Whether the purpose holds these words, or all of it is the ``{regex}``.

    The bank's line breaks count as blanks and as nothing: a word may be cut.
    """
    if value.startswith(PATTERN_PREFIX):
        pattern = _pattern(value.removeprefix(PATTERN_PREFIX))
        lines = remittance_information.split("\n")
        return any(pattern.fullmatch(joint.join(lines)) is not None for joint in (" ", ""))
    return squash(value) in squash(remittance_information)


def provider_of(posting: Seen) -> str | None:
    """The payment provider whose collective payout this is, or None (K44).

    The whole name must be the provider's: customers who pay through a provider's account are
    not among them, nor is somebody called Klarna Maier.
    """
    return provider_named(posting.counterparty_name or "")


def provider_named(name: str) -> str | None:
    """The payment provider with this name, or None. Banks cut long names off."""
    squashed = squash(name)
    known = _providers()
    if squashed in known or len(squashed) < LEAST_CUT_NAME:
        return known.get(squashed)
    return next((known[each] for each in known if each.startswith(squashed)), None)


@cache
def _providers() -> dict[str, str]:
    loaded = tomllib.loads(PROVIDERS.read_text("utf-8"))
    return {squash(name): provider for provider, names in loaded.items() for name in names}
