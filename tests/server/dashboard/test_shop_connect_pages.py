"""Connecting a shop that Kontor talks to itself, from the choice of the system to switching on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import text

from plugin_sdk.testing.fake_woocommerce import CONSUMER_KEY, CONSUMER_SECRET, FakeWooCommerce
from server import jobs
from server.config import Settings, install, installed
from server.dashboard.shop_connect import TALKS
from server.db import db, now
from server.hosting.connecting import new_secrets
from server.merchants.service import settings_of as merchant_settings
from server.orders.models import Order
from server.shops import connections
from server.shops.connections import add_connection, connection_of, settings_of
from server.shops.models import Shop, ShopConnection
from server.visitors import attempt_limits
from tests.factories import make_key, make_merchant, make_shop
from tests.server.dashboard.visitor import ORIGIN, member

OTHER_SECRET = "cs_" + "b" * 40


@pytest.fixture
def merchant(app):
    return make_merchant()


@pytest.fixture
def anna(app, merchant):
    return member(app, merchant)


@pytest.fixture
def fake() -> Iterator[FakeWooCommerce]:
    with FakeWooCommerce() as running:
        yield running


@pytest.fixture
def reachable(app) -> Iterator[Settings]:
    """The operator lets shops on this machine be called."""
    before = installed()
    opened = replace(before, allowed_networks=("127.0.0.0/8",), allow_http=True)
    install(opened)
    app.config["SETTINGS"] = opened
    yield opened
    install(before)
    app.config["SETTINGS"] = before
    app.extensions.pop(jobs.HOST, None)


@pytest.fixture
def over_https(reachable, app) -> Settings:
    """Kontor is reached as a real installation is."""
    secure = replace(reachable, url="https://kontor.example.org")
    install(secure)
    return secure


def words_of(answer) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


def keys(fake, **over) -> dict[str, str]:
    return {
        "system": "woocommerce",
        "by": "keys",
        "shop_url": fake.url,
        "consumer_key": CONSUMER_KEY,
        "consumer_secret": CONSUMER_SECRET,
        "name": "Papier & Feder",
        "history_days": "400",
        "auth": "auto",
    } | over


def only_shop() -> Shop:
    db.session.expire_all()
    return db.session.query(Shop).one()


def row_of(shop) -> ShopConnection:
    db.session.expire_all()
    row = connection_of(shop.merchant_id, shop.id)
    assert row is not None
    return row


@pytest.fixture
def connected(anna, reachable, fake) -> Shop:
    """A shop with a connection that was not switched on yet."""
    assert anna.post("/shops/connect", keys(fake)).status_code == 303
    return only_shop()


# --- the system -----------------------------------------------------------------------------------


@pytest.mark.feature("S19", "S21")
def test_every_installed_system_is_offered_and_the_ways_without_one(anna):
    said = words_of(anna.get("/shops/connect"))
    assert "WooCommerce" in said and "Anmelden mit einem Klick" in said
    assert "gemietetem Webspace" in said and "Für eigene Server" in said
    assert "Ohne Shopsystem" in said
    page = anna.get("/shops/new?system=other").text
    assert '<option value="other" selected>' in page
    assert anna.get("/shops/connect?system=nonsense").status_code == 404


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.feature("S21")
def test_a_form_is_made_of_the_connectors_settings(anna, reachable):
    page = anna.get("/shops/connect?system=woocommerce&by=keys").text
    assert "Adresse des Shops" in page and "Consumer Secret" in page
    assert re.search(r'name="consumer_secret" type="password"', page)
    assert '<option value="oauth1">' in page and 'value="400"' in page
    assert 'name="webhook_secret"' not in page and 'name="webhook_url"' not in page


@pytest.mark.feature("S21", "K66")
def test_a_shop_is_connected_with_keys(anna, reachable, fake):
    answer = anna.post("/shops/connect", keys(fake))
    shop = only_shop()
    assert answer.location == f"/shops/{shop.id}/connection/check"
    assert (shop.name, shop.system, shop.url) == ("Papier & Feder", "woocommerce", fake.url)
    row = row_of(shop)
    settings = settings_of(row)
    assert (row.status, settings["consumer_secret"]) == ("withheld", CONSUMER_SECRET)
    assert settings["webhook_secret"], "made up by Kontor itself"
    assert (shop.status, shop.connected_at) == ("not_connected", None)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"shop_url": ""}, "Das wird gebraucht"),
        ({"shop_url": "shop"}, "Das ist keine Adresse"),
        ({"shop_url": "https://a:b@shop.example.org"}, "keinen Benutzernamen"),
        ({"shop_url": "http://10.1.2.3"}, "privates Netz"),
        ({"consumer_secret": ""}, "Das wird gebraucht"),
        ({"history_days": "viele"}, "keine ganze Zahl"),
        ({"auth": "magic"}, "Wählen Sie einen der Werte"),
        ({"consumer_key": "x" * 4001}, "zu lang"),
    ],
)
def test_what_cannot_be_is_said_beside_its_field_and_nothing_is_lost(
    anna, reachable, fake, wrong, said
):
    answer = anna.post("/shops/connect", keys(fake, **wrong))
    assert answer.status_code == 422 and said in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert 'value="Papier &amp; Feder"' in answer.text
    assert CONSUMER_SECRET not in answer.text
    assert "Gespeichert. Leer lassen" not in answer.text, "nothing is stored yet"
    assert ("noch einmal ein; es wird" in answer.text) is ("consumer_secret" not in wrong)
    assert db.session.query(Shop).count() == 0


def test_what_only_the_host_knows_is_never_taken_from_a_form(anna, reachable, fake):
    form = keys(fake, webhook_secret="mine", webhook_url="https://x.example", base_url="http://x")
    anna.post("/shops/connect", form)
    settings = settings_of(row_of(only_shop()))
    assert settings["webhook_secret"] != "mine"
    assert "webhook_url" not in settings and "base_url" not in settings


def test_a_secret_is_never_shown_again_and_left_empty_it_stays(anna, connected, fake):
    path = f"/shops/{connected.id}/connection"
    page = anna.get(path).text
    assert CONSUMER_SECRET not in page and CONSUMER_KEY in page
    assert "Leer lassen, um es zu behalten" in page
    form = keys(fake, consumer_secret="", history_days="90")
    assert anna.post(path, form).status_code == 303
    settings = settings_of(row_of(connected))
    assert (settings["consumer_secret"], settings["history_days"]) == (CONSUMER_SECRET, "90")
    anna.post(path, keys(fake, consumer_secret=OTHER_SECRET))
    assert settings_of(row_of(connected))["consumer_secret"] == OTHER_SECRET


def test_the_same_shop_is_not_connected_twice(anna, connected, fake):
    answer = anna.post("/shops/connect", keys(fake, shop_url=fake.url + "/"))
    assert answer.status_code == 422 and "Diesen Shop gibt es schon" in answer.text
    assert db.session.query(Shop).count() == 1


def test_nor_does_another_shop_get_its_address_later(anna, connected, merchant, fake):
    other = make_shop(merchant)
    path = f"/shops/{other.id}/connection"
    answer = anna.post(path, keys(fake))
    assert answer.status_code == 422 and "Diesen Shop gibt es schon" in answer.text
    db.session.expire_all()
    assert connection_of(merchant.id, other.id) is None
    assert anna.post(path, keys(fake, shop_url="http://127.0.0.1:9")).status_code == 303
    answer = anna.post(path, keys(fake, shop_url=fake.url + "/"))
    assert answer.status_code == 422 and "Diesen Shop gibt es schon" in answer.text
    assert settings_of(row_of(other))["shop_url"] == "http://127.0.0.1:9"


# --- one click ------------------------------------------------------------------------------------


def begun(anna, address="https://shop.example.org") -> str:
    """Begins a log-in; where the browser is sent."""
    form = {"system": "woocommerce", "by": "login", "shop_url": address, "auth": "auto"}
    answer = anna.post("/shops/connect", form)
    assert answer.status_code == 200
    found = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', answer.text)
    assert found
    return found[1].replace("&amp;", "&")


@pytest.mark.feature("S21")
def test_one_click_leads_to_wordpress_and_back_to_the_check(anna, client, over_https):
    address = begun(anna)
    asked = {name: value for name, (value,) in parse_qs(urlsplit(address).query).items()}
    assert address.startswith("https://shop.example.org/wc-auth/v1/authorize?")
    assert asked["callback_url"].startswith("https://kontor.example.org/logins/shops/")
    delivered = {
        "key_id": 3,
        "user_id": asked["user_id"],
        "consumer_key": "ck_" + "a" * 40,
        "consumer_secret": OTHER_SECRET,
        "key_permissions": "read_write",
    }
    path = urlsplit(asked["callback_url"]).path
    assert client.post(path, json=delivered).status_code == 200
    back = urlsplit(asked["return_url"]).path
    shop = only_shop()
    answer = anna.get(f"{back}?success=1&user_id={asked['user_id']}")
    assert answer.location == f"/shops/{shop.id}/connection/check?done=shop_logged_in"
    assert settings_of(row_of(shop))["consumer_secret"] == OTHER_SECRET
    assert client.post(path, json=delivered).status_code == 404, "good for one log-in"
    again = anna.get(f"{back}?success=1&user_id={asked['user_id']}")
    assert again.status_code == 303, "the browser's back button harms nothing"


@pytest.mark.parametrize(
    ("query", "said"),
    [("success=0", "nicht zugestimmt"), ("success=1", "keinen Schlüssel geliefert"),
     ("error=access_denied", "nicht zugestimmt")],
)  # fmt: skip
def test_a_log_in_that_brings_no_key_says_so_and_can_be_begun_again(anna, over_https, query, said):
    back = urlsplit(parse_qs(urlsplit(begun(anna)).query)["return_url"][0]).path
    answer = anna.get(f"{back}?{query}")
    assert answer.status_code == 422 and said in answer.text
    assert "Weiter zu WooCommerce" in answer.text
    assert "consumer_secret" not in settings_of(row_of(only_shop()))


def test_a_log_in_that_is_over_is_begun_anew(anna, over_https):
    back = urlsplit(parse_qs(urlsplit(begun(anna)).query)["return_url"][0]).path
    row = row_of(only_shop())
    row.login_until = now() - timedelta(seconds=1)
    db.session.commit()
    assert "ist abgelaufen" in anna.get(f"{back}?success=1").text


def test_somebody_else_does_not_come_back_from_my_log_in(app, anna, over_https):
    back = urlsplit(parse_qs(urlsplit(begun(anna)).query)["return_url"][0]).path
    bob = member(app, make_merchant("Bobs Laden"), "bob@example.org")
    assert bob.get(f"{back}?success=1").status_code == 404
    assert anna.get("/shops/login?state=unknown").status_code == 404


def test_systems_with_one_registered_address_name_the_log_in_in_the_query(anna, over_https):
    state = parse_qs(urlsplit(begun(anna)).query)["user_id"][0]
    answer = anna.get(f"/shops/login?state={state}&error=access_denied")
    assert answer.status_code == 422 and "nicht zugestimmt" in answer.text


def test_without_https_the_form_with_keys_is_offered(anna, reachable):
    install(replace(reachable, url="http://kontor.example.org"))
    page = anna.get("/shops/connect?system=woocommerce").text
    assert "nur, wenn Kontor selbst über https" in page and 'name="consumer_key"' in page
    form = {"system": "woocommerce", "by": "login", "shop_url": "https://shop.example.org"}
    answer = anna.post("/shops/connect", form)
    assert answer.status_code == 422 and "nur, wenn Kontor selbst über https" in answer.text
    assert db.session.query(Shop).count() == 0


@pytest.mark.feature("S21")
def test_a_shop_that_needs_a_new_log_in_says_so_and_leads_there(anna, connected, over_https):
    row = row_of(connected)
    connections.switch_on(row, now())
    row.needs_login, row.failures, row.error = True, 1, "Log in once more."
    connected.status = "connected"
    db.session.commit()
    page = anna.get(f"/shops/{connected.id}")
    assert "Braucht eine neue Anmeldung" in page.text and "Neu anmelden" in page.text
    answer = anna.post(f"/shops/{connected.id}/connection/login")
    assert "/wc-auth/v1/authorize?" in answer.text


# --- an app that brings the keys ------------------------------------------------------------------


@pytest.mark.feature("S21")
def test_the_app_of_a_shop_is_fetched_and_its_secret_is_kept(anna, over_https):
    page = anna.get("/shops/connect?system=shopware").text
    assert "eine App hoch" in page and 'name="client_id"' not in page
    form = {"system": "shopware", "by": "app", "shop_url": "https://shop.example.org",
            "history_days": "400", "cancel_orders": "yes"}  # fmt: skip
    answer = anna.post("/shops/connect", form)
    shop = only_shop()
    assert answer.location == f"/shops/{shop.id}/connection?by=app"
    assert "App herunterladen" in anna.get(answer.location).text
    package = anna.post(f"/shops/{shop.id}/connection/app")
    assert package.headers["Content-Disposition"].startswith("attachment; filename=")
    assert package.data.startswith(b"PK")
    settings = settings_of(row_of(shop))
    assert settings["app_secret"] and settings["cancel_orders"] is True
    anna.post(f"/shops/{shop.id}/connection", form | {"cancel_orders": ""})
    kept = settings_of(row_of(shop))
    assert (kept["app_secret"], kept["cancel_orders"]) == (settings["app_secret"], False)


def test_a_system_without_an_app_gives_none(anna, connected):
    answer = anna.post(f"/shops/{connected.id}/connection/app")
    assert answer.location == f"/shops/{connected.id}/connection"


def test_a_system_that_asks_more_is_told_where(anna, merchant, over_https):
    shop = make_shop(merchant, system="ebay", url="https://www.ebay.de")
    row = add_connection(shop, "ebay", {"client_id": "a", "client_secret": "b"}, now())
    db.session.commit()
    said = anna.get(f"/shops/{shop.id}/connection").text
    assert f"https://kontor.example.org/webhooks/shops/{connections.webhook_token(row)}" in said
    assert "Marketplace Account Deletion" in said


# --- the check ------------------------------------------------------------------------------------


@pytest.mark.feature("S22", "K66")
def test_the_check_asks_the_shop_and_remembers_its_own_names(anna, connected):
    path = f"/shops/{connected.id}/connection/check"
    page = anna.get(path).text
    assert 'hx-trigger="load"' in page and "Jetzt prüfen" in page
    answer = anna.post(path)
    assert "Die Verbindung steht." in answer.text and "Weiter zu den Zahlarten" in answer.text
    assert "Kontor legt sie an, sobald" in answer.text, "missing webhooks are no worry yet"
    shop = only_shop()
    assert shop.connector == "woocommerce" and shop.discovery["payment_methods"]
    assert shop.default_mapping["prepayment"]["methods"]
    assert (shop.status, shop.connected_at, shop.seen_at) == ("not_connected", None, None)
    form = {"form_token": anna.token("/account")}
    headers = {"HX-Request": "true", "Origin": ORIGIN}
    piece = anna.client.post(path, data=form, headers=headers)
    assert "<html" not in piece.text and 'id="findings"' in piece.text


def test_what_is_wrong_is_a_list_with_words(anna, connected, fake):
    fake.login.keys.clear()
    answer = anna.post(f"/shops/{connected.id}/connection/check")
    assert "So geht es noch nicht." in answer.text and "Zugang ändern" in answer.text
    said = words_of(answer)
    assert "Anmeldung Problem" in said or "Einstellungen Problem" in said
    assert only_shop().discovery == {}


def test_a_private_address_is_not_asked(anna, merchant, fake):
    """As an installation is without settings."""
    shop = make_shop(merchant, url=fake.url, status="not_connected", connected_at=None)
    add_connection(shop, "woocommerce", {**fake.settings()}, now())
    db.session.commit()
    answer = anna.post(f"/shops/{shop.id}/connection/check")
    assert "So geht es noch nicht." in answer.text
    assert not fake.requests, "the shop heard nothing"


def test_nobody_asks_a_shop_all_the_time(anna, connected, fake, merchant):
    for _ in range(TALKS.amount):
        attempt_limits().count(TALKS, str(merchant.id))
    for step in ("check", "orders"):
        answer = anna.post(f"/shops/{connected.id}/connection/{step}")
        assert "zu viele Shops gefragt" in answer.text
    assert not fake.requests


# --- the mapping ----------------------------------------------------------------------------------


@pytest.mark.feature("S22", "K67")
def test_the_mapping_is_a_step_and_leads_to_the_first_orders(anna, connected):
    anna.post(f"/shops/{connected.id}/connection/check")
    path = f"/shops/{connected.id}/mapping"
    page = anna.get(path).text
    assert "Speichern und weiter" in page and "Direkte Banküberweisung" in page
    answer = anna.post(path, {"prepayment-methods": "bacs", "prepayment-open_statuses": "on-hold"})
    assert answer.location.startswith(f"/shops/{connected.id}/connection/orders")


@pytest.mark.feature("K67", "S23")
def test_a_payment_code_is_switched_off_and_on_again(anna, merchant):
    shop = make_shop(merchant)
    path = f"/shops/{shop.id}/mapping"
    anna.post(f"{path}/off", {"code": "invoice"})
    assert shop.mapping["invoice"]["methods"] == []
    assert (
        shop.mapping["invoice"]["open_statuses"] == shop.default_mapping["invoice"]["open_statuses"]
    )
    assert "ausgeschaltet" in anna.get(path).text
    anna.post(f"{path}/default", {"code": "invoice"})
    assert shop.mapping == {}
    assert anna.post(f"{path}/off", {"code": "barter"}).status_code == 303
    shop.mapping_pinned = True
    db.session.commit()
    assert anna.post(f"{path}/off", {"code": "invoice"}).status_code == 409


# --- the first orders, and on ---------------------------------------------------------------------


@pytest.mark.feature("C5", "S25", "S28", "S29")
def test_the_first_orders_are_shown_as_they_would_come_in_and_nothing_is_stored(
    anna, connected, fake
):
    fake.freeze(now() - timedelta(hours=1))
    open_one = fake.add_order()
    done = fake.add_order()
    fake.set_status(done, "cancelled")
    fake.add_order(payment_method="paypal", payment_method_title="PayPal")
    anna.post(f"/shops/{connected.id}/connection/check")
    writes = len(fake.writes)
    answer = anna.post(f"/shops/{connected.id}/connection/orders")
    said = words_of(answer)
    number = fake.orders[int(open_one)]["number"]
    assert f"{number}" in said and "Erika Mustermann" in said and "vor dem Stichtag" in said
    assert "kommt nicht herein" in said and "Zahlart unbekannt" in said
    assert db.session.query(Order).count() == 0 and len(fake.writes) == writes
    assert only_shop().connected_at is None


@pytest.mark.real_commits
@pytest.mark.feature("C5", "S28", "S29")
def test_what_was_shown_is_what_then_happens(anna, connected, fake):
    from server.hosting.trying import first_orders, judge_of, reader_of

    for method in ("bacs", "paypal", "cod"):
        fake.add_order(payment_method=method)
    fake.set_status(fake.add_order(), "cancelled")
    shop = only_shop()
    anna.post(f"/shops/{shop.id}/connection/check")
    shop, at = only_shop(), now()
    judge = judge_of(shop, at + timedelta(seconds=2))  # they are a moment old by then
    found = first_orders(reader_of(row_of(shop)), judge, at)
    shown = {one.number: one.verdict for one in found.rows}
    assert set(shown.values()) == {"older", "method", "status"} and found.is_all
    shop.connected_at = judge.since
    db.session.commit()
    anna.post(f"/shops/{shop.id}/connection/on", {"mode": "live"})
    assert jobs.drain_shop_connection() is False
    stored = {one.number: one.payment_status for one in db.session.query(Order)}
    assert stored == {
        number: "not_managed" for number, verdict in shown.items() if verdict != "status"
    }


@pytest.mark.feature("S28", "K66", "K12")
def test_switching_on_draws_the_cut_off_and_chooses_live_or_test(anna, connected, merchant):
    before = now()
    answer = anna.post(f"/shops/{connected.id}/connection/on", {"mode": "test"})
    shop = only_shop()
    assert answer.location == f"/shops/{shop.id}?done=shop_on"
    assert shop.connected_at is not None
    assert before - timedelta(seconds=1) <= shop.connected_at <= now()
    assert (shop.status, row_of(shop).status) == ("connected", "queued")
    assert merchant_settings(merchant.id, shop.id).mode == "test"


def test_a_shop_whose_log_in_was_never_made_cannot_be_switched_on(anna, over_https):
    begun(anna)
    shop = only_shop()
    answer = anna.post(f"/shops/{shop.id}/connection/on", {"mode": "live"})
    assert answer.status_code == 422
    assert row_of(shop).status == "withheld" and only_shop().connected_at is None


def test_a_shop_that_is_away_says_so_instead_of_its_orders(anna, connected, fake):
    fake.fail("500", times=50)
    answer = anna.post(f"/shops/{connected.id}/connection/orders")
    assert "ließen sich nicht lesen" in answer.text and "Noch einmal lesen" in answer.text


# --- the shop's page ------------------------------------------------------------------------------


def switched_on(anna, shop) -> Shop:
    anna.post(f"/shops/{shop.id}/connection/on", {"mode": "live"})
    return only_shop()


@pytest.mark.feature("K66", "K12")
def test_the_shops_page_says_how_the_connection_is_doing(anna, connected):
    page = anna.get(f"/shops/{connected.id}")
    assert "Wird eingerichtet" in page.text and "Weiter einrichten" in page.text
    shop = switched_on(anna, connected)
    assert "Beginnt gerade" in anna.get(f"/shops/{shop.id}").text
    row = row_of(shop)
    row.visited_at = now()
    shop.seen_at = now() - timedelta(minutes=25)
    db.session.commit()
    page = anna.get(f"/shops/{shop.id}")
    assert "Läuft" in page.text and "Nächster Besuch" in page.text
    assert "Die Schnittstelle hat sich zuletzt" not in page.text, "it comes every half hour"
    row.failures, row.error = 2, "The shop is away."
    db.session.commit()
    page = anna.get(f"/shops/{shop.id}").text
    assert "Antwortet nicht wie erwartet" in page and "The shop is away." in page


@pytest.mark.feature("K67", "S74")
def test_look_now_makes_the_next_visit_compare_everything(anna, connected):
    shop = switched_on(anna, connected)
    row = row_of(shop)
    row.state = {"cursor": "x", "compared_all_at": 1.0, "payouts_cursor": "y"}
    row.due_at = now() + timedelta(hours=1)
    row.rests_until = row.due_at
    version = row.version
    db.session.commit()
    answer = anna.post(f"/shops/{shop.id}/connection/refresh")
    assert "vergleicht alle Bestellungen" in anna.get(answer.location).text
    row = row_of(shop)
    assert (row.state, row.rests_until, row.version) == (
        {"payouts_cursor": "y"},
        None,
        version + 1,
    )
    assert row.due_at <= now()


@pytest.mark.feature("K12")
def test_a_connection_is_paused_and_resumed_and_keeps_its_day(anna, connected):
    shop = switched_on(anna, connected)
    day = shop.connected_at
    anna.post(f"/shops/{shop.id}/connection/off")
    assert (only_shop().status, row_of(shop).status) == ("disabled", "withheld")
    page = anna.get(f"/shops/{shop.id}").text
    assert "Pausiert" in page and "Fortsetzen" in page
    anna.post(f"/shops/{shop.id}/connection/on")
    shop = only_shop()
    assert (shop.status, row_of(shop).status, shop.connected_at) == ("connected", "queued", day)


@pytest.mark.feature("K12")
def test_today_names_a_shop_that_kontor_disabled_and_none_that_somebody_paused(
    anna, connected, merchant
):
    shop = switched_on(anna, connected)
    ill = make_shop(merchant, "Zweiter Laden", url="https://b.example.org")
    for one, status in ((shop, "error"), (ill, "disabled")):
        one.status, one.error = status, "The key is wrong."
        one.error_since, one.error_source = now() - timedelta(days=31), "agent"
    db.session.commit()
    anna.post(f"/shops/{shop.id}/connection/off")
    today = anna.get("/").text
    assert f'href="/shops/{ill.id}"' in today and f'href="/shops/{shop.id}"' not in today
    assert "Zweiter Laden ist abgeschaltet" in today and "The key is wrong." in today


@pytest.mark.feature("K12")
def test_what_was_disabled_after_a_long_error_comes_back_without_it(anna, connected, merchant):
    shop = switched_on(anna, connected)
    agents = make_shop(merchant, "Zweiter Laden", url="https://b.example.org")
    for one in (shop, agents):
        one.status, one.error = "disabled", "The key is wrong."
        one.error_since, one.error_source = now(), "agent"
    db.session.commit()
    connections.switch_off(row_of(shop))
    db.session.commit()
    for one, button in ((shop, "Fortsetzen"), (agents, "Wieder zulassen")):
        page = anna.get(f"/shops/{one.id}").text
        assert "The key is wrong." in page and button in page
        anna.post(f"/shops/{one.id}/connection/on")
        db.session.expire_all()
        assert (one.status, one.error, one.error_since) == ("connected", None, None)


@pytest.mark.feature("S21")
def test_from_kontor_to_an_agent_and_back(anna, connected, merchant):
    shop = switched_on(anna, connected)
    path = f"/shops/{shop.id}/connection/remove"
    assert "vergisst die Schlüssel" in anna.get(path).text
    anna.post(path)
    assert db.session.query(ShopConnection).count() == 0
    assert only_shop().status == "not_connected"
    page = anna.get(f"/shops/{shop.id}").text
    assert "Schlüssel anlegen" in page and "Kontor selbst holen lassen" in page
    make_key(merchant, "shop", shop)
    form = anna.get(f"/shops/{shop.id}/connection?by=keys").text
    assert f'value="{shop.url}"' in form, "its address is known already"
    anna.post(
        f"/shops/{shop.id}/connection",
        {"by": "keys", "shop_url": shop.url, "consumer_key": CONSUMER_KEY,
         "consumer_secret": CONSUMER_SECRET},
    )  # fmt: skip
    assert row_of(shop).status == "withheld"
    assert "Zu diesem Shop gehören noch API-Schlüssel" in anna.get(f"/shops/{shop.id}").text


@pytest.mark.feature("K66")
def test_another_system_ends_the_connection_and_the_address_is_one_of_its_settings(
    anna, connected, fake
):
    path = f"/shops/{connected.id}/edit"
    assert "Die Adresse steht in den Einstellungen" in anna.get(path).text
    anna.post(path, {"name": "Neuer Name", "system": "woocommerce"})
    shop = only_shop()
    assert (shop.name, shop.url) == ("Neuer Name", fake.url)
    shop.status, shop.error, shop.error_since, shop.error_source = "error", "401", now(), "agent"
    db.session.commit()
    anna.post(path, {"name": "Neu", "system": "ebay", "url": ""})
    assert db.session.query(ShopConnection).count() == 0
    shop = only_shop()
    assert shop.url == "https://www.ebay.de"
    assert (shop.status, shop.error, shop.error_since) == ("not_connected", None, None)


@pytest.mark.feature("S33")
def test_a_shop_that_must_be_asked_every_three_minutes_says_so(anna, connected):
    install(replace(installed(), url="http://kontor.example.org"))  # no shop tells there
    anna.post(f"/shops/{connected.id}/connection/check")
    assert only_shop().compare_seconds == 180
    assert "Das belastet ihn" in anna.get(f"/shops/{connected.id}").text


def test_keys_that_cannot_be_read_are_told_and_can_still_be_removed(anna, connected):
    db.session.execute(text("update shop_connection set settings = 'nonsense'"))
    db.session.commit()
    answer = anna.get(f"/shops/{connected.id}/connection")
    assert answer.status_code == 409 and "KONTOR_ENCRYPTION_KEYS" in answer.text
    answer = anna.post(f"/shops/{connected.id}/connection/check")
    assert "So geht es noch nicht." in answer.text
    assert anna.get(f"/shops/{connected.id}").status_code == 200
    anna.post(f"/shops/{connected.id}/connection/remove")
    assert db.session.query(ShopConnection).count() == 0


# --- who may --------------------------------------------------------------------------------------


def test_only_administrators_see_settings_and_switch(app, merchant, anna, connected):
    from server.merchants.models import User

    clara = member(app, merchant, "clara@example.org")
    db.session.query(User).filter_by(email="clara@example.org").one().is_administrator = False
    db.session.commit()
    base = f"/shops/{connected.id}/connection"
    for path in ("/shops/connect", base, f"{base}/check", f"{base}/orders", f"{base}/remove"):
        assert clara.get(path).status_code == 403, path
    for path in ("on", "off", "remove", "check", "orders", "login", "app"):
        assert clara.post(f"{base}/{path}").status_code == 403, path
    assert row_of(connected).status == "withheld"
    assert "Weiter einrichten" not in clara.get(f"/shops/{connected.id}").text
    switched_on(anna, connected)
    assert clara.post(f"{base}/refresh").status_code == 303


def test_a_stranger_finds_no_connection(app, connected):
    bob = member(app, make_merchant("Bobs Laden"), "bob@example.org")
    base = f"/shops/{connected.id}/connection"
    for path in ("", "/check", "/orders", "/remove"):
        assert bob.get(base + path).status_code == 404
    for path in ("", "/check", "/orders", "/remove", "/on", "/off", "/refresh", "/login", "/app"):
        assert bob.post(base + path).status_code == 404
    assert row_of(connected).status == "withheld"


def test_a_shop_without_a_connection_is_led_to_one(anna, merchant):
    shop = make_shop(merchant, system="other")
    base = f"/shops/{shop.id}/connection"
    assert "WooCommerce" in anna.get(base).text
    for path in ("/check", "/orders"):
        assert "keine eigene Verbindung" in anna.get(base + path).text
    for path in ("", "/check", "/orders", "/login", "/app", "/on"):
        assert anna.post(base + path).location == base
    for path in ("/off", "/refresh", "/remove"):
        assert anna.post(base + path).status_code == 303
    assert new_secrets("woocommerce") != new_secrets("woocommerce")
