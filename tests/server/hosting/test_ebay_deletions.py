"""eBay tells of a deleted account, and what is known of that buyer is erased (S86)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from plugin_sdk.testing.fake_ebay import CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN, RU_NAME, FakeEbay
from server import jobs
from server.config import install, installed
from server.db import db, now
from server.orders.models import Order
from server.shops.connections import add_connection, switch_on, webhook_token
from tests.factories import make_merchant, make_shop

TOKEN = "kontor-0123456789-0123456789-0123456789"


@pytest.fixture
def fake(app):
    before = installed()
    install(replace(before, allowed_networks=("127.0.0.0/8",), allow_http=True))
    with FakeEbay() as running:
        running.login.wants_signatures = False
        yield running
    install(before)
    app.extensions.pop(jobs.HOST, None)


@pytest.fixture
def connection(fake):
    shop = make_shop(make_merchant(), system="ebay", default_mapping={}, connected_at=None)
    settings = {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "ru_name": RU_NAME,
        "refresh_token": REFRESH_TOKEN,
        "account_id": fake.seller.user_id,
        "verification_token": TOKEN,
        "base_url": fake.url,
    }
    row = add_connection(shop, "ebay", settings, now())
    switch_on(row, now())
    db.session.commit()
    return row


def address(row):
    return f"/webhooks/shops/{webhook_token(row)}/deletion"


@pytest.mark.real_commits
@pytest.mark.feature("S86")
def test_the_buyer_is_erased_when_ebay_says_so(client, fake, connection):
    jobs.drain_shop_connection()
    key = fake.add_order()
    connection.due_at = now()
    db.session.commit()
    jobs.drain_shop_connection()
    db.session.rollback()
    order = db.session.scalars(select(Order).where(Order.external_id == key)).one()
    buyer = order.wire["customer"]["number"]
    assert order.customer_name
    headers, body = fake.deletion("somebody-else")
    assert client.post(address(connection), headers=headers, data=body).status_code == 200
    db.session.expire_all()
    assert order.erased_at is None
    headers, body = fake.deletion(buyer)
    forged = body.replace(b"uSeRiD0001", b"uSeRiD0002")
    assert client.post(address(connection), headers=headers, data=forged).status_code == 412
    db.session.expire_all()
    assert order.erased_at is None
    assert client.post(address(connection), headers=headers, data=body).status_code == 200
    db.session.expire_all()
    assert order.erased_at is not None
    assert order.customer_name == ""


def test_the_address_is_proven(client, fake, connection):
    answer = client.get(f"{address(connection)}?challenge_code=abc")
    assert answer.status_code == 200
    assert len(answer.json["challengeResponse"]) == 64
