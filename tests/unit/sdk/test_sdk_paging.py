"""Page numbers, offsets and links to the next page; and the checks that connectors share."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from plugin_sdk.checks import base_address, clock_findings, encryption_findings
from plugin_sdk.connector import Severity
from plugin_sdk.errors import Misconfigured, Temporary
from plugin_sdk.http import Answer
from plugin_sdk.paging import Offsets, PageNumbers, every_row, next_link

ROWS = list(range(25))


def shop(paging, *, header="", told=None):
    """Answers as a shop with 25 rows; notes down what it was asked."""
    asked = []

    def fetch(query):
        asked.append(dict(query))
        size = int(query.get("limit") or query.get("per_page"))
        start = int(query["offset"]) if "offset" in query else (int(query["page"]) - 1) * size
        headers = {header: str(-(-len(ROWS) // size) if told is None else told)} if header else {}
        return Answer(200, headers, None), ROWS[start : start + size]

    return fetch, asked


@pytest.mark.parametrize(
    ("paging", "header", "requests"),
    [
        (PageNumbers(10), "", 3),
        (PageNumbers(5), "", 6),  # the last page is full, so one more is asked for
        (PageNumbers(5, pages_header="X-Pages"), "X-Pages", 5),
        (PageNumbers(100), "", 1),
        (Offsets(10), "", 3),
        (Offsets(25), "", 2),
    ],
)
def test_every_row_comes_once(paging, header, requests):
    fetch, asked = shop(paging, header=header)
    assert list(every_row(paging, fetch)) == ROWS
    assert len(asked) == requests


@pytest.mark.parametrize("told", ["many", "", "-1", "²", "9" * 30])
def test_a_header_that_is_no_number_is_not_believed(told):
    paging = PageNumbers(10, pages_header="X-Pages")
    fetch, asked = shop(paging, header="X-Pages", told=told)
    assert list(every_row(paging, fetch)) == ROWS
    assert len(asked) == 3


def test_a_list_without_an_end_is_temporary():
    with pytest.raises(Temporary, match="does not end"):
        list(every_row(PageNumbers(1), lambda query: (Answer(200, {}, None), ["x"]), max_pages=5))


URL = "https://shop.example.org/api/orders?page=1"


@pytest.mark.parametrize(
    ("link", "following"),
    [
        ('<https://shop.example.org/api/orders?page=2>; rel="next"', "/api/orders?page=2"),
        ('</api/orders?page=2>; rel="next"', "/api/orders?page=2"),
        ('<?page=0>; rel="prev", <?page=2>; rel="next last"', "/api/orders?page=2"),
        ('<?page=0>; rel="prev"', None),
        ("", None),
        ("nonsense", None),
    ],
)
def test_the_link_to_the_next_page(link, following):
    found = next_link(Answer(200, {"Link": link}, None), URL)
    assert found == (f"https://shop.example.org{following}" if following else None)


@pytest.mark.parametrize("place", ["https://elsewhere.example.org/", "http://shop.example.org/"])
def test_the_key_does_not_go_to_another_host(place):
    with pytest.raises(Temporary, match="another host"):
        next_link(Answer(200, {"Link": f'<{place}>; rel="next"'}, None), URL)


@pytest.mark.parametrize(
    ("apart", "severity"),
    [(0, None), (119, None), (-119, None), (200, Severity.WARNING), (-1000, Severity.PROBLEM)],
)
def test_a_clock_that_is_wrong(apart, severity):
    headers = {"Date": formatdate(1_800_000_000 + apart, usegmt=True)}
    found = clock_findings(headers, 1_800_000_000, limit_seconds=900)
    assert [each.severity for each in found] == ([severity] if severity else [])


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_no_date_is_no_finding(date):
    assert clock_findings({"Date": date}, 0) == []


def test_plain_http_is_worth_a_warning_except_here():
    assert encryption_findings("https://shop.example.org") == []
    assert encryption_findings("http://127.0.0.1:8080") == []
    assert [each.topic for each in encryption_findings("http://shop.example.org")] == ["encryption"]


@pytest.mark.parametrize(
    "address",
    ["", "shop.example.org", "ftp://a.example", "https://u:p@a.example", "https://a.example?x=1",
     "https://a.example:x", "https://"],
)  # fmt: skip
def test_an_address_that_is_none(address):
    with pytest.raises(Misconfigured, match="base_url"):
        base_address(address, "base_url")


def test_an_address_loses_its_slash():
    assert base_address("https://a.example/shop/") == "https://a.example/shop"
