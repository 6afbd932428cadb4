"""Connecting a shop in a real browser: one click, check, methods, first orders, on; the phone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from plugin_sdk.testing.fake_woocommerce import CONSUMER_KEY, CONSUMER_SECRET, FakeWooCommerce
from server import jobs
from server.config import Settings, install, installed
from server.db import db, now
from server.hosting.connecting import new_secrets
from server.merchants.models import User
from server.shops.connections import add_connection, connection_of, settings_of, switch_on
from server.shops.models import Shop
from tests.browser.conftest import Desk
from tests.browser.test_shared_pages import is_too_wide, small_targets
from tests.factories import make_shop

TICK = re.compile(r'type="(radio|checkbox)"')
"""Their label is what one hits."""


@pytest.fixture
def fake() -> Iterator[FakeWooCommerce]:
    with FakeWooCommerce() as running:
        running.authorize.takes_http = True
        running.freeze(now() - timedelta(hours=1))
        running.add_order()
        running.add_order(payment_method="paypal", payment_method_title="PayPal")
        running.set_status(running.add_order(), "cancelled")
        running.freeze(None)
        yield running


@pytest.fixture
def reachable(app, live_server) -> Iterator[Settings]:
    """The operator lets shops on this machine be called, and they reach Kontor there."""
    before = installed()
    opened = replace(
        before, allowed_networks=("127.0.0.0/8",), allow_http=True, url=live_server.url
    )
    install(opened)
    app.config["SETTINGS"] = opened
    yield opened
    install(before)
    app.config["SETTINGS"] = before
    app.extensions.pop(jobs.HOST, None)


def the_shop() -> Shop:
    db.session.rollback()
    db.session.expire_all()
    return db.session.query(Shop).one()


@pytest.mark.feature("S21", "S22", "C5", "K66", "K67")
def test_from_the_choice_of_the_system_to_the_first_visit(reachable, desk, fake):
    page = desk.open("/shops")
    page.get_by_role("link", name="Shop verbinden").click()
    page.get_by_role("link", name="WooCommerce").click()
    page.get_by_label("Adresse des Shops").fill("kein-shop")
    page.get_by_role("button", name="Weiter zu WooCommerce").click()
    expect(page.get_by_text("Das ist keine Adresse")).to_be_visible()
    page.get_by_label("Adresse des Shops").fill(fake.url)
    page.get_by_role("button", name="Weiter zu WooCommerce").click()
    page.get_by_role("link", name="Approve").click()
    page.wait_for_url("**/connection/check?done=shop_logged_in")
    expect(page.get_by_text("Die Verbindung steht.")).to_be_visible()
    page.get_by_role("link", name="Weiter zu den Zahlarten").click()
    expect(page.get_by_label("Direkte Banküberweisung").first).to_be_checked()
    page.get_by_role("button", name="Speichern und weiter").click()
    expect(page.get_by_role("row", name="Erika Mustermann").first).to_be_visible()
    expect(page.get_by_text("1 Bestellung vor dem Stichtag.")).to_be_visible()
    page.get_by_label("Testbetrieb").check()
    page.get_by_role("button", name="Einschalten").click()
    expect(page.get_by_text("Beginnt gerade")).to_be_visible()
    shop = the_shop()
    row = connection_of(shop.merchant_id, shop.id)
    assert row is not None and row.status == "queued"
    assert settings_of(row)["consumer_key"] in fake.login.keys
    db.session.rollback()
    assert jobs.drain_shop_connection() is False
    page.reload()
    expect(page.get_by_text("Läuft")).to_be_visible()
    page.get_by_role("button", name="Jetzt nachsehen").click()
    expect(page.get_by_text("Kontor sieht jetzt im Shop nach")).to_be_visible()


def test_who_denies_is_told_kindly_and_can_try_again(reachable, desk, fake):
    page = desk.open("/shops/connect?system=woocommerce")
    page.get_by_label("Adresse des Shops").fill(fake.url)
    page.get_by_role("button", name="Weiter zu WooCommerce").click()
    page.get_by_role("link", name="Deny").click()
    expect(page.get_by_role("alert")).to_contain_text("nicht zugestimmt")
    expect(page.get_by_label("Adresse des Shops")).to_have_value(fake.url)
    expect(page.get_by_role("button", name="Weiter zu WooCommerce")).to_be_visible()


def test_without_scripts_every_step_has_a_button(reachable, live_server, merchant, chromium, fake):
    context = chromium.new_context(java_script_enabled=False, locale="de-DE")
    desk = Desk(context, live_server.url)
    desk.log_in()
    page = desk.open("/shops/connect?system=woocommerce&by=keys")
    page.get_by_label("Adresse des Shops").fill(fake.url)
    page.get_by_label("Consumer Key").fill(CONSUMER_KEY)
    page.get_by_label("Consumer Secret").fill(CONSUMER_SECRET)
    page.get_by_role("button", name="Speichern und prüfen").click()
    page.get_by_role("button", name="Jetzt prüfen").click()
    expect(page.get_by_text("Die Verbindung steht.")).to_be_visible()
    page.get_by_role("link", name="Weiter zu den Zahlarten").click()
    page.get_by_role("button", name="Speichern und weiter").click()
    page.get_by_role("button", name="Jetzt lesen").click()
    expect(page.get_by_role("row", name="Erika Mustermann").first).to_be_visible()
    context.close()


@pytest.mark.parametrize("language", ["de", "en"])
def test_the_pages_fit_screen_and_phone_in_both_languages(
    reachable, merchant, desk, phone, fake, language
):
    shop = make_shop(merchant, "Papier & Feder", url=fake.url)
    settings = {**fake.settings(), **new_secrets("woocommerce")}
    row = add_connection(shop, "woocommerce", settings, now())
    db.session.query(User).one().language = language
    db.session.commit()
    base = f"/shops/{shop.id}"
    paths = (
        "/shops/connect", "/shops/connect?system=woocommerce",
        "/shops/connect?system=woocommerce&by=keys", "/shops/connect?system=ebay&by=keys",
        f"{base}/connection", f"{base}/connection/check", f"{base}/connection/orders",
        f"{base}/connection/remove", f"{base}/mapping", f"{base}/edit", base,
    )  # fmt: skip
    for is_on in (False, True):
        if is_on:
            switch_on(row, now())
            row.needs_login, row.failures, row.error = True, 1, "Log in once more."
            db.session.commit()
        for who in (desk, phone):
            for path in paths:
                page = who.open(path)
                page.wait_for_load_state("networkidle")
                assert not is_too_wide(page), path
                small = [one for one in small_targets(page) if not TICK.search(one)]
                assert small == [], path
                assert who.complaints == [], path
