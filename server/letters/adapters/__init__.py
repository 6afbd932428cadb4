"""Who prints: one small interface, and an adapter for each service behind it.

ConnectorError
+ Temporary            later: the service is away or wants to be asked more slowly
  - HandoverInDoubt    it may have taken the letter, and nobody knows
+ Rejected             never: the service refuses this letter
+ Misconfigured        a person must act: a wrong key, no money left
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from plugin_sdk.errors import Temporary


class HandoverInDoubt(Temporary):
    """The letter went out and no answer came back. Not tried again by itself: it costs twice."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """One letter for the printer. ``letter_id`` names it for good: handing it over twice under the
    same id is the same letter. ``recipient`` are its lines without the country.
    """

    letter_id: int
    pdf: bytes
    pages: int
    recipient: tuple[str, ...]
    country: str
    is_registered: bool
    kind: str
    at: datetime

    @property
    def name(self) -> str:
        """The letter's file name, without any customer in it."""
        return f"letter-{self.letter_id}"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The service's own number, and what it asks, if it says so."""

    reference: str
    cost: Decimal | None = None
    currency: str | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """``delivery`` is one of ``rules.DELIVERIES``, ``words`` are the service's."""

    delivery: str
    words: str = ""


class PrintAdapter(Protocol):
    def hand_over(self, parcel: Parcel) -> Receipt:
        """Raises ConnectorError, by what happens next."""

    def status(self, reference: str) -> Status | None:
        """How the letter fares; None if the service tells nobody. Raises ConnectorError."""

    def check(self) -> str:
        """What the service says to its settings, in plain words. Raises ConnectorError."""

    def finish(self) -> None:
        """After the last letter of a round."""

    def close(self) -> None:
        """Give connections back."""
