"""Where a comparison of a WooCommerce shop stands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from connectors.woocommerce.scan import OVERLAP, Scan
from plugin_sdk.cursors import MAX_PAGES_OF_A_MOMENT
from plugin_sdk.errors import Rejected, Temporary

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_it_steps_behind_the_newest_second_and_back_at_the_end():
    scan = Scan(NOON)
    newest = NOON + timedelta(minutes=5)
    assert scan.advance(newest, full=True)
    assert (scan.after, scan.page) == (newest - timedelta(seconds=1), 1)
    assert Scan.read(scan.text()) == scan
    assert not scan.advance(newest, full=False)
    assert scan.after == newest - timedelta(seconds=1) - OVERLAP


def test_two_changes_in_one_second_are_two():
    scan = Scan(NOON)
    told = [scan.is_news("1", NOON, mark) for mark in ("a", "a", "b", "b")]
    assert told == [True, False, True, False]


def test_a_shop_that_ignores_the_number_of_the_page_is_noticed():
    scan = Scan(NOON, page=MAX_PAGES_OF_A_MOMENT - 1)
    assert scan.advance(NOON, full=True)
    with pytest.raises(Temporary, match="does not end"):
        scan.advance(NOON, full=True)


@pytest.mark.parametrize(
    "text", ["", '{"version":1}', '{"version":1,"after":7,"page":1,"seen":{}}']
)
def test_nonsense_is_refused(text):
    with pytest.raises(Rejected):
        Scan.read(text)
