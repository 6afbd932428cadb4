"""Base rates: seeded for Germany, entered by the operator."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from server.db import db
from server.dunning.circumstances import Circumstances
from server.dunning.rates import add_base_rate, base_rates
from tests.server.dunning.steps import MONDAY


@pytest.mark.feature("N15")
def test_a_rate_is_entered_and_corrected_and_counts(merchant):
    add_base_rate("at", "2026-07-01", "1,53")
    add_base_rate("AT", "2026-07-01", "1.530")
    assert [row for row in base_rates() if row[0] == "AT"] == [
        ("AT", date(2026, 7, 1), Decimal("1.53"))
    ]
    db.session.commit()
    assert Circumstances(merchant.id, MONDAY).base_rates["AT"] == {
        date(2026, 7, 1): Decimal("1.53")
    }


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        (("CH", "2026-07-01", "1"), "AT, DE"),
        (("DE", "2026-07-02", "1"), "1 January or 1 July"),
        (("DE", "soon", "1"), "2027-01-01"),
        (("DE", "2026-07-01", "one"), "number"),
        (("DE", "2026-07-01", "NaN"), "between"),
        (("DE", "2026-07-01", "400"), "between"),
        (("DE", "2026-07-01", "1.2345"), "between"),
        (("", "", ""), "AT, DE"),
    ],
)
def test_what_is_no_rate_is_refused_with_a_sentence(app, typed, why):
    with pytest.raises(ValueError, match=why):
        add_base_rate(*typed)
