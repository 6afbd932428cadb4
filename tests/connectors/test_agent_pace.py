"""How often the agent compares what, and what it tells the server of itself."""

from __future__ import annotations

import json
import time

import pytest

from plugin_sdk.agent import COMPARE_ALL_SECONDS, COMPARE_ALL_SPREAD_SECONDS
from plugin_sdk.types import ShopMethod
from tests.connectors.stand_in import until

HOUR = 3600


def place_of(tmp_path):
    return json.loads((tmp_path / "state" / "place.json").read_text())


@pytest.fixture
def last_comparison(tmp_path, begin):
    """A first agent that has compared everything, and ended; its comparison is moved back."""
    agent = begin()
    until(lambda: "compared all orders" in begin.lines, "the first comparison")
    agent.stop()
    begin.lines.clear()

    def was(hours_ago, after_hours):
        moved = {
            "compared_all_at": time.time() - hours_ago * HOUR,
            "compare_all_after_seconds": after_hours * HOUR,
        }
        content = json.dumps({**place_of(tmp_path), **moved})
        (tmp_path / "state" / "place.json").write_text(content)

    return was


@pytest.mark.feature("S32")
def test_where_the_shop_tells_of_new_orders_they_are_compared_every_half_hour(kontor, begin):
    begin()
    until(lambda: kontor.heartbeats, "a heartbeat")
    assert kontor.heartbeats[0].compare_seconds == 1800


@pytest.mark.feature("S33")
@pytest.mark.parametrize("untold", [{"listen": False}, {"webhook_secret": ""}])
def test_where_it_cannot_it_is_asked_every_three_minutes_and_this_is_said(kontor, begin, untold):
    begin(**untold)
    until(lambda: kontor.heartbeats, "a heartbeat")
    assert kontor.heartbeats[0].compare_seconds == 180
    assert [line for line in begin.lines if "every 3 minutes" in line]


@pytest.mark.feature("S32", "S33")
def test_without_webhooks_the_comparison_brings_what_is_new(shop, kontor, begin):
    begin(listen=False, compare_seconds=0.2)
    until(lambda: "compared all orders" in begin.lines, "the first comparison")
    key = shop.add_order()
    until(lambda: key in kontor.orders, "the next comparison")


@pytest.mark.feature("S34")
def test_all_orders_are_compared_twice_a_day_at_a_moment_drawn_anew(tmp_path, begin):
    agent = begin()
    drawn = []
    for count in (1, 2, 3):
        until(lambda: begin.lines.count("compared all orders") == count, "a comparison")  # noqa: B023
        drawn.append(place_of(tmp_path)["compare_all_after_seconds"])
        agent.compare_all()
    assert len(set(drawn)) == 3
    assert {11 * HOUR <= seconds <= 13 * HOUR for seconds in drawn} == {True}
    assert (COMPARE_ALL_SECONDS, COMPARE_ALL_SPREAD_SECONDS) == (12 * HOUR, HOUR)


@pytest.mark.feature("S34", "S35")
def test_a_change_that_nobody_told_of_is_taken_over(shop, kontor, begin, last_comparison):
    key = shop.add_order()
    last_comparison(hours_ago=12.1, after_hours=12)
    # With the posts tables a change of meta data moves no date, so only comparing all finds it.
    shop.orders[int(key)]["date_modified_gmt"] = "2026-01-02T00:00:00"
    begin()
    until(lambda: "compared all orders" in begin.lines, "the comparison")
    assert key in kontor.orders


@pytest.mark.feature("S34")
@pytest.mark.parametrize(("hours_ago", "is_due"), [(11.4, False), (11.6, True), (-2, True)])
def test_the_drawn_moment_survives_a_restart(kontor, begin, last_comparison, hours_ago, is_due):
    last_comparison(hours_ago=hours_ago, after_hours=11.5)
    before = kontor.order_of_calls.count("GET orders")
    agent = begin(compare_seconds=0.05)
    beats = len(kontor.heartbeats)
    until(lambda: len(kontor.heartbeats) > beats + 5, "some comparisons")
    if is_due:
        until(lambda: "compared all orders" in begin.lines, "the comparison")
    agent.stop()
    assert ("compared all orders" in begin.lines) is is_due
    assert (kontor.order_of_calls.count("GET orders") > before) is is_due


@pytest.mark.feature("S22")
def test_the_server_hears_of_the_shops_own_methods_and_statuses(kontor, begin):
    begin()
    until(lambda: any(each.discovery for each in kontor.heartbeats), "the discovery")
    found = next(each.discovery for each in kontor.heartbeats if each.discovery)
    assert ShopMethod("bacs", "Direkte Banküberweisung") in found.payment_methods
    assert ShopMethod("on-hold", "On hold") in found.statuses
    assert (found.currency, found.version) == ("EUR", "11.0.1")
    until(lambda: kontor.heartbeats[-1].discovery is None, "a heartbeat without it")
    assert [bool(each.discovery) for each in kontor.heartbeats].count(True) == 1


def test_a_shop_that_tells_nothing_of_itself_is_no_trouble(shop, kontor, begin):
    shop.fail("500", times=1000)
    begin()
    until(lambda: any("discover:" in line for line in begin.lines), "the try")
    shop.heal()
    key = shop.add_order()
    until(lambda: key in kontor.orders, "the push")
    assert {each.last_error for each in kontor.heartbeats} == {None}


@pytest.mark.parametrize("error", [KeyError("id"), RecursionError()])
def test_a_connector_that_stumbles_over_it_is_no_trouble(kontor, begin, monkeypatch, error):
    def discover(self):
        raise error

    monkeypatch.setattr("connectors.woocommerce.WooCommerce.discover", discover)
    begin()
    until(lambda: any("discover: unexpected" in line for line in begin.lines), "the try")
    until(lambda: len(kontor.heartbeats) > 2, "more heartbeats")
    assert {each.last_error for each in kontor.heartbeats} == {None}
