"""What a reminder charges: fees by level and interest, by law or by the merchant (K26, K27, N15).

Pure. Not legal advice: the rules are the careful reading of the law for mails, and whoever wants
others enters his own fees. Sources stand at the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from server.dunning.rules import OrderFacts
from server.merchants.settings import CodeSettings

ZERO: Final = Decimal(0)
CENT: Final = Decimal("0.01")
DAYS_A_YEAR: Final = 365  # simple interest, act/365
FIRST_NOTICE: Final = 2
"""Level 1 is a friendly reminder, which charges nothing by law."""
DEFAULT_AFTER: Final = timedelta(days=30)
"""A business is in default 30 days after the invoice (section 286 (3) BGB, Directive 2011/7/EU)."""

FLAT_FEE: Final = Decimal("40.00")
FLAT_FEE_COUNTRIES: Final = frozenset({"DE", "AT"})
"""Once, from businesses, in EUR: section 288 (5) BGB; section 458 UGB. Consumers owe what a mail
costs, which is nothing; in Switzerland a fee needs a contract (OR 97, 106)."""

OVER_BASE_RATE: Final[Mapping[tuple[str, bool], Decimal]] = {
    ("DE", False): Decimal(5),  # section 288 (1) BGB
    ("DE", True): Decimal(9),  # section 288 (2) BGB
    ("AT", True): Decimal("9.2"),  # section 456 UGB
}
"""Percentage points a year above the base rate of the half-year, by country and "is a business"."""
FIXED_RATES: Final[Mapping[tuple[str, bool], Decimal]] = {
    ("AT", False): Decimal(4),  # section 1000 (1) ABGB
    ("CH", False): Decimal(5),  # OR 104 (1)
    ("CH", True): Decimal(5),
}
"""Percent a year."""

BaseRates = Mapping[str, Mapping[date, Decimal]]
"""Country to {first day of a half-year: percent a year}."""


def fee_of(
    level: int,
    order: OrderFacts,
    settings: CodeSettings,
    currency: str,
    charged_before: Decimal = ZERO,
) -> Decimal:
    """What the reminder of this level charges, in the order's currency; 0 is nothing.

    Only invoices, and only where the merchant charges fees. ``charged_before``: fees of the levels
    before, because the flat fee of the law is owed once.
    """
    if order.payment_code != "invoice" or not settings.charge_fees:
        return ZERO
    if settings.fee_rule == "own":
        return settings.own_fee(level, currency)
    owes = order.is_business and (order.country or "").upper() in FLAT_FEE_COUNTRIES
    if not owes or currency != "EUR" or level < FIRST_NOTICE or charged_before > ZERO:
        return ZERO
    return FLAT_FEE


def in_default_since(order: OrderFacts) -> date | None:
    """The first day of default: the day after reminder 1 was sent; for a business at the latest 31
    days after the first invoice. None if neither has happened."""
    days = [sent_on + timedelta(days=1) for _, sent_on in order.reminders]
    if order.is_business and order.first_invoice_date is not None:
        days.append(order.first_invoice_date + DEFAULT_AFTER + timedelta(days=1))
    return min(days, default=None)


def interest_of(
    level: int,
    order: OrderFacts,
    settings: CodeSettings,
    open_amount: Decimal,
    today: date,
    base_rates: BaseRates,
) -> Decimal:
    """Statutory interest on the open amount from the first day of default to yesterday (N15).

    Rounded to cents once. A half-year whose base rate nobody has entered bears none. As fees, only
    for invoices; not with the first, friendly reminder.
    """
    if order.payment_code != "invoice" or not settings.charge_interest or level < FIRST_NOTICE:
        return ZERO
    since = in_default_since(order)
    if since is None or open_amount <= ZERO:
        return ZERO
    percent_days = ZERO
    day = since
    while day < today:
        ends = min(_next_half_year(day), today)
        percent_days += _percent(order, day, base_rates) * (ends - day).days
        day = ends
    exact = open_amount * percent_days / (100 * DAYS_A_YEAR)
    return exact.quantize(CENT, ROUND_HALF_UP)


def half_year_of(day: date) -> date:
    """Its first day: base rates change on 1 January and 1 July (section 247 BGB)."""
    return date(day.year, 7 if day.month > 6 else 1, 1)


def _next_half_year(day: date) -> date:
    return date(day.year, 7, 1) if day.month <= 6 else date(day.year + 1, 1, 1)


def _percent(order: OrderFacts, day: date, base_rates: BaseRates) -> Decimal:
    """A year, on this day."""
    country = (order.country or "").upper()
    whose = (country, order.is_business)
    if whose in FIXED_RATES:
        return FIXED_RATES[whose]
    base_rate = base_rates.get(country, {}).get(half_year_of(day))
    if whose not in OVER_BASE_RATE or base_rate is None:
        return ZERO
    return max(OVER_BASE_RATE[whose] + base_rate, ZERO)
