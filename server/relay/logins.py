"""Log-ins of systems, and how many may fail: the same limits by SMTP and by HTTP. Never commits."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Protocol

from limits import RateLimitItem, RateLimitItemPerMinute

from server.relay.intake import MAX_USER_NAME, log_in
from server.relay.models import RelayConnection
from server.visitors import network_of

FAILURES_PER_USER: Final = RateLimitItemPerMinute(20, 15, namespace="relay-user")
FAILURES_PER_ADDRESS: Final = RateLimitItemPerMinute(50, 15, namespace="relay-address")


class Counts(Protocol):
    """Who counts attempts, over all processes."""

    def is_reached(self, limit: RateLimitItem, key: str) -> bool: ...

    def count(self, limit: RateLimitItem, key: str) -> None: ...


class TooManyFailures(Exception):
    """From this address, or for this user from it: nobody is let in for a while."""


def log_in_within_limits(
    user: str, password: str, address: str, counts: Counts, at: datetime
) -> RelayConnection | None:
    """Who that is, None if the password is wrong. Raises TooManyFailures.

    A user is counted by address too, so that a stranger cannot lock him out.
    """
    network = network_of(address)
    limits: tuple[tuple[RateLimitItem, str], ...] = (
        (FAILURES_PER_ADDRESS, network),
        (FAILURES_PER_USER, f"{user[:MAX_USER_NAME]}@{network}"),
    )
    if any(counts.is_reached(limit, key) for limit, key in limits):
        raise TooManyFailures
    found = log_in(user, password, at)
    if found is None:
        for limit, key in limits:
            counts.count(limit, key)
    return found
