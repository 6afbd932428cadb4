"""Errors named by what happens next.

* ConnectorError
  + Temporary        try again later (the shop is down, a timeout, a rate limit)
  + Rejected         never try again (the other side refuses this one thing for good)
  + Misconfigured    stop and ask a person (a wrong key, a missing permission)
    - LoginNeeded    the consent was withdrawn or has run out: the merchant logs in once more

Raised early, where the failure is understood; caught once, by whoever owns the retries.
"""

from __future__ import annotations


class ConnectorError(Exception):
    """Base of everything that may be raised on purpose. The text is shown to the merchant."""


class Temporary(ConnectorError):
    """It may work later. ``retry_after_seconds`` is the other side's own wish, if it had one."""

    def __init__(self, message: str, retry_after_seconds: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Rejected(ConnectorError):
    """It will never work: sending the same thing again cannot help."""


class Misconfigured(ConnectorError):
    """A person must change something first: a key, a permission, an address."""


class LoginNeeded(Misconfigured):
    """The merchant must log in at the shop system once more; nothing else can help."""
