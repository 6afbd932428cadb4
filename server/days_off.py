"""Public holidays, for banks, post and customers alike. Pure.

They come from the package ``holidays``; what it does not know has weekends only.
"""

from __future__ import annotations

from datetime import date
from functools import lru_cache

import holidays


@lru_cache(maxsize=4096)
def public_holidays(country: str, subdivision: str | None, year: int) -> frozenset[date]:
    """Of a country (ISO 3166, upper case) or a part of it; none for one that is not known."""
    try:
        return frozenset(holidays.country_holidays(country, subdiv=subdivision, years=year))
    except (NotImplementedError, AttributeError):  # unknown country or subdivision
        return frozenset()
