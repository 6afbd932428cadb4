"""Shops that Kontor talks to itself: orders come in, payments go back, and a slow shop is alone."""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import delete, select, text, update

from connectors.woocommerce import WooCommerce
from plugin_sdk.testing.fake_woocommerce import CONSUMER_KEY, CONSUMER_SECRET, FakeWooCommerce
from server import jobs
from server.config import Settings, install, installed
from server.db import db, now
from server.dunning.circumstances import Circumstances
from server.hosting.connecting import WEBHOOK_PATH, new_secrets, take_login
from server.hosting.host import SEATS, Host
from server.merchants.service import change_setting
from server.orders.models import Order
from server.orders.service import mark_as_paid
from server.shops.connections import (
    PAUSES,
    add_connection,
    begin_login,
    change_settings,
    connection_of,
    reseal_all,
    settings_of,
    switch_off,
    switch_on,
    webhook_token,
)
from server.shops.models import OrderHint, PaymentUpdate, Shop, ShopConnection
from server.shops.order_requests import ask_for_order
from server.vault import Vault, VaultLocked
from server.vault import installed as installed_vault
from tests.factories import make_merchant, make_shop

pytestmark = pytest.mark.real_commits

ANNA = "anna@example.org"
LOOPBACK = ("127.0.0.0/8",)


@pytest.fixture
def fake():
    with FakeWooCommerce() as running:
        yield running


@pytest.fixture
def reachable(app) -> Iterator[Settings]:
    """The operator lets shops on this machine be called."""
    before = installed()
    open_house = replace(before, allowed_networks=LOOPBACK, allow_http=True)
    install(open_house)
    app.config["SETTINGS"] = open_house
    yield open_house
    install(before)
    app.config["SETTINGS"] = before
    app.extensions.pop(jobs.HOST, None)


def connect(fake, shop=None, **settings) -> Shop:
    shop = shop or make_shop(
        make_merchant(), url=fake.url, status="not_connected", connected_at=None, default_mapping={}
    )
    given = {
        "shop_url": fake.url,
        "consumer_key": CONSUMER_KEY,
        "consumer_secret": CONSUMER_SECRET,
        **new_secrets("woocommerce"),
        **settings,
    }
    row = add_connection(shop, "woocommerce", given, now())
    switch_on(row, now())
    db.session.commit()
    return shop


def connection(shop) -> ShopConnection:
    db.session.expire_all()
    row = connection_of(shop.merchant_id, shop.id)
    assert row is not None
    return row


def drain() -> None:
    assert jobs.drain_shop_connection() is False
    db.session.rollback()
    db.session.expire_all()


def again(shop, **columns) -> None:
    """Time has passed: its next visit is due."""
    row = connection(shop)
    row.due_at = now()
    for name, value in columns.items():
        setattr(row, name, value)
    db.session.commit()
    drain()


def order_of(shop, external_id) -> Order | None:
    return db.session.scalar(
        select(Order).where(Order.shop_id == shop.id, Order.external_id == str(external_id))
    )


def place(fake, **order) -> str:
    return str(fake.add_order(**order))


@pytest.mark.feature("S21", "S31", "S32")
def test_orders_of_a_hosted_shop_come_in_and_payments_go_back(reachable, fake):
    shop = connect(fake)
    drain()
    assert shop.status == "connected"
    assert shop.connector == "woocommerce"
    assert shop.discovery["payment_methods"], "what fills the pickers was asked for"
    key = place(fake)
    again(shop)
    order = order_of(shop, key)
    assert order is not None
    assert order.payment_status == "unpaid"
    mark_as_paid(shop.merchant_id, order.id, actor=ANNA, at=now())
    db.session.commit()
    drain()
    assert fake.status_of(key) == "processing"
    (told,) = db.session.scalars(select(PaymentUpdate)).all()
    assert (told.status, told.outcome) == ("done", "applied")


@pytest.mark.feature("S31")
def test_a_webhook_brings_its_order_at_once(app, client, reachable, fake):
    shop = connect(fake)
    drain()
    row = connection(shop)
    key = place(fake)
    address = WEBHOOK_PATH + webhook_token(row)
    secret = settings_of(row)["webhook_secret"]
    headers, body = fake.delivery("order.created", key, secret=secret)
    assert client.post(address, headers=headers, data=body).status_code == 200
    assert [hint.external_id for hint in db.session.scalars(select(OrderHint))] == [key]
    drain()
    assert order_of(shop, key) is not None
    assert db.session.scalars(select(OrderHint)).all() == []


def test_a_webhook_that_is_not_genuine_changes_nothing(app, client, reachable, fake):
    shop = connect(fake)
    row = connection(shop)
    key = place(fake)
    headers, body = fake.delivery("order.created", key, secret="another")
    address = WEBHOOK_PATH + webhook_token(row)
    assert client.post(address, headers=headers, data=body).status_code == 401
    assert client.post(f"{WEBHOOK_PATH}nobody", headers=headers, data=body).status_code == 404
    switch_off(row)
    db.session.commit()
    assert client.post(address, headers=headers, data=body).status_code == 404
    assert client.post(address, data=b"x" * (2 * 1024 * 1024 + 1)).status_code == 413
    assert db.session.scalars(select(OrderHint)).all() == []


@pytest.mark.feature("S74")
def test_an_order_that_a_person_asks_for_is_looked_at_before_the_hour_has_come(reachable, fake):
    shop = connect(fake)
    drain()
    key = place(fake)
    ask_for_order(shop, external_id=key, asked_by=ANNA, at=now())
    db.session.commit()
    drain()
    assert order_of(shop, key) is not None


@pytest.mark.feature("S42", "K12")
def test_a_shop_that_fails_is_left_alone_and_heals(reachable, fake):
    shop = connect(fake)
    drain()
    fake.fail("500", times=50)
    again(shop)
    row = connection(shop)
    assert (row.status, row.failures) == ("queued", 1)
    assert row.rests_until == row.due_at
    assert row.rests_until - row.visited_at == PAUSES[0]
    assert "500" in row.error
    assert not ShopConnection.is_due(now())
    fake.heal()
    again(shop)
    row = connection(shop)
    assert (row.failures, row.error, row.rests_until) == (0, None, None)


@pytest.mark.feature("K12")
def test_a_key_that_was_withdrawn_is_the_merchants_to_mend(reachable, fake):
    shop = connect(fake)
    drain()
    fake.login.keys.clear()
    again(shop)
    assert shop.status == "error"
    assert shop.error == connection(shop).error
    with FakeWooCommerce() as other:
        row = connection(shop)
        change_settings(row, {**settings_of(row), "shop_url": other.url}, now())
        db.session.commit()
        key = place(other)
        drain()
    assert shop.status == "connected"
    assert order_of(shop, key) is not None


def test_a_shop_that_is_switched_off_is_not_visited(reachable, fake):
    shop = connect(fake)
    switch_off(connection(shop))
    db.session.commit()
    key = place(fake)
    drain()
    assert shop.status == "not_connected"
    switch_on(connection(shop), now())
    shop.status = "disabled"
    db.session.commit()
    drain()
    assert order_of(shop, key) is None


@pytest.mark.feature("S21")
def test_private_addresses_are_not_called(app, fake):
    """As an installation is without settings: nothing of this machine is reached."""
    shop = connect(fake)
    drain()
    row = connection(shop)
    assert row.failures == 1
    assert row.error
    assert not fake.requests, "the shop heard nothing"
    app.extensions.pop(jobs.HOST, None)


def test_settings_are_sealed(reachable, fake):
    shop = connect(fake)
    stored = db.session.scalar(text("select encode(settings, 'escape') from shop_connection"))
    assert CONSUMER_SECRET not in stored
    assert settings_of(connection(shop))["consumer_secret"] == CONSUMER_SECRET


def test_a_slow_shop_keeps_nobody_waiting_but_itself(app, reachable, fake, monkeypatch):
    monkeypatch.setattr("server.hosting.connecting.READ_TIMEOUT_SECONDS", 2.0)
    shop = connect(fake)
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(FakeWooCommerce()) for _ in range(3)]
        hung = [connect(one, make_shop(make_merchant(one.url), one.url)) for one in slow]
        for one in slow:
            one.fail("hang", times=50)
        key = place(fake)
        host = Host(in_context=app.app_context, commit=db.session.commit, is_stopping=lambda: False)
        until = time.monotonic() + 30
        host.begin(now())
        assert len(host._away) == 4 <= SEATS
        while order_of(shop, key) is None:
            assert time.monotonic() < until
            db.session.rollback()
            host.wait(0.05)
            host.begin(now())
        assert host.is_busy, "the others are still waited for"
        while host.is_busy:
            host.wait(0.2)
            host.begin(now())
        for one in slow:
            one.heal()
    assert [connection(one).failures for one in hung] == [1, 1, 1]
    assert connection(shop).failures == 0


def test_where_the_comparison_stands_outlives_the_process(app, reachable, fake):
    place(fake)
    shop = connect(fake)
    drain()
    state = connection(shop).state
    assert state["cursor"]
    assert state["compared_all_at"] > 0
    app.extensions.pop(jobs.HOST)
    fake.requests.clear()
    place(fake)
    again(shop)
    asked = [one for one in fake.requests if "modified_after" in one]
    assert asked
    began = now() - timedelta(hours=1)
    assert all(f"modified_after={began:%Y-%m-%d}" in one for one in asked), "not from the beginning"
    assert connection(shop).state["cursor"] != state["cursor"]


def test_a_worker_that_dies_gives_its_shops_back(reachable, fake):
    shop = connect(fake)
    ShopConnection.claim(1, now())
    assert connection(shop).status == "running"
    ShopConnection.release_abandoned(now() + timedelta(minutes=5))
    assert connection(shop).status == "queued"
    again(shop)
    assert shop.status == "connected"


def test_a_change_of_the_encryption_keys_seals_settings_anew(reachable, fake):
    shop = connect(fake)
    new = Fernet.generate_key().decode()
    assert reseal_all(Vault([new, *reachable.encryption_keys])) == 1
    db.session.commit()
    sealed = connection(shop).settings
    assert CONSUMER_SECRET in Vault([new]).open(sealed)
    with pytest.raises(VaultLocked):
        settings_of(connection(shop))


def test_what_changes_while_somebody_logs_in_is_kept(reachable, fake):
    shop = connect(fake)
    row = connection(shop)
    state = begin_login(row, now())
    changed = row.version + 1
    kept = json.dumps({**settings_of(row), "history_days": "30", "webhook_token": "of-before"})

    def commit() -> None:  # and another process changes the settings
        db.session.commit()
        values = {"settings": installed_vault().seal(kept), "version": changed}
        this = update(ShopConnection).where(ShopConnection.id == row.id).values(**values)
        db.session.execute(this.execution_options(synchronize_session=False))

    given = {
        "user_id": state,
        "key_permissions": "read_write",
        "consumer_key": "ck_" + "1" * 40,
        "consumer_secret": "cs_" + "2" * 40,
    }
    assert take_login(state, given, now(), commit) is not None
    db.session.commit()
    known = settings_of(connection(shop))
    assert known["consumer_key"] == given["consumer_key"]
    assert known["history_days"] == "30"
    assert connection(shop).version == changed + 1


def test_keys_that_are_too_long_to_be_kept_are_refused(reachable, fake, client, monkeypatch):
    shop = connect(fake)
    state = begin_login(connection(shop), now())
    db.session.commit()
    before = settings_of(connection(shop))
    given = {
        "user_id": state,
        "key_permissions": "read_write",
        "consumer_key": "ck_" + "1" * 40,
        "consumer_secret": "cs_" + "2" * 40,
    }
    monkeypatch.setattr("server.shops.connections.MAX_SETTINGS_LENGTH", 100)
    assert client.post(f"/logins/shops/{state}", json=given).status_code == 422
    assert settings_of(connection(shop)) == before


@pytest.mark.parametrize("is_told", [True, False])
def test_a_delivery_has_a_largest_size_whatever_it_says_of_itself(
    reachable, fake, client, monkeypatch, is_told
):
    shop = connect(fake)
    state = begin_login(connection(shop), now())
    db.session.commit()
    address = f"{WEBHOOK_PATH}{webhook_token(connection(shop))}"
    monkeypatch.setattr("server.api.shop_webhooks.MAX_WEBHOOK_BYTES", 1_000)
    for path in (address, f"{address}/register", f"/logins/shops/{state}"):
        body = io.BytesIO(json.dumps({"x": "y" * 2_000}).encode())
        more = {"headers": {"Content-Length": "2009"}} if is_told else {}
        answer = client.post(
            path,
            input_stream=body,
            content_type="application/json",
            environ_overrides={"wsgi.input_terminated": True},  # as gunicorn says of chunks
            **more,
        )
        assert (answer.status_code, answer.text) == (413, "Too large.\n"), path


def test_a_bug_is_told_even_if_the_connection_was_removed_meanwhile(
    app, reachable, fake, monkeypatch
):
    shop = connect(fake)
    row = connection(shop)

    def breaks(*_: object) -> None:
        db.session.execute(delete(ShopConnection).where(ShopConnection.id == row.id))
        db.session.commit()
        raise ArithmeticError("a bug of the visit")

    monkeypatch.setattr(Host, "_go", breaks)
    host = Host(in_context=app.app_context, commit=db.session.commit, is_stopping=lambda: False)
    with pytest.raises(ArithmeticError, match="a bug of the visit"):
        host._visit(row.id, shop.merchant_id, shop.id)


def test_a_call_without_its_encryption_key_comes_again(reachable, fake, client):
    shop = connect(fake)
    row = connection(shop)
    token = webhook_token(row)
    row.settings = Vault([Fernet.generate_key().decode()]).seal("{}")
    db.session.commit()
    assert client.get(f"/webhooks/shops/{token}/any").status_code == 503


def test_what_changes_during_a_visit_counts_at_once(reachable, fake, monkeypatch):
    """Somebody presses "look now", or enters another key, while the shop is being visited."""
    shop = connect(fake)
    drain()
    listed = WooCommerce.list_orders

    def change(connector, cursor):
        monkeypatch.setattr(WooCommerce, "list_orders", listed)
        row = connection(shop)
        change_settings(row, {**settings_of(row), "history_days": "30"}, now())
        db.session.commit()
        return listed(connector, cursor)

    monkeypatch.setattr(WooCommerce, "list_orders", change)
    row = connection(shop)
    row.due_at = now()
    db.session.commit()
    drain()
    row = connection(shop)
    assert row.due_at > now()
    visitor = jobs.current_app.extensions[jobs.HOST]._visitors[row.id]
    assert visitor.version == row.version, "it was visited again with the new settings"


def test_visits_are_no_attempts_at_anything(reachable, fake):
    shop = connect(fake)
    for _ in range(3):
        again(shop)
        assert connection(shop).attempts == 0


@pytest.mark.feature("S33")
def test_a_shop_that_is_visited_every_half_hour_is_not_silent_in_between(reachable, fake):
    shop = connect(fake)
    drain()
    assert shop.compare_seconds == 1800
    for minutes, is_away in ((20, False), (44, False), (46, True)):
        at = shop.seen_at + timedelta(minutes=minutes)
        assert Circumstances(shop.merchant_id, at).is_away(shop.id) is is_away


@pytest.mark.feature("K66")
def test_what_a_test_shop_is_not_told_calls_nobody_again_and_again(reachable, fake):
    shop = connect(fake)
    key = place(fake)
    drain()
    shop.connected_at -= timedelta(days=1)
    fake.set_status(key, "on-hold")
    ask_for_order(shop, external_id=key, asked_by=ANNA, at=now())
    db.session.commit()
    drain()
    order = order_of(shop, key)
    assert order is not None
    mark_as_paid(shop.merchant_id, order.id, actor=ANNA, at=now())
    change_setting(shop.merchant_id, "mode", "test", actor=ANNA, at=now(), shop_id=shop.id)
    db.session.commit()
    drain()
    row = connection(shop)
    assert row.rests_until is not None
    assert not ShopConnection.is_due(now())
    assert ShopConnection.is_due(row.rests_until), "and it is looked at again"


def test_a_bug_ends_no_connection(reachable, fake, monkeypatch):
    shop = connect(fake)
    drain()
    monkeypatch.setattr(WooCommerce, "list_orders", lambda *_: 1 / 0)
    for _ in range(12):
        row = connection(shop)
        row.due_at = now()
        db.session.commit()
        with pytest.raises(ZeroDivisionError):
            jobs.drain_shop_connection()
        db.session.rollback()
    row = connection(shop)
    assert row.status == "queued"
    assert row.rests_until == row.due_at > now()
    assert "ZeroDivisionError" in row.error
    monkeypatch.undo()
