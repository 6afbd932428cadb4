"""What easybill's fields become, with invented people."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from kontor_easybill.mapping import order_from, status_of

from plugin_sdk.errors import Rejected
from plugin_sdk.types import Invoice, PaymentTerms

LEAST = {"id": 7, "type": "INVOICE", "amount": 3990, "created_at": "2026-11-21 12:00:00"}


def test_the_least_there_is() -> None:
    order = order_from(LEAST)
    assert (order.number, order.total, order.currency) == ("7", Decimal("39.90"), "EUR")
    assert order.ordered_at == datetime(2026, 11, 21, 11, tzinfo=UTC)
    assert order.billing_address is None


def test_in_summer_berlin_is_two_hours_ahead() -> None:
    order = order_from({**LEAST, "created_at": "2026-07-01 00:30:00"})
    assert order.ordered_at == datetime(2026, 6, 30, 22, 30, tzinfo=UTC)


def test_old_documents_have_only_a_date() -> None:
    order = order_from({**LEAST, "created_at": None, "document_date": "2026-01-15"})
    assert order.ordered_at == datetime(2026, 1, 14, 23, tzinfo=UTC)
    assert order.invoices == (Invoice("7", date(2026, 1, 15)),)


def test_terms_and_dates() -> None:
    terms = {"cash_allowance": 2.0, "cash_allowance_days": 14, "due_in_days": 30}
    order = order_from({**LEAST, **terms, "due_date": "2026-12-21"})
    assert order.payment_terms == PaymentTerms(Decimal("2.0"), 14, 30)
    assert order.due_date == date(2026, 12, 21)


def test_bank_details_of_customers_are_not_taken() -> None:
    row = {**LEAST, "customer_snapshot": {"last_name": "Mustermann", "bank_iban": "DE02"}}
    assert "DE02" not in repr(order_from(row))


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, "open"),
        ({"paid_amount": 0}, "open"),
        ({"paid_amount": 1}, "partially_paid"),
        ({"paid_amount": 3990, "paid_at": "2026-11-21"}, "paid"),
        ({"is_archive": True}, "archived"),
        ({"is_archive": True, "paid_at": "2026-11-21"}, "paid"),
        ({"cancel_id": 9, "paid_at": "2026-11-21"}, "cancelled"),
    ],
)
def test_one_word_for_the_state(fields: dict[str, Any], status: str) -> None:
    assert status_of({**LEAST, **fields}) == status


@pytest.mark.parametrize(
    "spoilt",
    [{"id": None}, {"id": True}, {"amount": "39.90"}, {"amount": None}, {"currency": "Taler"},
     {"created_at": None}],
)  # fmt: skip
def test_what_makes_no_order_is_refused(spoilt: dict[str, Any]) -> None:
    with pytest.raises(Rejected):
        order_from({**LEAST, **spoilt})
