"""The fake shop's one-click connect (wc-auth) asks, refuses and delivers as WooCommerce's does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from plugin_sdk.testing.fake_woocommerce import FakeWooCommerce


class Taker(BaseHTTPRequestHandler):
    """Takes what is delivered, and answers as it is told."""

    server: TakerServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.append((self.path, self.headers["Content-Type"], json.loads(body)))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


class TakerServer(HTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taker)
        self.taken: list[tuple[str, str, dict[str, object]]] = []
        self.status = 200
        self.url = f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def taker() -> Iterator[TakerServer]:
    with TakerServer() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def fake() -> Iterator[FakeWooCommerce]:
    with FakeWooCommerce() as running:
        running.authorize.takes_http = True
        yield running


def asked(taker: TakerServer, **over: str) -> dict[str, str]:
    return {
        "app_name": "Kontor",
        "scope": "read_write",
        "user_id": "once",
        "return_url": f"{taker.url}/back?a=b",
        "callback_url": f"{taker.url}/keys",
    } | over


def open_page(fake: FakeWooCommerce, asked: dict[str, str]) -> requests.Response:
    return requests.get(f"{fake.url}/wc-auth/v1/authorize", params=asked, timeout=10)


def link(page: requests.Response, name: str) -> str:
    found = page.text.split(f"'>{name}<")[0].rsplit("href='", 1)[1]
    return found.replace("&amp;", "&")


def agree(fake: FakeWooCommerce, asked: dict[str, str]) -> requests.Response:
    path = link(open_page(fake, asked), "Approve")
    return requests.get(fake.url + path, timeout=10, allow_redirects=False)


def test_who_agrees_delivers_a_key_that_opens_and_goes_back(fake, taker):
    answer = agree(fake, asked(taker))
    assert answer.status_code == 302
    assert answer.headers["Location"] == f"{taker.url}/back?a=b&success=1&user_id=once"
    ((path, kind, key),) = taker.taken
    assert (path, kind) == ("/keys", "application/json;charset=UTF-8")
    assert set(key) == {"key_id", "user_id", "consumer_key", "consumer_secret", "key_permissions"}
    assert (key["user_id"], key["key_permissions"]) == ("once", "read_write")
    assert fake.login.keys[key["consumer_key"]].secret == key["consumer_secret"]


def test_who_denies_goes_back_without_a_key(fake, taker):
    before = dict(fake.login.keys)
    address = link(open_page(fake, asked(taker)), "Deny")
    query = parse_qs(urlsplit(address).query)
    assert query == {"a": ["b"], "success": ["0"], "user_id": ["once"]}
    assert not taker.taken and fake.login.keys == before


def test_a_key_that_nobody_takes_is_deleted_again(fake, taker):
    before = dict(fake.login.keys)
    taker.status = 503
    answer = agree(fake, asked(taker))
    assert answer.status_code == 401 and "unable to send" in answer.text
    assert taker.taken and fake.login.keys == before


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"user_id": ""}, "Missing parameter user_id"),
        ({"scope": "everything"}, "Invalid scope everything"),
        ({"return_url": "nowhere"}, "The return_url is not a valid URL"),
    ],
)
def test_what_cannot_be_is_refused(fake, taker, over, said):
    answer = open_page(fake, asked(taker, **over))
    assert answer.status_code == 401 and said in answer.text


def test_keys_are_delivered_over_tls_only_and_an_approval_counts_once(fake, taker):
    path = link(open_page(fake, asked(taker)), "Approve")
    assert requests.get(fake.url + path, timeout=10, allow_redirects=False).status_code == 302
    again = requests.get(fake.url + path, timeout=10, allow_redirects=False)
    assert again.status_code == 401 and len(taker.taken) == 1
    fake.authorize.takes_http = False
    answer = open_page(fake, asked(taker))
    assert answer.status_code == 401 and "needs to be over SSL" in answer.text
