"""Cursors that connectors share: text with a version, and the watermark with its overlap."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from plugin_sdk.cursors import (
    MAX_PAGES_OF_A_MOMENT,
    MAX_SEEN,
    Watermark,
    mark_of,
    read_cursor,
    write_cursor,
)
from plugin_sdk.errors import Rejected, Temporary

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
PAGE = 4


def compare(shop, at, meanwhile=lambda: None):
    """All pages from a mark on, as a shop lists them: {id: (changed_at, content)}."""
    told = []
    for _ in range(200):
        rows = sorted((at_, key, mark) for key, (at_, mark) in shop.items())
        rows = [row for row in rows if at.since is None or row[0] >= at.since]
        page = rows[(at.page - 1) * PAGE : at.page * PAGE]
        told += [key for changed, key, mark in page if at.is_news(key, changed, mark)]
        if not at.turn_page(full=len(page) >= PAGE):
            return told
        at = Watermark.read(at.text(1), 1)
        meanwhile()
    raise AssertionError("the list does not end")


def test_a_cursor_comes_back_as_it_was():
    assert read_cursor(write_cursor(3, page=2, name="ü"), 3) == {
        "version": 3,
        "page": 2,
        "name": "ü",
    }


@pytest.mark.parametrize("text", ["", "x", "[]", "null", "7", "{}", '{"version":2}', "[" * 100_000])
def test_another_version_and_nonsense_are_refused(text):
    with pytest.raises(Rejected):
        read_cursor(text, 1)
    with pytest.raises(Rejected):
        Watermark.read(text, 1)


@pytest.mark.parametrize(
    "spoilt",
    [{"since": "yesterday"}, {"since": "2026-11-21T12:00:00"}, {"page": "x"}, {"seen": []}],
)
def test_a_watermark_with_nonsense_in_it_is_refused(spoilt):
    content = {"since": None, "page": 1, "seen": {}, "newest": None, **spoilt}
    with pytest.raises(Rejected):
        Watermark.read(write_cursor(1, **content), 1)


def test_marks_change_with_the_content_and_not_with_the_order_of_keys():
    assert mark_of({"a": 1, "b": [2]}) == mark_of({"b": [2], "a": 1})
    assert mark_of({"a": 1}) != mark_of({"a": 2})


def test_the_mark_steps_back_by_the_overlap_and_what_comes_again_is_not_told():
    shop = {"1": (NOON, "a"), "2": (NOON + SECOND, "a")}
    at = Watermark()
    assert compare(shop, at) == ["1", "2"]
    assert at.since == NOON + SECOND - timedelta(seconds=120)
    assert compare(shop, at) == []
    shop["3"] = (NOON - timedelta(seconds=60), "saved late")
    shop["2"] = (NOON + SECOND, "changed in the same second")
    assert sorted(compare(shop, at)) == ["2", "3"]


def test_an_empty_shop_leaves_the_mark_where_it_is():
    at = Watermark()
    assert compare({}, at) == []
    assert at.since is None


def test_more_in_one_moment_than_fit_a_page():
    shop = {str(number): (NOON, "a") for number in range(3 * PAGE + 1)}
    assert sorted(compare(shop, Watermark())) == sorted(shop)


def test_a_full_page_that_nobody_can_read_hides_no_other():
    at = Watermark()
    assert at.turn_page(full=True), "nothing of it had a time of change"
    assert (at.since, at.page) == (None, 2)
    at.is_news("1", NOON, "a")
    assert at.turn_page(full=True)
    assert (at.since, at.page) == (NOON, 1)
    assert at.turn_page(full=True), "again a page without a time"
    assert (at.since, at.page) == (NOON, 2)
    assert not at.turn_page(full=False)
    begin = NOON - timedelta(seconds=120)
    assert (at.since, at.page) == (begin, 1)
    assert at.turn_page(full=True), "and the same in the next comparison"
    assert (at.since, at.page) == (begin, 2)


def test_what_changes_during_the_scan_hides_no_other():
    shop = {str(number): (NOON + number * SECOND, "a") for number in range(5 * PAGE)}
    moved = iter(range(PAGE))

    def change():
        key = next(moved, None)
        if key is not None:
            shop[str(key)] = (NOON + timedelta(hours=1, seconds=key), "b")

    assert set(compare(shop, Watermark(), change)) == set(shop)


def test_what_is_remembered_has_an_end():
    shop = {str(number): (NOON, "a") for number in range(MAX_SEEN + 50)}
    at = Watermark()
    for key, (changed, mark) in shop.items():
        at.is_news(key, changed, mark)
    at.turn_page(full=False)
    assert len(at.seen) == MAX_SEEN


@given(
    some.lists(
        some.tuples(some.integers(0, 9), some.integers(0, 200), some.booleans()), max_size=30
    )
)
def test_whatever_changes_the_last_content_is_told(steps):
    shop, told, at, clock = {}, {}, Watermark(), NOON
    for number, (key, seconds, looks) in enumerate(steps):
        clock += timedelta(seconds=seconds)
        shop[str(key)] = (clock, f"v{number}")
        if looks:
            told |= {key: shop[key][1] for key in compare(shop, at)}
            at = Watermark.read(at.text(1), 1)
    told |= {key: shop[key][1] for key in compare(shop, at)}
    assert told == {key: content for key, (_, content) in shop.items()}


def test_a_shop_that_ignores_the_number_of_the_page_is_noticed():
    at = Watermark()
    with pytest.raises(Temporary, match="does not end"):
        for _ in range(MAX_PAGES_OF_A_MOMENT + 2):
            at.is_news("1", NOON, "a")
            at.turn_page(full=True)
    assert at.page == MAX_PAGES_OF_A_MOMENT
