"""Orders that a person asks for: looked at now, and the shop's word goes back."""

from __future__ import annotations

import pytest

from connectors.woocommerce import WooCommerce
from plugin_sdk.connector import Capability
from plugin_sdk.order_requests import WaitingRequests
from plugin_sdk.types import OrderRequest, RequestOutcome
from tests.connectors.stand_in import until


def ask(kontor, request_id, **which):
    kontor.requests.append({"id": str(request_id), **which})


def answers(kontor):
    return {key: answer.outcome for key, answer in kontor.answers}


@pytest.fixture
def agent(begin, kontor):
    """One that has compared everything, told of its shop, and only waits from now on."""
    made = begin(confirm_seconds=0.2)
    until(lambda: "compared all orders" in begin.lines, "the first comparison")
    until(lambda: any(each.discovery for each in kontor.heartbeats), "the discovery")
    return made


@pytest.mark.feature("S74")
def test_an_order_is_read_again_at_once(shop, kontor, begin):
    key = shop.add_order()
    begin()
    until(lambda: key in kontor.orders, "the push")
    until(lambda: "compared all orders" in begin.lines, "the first comparison")
    kontor.pushes.clear()
    shop.set_status(key, "completed")
    ask(kontor, 1, external_id=key)
    until(lambda: kontor.answers, "the answer")
    ((_, answer),) = kontor.answers
    assert answer.outcome is RequestOutcome.FOUND
    assert answer.order.shop_status == "completed"
    assert kontor.pushes == []


@pytest.mark.feature("K64")
def test_an_order_is_found_by_the_number_that_people_know(shop, kontor, agent):
    key = shop.add_order(number="AA-1007")
    ask(kontor, 1, number="AA-1007")
    ask(kontor, 2, number="AA-1008")
    until(lambda: len(kontor.answers) == 2, "both answers")
    assert answers(kontor) == {"1": RequestOutcome.FOUND, "2": RequestOutcome.UNKNOWN}
    assert kontor.answers[0][1].order.external_id == key


@pytest.mark.feature("S74")
def test_what_was_answered_is_not_pushed_once_more(shop, kontor, agent, begin):
    key = shop.add_order()
    ask(kontor, 1, external_id=key)
    until(lambda: kontor.answers, "the answer")
    agent.stop()
    other = shop.add_order()
    begin()  # compares what changed since, which is both
    until(lambda: other in kontor.orders, "the comparison")
    assert kontor.pushes == [other]


@pytest.mark.feature("S41", "S74")
def test_what_is_gone_is_looked_at_a_second_time(shop, kontor, agent):
    trashed, deleted = shop.add_order(), shop.add_order()
    shop.trash(trashed)
    shop.delete(deleted)
    ask(kontor, 1, external_id=trashed)
    ask(kontor, 2, external_id=deleted)
    until(lambda: len(kontor.gone) >= 2, "the confirmations")
    assert answers(kontor) == {"1": RequestOutcome.TRASHED, "2": RequestOutcome.GONE}
    assert {key for each in kontor.gone for key in each["external_ids"]} == {trashed, deleted}


def test_a_shop_in_trouble_is_asked_again_later(shop, kontor, agent):
    key = shop.add_order()
    shop.fail("500", times=1)
    ask(kontor, 1, external_id=key)
    until(lambda: kontor.answers, "the answer")
    ((_, answer),) = kontor.answers
    assert answer.outcome is RequestOutcome.TEMPORARY
    assert "500" in answer.reason


def test_an_order_that_the_server_refuses_is_told_as_such(shop, kontor, agent):
    key = shop.add_order()
    kontor.refuse.add(key)
    ask(kontor, 1, external_id=key)
    until(lambda: kontor.answers, "the answer")
    ((_, answer),) = kontor.answers
    assert (answer.outcome, answer.order) == (RequestOutcome.REJECTED, None)
    assert "not today" in answer.reason


def test_an_id_that_is_none_is_refused(kontor, agent):
    ask(kontor, 1, external_id="no id")
    until(lambda: kontor.answers, "the answer")
    assert answers(kontor) == {"1": RequestOutcome.REJECTED}


def test_a_shop_system_without_a_search_says_so(shop, kontor, begin, monkeypatch):
    fewer = WooCommerce.capabilities - {Capability.FIND_BY_NUMBER}
    monkeypatch.setattr(WooCommerce, "capabilities", fewer)
    shop.add_order()
    begin()
    ask(kontor, 1, number="1")
    until(lambda: kontor.answers, "the answer")
    assert answers(kontor) == {"1": RequestOutcome.NOT_SUPPORTED}
    assert kontor.answers[0][1].reason


def test_what_this_version_does_not_understand_holds_up_no_payment(shop, kontor, agent, begin):
    key = shop.add_order()
    kontor.requests.append({"id": "1", "customer": "Erika"})
    ask(kontor, 2, external_id=key, urgency="high")
    until(lambda: kontor.answers, "the answer to the other")
    assert answers(kontor) == {"2": RequestOutcome.FOUND}
    assert not [line for line in begin.lines if line.startswith("payments:")]


def test_many_requests_and_a_long_comparison_do_not_hold_up_each_other(shop, kontor, begin):
    made = [shop.add_order() for _ in range(230)]
    for number, key in enumerate(made[:15]):
        ask(kontor, number, external_id=key)
    kontor.deaf = True  # nothing begins before the server has heard of the agent
    begin()
    until(lambda: kontor.order_of_calls.count("GET payment-updates") > 1, "the requests")
    kontor.deaf = False
    until(lambda: len(kontor.answers) == 15 and len(kontor.orders) == 230, "all of it")
    calls = kontor.order_of_calls
    first_batch = calls.index("POST orders/batch")
    requests = [at for at, call in enumerate(calls) if call.startswith("POST order-requests")]
    assert requests[0] < first_batch < requests[-1]


def test_a_lease_that_is_running_out_is_left_to_the_next_one():
    waiting = WaitingRequests()
    waiting.add([OrderRequest("1", number="a"), OrderRequest("2", number="b")], until=10)
    waiting.add([OrderRequest("2", number="b")], until=20)
    assert waiting.take(at=15) == OrderRequest("2", number="b")
    assert (waiting.take(at=15), len(waiting)) == (None, 0)
