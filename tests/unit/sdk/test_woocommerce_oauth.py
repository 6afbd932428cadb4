"""Signatures, with the values that RFC 5849 prints."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from requests import Request

from connectors.woocommerce.oauth import OAuth1, signature, signature_base


def test_the_base_string_of_section_3_4_1_1():
    query = parse_qsl("b5=%3D%253D&a3=a&c%40=&a2=r%20b", keep_blank_values=True)
    body = [("c2", ""), ("a3", "2 q")]
    header = [
        ("oauth_consumer_key", "9djdj82h48djs9d2"),
        ("oauth_token", "kkk9d7dh3k39sjv7"),
        ("oauth_signature_method", "HMAC-SHA1"),
        ("oauth_timestamp", "137131201"),
        ("oauth_nonce", "7d8f3e4a"),
    ]
    assert signature_base("post", "http://EXAMPLE.com:80/request", [*query, *body, *header]) == (
        "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D"
        "%253D%25253D%26c%2540%3D%26c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce"
        "%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1%26oauth_timestamp%3D137131201%26"
        "oauth_token%3Dkkk9d7dh3k39sjv7"
    )


def test_the_signature_of_section_1_2():
    base = signature_base(
        "GET",
        "http://photos.example.net/photos",
        [
            ("file", "vacation.jpg"),
            ("size", "original"),
            ("oauth_consumer_key", "dpf43f3p2l4k3l03"),
            ("oauth_token", "nnch734d00sl2jdk"),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", "137131202"),
            ("oauth_nonce", "chapoH"),
        ],
    )
    made = signature(base, "kd94hf93k423kf44", "pfkkdhi9sl3r4s00", "HMAC-SHA1")
    assert made == "MdpQcU8iPSUjWoN/UDMsK2sui9I="


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://Shop.example.org:443/a", "https%3A%2F%2Fshop.example.org%2Fa"),
        ("https://shop.example.org:8443/a", "https%3A%2F%2Fshop.example.org%3A8443%2Fa"),
        ("http://shop.example.org", "http%3A%2F%2Fshop.example.org%2F"),
        ("http://shop.example.org/a%20b", "http%3A%2F%2Fshop.example.org%2Fa%2520b"),
    ],
)
def test_the_place_in_the_base_string(url, place):
    assert signature_base("GET", url, []) == f"GET&{place}&"


def test_the_header_holds_everything_and_the_address_nothing():
    auth = OAuth1("ck", "cs", clock=lambda: 1_700_000_000.9, nonce=lambda: "n")
    request = Request("GET", "http://shop.example.org/a", params={"b": "ü 1"}, auth=auth).prepare()
    assert request.url == "http://shop.example.org/a?b=%C3%BC+1"
    header = request.headers["Authorization"]
    assert header.startswith('OAuth oauth_consumer_key="ck", oauth_nonce="n"')
    assert 'oauth_timestamp="1700000000"' in header
    assert "cs" not in header.replace("oauth_consumer_key", "")


def test_behind_a_silent_proxy_the_signature_is_for_http():
    def sign(url, **more):
        auth = OAuth1("ck", "cs", clock=lambda: 0, nonce=lambda: "n", **more)
        return Request("GET", url, auth=auth).prepare().headers["Authorization"]

    assert sign("https://shop.example.org/a", scheme="http") == sign("http://shop.example.org/a")
    assert sign("https://shop.example.org/a") != sign("http://shop.example.org/a")
