"""A Shopware shop that Kontor talks to itself: orders, payments, the files of invoices."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace

import pytest
from sqlalchemy import select

from plugin_sdk.testing.fake_shopware import FakeShopware
from server import jobs
from server.config import install, installed
from server.db import db, now
from server.hosting.connecting import app_package
from server.orders.models import Invoice, Order
from server.orders.service import mark_as_paid
from server.shops.connections import (
    add_connection,
    connection_of,
    settings_of,
    switch_on,
    webhook_token,
)
from server.shops.models import OrderHint
from tests.factories import make_merchant, make_shop

pytestmark = pytest.mark.real_commits
ANNA = "anna@example.org"


@pytest.fixture
def fake(app):
    before = installed()
    install(replace(before, allowed_networks=("127.0.0.0/8",), allow_http=True))
    with FakeShopware() as running:
        yield running
    install(before)
    app.extensions.pop(jobs.HOST, None)


@pytest.fixture
def shop(fake):
    row = make_shop(
        make_merchant(), system="shopware", status="not_connected", connected_at=None,
        default_mapping={},
    )  # fmt: skip
    switch_on(add_connection(row, "shopware", fake.settings(), now()), now())
    db.session.commit()
    drain()
    return row


def drain():
    assert jobs.drain_shop_connection() is False
    db.session.rollback()
    db.session.expire_all()


def compare(shop):
    connection_of(shop.merchant_id, shop.id).due_at = now()
    db.session.commit()
    drain()


def order_of(key):
    return db.session.scalars(select(Order).where(Order.external_id == key)).one()


@pytest.mark.feature("S19", "S21", "S42")
def test_orders_come_in_and_payments_go_back(fake, shop):
    key = fake.add_order()
    compare(shop)
    order = order_of(key)
    assert order.payment_status == "unpaid"
    mark_as_paid(shop.merchant_id, order.id, actor=ANNA, at=now())
    db.session.commit()
    drain()
    assert fake.status_of(key) == "paid"


@pytest.mark.feature("S31")
def test_the_file_of_an_invoice_follows_its_number(fake, shop):
    key = fake.add_order()
    fake.add_document(key, "RE-1001")
    compare(shop)
    (invoice,) = db.session.scalars(select(Invoice))
    assert invoice.number == "RE-1001"
    assert invoice.pdf is not None
    assert invoice.pdf.startswith(b"%PDF-")


@pytest.mark.feature("S31")
def test_a_file_that_comes_later_is_waited_for(fake, shop):
    key = fake.add_order()
    compare(shop)
    document = fake.add_document(key, "RE-1002")
    pdf = fake.store.files.pop(document["id"])
    compare(shop)
    (invoice,) = db.session.scalars(select(Invoice))
    assert (invoice.number, invoice.pdf) == ("RE-1002", None)
    fake.store.files[document["id"]] = pdf
    compare(shop)
    compare(shop)
    db.session.expire_all()
    assert invoice.pdf is not None


@pytest.mark.feature("S21", "S31")
def test_the_app_registers_and_tells_of_orders(app, fake, live_server):
    install(replace(installed(), url=live_server.url))
    shop = make_shop(make_merchant(), system="shopware", default_mapping={})
    row = add_connection(shop, "shopware", {}, now())
    package = app_package(row, now())
    db.session.commit()
    with zipfile.ZipFile(io.BytesIO(package.content)) as archive:
        (name,) = archive.namelist()
        manifest = archive.read(name).decode()
    fake.install_app(manifest)
    db.session.rollback()
    db.session.expire_all()
    row = connection_of(shop.merchant_id, shop.id)
    assert settings_of(row)["shop_url"] == fake.url
    switch_on(row, now())
    db.session.commit()
    drain()
    key = fake.add_order()
    hints = db.session.scalars(select(OrderHint.external_id)).all()
    assert key in hints, "the shop told of it by itself"
    drain()
    assert order_of(key).payment_status == "unpaid"


def test_a_registration_that_is_not_signed_is_refused(app, client, fake):
    shop = make_shop(make_merchant(), system="shopware", default_mapping={})
    row = add_connection(shop, "shopware", {}, now())
    app_package(row, now())
    db.session.commit()
    before = settings_of(row)
    address = f"/webhooks/shops/{webhook_token(row)}"
    answer = client.get(f"{address}/register?shop-id=1&shop-url={fake.url}&timestamp=1")
    assert answer.status_code == 401
    assert answer.json["error"]
    assert client.get(f"{address}/other").status_code == 404
    assert client.get(address).status_code == 404
    assert client.get("/webhooks/shops/nobody/register").status_code == 404
    db.session.expire_all()
    assert settings_of(connection_of(shop.merchant_id, shop.id)) == before
