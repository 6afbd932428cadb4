"""The fake Shopware answers as a real 6.6.7 was seen to: what a connector would trip over."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64encode
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
import requests

from plugin_sdk.testing.fake_shopware import CLIENT_ID, CLIENT_SECRET, FakeShopware
from plugin_sdk.testing.shopware_login import Integration
from plugin_sdk.testing.shopware_orders import LIVE
from plugin_sdk.testing.shopware_states import PAYMENT, Illegal, stock_machines

ORDER = {"transactions": {"associations": {"stateMachineState": {}}}}


@pytest.fixture
def shop():
    with FakeShopware() as fake:
        yield fake


@pytest.fixture
def call(shop):
    """A request with a token and the headers of a program that knows its way."""
    log_in = {
        "grant_type": "client_credentials",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
    }
    token = requests.post(f"{shop.url}/api/oauth/token", json=log_in, timeout=5).json()

    def call(method, path, body=None, **headers):
        sent = {
            "Authorization": f"Bearer {token['access_token']}",
            "Accept": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return requests.request(
            method, f"{shop.url}/api/{path}", json=body, headers=sent, timeout=5
        )

    return call


def codes(answer):
    return answer.status_code, [each["code"] for each in answer.json()["errors"]]


class TestLogIn:
    def ask(self, shop, **given):
        wanted = {"grant_type": "client_credentials", **given}
        return requests.post(f"{shop.url}/api/oauth/token", json=wanted, timeout=5)

    def test_json_form_and_basic(self, shop):
        url = f"{shop.url}/api/oauth/token"
        both = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        assert self.ask(shop, **both).json()["expires_in"] == 600
        form = {"grant_type": "client_credentials", **both}
        assert requests.post(url, data=form, timeout=5).status_code == 200
        pair = b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        basic = {"Authorization": f"Basic {pair}"}
        only = {"grant_type": "client_credentials"}
        assert requests.post(url, json=only, headers=basic, timeout=5).status_code == 200

    @pytest.mark.parametrize(
        ("given", "status", "code"),
        [
            ({"client_id": CLIENT_ID, "client_secret": "wrong"}, 401, "4"),
            ({"client_id": "SWIA" + "A" * 22, "client_secret": "x"}, 401, "4"),
            ({"client_id": "shop", "client_secret": "x"}, 500, "FRAMEWORK__API_INVALID_ACCESS_KEY"),
            ({"client_secret": "x"}, 400, "3"),
            ({"client_id": CLIENT_ID}, 400, "2"),
            ({"grant_type": "authorization_code"}, 400, "2"),
        ],
    )
    def test_refusals(self, shop, given, status, code):
        assert codes(self.ask(shop, **given)) == (status, [code])

    def test_the_eleventh_refusal_locks_out_whoever_comes(self, shop):
        for _ in range(10):
            assert self.ask(shop, client_id=CLIENT_ID, client_secret="x").status_code == 401
        right = self.ask(shop, client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
        assert codes(right) == (429, ["FRAMEWORK__AUTH_THROTTLED"])
        assert "Retry-After" not in right.headers

    def test_a_token_ends_after_ten_minutes(self, shop, call):
        shop.pass_time(599)
        assert call("GET", "_info/version").status_code == 200
        shop.pass_time(1)
        assert codes(call("GET", "_info/version")) == (401, ["9"])

    def test_bearer_has_a_capital(self, call, shop):
        answer = call("GET", "_info/version", Authorization="bearer x")
        assert codes(answer) == (401, ["9"])


class TestSearching:
    def test_associations_are_null_unless_asked_for(self, shop, call):
        shop.add_order()
        (row,) = call("POST", "search/order", {}).json()["data"]
        assert row["transactions"] is None
        assert row["updatedAt"] is None
        assert row["amountTotal"] == 39.9
        (row,) = call("POST", "search/order", {"associations": ORDER}).json()["data"]
        assert row["transactions"][0]["stateMachineState"]["name"] == "Offen"
        assert row["transactions"][0]["paymentMethod"] is None

    def test_includes_cut_and_unknown_ones_are_noticed(self, shop, call):
        shop.add_order()
        asked = {"includes": {"order": ["id", "orderNumber", "nope"]}, "criterias": 1}
        (row,) = call("POST", "search/order", asked).json()["data"]
        assert set(row) == {"id", "orderNumber", "apiAlias"}
        assert shop.unexpected == [
            "/api/search/order: criteria key criterias",
            "/api/search/order: includes order.nope",
        ]

    def test_totals(self, shop, call):
        for _ in range(9):
            shop.add_order()

        def total(**more):
            return call("POST", "search/order", {"limit": 1, **more}).json()["total"]

        assert total() == 1
        assert total(**{"total-count-mode": 1}) == 9
        assert total(**{"total-count-mode": "exact"}) == 9
        assert total(**{"total-count-mode": 2}) == 7
        assert total(**{"total-count-mode": 7}) == 1

    @pytest.mark.parametrize(
        ("asked", "status", "code"),
        [
            ({"limit": 501}, 400, "FRAMEWORK__QUERY_LIMIT_EXCEEDED"),
            ({"limit": 0}, 400, "FRAMEWORK__INVALID_LIMIT_QUERY"),
            ({"page": 0}, 400, "FRAMEWORK__INVALID_PAGE_QUERY"),
            ({"sort": [{"field": "nope"}]}, 400, "FRAMEWORK__UNMAPPED_FIELD"),
            ({"ids": []}, 400, "FRAMEWORK__INVALID_API_CRITERIA_IDS"),
            ({"ids": ["10001"]}, 400, "FRAMEWORK__INVALID_UUID"),
            ({"associations": {"nope": {}}}, 500, "FRAMEWORK__ASSOCIATION_NOT_FOUND"),
            (
                {"filter": [{"type": "equals", "field": "transactions.nope", "value": 1}]},
                400,
                "FRAMEWORK__UNMAPPED_FIELD",
            ),
            (
                {"filter": [{"type": "equalz", "field": "id", "value": 1}]},
                400,
                "FRAMEWORK__INVALID_FILTER_QUERY",
            ),
            (
                {"filter": [{"type": "range", "field": "createdAt"}]},
                400,
                "FRAMEWORK__INVALID_FILTER_QUERY",
            ),
        ],
    )
    def test_errors(self, call, asked, status, code):
        assert codes(call("POST", "search/order", asked)) == (status, [code])

    def found(self, call, *filters):
        return call("POST", "search/order", {"filter": list(filters)}).json()["total"]

    def test_times_are_compared_without_their_offset(self, shop, call):
        shop.add_order()
        before = shop.now() - timedelta(minutes=1)

        def since(text):
            each = {"type": "range", "field": "createdAt", "parameters": {"gte": text}}
            return self.found(call, each)

        assert since(before.strftime("%Y-%m-%dT%H:%M:%SZ")) == 1
        assert since((before + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S+01:00")) == 0
        assert since("soon") == 1, "what cannot be read is no condition"

    def test_letters_have_no_case_and_no_accents(self, shop, call):
        shop.add_order(number="RÜ-1")
        assert self.found(call, {"type": "equals", "field": "orderNumber", "value": "ru-1"}) == 1

    def test_two_filters_may_mean_two_payments(self, shop, call):
        key = shop.add_order()
        shop.change_method(key, "payment_invoicepayment")
        conditions = [
            {
                "type": "equals",
                "field": "transactions.stateMachineState.technicalName",
                "value": "cancelled",
            },
            {
                "type": "equals",
                "field": "transactions.paymentMethod.technicalName",
                "value": "payment_invoicepayment",
            },
        ]
        assert self.found(call, *conditions) == 1
        one = {"type": "multi", "operator": "and", "queries": conditions}
        assert self.found(call, one) == 0
        none = {"type": "not", "operator": "and", "queries": conditions[:1]}
        assert self.found(call, none) == 0

    def test_without_json_everything_is_found(self, shop, call):
        shop.add_order()
        impossible = {"ids": ["a" * 32]}
        assert call("POST", "search/order", impossible).json()["total"] == 0
        answer = call("POST", "search/order", impossible, Content_Type="text/plain")
        assert answer.json()["total"] == 1
        assert shop.unexpected == ["/api/search/order: content type 'text/plain'"]

    def test_another_accept_is_another_shape(self, shop, call):
        shop.add_order()
        (row,) = call("POST", "search/order", {}, Accept="*/*").json()["data"]
        assert set(row) == {"id", "type", "attributes"}
        assert call("POST", "search/order", {}, Accept="text/html").status_code == 415

    def test_rights_are_needed_for_everything_touched(self, shop, call):
        shop.logins.integrations[CLIENT_ID] = Integration(CLIENT_SECRET, frozenset())
        answer = call("POST", "search/order", {"associations": {**ORDER, "stateMachineState": {}}})
        assert codes(answer) == (403, ["FRAMEWORK__MISSING_PRIVILEGE_ERROR"])
        missing = json.loads(answer.json()["errors"][0]["detail"])["missingPrivileges"]
        assert missing == ["order:read", "order_transaction:read", "state_machine_state:read"]
        asked = {"associations": {"documents": {}, **ORDER}, "sort": [{"field": "documents.id"}]}
        detail = call("POST", "search/order", {**asked}).json()["errors"][0]["detail"]
        assert isinstance(json.loads(detail)["missingPrivileges"], list)

    def test_ids_alone(self, shop, call):
        key = shop.add_order()
        assert call("POST", "search-ids/order", {}).json() == {"total": 1, "data": [key]}


class TestTransitions:
    def move(self, call, shop, key, action, **body):
        identifier = shop.payment_of(key)["id"]
        path = f"_action/order_transaction/{identifier}/state/{action}"
        return call("POST", path, {"sendMail": False, **body})

    def test_the_stock_machine_has_gaps(self):
        machine = stock_machines()[PAYMENT]
        assert machine.after("reminded", "pay") == "paid"
        with pytest.raises(Illegal):
            machine.after("reminded", "paid")
        assert machine.after("paid", "pay") is None
        assert machine.after("refunded", "cancel") == "cancelled"
        assert len(machine.arrows) == 12

    def test_an_illegal_one_names_the_legal_ones(self, shop, call):
        key = shop.add_order()
        shop.set_status(key, "reminded")
        answer = self.move(call, shop, key, "paid")
        assert codes(answer) == (400, ["SYSTEM__ILLEGAL_STATE_TRANSITION"])
        possible = answer.json()["errors"][0]["meta"]["parameters"]["possibleTransitions"]
        assert "pay" in possible
        assert "paid" not in possible

    def test_the_same_again_writes_no_history(self, shop, call):
        key = shop.add_order()
        for _ in range(2):
            assert self.move(call, shop, key, "paid").json()["technicalName"] == "paid"
        assert len(shop.store.history) == 1
        assert shop.orders[key]["updatedAt"] is None
        assert shop.payment_of(key)["updatedAt"] is not None

    def test_the_customer_is_mailed_unless_one_says_no(self, shop, call):
        key = shop.add_order()
        self.move(call, shop, key, "remind", sendMail=True)
        self.move(call, shop, key, "pay")
        assert [(each.order_id, each.state) for each in shop.mails] == [(key, "reminded")]

    def test_unknown_ones_are_400(self, call):
        path = f"_action/order_transaction/{'0' * 32}/state/paid"
        assert codes(call("POST", path)) == (400, ["SYSTEM__STATE_MACHINE_INVALID_ENTITY_ID"])
        path = "_action/order_transaction/xyz/state/paid"
        assert codes(call("POST", path)) == (400, ["FRAMEWORK__INVALID_UUID"])

    def test_in_a_draft_the_order_stays(self, shop, call):
        key = shop.add_order()
        version = shop.open_draft(key)
        identifier = shop.payment_of(key)["id"]
        path = f"_action/order_transaction/{identifier}/state/paid"
        assert call("POST", path, {}, sw_version_id=version).status_code == 200
        assert shop.status_of(key) == "open"
        (row,) = call("POST", "search/order", {}, sw_version_id=version).json()["data"]
        assert row["versionId"] == version
        (row,) = call("POST", "search/order", {}).json()["data"]
        assert row["versionId"] == LIVE

    def test_the_general_address_wraps_its_answer(self, shop, call):
        key = shop.add_order()
        identifier = shop.payment_of(key)["id"]
        path = f"_action/state-machine/order_transaction/{identifier}/state/pay"
        assert call("POST", path).json()["data"]["technicalName"] == "paid"


class Receiver(HTTPServer):
    """Notes what it is told."""

    def __init__(self):
        self.told = []
        told = self.told

        class Visit(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                told.append((dict(self.headers.items()), json.loads(body)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Visit)


@pytest.fixture
def receiver():
    server = Receiver()
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class TestWebhooks:
    def test_only_those_of_an_app_are_signed(self, shop, call, receiver):
        url = f"http://127.0.0.1:{receiver.server_port}/"
        made = {"name": "x", "eventName": "order.written", "url": url}
        assert call("POST", "webhook", made).status_code == 204
        shop.add_webhook("checkout.order.placed", url)
        key = shop.add_order()
        told = {body["data"]["event"]: (headers, body) for headers, body in receiver.told}
        headers, body = told["order.written"]
        assert "shopware-shop-signature" not in headers
        assert body["data"]["payload"][0]["primaryKey"] == key
        headers, body = told["checkout.order.placed"]
        assert "shopware-shop-signature" in headers
        assert body["data"]["payload"]["order"]["id"] == key
        assert body["source"]["shopId"]

    def test_a_payment_tells_by_its_state_and_not_as_written(self, shop, receiver):
        url = f"http://127.0.0.1:{receiver.server_port}/"
        key = shop.add_order()
        for event in ("order.written", "state_enter.order_transaction.state.paid"):
            shop.add_webhook(event, url)
        shop.set_status(key, "paid")
        assert [body["data"]["event"] for _, body in receiver.told] == [
            "state_enter.order_transaction.state.paid"
        ]

    def test_drafts_are_told_to_integrations_only(self, shop, receiver):
        url = f"http://127.0.0.1:{receiver.server_port}/"
        key = shop.add_order()
        shop.add_webhook("order.written", url)
        shop.add_webhook("order.written", url, secret=None)
        shop.open_draft(key)
        shop.add_document(key, "RE-1")
        versions = [body["data"]["payload"][0]["versionId"] for _, body in receiver.told]
        assert len(versions) == 2
        assert LIVE not in versions

    def test_a_receiver_that_is_away_is_no_trouble(self, shop):
        shop.add_webhook("order.written", "http://127.0.0.1:9/")
        assert shop.add_order() in shop.orders


class TestDemonstration:
    @pytest.fixture
    def shop(self, tmp_path):
        with FakeShopware(demo=True, state=tmp_path / "orders.json") as fake:
            yield fake

    def test_a_person_orders_and_sees_it(self, shop):
        made = requests.post(f"{shop.url}/_demo/orders", allow_redirects=False, timeout=5)
        assert (made.status_code, made.headers["Location"]) == (303, "/")
        page = requests.get(f"{shop.url}/", timeout=5).text
        assert "Erika Mustermann" in page
        assert "39.90 EUR" in page

    def test_a_program_orders_with_json(self, shop):
        wanted = {"line_items": [{"label": "<b>Atlas</b>", "price": "5.00"}], "number": "X<1>"}
        made = requests.post(f"{shop.url}/_demo/orders", json=wanted, timeout=5)
        assert made.status_code == 201
        assert made.json()["orderNumber"] == "X<1>"
        assert "X&lt;1&gt;" in requests.get(f"{shop.url}/", timeout=5).text
        assert len(requests.get(f"{shop.url}/_demo/orders", timeout=5).json()) == 1

    @pytest.mark.parametrize("wanted", [{"currency": "XXX"}, {"line_items": 7}, {"billing": None}])
    def test_what_is_no_order_is_refused(self, shop, wanted):
        made = requests.post(f"{shop.url}/_demo/orders", json=wanted, timeout=5)
        assert made.status_code == 400

    def test_a_form_of_another_site_is_refused(self, shop):
        headers = {"Origin": "https://elsewhere.example.org"}
        made = requests.post(f"{shop.url}/_demo/orders", headers=headers, timeout=5)
        assert made.status_code == 403

    def test_orders_outlive_a_restart(self, shop, tmp_path):
        key = shop.add_order()
        shop.set_status(key, "paid")
        with FakeShopware(demo=True, state=tmp_path / "orders.json") as again:
            assert again.status_of(key) == "paid"
            other = again.add_order()
            numbers = [order["orderNumber"] for order in again.orders.values()]
            assert len(set(numbers)) == 2
            again.set_status(other, "paid")

    def test_without_it_there_is_no_page(self):
        with FakeShopware() as shop:
            assert requests.get(f"{shop.url}/", timeout=5).status_code == 404


def test_as_a_process_it_says_where_it_is():
    command = [sys.executable, "-m", "plugin_sdk.testing.fake_shopware", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().strip()
        assert requests.get(f"{url}/", timeout=5).status_code == 200
        process.terminate()
        assert process.wait(10) == 0
