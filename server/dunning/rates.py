"""Base rates of interest: entered by the operator, read by whoever charges interest (N15).

A file of its own because they are of the whole installation and no merchant's. Never commits.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Final

from sqlalchemy import select

from server.db import db
from server.dunning.fees import OVER_BASE_RATE, half_year_of
from server.dunning.models import BaseRate

COUNTRIES: Final = tuple(sorted({country for country, _ in OVER_BASE_RATE}))
LOWEST, HIGHEST = Decimal(-10), Decimal(50)
STEP: Final = Decimal("0.001")


def base_rates() -> list[tuple[str, date, Decimal]]:
    """(Country, first day, percent a year), by country and day."""
    rows = db.session.scalars(select(BaseRate).order_by(BaseRate.country, BaseRate.valid_from))
    return [(row.country, row.valid_from, row.percent) for row in rows]


def add_base_rate(country: str, begins: str, percent: str) -> None:
    """Enter a rate as it was typed, or correct it. Raises ValueError with a sentence.

    ``begins`` is the first day of a half-year; in Austria the rate of that day counts for all of
    it (section 456 UGB), in Germany it changes on that day only (section 247 BGB).
    """
    country = country.upper()
    if country not in COUNTRIES:
        raise ValueError(f"the country must be one of {', '.join(COUNTRIES)}")
    try:
        day = date.fromisoformat(begins)
    except ValueError:
        raise ValueError("the date must be like 2027-01-01") from None
    if day != half_year_of(day):
        raise ValueError("a rate begins on 1 January or 1 July")
    try:
        rate = Decimal(percent.replace(",", "."))
    except InvalidOperation:
        raise ValueError("the rate must be a number, such as 1.27") from None
    if not rate.is_finite() or not LOWEST <= rate <= HIGHEST or rate != rate.quantize(STEP):
        raise ValueError(f"the rate must lie between {LOWEST} and {HIGHEST} percent")
    db.session.merge(BaseRate(country=country, valid_from=day, percent=rate))
    db.session.flush()
