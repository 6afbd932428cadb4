"""What a marketplace has paid out, as postings that are matched like any other money."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from plugin_sdk.testing.fake_ebay import (
    CLIENT_ID,
    CLIENT_SECRET,
    REFRESH_TOKEN,
    RU_NAME,
    FakeEbay,
)
from plugin_sdk.types import Payout, PayoutKind, PayoutPart
from server import jobs
from server.banking.models import BankAccount, Posting
from server.config import install, installed
from server.db import db, now
from server.hosting.payouts import account_name, postings_of
from server.matching.service import match_postings
from server.orders.models import Order
from server.shops.connections import add_connection, connection_of, switch_on
from server.shops.models import PaymentUpdate
from tests.factories import make_merchant, make_shop

BERLIN = ZoneInfo("Europe/Berlin")
PAID_AT = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)


@pytest.fixture
def ebay(app):
    before = installed()
    install(replace(before, allowed_networks=("127.0.0.0/8",), allow_http=True))
    with FakeEbay() as fake:
        yield fake
    install(before)
    app.extensions.pop(jobs.HOST, None)


def connect(fake):
    keys = fake.login.make_signing_key()
    shop = make_shop(
        make_merchant(), "Anna", system="ebay", status="not_connected", default_mapping={}
    )
    settings = {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "ru_name": RU_NAME,
        "refresh_token": REFRESH_TOKEN,
        "account_id": fake.seller.user_id,
        "signing_key": keys["privateKey"],
        "signing_jwe": keys["jwe"],
        "base_url": fake.url,
    }
    switch_on(add_connection(shop, "ebay", settings, now()), now())
    shop.connected_at = now() - timedelta(days=30)
    db.session.commit()
    return shop


def postings():
    db.session.expire_all()
    return db.session.scalars(select(Posting).order_by(Posting.id)).all()


@pytest.mark.real_commits
@pytest.mark.feature("N6", "S19")
def test_a_payout_of_ebay_becomes_postings_once(ebay):
    fake = ebay
    shop = connect(fake)
    fake.freeze(datetime.now(UTC) - timedelta(hours=1))
    key = fake.add_order(method="EBAY", status="PAID", total="22.00")
    fake.seller.book("SALE", "19.40", fee="2.60", orderId=key)
    payout_id = fake.seller.pay_out()
    fake.freeze(None)
    assert jobs.drain_shop_connection() is False
    db.session.rollback()
    (account,) = db.session.scalars(
        select(BankAccount).where(BankAccount.iban == f"eBay {shop.id}")
    )
    rows = postings()
    assert sum(row.amount for row in rows) == 0
    assert {row.account_id for row in rows} == {account.id}
    assert f"payout {payout_id}" in rows[-1].remittance_information
    jobs.current_app.extensions.pop(jobs.HOST)
    row = connection_of(shop.merchant_id, shop.id)
    row.state, row.due_at = {**row.state, "payouts_cursor": None}, now()
    db.session.commit()
    jobs.drain_shop_connection()
    db.session.rollback()
    db.session.expire_all()
    assert connection_of(shop.merchant_id, shop.id).state["payouts_cursor"], "it was asked again"
    assert len(postings()) == len(rows), "it is known by now"
    assert shop.merchant_id == account.merchant_id


def part(kind=PayoutKind.SALE, gross="39.90", fee="-4.79", **more):
    return PayoutPart(kind, Decimal(gross), Decimal(fee), **more)


@pytest.mark.feature("N6")
def test_gross_and_fees_add_up_to_nothing():
    parts = (
        part(external_id="26-11111-22222", reference="T1", booked_at=PAID_AT - timedelta(days=2)),
        part(PayoutKind.REFUND, "-10.00", "1.20", external_id="26-11111-33333", reference="T2"),
        part(PayoutKind.FEE, "0", "-2.50", note="Shop subscription"),
        part(PayoutKind.DIFFERENCE, "0.01", "0"),
    )
    payout = Payout("P1", PAID_AT, sum(one.net for one in parts), "EUR", parts, "EBAY P*1")
    made = postings_of(payout, "eBay Anna", "eBay", BERLIN)
    assert sum(one.amount for one in made) == 0
    assert [(str(one.amount), one.remittance_information) for one in made] == [
        ("39.90", "26-11111-22222"),
        ("-4.79", "fee 26-11111-22222"),
        ("-10.00", "26-11111-33333 refund"),
        ("1.20", "fee 26-11111-33333 refund"),
        ("-2.50", "fee Shop subscription"),
        ("0.01", "difference"),
        ("-23.82", "payout P1 EBAY P*1"),
    ]
    assert {one.account for one in made} == {"eBay Anna"}
    assert len({one.bank_reference for one in made}) == len(made), "each has a name of its own"
    assert made[0].booking_date.isoformat() == "2026-11-19", "the merchant's day"
    assert made[-1].booking_date.isoformat() == "2026-11-21"


def test_the_name_of_the_account_is_the_shops_own_and_fits():
    assert account_name("eBay", 12) == "eBay 12"
    assert account_name("x" * 200, 12).endswith("x 12")
    assert len(account_name("x" * 200, 12)) == 34


@pytest.mark.real_commits
@pytest.mark.feature("N6")
def test_a_sale_of_a_payout_pays_its_order_where_it_is_managed(ebay):
    """A merchant may want to see every order paid by real money, also those paid to eBay."""
    fake = ebay
    shop = connect(fake)
    shop.mapping = {
        "prepayment": {"methods": ["EBAY"], "open_statuses": ["PAID"], "paid_status": "PAID"}
    }
    db.session.commit()
    fake.freeze(datetime.now(UTC) - timedelta(hours=1))
    key = fake.add_order(method="EBAY", status="PAID", total="22.00")
    fake.seller.book("SALE", "19.40", fee="2.60", orderId=key)
    fake.seller.pay_out()
    fake.freeze(None)
    jobs.drain_shop_connection()
    match_postings(shop.merchant_id, now())
    db.session.commit()
    order = db.session.scalar(select(Order).where(Order.external_id == key))
    assert order is not None
    assert order.payment_status == "paid"
    jobs.drain_shop_connection()
    db.session.rollback()
    (told,) = db.session.scalars(select(PaymentUpdate))
    assert (told.status, told.outcome) == ("done", "already_there")
