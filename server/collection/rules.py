"""What is decided about a case: what to say to the partner next, and what his words mean.

Pure: what is stored and what is so come in as facts, also the present.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Literal

Act = Literal["open", "drop", "wait", "withdraw", "report", "refresh"]

STATES: Final = ("handed_over", "accepted", "rejected", "paid", "closed", "cancelled")
UNDER_WAY: Final = ("handed_over", "accepted")
BY_HAND: Final = ("accepted", "rejected", "paid", "closed")
"""What a person may record; cancelled is what happens when the order is taken back."""
REFRESH_EVERY: Final = timedelta(days=1)
ZERO: Final = Decimal(0)

_SAYINGS: Final = {
    "received": "handed_over",
    "handed_over": "handed_over",
    "open": "accepted",
    "accepted": "accepted",
    "in_progress": "accepted",
    "rejected": "rejected",
    "paid": "paid",
    "closed": "closed",
    "cancelled": "closed",
    "withdrawn": "closed",
}
"""His own end of it is ours as well; cancelled is what the merchant does."""


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """A case and its order as they are.

    ``has_partner``: he whom it was handed to, or would be, can be spoken to; ``can_refresh``: and
    can be asked. ``is_collected``: the order still counts as handed over. ``owes``: and its money
    is still missing. ``paid``: what came directly since the hand-over, in the order's currency.
    """

    state: str
    has_partner: bool
    can_refresh: bool
    is_opened: bool
    is_withdrawn: bool
    is_collected: bool
    owes: bool
    paid: Decimal
    told_paid: Decimal
    refreshed_at: datetime | None


def next_act(case: CaseFacts, at: datetime) -> Act | None:
    """What is to be done now; None if nothing is.

    ``open``: hand the dossier over. ``drop``: it was settled before anybody got it. ``wait``: there
    is no partner to give it to. ``withdraw``, ``report`` (what was paid directly), ``refresh``.
    """
    if not case.is_opened:
        return _first_act(case)
    if case.is_withdrawn:
        return None
    if case.state == "cancelled":
        return "withdraw"
    if case.paid != case.told_paid and case.state in (*UNDER_WAY, "paid"):
        return "report"
    return "refresh" if _is_to_be_asked(case, at) else None


def _first_act(case: CaseFacts) -> Act | None:
    if case.state not in (*UNDER_WAY, "cancelled") or not case.is_collected:
        return None
    if not case.owes:
        return "drop" if case.state in UNDER_WAY else None
    return "open" if case.has_partner else "wait"  # also what was settled and is owed again


def _is_to_be_asked(case: CaseFacts, at: datetime) -> bool:
    if not case.can_refresh or case.state not in UNDER_WAY:
        return False
    return case.refreshed_at is None or at - case.refreshed_at >= REFRESH_EVERY


def state_of(said: str) -> str | None:
    """Our word for a partner's; None for one that is not known."""
    return _SAYINGS.get(said.strip().lower())


def may_cancel(state: str) -> bool:
    """A case that is cancelled or paid is over (K62)."""
    return state not in ("cancelled", "paid")


def reference_of(case_id: int) -> str:
    """What we call a case wherever a person reads it."""
    return f"K-{case_id}"
