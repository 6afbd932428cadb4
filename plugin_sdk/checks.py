"""What ``Connector.check`` of nearly every shop looks at: the address, encryption and the clock."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from plugin_sdk.connector import Finding, Severity
from plugin_sdk.errors import Misconfigured

CLOCK_WARNING_SECONDS = 120
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def base_address(address: str, name: str = "shop_url") -> str:
    """A setting that is the address of a shop, without a slash at the end.

    Raises Misconfigured naming the setting: no http or https address, or one with a password, a
    query or a fragment.
    """
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        raise Misconfigured(f"Settings: {name} is no address.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Misconfigured(f"Settings: {name} is no http or https address.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise Misconfigured(f"Settings: {name} has a password, a query or a fragment.")
    return address.rstrip("/")


def encryption_findings(address: str) -> list[Finding]:
    """A warning for a shop that is reached over plain http from another machine."""
    parts = urlsplit(address)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        text = "The shop is reached without encryption; everybody on the way can read along."
        return [Finding("encryption", Severity.WARNING, text)]
    return []


def time_told(headers: Mapping[str, str]) -> datetime | None:
    """The clock of whoever answered (the Date header), in whole seconds; None if it says none."""
    try:
        moment = parsedate_to_datetime(headers.get("Date", ""))
    except (ValueError, TypeError):
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def clock_findings(
    headers: Mapping[str, str],
    now: float,
    limit_seconds: int | None = None,
    *,
    peer: str = "the shop",
) -> list[Finding]:
    """How far the shop's clock (the Date header of an answer) is from ``now``, seconds since 1970.

    Beyond two minutes it is a warning, from ``limit_seconds`` on a problem: there the shop begins
    to refuse signed requests, or its tokens.
    """
    shop = time_told(headers)
    if shop is None:
        return []
    apart = abs(int(shop.timestamp() - now))
    if apart < CLOCK_WARNING_SECONDS:
        return []
    is_problem = limit_seconds is not None and apart >= limit_seconds
    severity = Severity.PROBLEM if is_problem else Severity.WARNING
    text = f"The clocks of {peer} and of this machine are {apart} s apart."
    return [Finding("clock", severity, text)]
