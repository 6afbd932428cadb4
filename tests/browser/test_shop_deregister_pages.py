"""Deregistering a shop in a real browser: asked first, then only to be looked at; the phone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from playwright.sync_api import expect

from server.db import db, now
from server.shops.service import deregister
from tests.browser.conftest import Desk
from tests.browser.test_shared_pages import is_too_wide, small_targets
from tests.factories import make_key, make_shop


@pytest.mark.feature("K12")
def test_a_shop_is_deregistered_and_stands_below_the_others(desk: Desk, merchant) -> None:
    shop = make_shop(merchant, "Papier & Feder", url="http://shop.example.org")
    make_shop(merchant, "Zweiter Laden", url="https://b.example.org")
    make_key(merchant, "shop", shop)
    page = desk.open(f"/shops/{shop.id}")
    page.get_by_role("link", name="Shop abmelden").click()
    expect(page.get_by_role("heading", name="Papier & Feder endgültig abmelden?")).to_be_visible()
    page.get_by_role("link", name="Abbrechen").click()
    page.get_by_role("link", name="Shop abmelden").click()
    page.get_by_role("button", name="Shop abmelden").click()
    expect(page.get_by_text("Das ist endgültig:")).to_be_visible()
    expect(page.get_by_role("link", name="Angaben ändern")).to_have_count(0)
    desk.open("/shops")
    expect(page.get_by_role("link", name="Zweiter Laden")).to_be_visible()
    expect(page.get_by_role("link", name="Papier & Feder")).to_be_hidden()
    page.get_by_text("1 abgemeldeter Shop").click()
    page.get_by_role("link", name="Papier & Feder").click()
    assert desk.path() == f"/shops/{shop.id}"
    assert desk.complaints == []


@pytest.mark.feature("K12")
def test_its_pages_fit_on_a_phone(phone: Desk, merchant) -> None:
    over = make_shop(merchant, "Papier & Feder", url="http://shop.example.org")
    make_key(merchant, "shop", over)
    deregister(over, actor="anna@example.org", at=now())
    ill = make_shop(merchant, "Zweiter Laden", status="disabled", error="HTTP 401: wrong password")
    ill.error_since, ill.error_source = now() - timedelta(days=31), "update"
    db.session.commit()
    paths = ("/shops", f"/shops/{over.id}", f"/shops/{ill.id}/deregister", f"/shops/{ill.id}", "/")
    for path in paths:
        page = phone.open(path)
        assert not is_too_wide(page), path
        assert small_targets(page) == [], path
    expect(page.get_by_text("Zweiter Laden ist abgeschaltet")).to_be_visible()
    assert phone.complaints == []
