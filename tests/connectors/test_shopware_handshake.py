"""A shop registers the app, tells of its orders, moves away, and comes back."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from connectors.shopware import Shopware
from plugin_sdk.connector import Capability, ShopCall
from plugin_sdk.errors import Rejected
from plugin_sdk.http import USUAL
from plugin_sdk.testing.contract import everything
from plugin_sdk.testing.fake_shopware import FakeShopware
from plugin_sdk.testing.shopware_app import Refused, read_manifest

TOKEN = "/webhooks/shops/unguessable"


class Host(ThreadingHTTPServer):
    """Keeps the settings of one connection, as a server does."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Visit)
        self.address = f"http://127.0.0.1:{self.server_port}{TOKEN}"
        self.settings = {}
        self.hints = []

    def package(self):
        made = Shopware.app_package(self.settings, self.address)
        self.settings |= made.settings
        return made

    def manifest(self):
        content = zipfile.ZipFile(io.BytesIO(self.package().content))
        return content.read("KontorPayments/manifest.xml").decode()

    def connector(self):
        return Shopware(self.settings)


class Visit(BaseHTTPRequestHandler):
    def do_GET(self):
        host = self.server
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = dict(self.headers.items())
        if path == TOKEN:
            hint = host.connector().read_webhook(headers, body)
            host.hints.append(hint)
            self.answer(200, {})
            return
        inner = path.removeprefix(f"{TOKEN}/")
        call = ShopCall(host.address, self.command, inner, query, headers, body)
        try:
            reply = Shopware.answer_call(host.settings, call, USUAL)
        except Rejected as refused:
            self.answer(401, {"error": str(refused)})
            return
        host.settings |= reply.settings
        self.answer(reply.status, dict(reply.body))

    do_POST = do_GET

    def answer(self, status, body):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def host():
    server = Host()
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def shop():
    with FakeShopware() as fake:
        yield fake


@pytest.mark.feature("S21")
class TestRegistering:
    def test_an_uploaded_app_connects_the_shop(self, host, shop):
        assert Capability.APP_PACKAGE in Shopware.capabilities
        app = shop.install_app(host.manifest())
        key = shop.add_order()
        connector = host.connector()
        assert connector.is_told
        assert [order.external_id for order in everything(connector)] == [key]
        assert [finding for finding in connector.check() if finding.severity != "note"] == []
        assert host.settings["client_id"] == app.client_id

    def test_what_happens_is_told_at_once(self, host, shop):
        shop.install_app(host.manifest())
        key = shop.add_order()
        shop.set_status(key, "paid")
        shop.open_draft(key)
        topics = [hint.topic for hint in host.hints]
        assert topics == [
            "order.written",
            "checkout.order.placed",
            "state_enter.order_transaction.state.paid",
        ]
        assert {hint.ids for hint in host.hints} == {(key,)}

    def test_the_same_file_again_has_the_same_secret(self, host):
        assert host.package() == host.package()
        assert host.package().filename == "KontorPayments.zip"

    def test_another_secret_than_that_of_the_file(self, host, shop):
        manifest = host.manifest()
        host.settings["app_secret"] = "another"
        with pytest.raises(Refused, match="signature"):
            shop.install_app(manifest)
        assert "client_id" not in host.settings

    def test_before_there_is_a_file_nobody_can_register(self, host, shop):
        manifest = Shopware.app_package({}, host.address)
        text = zipfile.ZipFile(io.BytesIO(manifest.content)).read("KontorPayments/manifest.xml")
        with pytest.raises(Refused, match="signature"):
            shop.install_app(text.decode())

    def test_a_wrong_clock_is_told_to_the_merchant(self, host, shop):
        shop.pass_time(3600)
        with pytest.raises(Refused, match="clock"):
            shop.install_app(host.manifest())


class TestRegisteringAgain:
    def test_a_shop_that_moved_proves_who_it_is(self, host, shop):
        first = shop.install_app(host.manifest())
        second = shop.install_app(host.manifest(), url=f"{shop.url}//", before=first)
        assert host.settings["client_id"] == second.client_id != first.client_id
        assert everything(host.connector()) == []

    def test_what_was_on_its_way_is_taken_for_a_minute(self, host, shop):
        first = shop.install_app(host.manifest())
        shop.install_app(host.manifest(), before=first)
        late = shop.delivery("order.written", shop.add_order(), secret=first.secret)
        assert host.connector().read_webhook(*late) is not None
        later = datetime.now(UTC).timestamp() + 61
        with pytest.raises(Rejected):
            Shopware(host.settings, clock=lambda: later).read_webhook(*late)

    def test_a_strange_shop_does_not_take_over_with_the_file_alone(self, host, shop):
        shop.install_app(host.manifest())
        before = dict(host.settings)
        with FakeShopware() as stranger, pytest.raises(Refused, match="Another shop"):
            stranger.install_app(host.manifest())
        assert host.settings == before

    def test_a_shop_that_lost_its_secret_may_come_again_from_its_address(self, host, shop):
        shop.install_app(host.manifest())
        again = shop.install_app(host.manifest())
        assert host.settings["client_id"] == again.client_id

    def test_a_wrong_last_secret_is_refused(self, host, shop):
        first = shop.install_app(host.manifest())
        with pytest.raises(Refused, match="last secret"):
            shop.install_app(host.manifest(), before=replace(first, secret="x" * 64))
        assert host.settings["client_id"] == first.client_id


class TestConfirming:
    def call(self, method, path, body=b"{}"):
        return ShopCall("https://kontor.example.org/x", method, path, "", {}, body)

    def test_nothing_is_confirmed_that_was_not_registered(self):
        for settings in ({}, {"pending": ""}, {"pending": "odd"}):
            with pytest.raises(Rejected, match="No registration"):
                Shopware.answer_call(settings, self.call("POST", "confirm"), USUAL)

    def test_other_addresses_are_not_known(self):
        for method, path in (("POST", "register"), ("GET", "confirm"), ("GET", ""), ("GET", "x")):
            assert Shopware.answer_call({}, self.call(method, path), USUAL) is None

    def test_until_it_is_confirmed_the_old_secret_is_good(self, host, shop):
        shop.install_app(host.manifest())
        used = host.settings["webhook_secret"]
        now = int(shop.now().timestamp())
        manifest = read_manifest(host.manifest())
        host.settings |= self.registered(host, shop, manifest, now)
        assert host.settings["pending"]
        assert host.settings["webhook_secret"] == used
        delivery = shop.delivery("order.written", shop.add_order(), secret=used)
        assert host.connector().read_webhook(*delivery) is not None

    def registered(self, host, shop, manifest, now):
        from connectors.shopware.app import sign

        query = f"shop-id=DemoShopDemoShop&shop-url={shop.url}&timestamp={now}"
        headers = {"shopware-app-signature": sign(query, manifest.secret)}
        call = ShopCall(host.address, "GET", "register", query, headers, b"")
        return Shopware.answer_call(host.settings, call, USUAL).settings
