"""The fake shop trips connectors up where the real one does. Seen on WooCommerce 11.0.1."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest
import requests

from connectors.woocommerce.oauth import OAuth1
from plugin_sdk.testing.fake_woocommerce import CONSUMER_KEY, CONSUMER_SECRET, FakeWooCommerce
from plugin_sdk.testing.woocommerce_login import Key
from tests.connectors.stand_in import until


@pytest.fixture
def shop():
    with FakeWooCommerce(demo=True) as fake:
        yield fake


@pytest.fixture
def call(shop):
    with requests.Session() as session:
        session.trust_env = False
        session.auth = OAuth1(CONSUMER_KEY, CONSUMER_SECRET)

        def call(method, path, **more):
            url = f"{shop.url}/wp-json/wc/v3{path}"
            return session.request(method, url, timeout=10, allow_redirects=False, **more)

        yield call


def test_set_paid_does_nothing_on_hold_and_says_so_to_nobody(shop, call):
    key = shop.add_order()
    answer = call("PUT", f"/orders/{key}", json={"set_paid": True, "transaction_id": "T-1"})
    body = answer.json()
    assert (answer.status_code, body["status"], body["date_paid"]) == (200, "on-hold", None)
    assert body["transaction_id"] == "T-1"


@pytest.mark.parametrize("status", ["pending", "failed"])
def test_set_paid_works_on_what_needs_payment(shop, call, status):
    key = shop.add_order(status=status)
    body = call("PUT", f"/orders/{key}", json={"set_paid": True}).json()
    assert (body["status"], body["needs_payment"]) == ("processing", False)
    assert body["date_paid"]


def test_cash_is_paid_on_completion_only(shop, call):
    key = shop.add_order(payment_method="cod")
    assert shop.orders[int(key)]["date_paid"] is None
    assert call("PUT", f"/orders/{key}", json={"status": "completed"}).json()["date_paid"]


def test_a_missing_order_is_404_when_read_and_400_when_written(call):
    read, written = call("GET", "/orders/9"), call("PUT", "/orders/9", json={})
    assert (read.status_code, written.status_code) == (404, 400)
    code = "woocommerce_rest_shop_order_invalid_id"
    assert read.json()["code"] == written.json()["code"] == code


@pytest.mark.parametrize("status", ["bezahlt", "wc-processing", "trash", "", None])
def test_unknown_statuses_are_refused(shop, call, status):
    key = shop.add_order()
    answer = call("PUT", f"/orders/{key}", json={"status": status})
    assert (answer.status_code, answer.json()["code"]) == (400, "rest_invalid_param")
    assert shop.status_of(key) == "on-hold"


def test_trash_answers_200_then_410_and_comes_back_by_put(shop, call):
    key = shop.add_order()
    assert call("DELETE", f"/orders/{key}").json()["status"] == "on-hold"
    assert call("GET", f"/orders/{key}").json()["status"] == "trash"
    assert call("DELETE", f"/orders/{key}").status_code == 410
    assert call("GET", "/orders").json() == []
    assert call("PUT", f"/orders/{key}", json={"status": "pending"}).json()["status"] == "pending"
    assert call("DELETE", f"/orders/{key}", params={"force": "true"}).status_code == 200
    assert call("GET", f"/orders/{key}").status_code == 404


def test_modified_after_is_exclusive_to_the_second(shop, call):
    shop.freeze(datetime(2026, 11, 21, 16, 2, 31, 900_000, tzinfo=UTC))
    shop.add_order()

    def listed(moment, **more):
        return len(call("GET", "/orders", params={"modified_after": moment, **more}).json())

    assert listed("2026-11-21T16:02:31", dates_are_gmt="true") == 0
    assert listed("2026-11-21T16:02:30", dates_are_gmt="true") == 1
    assert listed("2026-11-21T16:02:30Z") == 1
    assert listed("2026-11-21T17:02:30") == 1, "without a zone it is the shop's own time"
    assert listed("2026-11-21T17:02:31") == 0
    assert call("GET", "/orders", params={"modified_after": "gestern"}).status_code == 400


def test_pages_and_their_totals(shop, call):
    for _ in range(7):
        shop.add_order()
    page = call("GET", "/orders", params={"per_page": 5, "page": 2})
    assert (len(page.json()), page.headers["X-WP-Total"]) == (2, "7")
    late = call("GET", "/orders", params={"per_page": 5, "page": 9})
    assert (late.json(), late.headers["X-WP-Total"]) == ([], "0")
    shop.shop.hpos = False
    late = call("GET", "/orders", params={"per_page": 5, "page": 9})
    assert (late.json(), late.headers["X-WP-Total"]) == ([], "7")
    assert call("GET", "/orders", params={"per_page": 101}).status_code == 400


def test_unknown_filters_are_ignored_and_unknown_values_are_not(shop, call):
    shop.add_order()
    assert len(call("GET", "/orders", params={"payment_method": "cod"}).json()) == 1
    assert call("GET", "/orders", params={"status": "on-hold,bezahlt"}).status_code == 400
    assert call("GET", "/orders", params={"orderby": "bogus"}).status_code == 400


def test_refunds_leave_the_total_and_refuse_with_500(shop, call):
    key = shop.add_order(line_items=[{"name": "Buch", "price": "100.00"}])
    path = f"/orders/{key}/refunds"
    assert call("POST", path, json={"amount": "19", "api_refund": False}).status_code == 201
    order = call("GET", f"/orders/{key}").json()
    assert (order["total"], order["refunds"][0]["total"]) == ("119.00", "-19.00")
    for body in ({"amount": "999", "api_refund": False}, {"amount": "1"}):
        answer = call("POST", path, json=body)
        assert (answer.status_code, answer.json()["data"]) == (500, 500)
    call("POST", path, json={"amount": "100.00", "api_refund": False})
    assert shop.status_of(key) == "refunded"


def test_a_batch_hides_its_errors_in_a_200(shop, call):
    key = shop.add_order()
    updates = [{"id": int(key), "status": "processing"}, {"id": 999, "status": "processing"}]
    answer = call("POST", "/orders/batch", json={"update": updates})
    assert answer.status_code == 200
    assert answer.json()["update"][1]["error"]["data"] == {"status": 400}
    assert call("POST", "/orders/batch", json={"update": updates * 51}).status_code == 413


class TestLogin:
    def get(self, shop, auth=None, **more):
        address = f"{shop.url}/wp-json/wc/v3/orders"
        with requests.Session() as session:
            session.trust_env = False
            return session.get(address, auth=auth, timeout=10, **more)

    def test_basic_over_http_is_nobody(self, shop):
        with_key = self.get(shop, (CONSUMER_KEY, CONSUMER_SECRET))
        without = self.get(shop)
        assert with_key.status_code == without.status_code == 401
        assert with_key.json() == without.json()
        assert without.json()["code"] == "woocommerce_rest_cannot_view"

    def test_basic_where_tls_is_believed(self, shop):
        shop.secure = True
        assert self.get(shop, (CONSUMER_KEY, CONSUMER_SECRET)).status_code == 200
        wrong = self.get(shop, (CONSUMER_KEY, "wrong"))
        assert wrong.json()["message"] == "Consumer secret is invalid."

    def test_a_nonce_is_good_once(self, shop):
        auth = OAuth1(CONSUMER_KEY, CONSUMER_SECRET, nonce=lambda: "same", clock=_now)
        assert self.get(shop, auth).status_code == 200
        assert "Invalid nonce" in self.get(shop, auth).json()["message"]

    @pytest.mark.parametrize("apart", [-3600, 3600])
    def test_old_and_future_signatures_are_refused(self, shop, apart):
        auth = OAuth1(CONSUMER_KEY, CONSUMER_SECRET, clock=lambda: _now() + apart)
        assert self.get(shop, auth).json()["message"] == "Invalid timestamp."

    def test_a_signature_is_for_one_request(self, shop):
        other = f"{shop.url}/wp-json/wc/v3/orders?per_page=1"
        request = requests.Request("GET", other, auth=OAuth1(CONSUMER_KEY, CONSUMER_SECRET))
        header = request.prepare().headers["Authorization"]
        answer = self.get(shop, headers={"Authorization": header})
        assert "does not match" in answer.json()["message"]

    def test_a_key_that_may_only_read_is_401_when_it_writes(self, shop, call):
        shop.login.keys[CONSUMER_KEY] = Key(CONSUMER_SECRET, may_write=False)
        key = shop.add_order()
        assert call("GET", f"/orders/{key}").status_code == 200
        answer = call("PUT", f"/orders/{key}", json={})
        assert answer.status_code == 401
        assert "write permissions" in answer.json()["message"]


def test_the_seventh_failure_in_a_row_switches_a_webhook_off(shop):
    hook = shop.add_webhook("order.updated", "http://127.0.0.1:1/nobody")
    key = shop.add_order()
    for _ in range(5):
        shop.set_status(key, "processing")
    shop.sender.settle()
    assert hook.status == "active"
    shop.set_status(key, "completed")
    shop.sender.settle()
    assert hook.status == "disabled"
    hook.status = "active"  # the count is not forgotten
    shop.set_status(key, "processing")
    shop.sender.settle()
    assert hook.status == "disabled"


class TestDemo:
    def test_a_customer_orders_and_a_person_sees_it(self, shop):
        name = {"first_name": "<script>alert(1)</script>", "last_name": "Mustermann"}
        made = requests.post(f"{shop.url}/_demo/orders", json={"billing": name}, timeout=10)
        assert (made.status_code, made.json()["status"]) == (201, "on-hold")
        listed = requests.get(f"{shop.url}/_demo/orders", timeout=10).json()
        assert [order["id"] for order in listed] == [made.json()["id"]]
        page = requests.get(f"{shop.url}/", timeout=10).text
        assert "&lt;script&gt;alert(1)" in page
        assert "<script" not in page
        assert "on-hold" in page

    def test_forms_of_other_sites_order_nothing(self, shop):
        address = f"{shop.url}/_demo/orders"
        foreign = requests.post(address, headers={"Origin": "https://evil.example"}, timeout=10)
        own = requests.post(
            address, headers={"Origin": shop.url}, timeout=10, allow_redirects=False
        )
        assert (foreign.status_code, own.status_code) == (403, 303)
        assert len(shop.orders) == 1

    @pytest.mark.parametrize("body", ["[]", "{", '{"line_items": 5}', '{"line_items": [5]}'])
    def test_what_is_no_order_is_said_to_be_none(self, shop, body):
        headers = {"Content-Type": "application/json"}
        answer = requests.post(f"{shop.url}/_demo/orders", data=body, headers=headers, timeout=10)
        assert answer.status_code == 400

    def test_without_demo_there_is_no_side_door(self):
        with FakeWooCommerce() as shop:
            for path in ("/", "/_demo/orders"):
                assert requests.get(shop.url + path, timeout=10).status_code == 404

    def test_as_a_process_it_keeps_its_orders(self, tmp_path):
        command = [sys.executable, "-m", "plugin_sdk.testing.fake_woocommerce"]
        command += ["--state", str(tmp_path / "shop.json"), "--name", "Buch & Co"]
        for count in (1, 2):
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                address = process.stdout.readline().strip()
                requests.post(f"{address}/_demo/orders", json={}, timeout=10)
                orders = requests.get(f"{address}/_demo/orders", timeout=10).json()
                assert [order["id"] for order in orders] == list(range(count, 0, -1))
                assert "Buch &amp; Co" in requests.get(address, timeout=10).text
                process.terminate()
                assert process.wait(20) == 0


def test_webhook_bodies_are_what_php_prints(shop):
    key = shop.add_order(billing={"last_name": "Müller/Söhne"})
    _, body = shop.delivery("order.updated", key)
    assert b'"last_name":"M\\u00fcller\\/S\\u00f6hne"' in body
    assert json.loads(body)["billing"]["last_name"] == "Müller/Söhne"


def test_a_hanging_shop_lets_go_when_it_is_stopped(shop):
    shop.fail("hang")
    with pytest.raises(requests.RequestException):
        requests.get(f"{shop.url}/wp-json/wc/v3/orders", timeout=0.2)
    until(lambda: shop.next_failure() is None, "the end of the failure")


def _now():
    return datetime.now(UTC).timestamp()
