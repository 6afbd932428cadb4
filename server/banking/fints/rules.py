"""When to fetch, from which day on, and when the bank will want a person again. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

# Late bookings carry earlier dates; what comes twice is known by its fingerprint.
OVERLAP_DAYS = 5
# RTS on strong customer authentication, (EU) 2018/389 as changed by (EU) 2022/2360, article 10:
# without a person only the postings of the last 90 days, and a person every 180 days.
UNATTENDED_DAYS = 90
CONSENT_DAYS = 180
WARN_DAYS = 7
# The limit of article 36 (5) for services; kept for the merchant's own access too.
FETCHES_PER_DAY = 4
FIRST_FETCH_DAYS = 30


@dataclass(frozen=True, slots=True)
class Consent:
    """Until when the bank lets us in without a person, and from when to tell the merchant."""

    ends_on: date
    warn_on: date


def fetch_since(
    today: date, fetched_until: date | None, not_before: date | None, *, is_attended: bool
) -> date:
    """The first day to ask for.

    ``fetched_until``: the day of the last fetch that worked; ``not_before``: the merchant's wish
    that nothing older comes in. Unattended never more than 90 days, which would want a TAN.
    """
    since = (fetched_until or today - timedelta(days=FIRST_FETCH_DAYS - OVERLAP_DAYS)) - timedelta(
        days=OVERLAP_DAYS
    )
    if fetched_until is None and not_before is not None:
        since = not_before
    if not is_attended:
        since = max(since, today - timedelta(days=UNATTENDED_DAYS - 1))
    return min(max(since, not_before or since), today)


def next_fetch(last: datetime, fetches_per_day: int = FETCHES_PER_DAY) -> datetime:
    """When to fetch again by itself: evenly over the day, at most four times."""
    times = min(max(fetches_per_day, 1), FETCHES_PER_DAY)
    return last + timedelta(hours=24 / times)


def consent(confirmed_on: date, shortest_seen_days: int | None = None) -> Consent:
    """What to expect after a confirmation.

    ``shortest_seen_days``: after how many days this bank wanted a person before, if it was less
    than the law allows. Banks that ask every time (0) get no warning ahead: it ends at once.
    """
    days = CONSENT_DAYS if shortest_seen_days is None else min(shortest_seen_days, CONSENT_DAYS)
    ends_on = confirmed_on + timedelta(days=days)
    warn_on = ends_on - timedelta(days=min(WARN_DAYS, days // 2))
    return Consent(ends_on, warn_on)


def needs_warning(found: Consent, today: date) -> bool:
    """True from the day on which the merchant should hear of it."""
    return today >= found.warn_on
