"""The mark of old bank data and the guard that holds reminders back say the same (N5)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from flask import g

from server.banking.models import BankAccount
from server.dashboard import account_queries, dunning_lines, queries
from server.db import db
from server.dunning.circumstances import Circumstances
from server.merchants.service import change_setting
from tests.factories import make_account, make_merchant, make_posting, make_shop

FRIDAY = datetime(2026, 3, 13, 11, 0, tzinfo=UTC)
MONDAY = datetime(2026, 3, 16, 17, 0, tzinfo=UTC)
"""78 hours later, 30 of them on banking days."""
OTHER_IBAN = "DE89370400440532013000"


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def shop(merchant):
    return make_shop(merchant)


@pytest.fixture
def account(merchant):
    return db.session.query(BankAccount).filter_by(merchant_id=merchant.id).one()


def hear(merchant, account, at=FRIDAY) -> None:
    """The bank told something that concerns nobody."""
    make_posting(
        merchant, "1.00", "Kaffee", account_id=account.id, created_at=at, booking_date=at.date(),
        is_open=False, needs_match=False,
    )  # fmt: skip


def set_hours(merchant, hours: int, shop=None) -> None:
    shop_id = shop.id if shop else None
    change_setting(
        merchant.id, "bank_data_hours", str(hours), actor="anna", at=FRIDAY, shop_id=shop_id
    )
    db.session.commit()


def marks(merchant, at=MONDAY) -> dict[str, bool]:
    """IBAN to "is marked as old", which every page shows and the page of the accounts as well."""
    shown = {one.account.iban: one.is_stale for one in queries.accounts_as_of(merchant.id, at)}
    rows = account_queries.account_rows(merchant.id, at)
    assert {row.account.iban: row.is_stale for row in rows if row.heard_at} == shown
    return shown


def obstacles(app, merchant, at=MONDAY) -> list[dunning_lines.Obstacle]:
    """What the page about reminders says."""
    with app.test_request_context():
        g.language, g.timezone = "de", "Europe/Berlin"
        return dunning_lines.obstacles(Circumstances(merchant.id, at))


def is_held(merchant, shop, account, at=MONDAY) -> bool:
    return Circumstances(merchant.id, at).is_stale(account.iban, shop.id)


@pytest.mark.feature("N5")
@pytest.mark.parametrize(
    ("general", "own", "is_old"),
    [(None, None, False), (24, None, True), (31, None, False), (24, 48, False), (72, 12, True)],
)
def test_hours_of_banking_days_and_the_merchants_setting_count(
    merchant, shop, account, general, own, is_old
):
    hear(merchant, account)
    if general:
        set_hours(merchant, general)
    if own:
        set_hours(merchant, own, shop)
    assert marks(merchant) == {account.iban: is_old}
    assert is_held(merchant, shop, account) is is_old


@pytest.mark.feature("N5")
def test_a_shop_whose_customers_never_pay_there_has_no_say(app, merchant, shop, account):
    strict = make_shop(merchant, "Antiquariat")
    set_hours(merchant, 12, strict)
    second = make_account(merchant, OTHER_IBAN)
    account.for_shops, second.for_shops = [shop.id], [strict.id]
    db.session.commit()
    hear(merchant, account)
    hear(merchant, second)
    assert marks(merchant) == {account.iban: False, OTHER_IBAN: True}
    assert not is_held(merchant, shop, account) and is_held(merchant, strict, second)
    (only,) = obstacles(app, merchant)
    assert "12" in only.text and not only.holds_all
    (every, _) = obstacles(app, merchant, MONDAY + timedelta(days=7))
    assert every.holds_all


@pytest.mark.feature("N5")
def test_where_one_shop_is_stricter_the_other_goes_on(app, merchant, shop, account):
    strict = make_shop(merchant, "Antiquariat")
    set_hours(merchant, 12, strict)
    hear(merchant, account)
    assert marks(merchant) == {account.iban: True}
    assert is_held(merchant, strict, account) and not is_held(merchant, shop, account)
    (only,) = obstacles(app, merchant)
    assert not only.holds_all


def test_what_is_no_bank_has_the_days_of_germany():
    assert [queries.bank_country(one) for one in ("PayPal", OTHER_IBAN)] == ["DE", "DE"]
    assert queries.bank_country("CH9300762011623852957") == "CH"
