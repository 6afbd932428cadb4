"""The fake eBay: as strict as the published contracts, and as forgetful."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
import requests

from plugin_sdk.testing.ebay_login import SCOPE
from plugin_sdk.testing.ebay_seller import stamp
from plugin_sdk.testing.fake_ebay import (
    CLIENT_ID,
    CLIENT_SECRET,
    ORDERS,
    REFRESH_TOKEN,
    TRADING,
    FakeEbay,
)

NAMESPACE = "urn:ebay:apis:eBLBaseComponents"


@pytest.fixture
def shop():
    with FakeEbay() as fake:
        yield fake


def ask_token(shop, secret=CLIENT_SECRET, **form):
    url = f"{shop.url}/identity/v1/oauth2/token"
    return requests.post(url, data=form, auth=(CLIENT_ID, secret), timeout=10)


@pytest.fixture
def token(shop):
    answer = ask_token(shop, grant_type="refresh_token", refresh_token=REFRESH_TOKEN)
    return answer.json()["access_token"]


def get(shop, token, path=ORDERS, **query):
    asked = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in query.items())
    headers = {"Authorization": f"Bearer {token}"}
    return requests.get(f"{shop.url}{path}?{asked}", headers=headers, timeout=10)


def error_of(answer):
    return answer.status_code, answer.json()["errors"][0]["errorId"]


class TestOrders:
    def ids(self, answer):
        return [order["orderId"] for order in answer.json()["orders"]]

    @pytest.mark.parametrize(
        ("query", "error_id"),
        [
            ({"filter": "orderstatus:{PAID}"}, 30700),
            ({"filter": "lastmodifieddate:2026"}, 30800),
            ({"filter": "orderfulfillmentstatus:{NOT_STARTED}"}, 30800),
            ({"filter": "lastmodifieddate:[2026-11-21..]"}, 30810),
            ({"filter": "lastmodifieddate:[2026-13-40T00:00:00Z..]"}, 30810),
            ({"filter": "lastmodifieddate:[..2026-11-21T00:00:00Z]"}, 30820),
            ({"filter": "creationdate:[2020-01-01T00:00:00Z..]"}, 30830),
            ({"filter": "creationdate:[2026-01-02T00:00:00Z..2026-01-01T00:00:00Z]"}, 30840),
            ({"filter": "creationdate:[2999-01-01T00:00:00Z..]"}, 30850),
            ({"orderIds": ",".join(map(str, range(51)))}, 30900),
            ({"offset": "-1"}, 31000),
            ({"limit": "201"}, 31100),
            ({"limit": "0"}, 31100),
            ({"limit": "many"}, 31100),
            ({"fieldGroups": "ALL"}, 32800),
        ],
    )
    def test_errors_have_their_numbers(self, shop, token, query, error_id):
        assert error_of(get(shop, token, **query)) == (400, error_id)

    def test_brackets_must_be_escaped(self, shop, token):
        import http.client

        host = shop.url.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=10)
        connection.request(
            "GET", f"{ORDERS}?filter=creationdate:[2026-01-01T00:00:00Z..]",
            headers={"Authorization": f"Bearer {token}"},
        )  # fmt: skip
        assert connection.getresponse().status == 400
        connection.close()

    def test_unknown_parameters_are_errors_and_kept(self, shop, token):
        assert get(shop, token, status="PAID").status_code == 400
        assert shop.unexpected == [f"GET {ORDERS}: status"]

    def test_only_the_creation_date_counts_when_both_are_given(self, shop, token):
        now = datetime.now(UTC)
        shop.add_order(created=now - timedelta(days=5))
        fresh = shop.add_order()
        since = stamp(now - timedelta(days=1))
        both = f"lastmodifieddate:[2026-01-01T00:00:00Z..],creationdate:[{since}..]"
        assert self.ids(get(shop, token, filter=both)) == [fresh]

    def test_without_a_filter_ninety_days_are_told(self, shop, token):
        shop.add_order(created=datetime.now(UTC) - timedelta(days=91))
        key = shop.add_order()
        assert self.ids(get(shop, token)) == [key]

    def test_ids_win_over_everything_and_unknown_ones_are_left_out(self, shop, token):
        old = shop.add_order(created=datetime.now(UTC) - timedelta(days=91))
        asked = get(shop, token, orderIds=f"{old},99-99999-99999", filter="nonsense", limit="900")
        assert self.ids(asked) == [old]

    def test_pages(self, shop, token):
        keys = [shop.add_order() for _ in range(3)]
        first = get(shop, token, limit=2).json()
        assert (first["total"], len(first["orders"])) == (3, 2)
        assert "offset=2" in first["next"]
        last = get(shop, token, limit=2, offset=2).json()
        assert [order["orderId"] for order in last["orders"]] == keys[2:]
        assert "next" not in last

    def test_statuses_of_shipping(self, shop, token):
        sent, waiting = shop.add_order(), shop.add_order()
        shop.orders[sent]["orderFulfillmentStatus"] = "FULFILLED"
        asked = get(shop, token, filter="orderfulfillmentstatus:{NOT_STARTED|IN_PROGRESS}")
        assert self.ids(asked) == [waiting]

    def test_people_are_forgotten_by_age(self, shop, token):
        key = shop.add_order(created=datetime.now(UTC) - timedelta(days=20))
        contact = get(shop, token, f"{ORDERS}/{key}").json()["buyer"]["buyerRegistrationAddress"]
        assert "email" not in contact
        assert contact["fullName"] == "Erika Mustermann"

    def test_cancel_requests_are_told_of_one_order_only(self, shop, token):
        key = shop.add_order()
        shop.orders[key]["cancelStatus"]["cancelRequests"] = [{"cancelRequestId": "1"}]
        assert get(shop, token).json()["orders"][0]["cancelStatus"]["cancelRequests"] == []
        assert get(shop, token, f"{ORDERS}/{key}").json()["cancelStatus"]["cancelRequests"]

    def test_there_is_no_such_order(self, shop, token):
        assert error_of(get(shop, token, f"{ORDERS}/99-99999-99999")) == (404, 32100)
        assert error_of(get(shop, token, f"{ORDERS}/%2A")) == (400, 32100)

    def test_calls_run_out(self, shop, token):
        shop.calls_left = 1
        assert get(shop, token).status_code == 200
        assert error_of(get(shop, token)) == (429, 2001)


class TestTokens:
    def test_without_a_good_token_nothing_is_told(self, shop, token):
        for bad in ("", "x", f"{token}x"):
            assert error_of(get(shop, bad)) == (401, 1001)

    def test_the_application_sees_no_orders(self, shop):
        answer = ask_token(shop, grant_type="client_credentials", scope=SCOPE).json()
        assert answer["token_type"] == "Application Access Token"
        assert error_of(get(shop, answer["access_token"])) == (403, 1100)

    def test_tokens_end(self, shop, token):
        shop.freeze(datetime.now(UTC) + timedelta(hours=3))
        assert error_of(get(shop, token)) == (401, 1001)

    @pytest.mark.parametrize(
        ("form", "status", "code"),
        [
            ({"grant_type": "refresh_token", "refresh_token": "x"}, 400, "invalid_grant"),
            ({"grant_type": "authorization_code", "code": "x"}, 400, "invalid_grant"),
            ({"grant_type": "password"}, 400, "unsupported_grant_type"),
            ({"grant_type": "client_credentials", "state": "x"}, 400, "invalid_request"),
            (
                {"grant_type": "refresh_token", "refresh_token": REFRESH_TOKEN, "scope": "sell"},
                400,
                "invalid_scope",
            ),
        ],
    )
    def test_refusals(self, shop, form, status, code):
        answer = ask_token(shop, **form)
        assert (answer.status_code, answer.json()["error"]) == (status, code)

    def test_a_wrong_keyset(self, shop):
        answer = ask_token(shop, secret="wrong", grant_type="client_credentials")
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


class TestTrading:
    def call(self, shop, token, inner, name="CompleteSale"):
        headers = {
            "X-EBAY-API-CALL-NAME": name,
            "X-EBAY-API-SITEID": "77",
            "X-EBAY-API-COMPATIBILITY-LEVEL": "1379",
            "X-EBAY-API-IAF-TOKEN": token,
        }
        body = f'<{name}Request xmlns="{NAMESPACE}">{inner}</{name}Request>'
        answer = requests.post(f"{shop.url}{TRADING}", body, headers=headers, timeout=10)
        assert answer.status_code == 200
        return answer.text

    def test_the_order_of_the_elements_counts(self, shop, token):
        key = shop.add_order()
        wrong = f"<OrderID>{key}</OrderID><Paid>true</Paid>"
        assert "<ErrorCode>5</ErrorCode>" in self.call(shop, token, wrong)
        assert shop.status_of(key) == "PENDING"
        right = f"<Paid>true</Paid><OrderID>{key}</OrderID>"
        assert "<Ack>Success</Ack>" in self.call(shop, token, right)
        assert shop.status_of(key) == "PAID"

    @pytest.mark.parametrize(
        "inner", ["<Paid>true</Paid><Order/>", "<Paid>true", "<Paid>true</Paid><Paid>true</Paid>"]
    )
    def test_bad_xml(self, shop, token, inner):
        assert "<Ack>Failure</Ack>" in self.call(shop, token, inner)

    def test_what_ebay_collects_cannot_be_marked(self, shop, token):
        key = shop.add_order(method="EBAY")
        answer = self.call(shop, token, f"<Paid>true</Paid><OrderID>{key}</OrderID>")
        assert "cannot be changed" in answer
        assert shop.status_of(key) == "PENDING"

    def test_failures_come_with_200(self, shop, token):
        assert "21916984" in self.call(shop, "x", "")
        assert "Unsupported verb" in self.call(shop, token, "", name="ReviseCheckoutStatus")
        assert "not found" in self.call(shop, token, "<OrderID>1</OrderID>")


class TestFinances:
    def test_nothing_is_204(self, shop, token):
        shop.login.wants_signatures = False
        answer = get(shop, token, "/sell/finances/v1/payout")
        assert (answer.status_code, answer.content) == (204, b"")

    @pytest.mark.parametrize(
        ("query", "error_id"),
        [
            ({"filter": "payoutDate:[2026-01-01..]"}, 135004),
            ({"filter": "payoutDate:[2026-01-01T00:00:00.000Z..2026-11-01T00:00:00.000Z]"}, 135004),
            ({"filter": "payoutStatus:{DONE}"}, 135002),
            ({"limit": "201"}, 135003),
        ],
    )
    def test_errors_have_their_numbers(self, shop, token, query, error_id):
        shop.login.wants_signatures = False
        answer = get(shop, token, "/sell/finances/v1/payout", **query)
        assert error_of(answer) == (400, error_id)

    def test_without_a_signature_nothing_is_told(self, shop, token):
        assert error_of(get(shop, token, "/sell/finances/v1/payout")) == (400, 215001)


class TestDemo:
    def test_the_page_escapes_and_takes_orders(self):
        with FakeEbay(demo=True) as shop:
            shop.add_order(more_buyer="x", buyer={"username": "<script>"})
            assert "&lt;script&gt;" in requests.get(shop.url, timeout=10).text
            made = requests.post(f"{shop.url}/_demo/orders", json={"total": "5.00"}, timeout=10)
            assert made.status_code == 201
            assert shop.status_of(made.json()["orderId"]) == "PENDING"
            foreign = {"Origin": "https://elsewhere.example.org"}
            refused = requests.post(f"{shop.url}/_demo/orders", headers=foreign, timeout=10)
            assert refused.status_code == 403
            odd = requests.post(f"{shop.url}/_demo/orders", json={"total": None}, timeout=10)
            assert odd.status_code == 400

    def test_without_the_demo_there_is_no_page(self, shop):
        assert requests.get(shop.url, timeout=10).status_code == 404

    def test_as_a_process(self):
        with subprocess.Popen(
            [sys.executable, "-m", "plugin_sdk.testing.fake_ebay", "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            address = process.stdout.readline().strip()
            assert "annas-antiquariat" in requests.get(address, timeout=10).text
            process.terminate()
            assert process.wait(10) == 0
