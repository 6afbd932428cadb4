"""The app: registration, events and manifest. The signatures were made with openssl."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest

from connectors.shopware import Shopware, app
from connectors.shopware.criteria import PRIVILEGES
from plugin_sdk.errors import Rejected
from plugin_sdk.testing.fake_shopware import APP_SECRET, SHOP_ID, FakeShopware

SECRET = "app-geheimnis"
QUERY = "shop-id=AbC9&shop-url=https%3A%2F%2Fladen.example.org%2F%2F&timestamp=1795280000"
QUERY_SIGNED = "77316db122406876ddac93bfede5596fd7cb83c66b514783a84af98f43158630"
QUERY_SIGNED_WITH_OLD = "1645393de2ec5d73d45f5bf99f20f1adf23df29079b22400505ba857e4af384b"
PROOF = "77b24902d0cadfbaa185eb84bb2c1ed910f35151c6581159a44070772070aedc"
NOW = datetime.fromtimestamp(1795280010, UTC)
BODY = (
    b'{"apiKey":"SWIA1","secretKey":"geheim","timestamp":"1795280001",'
    b'"shopUrl":"https://laden.example.org//","shopId":"AbC9"}'
)
BODY_SIGNED_WITH_NEW = "7f20b4d8739fe0dd39f998065f1102d44ed2bb8683111fd364e96cfca06a7d44"
BODY_SIGNED_WITH_OLD = "83c8d31194b0504d0b777edca3b203d369ef1a2599e4f6dc3240cf40c2e4bd50"


def register(query=QUERY, headers=None, **more):
    given = {"shopware-app-signature": QUERY_SIGNED, "sw-version": "6.6.7.0", **(headers or {})}
    return app.read_registration(query, given, **{"app_secret": SECRET, "now": NOW, **more})


def confirm(body=BODY, headers=None, **more):
    given = {"shopware-shop-signature": BODY_SIGNED_WITH_NEW, **(headers or {})}
    wanted = {"shop_id": "AbC9", "shop_secret": "neu", "now": NOW, **more}
    return app.read_confirmation(body, given, **wanted)


class TestRegistration:
    def test_a_new_shop(self):
        found = register()
        assert found.shop_id == "AbC9"
        assert found.shop_url == "https://laden.example.org"
        assert not found.is_proven

    def test_the_proof_is_over_the_address_as_the_shop_wrote_it(self):
        answer = app.registration_answer(
            register(),
            app_secret=SECRET,
            shop_secret="s" * 64,
            confirmation_url="https://kontor.example.org/confirm",
        )
        assert answer == {
            "proof": PROOF,
            "secret": "s" * 64,
            "confirmation_url": "https://kontor.example.org/confirm",
        }

    @pytest.mark.parametrize(
        "query",
        [
            QUERY + "&x=1",
            QUERY.replace("AbC9", "AbC8"),
            QUERY.replace("%2F%2F&", "%2f%2f&"),
            "timestamp=1795280000&" + QUERY.removesuffix("&timestamp=1795280000"),
            "",
        ],
    )
    def test_the_signature_is_over_the_query_as_it_came(self, query):
        with pytest.raises(Rejected, match="signature"):
            register(query)

    @pytest.mark.parametrize("proof", ["", "AAAA", "ü", QUERY_SIGNED.upper()])
    def test_a_wrong_signature(self, proof):
        with pytest.raises(Rejected, match="signature"):
            register(headers={"shopware-app-signature": proof})

    def test_without_a_secret_nothing_fits(self):
        with pytest.raises(Rejected):
            register(app_secret="", headers={"shopware-app-signature": app.sign(QUERY, "")})

    @pytest.mark.parametrize("minutes", [-16, 16])
    def test_an_old_request_and_a_wrong_clock(self, minutes):
        with pytest.raises(Rejected, match="too old"):
            register(now=NOW + timedelta(minutes=minutes))

    @pytest.mark.parametrize(
        "query",
        [
            "shop-url=https://a.example&timestamp=1795280000",
            "shop-id=&shop-url=https://a.example&timestamp=1795280000",
            "shop-id=A&timestamp=1795280000",
            "shop-id=A&shop-url=ftp://a.example&timestamp=1795280000",
            "shop-id=A&shop-url=https://u:p@a.example&timestamp=1795280000",
            "shop-id=A&shop-url=https://a.example&timestamp=soon",
            "shop-id=A&shop-url=https://a.example",
        ],
    )
    def test_what_is_missing_is_refused_although_it_is_signed(self, query):
        with pytest.raises(Rejected):
            register(query, {"shopware-app-signature": app.sign(query, SECRET)})

    def test_a_shop_that_comes_again_proves_it_with_its_last_secret(self):
        known = {"shopware-shop-signature": QUERY_SIGNED_WITH_OLD}
        assert register(headers=known, shop_secret="alt").is_proven
        assert not register(shop_secret="alt").is_proven, "somebody else may have its id"
        with pytest.raises(Rejected, match="last secret"):
            register(headers={"shopware-shop-signature": QUERY_SIGNED}, shop_secret="alt")

    def test_secrets_are_long_and_new(self):
        made = {app.new_secret() for _ in range(5)}
        assert len(made) == 5
        assert all(64 <= len(each) <= 255 for each in made)


class TestConfirmation:
    def test_it_gives_the_settings_of_the_connector(self):
        settings = app.settings_of(confirm(), "neu")
        assert settings == {
            "shop_url": "https://laden.example.org",
            "client_id": "SWIA1",
            "client_secret": "geheim",
            "webhook_secret": "neu",
        }
        assert Shopware(settings).is_told

    def test_a_shop_that_comes_again_signs_with_both_secrets(self):
        both = {"shopware-shop-signature-previous": BODY_SIGNED_WITH_OLD}
        assert confirm(headers=both, previous_secret="alt").client_id == "SWIA1"
        with pytest.raises(Rejected, match="last secret"):
            confirm(previous_secret="alt")
        with pytest.raises(Rejected):
            confirm(headers={"shopware-shop-signature": BODY_SIGNED_WITH_OLD})

    @pytest.mark.parametrize(
        "change",
        [
            {"shopId": "AbC8"},
            {"apiKey": ""},
            {"apiKey": None},
            {"secretKey": 7},
            {"timestamp": "1795270000"},
            {"shopUrl": "laden"},
        ],
    )
    def test_what_is_wrong_is_refused_although_it_is_signed(self, change):
        body = json.dumps({**json.loads(BODY), **change}).encode()
        with pytest.raises(Rejected):
            confirm(body, {"shopware-shop-signature": app.sign(body, "neu")})

    @pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b"[" * 100_000])
    def test_what_is_no_object_is_refused_although_it_is_signed(self, body):
        with pytest.raises(Rejected):
            confirm(body, {"shopware-shop-signature": app.sign(body, "neu")})


class TestEvents:
    @pytest.fixture
    def shop(self):
        with FakeShopware() as fake:
            yield fake

    def test_who_sent_what(self, shop):
        key = shop.add_order()
        headers, body = shop.delivery("order.written", key)
        event = app.read_event(body, headers, (APP_SECRET,))
        assert (event.name, event.shop_id, event.shop_url) == ("order.written", SHOP_ID, shop.url)
        assert event.id
        assert abs(event.sent_at - datetime.now(UTC)) < timedelta(minutes=1)

    def test_for_a_minute_the_secret_before_is_taken_as_well(self, shop):
        headers, body = shop.delivery("order.written", shop.add_order(), secret="alt")
        with pytest.raises(Rejected):
            app.read_event(body, headers, ("neu",))
        assert app.read_event(body, headers, ("neu", "alt")).name == "order.written"

    @pytest.mark.parametrize("name", app.LIFECYCLE_EVENTS)
    def test_what_happens_to_the_app_itself(self, shop, name):
        headers, body = shop.delivery(name, shop.add_order())
        event = app.read_event(body, headers, (APP_SECRET,))
        assert app.lifecycle(event) == name
        assert list(app.hinted_orders(event)) == []

    def test_an_order_is_no_lifecycle(self, shop):
        headers, body = shop.delivery("order.written", shop.add_order())
        assert app.lifecycle(app.read_event(body, headers, (APP_SECRET,))) is None

    def test_several_orders_in_one_event_are_named_once_each(self):
        rows = [
            {"entity": "order", "primaryKey": "a" * 32, "versionId": app.LIVE_VERSION},
            {"entity": "order", "primaryKey": "b" * 32},
            {"entity": "order", "primaryKey": "a" * 32, "versionId": app.LIVE_VERSION},
            {"entity": "order", "primaryKey": "c" * 32, "versionId": "d" * 32},
            {"entity": "order_address", "primaryKey": "e" * 32},
            "odd",
        ]
        event = app.AppEvent("order.written", rows, "", "", "", None)
        assert list(app.hinted_orders(event)) == ["a" * 32, "b" * 32]

    @pytest.mark.parametrize("content", [{}, {"data": []}, {"data": {}, "source": None}])
    def test_a_signed_something_is_no_event(self, content):
        body = json.dumps(content).encode()
        with pytest.raises(Rejected):
            app.read_event(body, {"shopware-shop-signature": app.sign(body, "s")}, ("s",))


class TestManifest:
    @pytest.fixture
    def root(self):
        text = app.manifest(
            register_url="https://kontor.example.org/shopware/register?m=1&n=2",
            webhook_url="https://hooks.example.org/shopware",
            app_secret="a&b",
        )
        return ElementTree.fromstring(text)

    def test_where_the_shop_registers(self, root):
        assert root.findtext("setup/registrationUrl").endswith("register?m=1&n=2")
        assert root.findtext("setup/secret") == "a&b"
        hosts = [each.text for each in root.findall("allowed-hosts/host")]
        assert hosts == ["hooks.example.org", "kontor.example.org"]

    def test_a_bought_app_has_no_secret_in_it(self):
        url = "https://kontor.example.org/x"
        assert "<secret>" not in app.manifest(register_url=url, webhook_url=url)

    def test_events_of_orders_come_for_the_live_version_only(self, root):
        webhooks = root.findall("webhooks/webhook")
        assert len({each.get("name") for each in webhooks}) == len(webhooks)
        by_event = {each.get("event"): each.get("onlyLiveVersion") for each in webhooks}
        assert {by_event[event] for event in app.ORDER_EVENTS} == {"true"}
        assert {by_event[event] for event in app.LIFECYCLE_EVENTS} == {None}

    def test_it_asks_for_the_rights_that_the_connector_needs(self, root):
        read = {each.text for each in root.findall("permissions/read")}
        assert set(PRIVILEGES.values()) <= read
        assert {each.text for each in root.findall("permissions/update")} == {
            "order",
            "order_transaction",
        }


@pytest.mark.parametrize(
    ("given", "clean"),
    [
        ("https://laden.example.org//", "https://laden.example.org"),
        ("https://Laden.example.org//de///shop/", "https://laden.example.org/de/shop"),
        (" http://127.0.0.1:8000 ", "http://127.0.0.1:8000"),
    ],
)
def test_addresses_are_cleaned(given, clean):
    assert app.clean_url(given) == clean
