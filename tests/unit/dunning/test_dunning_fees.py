"""What a reminder charges: by law of the customer's country, or as the merchant set it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.dunning.fees import fee_of, half_year_of, in_default_since, interest_of
from server.dunning.rules import OrderFacts
from server.merchants.settings import CodeSettings

MONDAY = date(2026, 6, 1)
LEGAL = CodeSettings(charge_fees=True, fee_rule="legal", charge_interest=True)
OWN = replace(
    LEGAL,
    fee_rule="own",
    fee_1={"EUR": Decimal("1.20")},
    fee_2={"EUR": Decimal("2.50"), "CHF": Decimal(5)},
)
CONSUMER = OrderFacts("invoice", "unpaid", MONDAY, country="DE")
RATES = {
    "DE": {
        date(2025, 7, 1): Decimal("1.27"),
        date(2026, 1, 1): Decimal("1.27"),
        date(2026, 7, 1): Decimal("2.27"),
    },
    "AT": {date(2026, 1, 1): Decimal("1.53")},
}


def order(country="DE", *, business=False, **over):
    return replace(CONSUMER, country=country, is_business=business, **over)


@pytest.mark.feature("K26", "K27", "N15")
@pytest.mark.parametrize(
    ("country", "business", "level", "fee"),
    [
        ("DE", False, 1, "0"),
        ("DE", False, 2, "0"),  # a mail costs nothing
        ("DE", True, 1, "0"),
        ("DE", True, 2, "40"),
        ("AT", False, 2, "0"),
        ("AT", True, 2, "40"),
        ("CH", True, 2, "0"),  # no fee without a contract
        ("FR", True, 2, "0"),
        (None, True, 2, "0"),
    ],
)
def test_by_law(country, business, level, fee):
    assert fee_of(level, order(country, business=business), LEGAL, "EUR") == Decimal(fee)


def test_the_flat_fee_is_owed_once_and_in_euro():
    business = order(business=True)
    assert fee_of(3, business, LEGAL, "EUR", charged_before=Decimal(40)) == 0
    assert fee_of(3, business, LEGAL, "EUR") == 40
    assert fee_of(2, business, LEGAL, "CHF") == 0


@pytest.mark.feature("K27")
def test_own_amounts_by_level_and_currency():
    assert fee_of(1, CONSUMER, OWN, "EUR") == Decimal("1.20")
    assert fee_of(2, CONSUMER, OWN, "CHF") == 5
    assert fee_of(2, CONSUMER, OWN, "USD") == 0
    assert fee_of(3, CONSUMER, OWN, "EUR") == 0


@pytest.mark.feature("K26", "K27")
@pytest.mark.parametrize("code", ["prepayment", "cash_on_delivery"])
def test_only_invoices_and_only_where_fees_are_charged(code):
    assert fee_of(2, order(payment_code=code), OWN, "EUR") == 0
    assert fee_of(2, CONSUMER, replace(OWN, charge_fees=False), "EUR") == 0


def test_default_begins_after_the_reminder_or_for_a_business_a_month_after_the_invoice():
    reminded = {"reminders": ((1, MONDAY), (2, MONDAY + timedelta(days=10)))}
    invoice = {"first_invoice_date": date(2026, 4, 1)}
    assert in_default_since(CONSUMER) is None
    assert in_default_since(order(**reminded)) == date(2026, 6, 2)
    assert in_default_since(order(**reminded, **invoice)) == date(2026, 6, 2)
    assert in_default_since(order(**reminded, **invoice, business=True)) == date(2026, 5, 2)


@pytest.mark.feature("N15")
@pytest.mark.parametrize(
    ("country", "business", "interest"),
    [
        ("DE", False, "5.15"),  # 1000 * 6.27 % * 30 / 365
        ("DE", True, "8.44"),  # 10.27 %
        ("AT", False, "3.29"),  # 4 %
        ("AT", True, "8.82"),  # 10.73 %
        ("CH", False, "4.11"),  # 5 %
        ("FR", False, "0"),
    ],
)
def test_interest_of_thirty_days(country, business, interest):
    reminded = order(country, business=business, reminders=((1, date(2026, 5, 1)),))
    charged = interest_of(2, reminded, LEGAL, Decimal(1000), date(2026, 6, 1), RATES)
    assert charged == Decimal(interest)


def test_the_rate_of_each_half_year_counts_for_its_days():
    reminded = order(reminders=((1, date(2026, 6, 20)),))
    # From 21 June 10 days at 6.27 %, 10 days of July at 7.27 %.
    charged = interest_of(2, reminded, LEGAL, Decimal(1000), date(2026, 7, 11), RATES)
    assert charged == Decimal("3.71")


@pytest.mark.feature("N15")
def test_a_half_year_without_a_known_rate_bears_no_interest():
    reminded = order(reminders=((1, date(2026, 12, 21)),))
    assert interest_of(2, reminded, LEGAL, Decimal(1000), date(2027, 1, 1), RATES) > 0
    until_february = interest_of(2, reminded, LEGAL, Decimal(1000), date(2027, 2, 1), RATES)
    assert until_february == interest_of(2, reminded, LEGAL, Decimal(1000), date(2027, 1, 1), RATES)
    assert interest_of(2, reminded, LEGAL, Decimal(1000), date(2027, 2, 1), {}) == 0


def test_no_interest_with_the_friendly_reminder_without_default_or_if_it_is_off():
    reminded = order(reminders=((1, date(2026, 5, 1)),))
    today = date(2026, 6, 1)
    assert interest_of(1, reminded, LEGAL, Decimal(1000), today, RATES) == 0
    assert interest_of(2, CONSUMER, LEGAL, Decimal(1000), today, RATES) == 0
    off = replace(LEGAL, charge_interest=False)
    assert interest_of(2, reminded, off, Decimal(1000), today, RATES) == 0
    assert interest_of(2, reminded, LEGAL, Decimal(0), today, RATES) == 0


@pytest.mark.parametrize(
    ("day", "begins"),
    [
        (date(2026, 1, 1), date(2026, 1, 1)),
        (date(2026, 6, 30), date(2026, 1, 1)),
        (date(2026, 7, 1), date(2026, 7, 1)),
        (date(2026, 12, 31), date(2026, 7, 1)),
    ],
)
def test_half_years(day, begins):
    assert half_year_of(day) == begins


@given(st.integers(0, 900), st.integers(0, 900), st.decimals(0, 10_000, places=2))
def test_interest_only_grows(one, other, amount):
    reminded = order(reminders=((1, date(2025, 6, 30)),))
    days = sorted(date(2025, 7, 1) + timedelta(days=n) for n in (one, other))
    first, second = (interest_of(2, reminded, LEGAL, amount, day, RATES) for day in days)
    assert 0 <= first <= second
