"""Today, shops, keys."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import select

from server.banking.models import Statement
from server.db import db, now
from server.mail.models import Mail
from server.merchants import service as merchants
from server.merchants.models import ApiKey
from server.orders import service as orders
from server.shops.models import PaymentUpdate, Shop
from tests.factories import make_merchant, make_order, make_posting, make_shop, today
from tests.server.dashboard.test_order_pages import words
from tests.server.dashboard.visitor import member


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


# --- today ------------------------------------------------------------------------------------


def test_a_new_merchant_is_shown_three_steps(app):
    merchant = make_merchant(account=False)
    page = words(member(app, merchant).get("/"))
    assert "Willkommen, Anna" in page and "Bankkonto angeben" in page
    assert "Wartet auf Sie" not in page


def test_today_is_calm_when_nothing_waits(merchant, anna):
    shop = make_shop(merchant)
    make_order(shop)
    assert "Nichts. Kontor kommt allein zurecht." in words(anna.get("/"))


def test_today_names_everything_that_needs_a_person(merchant, anna):
    shop = make_shop(merchant, status="error", error="403 Forbidden", error_since=now())
    order = make_order(shop, ordered_at=now().isoformat())
    orders.mark_as_paid(merchant.id, order.id, actor="x", at=now())
    db.session.commit()
    other = make_order(shop, ordered_at=now().isoformat())
    orders.mark_as_paid(merchant.id, other.id, actor="x", at=now())
    db.session.commit()
    failed = db.session.query(PaymentUpdate).filter_by(order_id=other.id).one()
    failed.give_up("rejected", now())
    mail = db.session.query(Mail).filter_by(order_id=order.id).first()
    mail.status, mail.error, mail.created_at = "failed", "550", now()
    make_posting(merchant, "12.00", booking_date=today())
    db.session.add(
        Statement(
            merchant_id=merchant.id,
            filename="kaputt.sta",
            content=b"x",
            size_bytes=1,
            content_hash=b"x",
            status="failed",
        )
    )
    db.session.commit()
    page = words(anna.get("/"))
    for line in (
        "1 Umsatz ohne Zuordnung",
        "Laden nimmt keine Rückmeldungen an",
        "Eine Rückmeldung wartet. Der Shop sagt: 403 Forbidden",
        "1 Rückmeldung ist gescheitert",
        other.number,
        "kaputt.sta war nicht zu lesen",
        "1 E-Mail kam nicht an",
        "Eingang heute 12,00 € 1 Umsatz",
    ):
        assert line in page, line


def test_stale_bank_data_is_said_on_every_page(merchant, anna):
    posting = make_posting(merchant, "12.00")
    posting.created_at = now() - timedelta(days=5)
    db.session.commit()
    assert "keine neuen Umsätze" in words(anna.get("/"))
    assert "badge warn" in anna.get("/shops").text


# --- shops ------------------------------------------------------------------------------------


@pytest.mark.feature("K12")
@pytest.mark.parametrize(
    ("status", "icon", "word"),
    [
        ("not_connected", "unmanaged", "Nicht verbunden"),
        ("connected", "check", "Verbunden"),
        ("error", "warn", "Verbunden, Fehler"),
        ("disabled", "cancelled", "Abgeschaltet"),
        ("deregistered", "removed", "Abgemeldet"),
    ],
)
def test_a_shops_connection_is_an_icon_and_a_word(merchant, anna, status, icon, word):
    shop = make_shop(merchant, status=status, error_since=now())
    for path in ("/shops", f"/shops/{shop.id}"):
        badge = re.search(
            rf'<span class="badge[^>]*>[^>]*>[^>]*#{icon}"/></svg>{word}<', anna.get(path).text
        )
        assert badge, path


def test_a_shop_is_added(anna):
    form = {"name": " Zweiter Laden ", "system": "woocommerce", "url": "https://b.example.org"}
    answer = anna.post("/shops/new", form)
    shop = db.session.scalars(select(Shop)).one()
    assert answer.location == f"/shops/{shop.id}?done=shop_added"
    assert (shop.name, shop.status) == ("Zweiter Laden", "not_connected")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": ""}, "einen Namen"),
        ({"url": "ftp://x"}, "keine Adresse"),
        ({"url": "https://user:pass@x.example"}, "keine Adresse"),
        ({"system": "x"}, "Shopsystem"),
    ],
)
def test_a_shop_that_cannot_be_is_refused_and_nothing_typed_is_lost(anna, wrong, said):
    form = {"name": "Laden 2", "system": "shopware", "url": "https://b.example.org"} | wrong
    answer = anna.post("/shops/new", form)
    assert (
        answer.status_code == 422 and said in answer.text and 'aria-invalid="true"' in answer.text
    )
    kept = [value for name, value in form.items() if name not in wrong]
    assert all(value in answer.text for value in kept)


def test_a_key_is_shown_once_works_and_is_revoked(merchant, anna):
    shop = make_shop(merchant)
    answer = anna.post(f"/shops/{shop.id}/keys", {"name": "Lager"})
    shown = re.search(r"kontor_[a-z0-9]{12}_[\w-]{43}", answer.text)
    assert shown
    key = merchants.authenticate(shown[0], now())
    assert key is not None and (key.scope, key.shop_id) == ("shop", shop.id)
    page = anna.get(f"/shops/{shop.id}").text
    assert shown[0] not in page and key.id in page and "Lager" in page
    asked = anna.get(f"/shops/{shop.id}/keys/{key.id}/revoke").text
    assert "Schlüssel „Lager“ sperren?" in asked
    anna.post(f"/shops/{shop.id}/keys/{key.id}/revoke")
    assert merchants.authenticate(shown[0], now()) is None
    assert "gesperrt heute" in anna.get(f"/shops/{shop.id}").text


def test_a_key_without_a_name_is_refused(merchant, anna):
    shop = make_shop(merchant)
    assert anna.post(f"/shops/{shop.id}/keys", {"name": " "}).status_code == 422
    assert anna.post("/bank-accounts/keys", {"name": "x" * 101}).status_code == 422
    assert db.session.scalars(select(ApiKey)).all() == []


def test_a_bank_key_has_the_scope_of_the_bank(anna):
    answer = anna.post("/bank-accounts/keys", {"name": "Abruf"})
    shown = re.search(r"kontor_\S{56}", answer.text)
    assert shown
    key = merchants.authenticate(shown[0], now())
    assert key is not None and (key.scope, key.shop_id) == ("bank", None)
    anna.post(f"/bank-accounts/keys/{key.id}/revoke")
    assert merchants.authenticate(shown[0], now()) is None
