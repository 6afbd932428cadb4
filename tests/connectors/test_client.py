"""The client of Kontor's API against a server that answers, refuses and disappears."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from plugin_sdk.client import Client, UnknownOrder
from plugin_sdk.errors import Misconfigured, Rejected, Temporary
from plugin_sdk.types import (
    WIRE_VERSION,
    Acknowledgement,
    Evidence,
    Heartbeat,
    Intent,
    Order,
    Outcome,
    PaymentStatus,
)
from tests.connectors.stand_in import KEY, StandIn

ORDER = Order("1", "1", datetime(2026, 11, 21, tzinfo=UTC), "EUR", Decimal("39.90"))


@pytest.fixture
def kontor():
    with StandIn() as server:
        yield server


@pytest.fixture
def client(kontor):
    made = Client(f"{kontor.url}/", KEY, budget_seconds=5)
    yield made
    made.close()


def test_orders_go_out_in_batches_and_keep_their_order(kontor, client):
    orders = [replace(ORDER, external_id=str(number)) for number in range(250)]
    kontor.refuse.add("120")
    results = client.push_orders(orders)
    assert kontor.order_of_calls == ["POST orders/batch"] * 3
    assert [result.index for result in results] == list(range(250))
    assert [result.external_id for result in results] == [order.external_id for order in orders]
    assert [result.outcome for result in results].count("created") == 249
    assert (results[120].outcome, results[120].problem) == ("invalid", "total: not today")
    assert kontor.orders["7"] == orders[7]
    assert kontor.wire_versions == {str(WIRE_VERSION)}


def test_no_orders_need_no_request(kontor, client):
    assert client.push_orders([]) == []
    assert kontor.order_of_calls == []


def test_what_a_newer_server_adds_is_ignored(kontor, client):
    kontor.updates.append(
        {
            "id": "pu-1",
            "external_id": "1",
            "number": "1",
            "payment_status": "paid",
            "paid_total": "39.90",
            "currency": "EUR",
            "intent": "paid",
            "created_at": "2026-11-21T00:00:00+00:00",
            "mood": "good",
        }
    )
    (update,) = client.payment_updates(wait_seconds=0).updates
    assert (update.intent, update.payment_status) == (Intent.PAID, PaymentStatus.PAID)
    assert update.paid_total == Decimal("39.90")


def test_a_poll_that_finds_no_seat_says_when_to_come_again(kontor, client):
    kontor.spoil.append((200, {"payment_updates": [], "retry_after_seconds": 9}, {}))
    assert client.payment_updates(wait_seconds=0).retry_after_seconds == 9


def test_acknowledgements_gone_invoices_heartbeats(kontor, client):
    client.acknowledge("pu/1", Acknowledgement(Outcome.TEMPORARY, "later", "on-hold", 7))
    client.gone([str(number) for number in range(130)], Evidence.TRASHED)
    client.put_invoice("1/2", "RE 1/2", b"%PDF-1.7 ...")
    client.heartbeat(Heartbeat("woocommerce", "0.1.0"))
    assert kontor.acknowledged[0][1].retry_after_seconds == 7
    assert [len(each["external_ids"]) for each in kontor.gone] == [100, 30]
    assert kontor.gone[0]["evidence"] == "trashed"
    assert kontor.invoices == {"orders/1%2F2/invoices/RE%201%2F2": b"%PDF-1.7 ..."}
    assert kontor.heartbeats == [Heartbeat("woocommerce", "0.1.0")]


@pytest.mark.feature("S41")
def test_a_report_of_what_is_gone_counts_once_however_often_it_is_sent(kontor, client):
    kontor.spoil += [(503, {}, {"Retry-After": "0"}), (409, {"detail": "still running"}, {})]
    client.gone(["1"], Evidence.GONE)
    client.gone(["1"], Evidence.GONE)
    first, *again, other = kontor.idempotency_keys
    assert again == [first, first] and other != first
    assert len(kontor.gone) == 2


def test_what_is_no_pdf_is_not_sent(kontor, client):
    with pytest.raises(Rejected):
        client.put_invoice("1", "RE-1", b"<html>")
    assert kontor.order_of_calls == []


def test_orders_are_looked_up_and_listed(kontor, client):
    client.push_orders([replace(ORDER, external_id=key) for key in ("1", "2", "3")])
    assert client.get_order("1")["external_id"] == "1"
    with pytest.raises(UnknownOrder):
        client.get_order("99")
    first = client.list_orders("unpaid")
    rest = client.list_orders("unpaid", first.cursor)
    assert (first.external_ids, rest.external_ids, rest.cursor) == (("1", "2"), ("3",), None)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_trouble_on_the_way_is_tried_again(kontor, client, status):
    kontor.spoil += [(status, {"detail": "no"}, {}), (status, {}, {"Retry-After": "0"})]
    assert client.push_order(ORDER).outcome == "created"


def test_the_budget_ends_the_trying(kontor):
    client = Client(kontor.url, KEY, budget_seconds=1)
    kontor.down = True
    with pytest.raises(Temporary, match="503"):
        client.push_order(ORDER)
    client.close()


def test_a_long_wish_is_not_waited_for_but_passed_on(kontor, client):
    kontor.spoil.append((429, {}, {"Retry-After": "3600"}))
    with pytest.raises(Temporary) as caught:
        client.push_order(ORDER)
    assert caught.value.retry_after_seconds == 3600
    assert kontor.orders == {}


def test_who_is_stopped_does_not_try_again(kontor):
    stop = threading.Event()
    stop.set()
    client = Client(kontor.url, KEY, budget_seconds=3600, stop=stop)
    kontor.down = True
    with pytest.raises(Temporary):
        client.push_order(ORDER)
    client.close()


def test_a_wrong_key_is_for_a_person(kontor):
    client = Client(kontor.url, "kontor_wrong")
    with pytest.raises(Misconfigured, match="No valid API key") as caught:
        client.push_order(ORDER)
    assert "kontor_wrong" not in str(caught.value)
    client.close()


def test_a_problem_keeps_its_words(kontor, client):
    kontor.spoil.append((422, {"detail": "Not so.", "errors": {"total": ["No amount."]}}, {}))
    with pytest.raises(Rejected, match=r"Not so\..*total.*No amount"):
        client.push_order(ORDER)


@pytest.mark.parametrize("body", [None, [], {}, {"results": 5}, {"results": [{"index": "x"}]}])
def test_answers_that_cannot_be_read_may_be_better_later(kontor, body):
    client = Client(kontor.url, KEY, budget_seconds=0)
    kontor.spoil.append((200, body, {}))
    with pytest.raises(Temporary):
        client.push_order(ORDER)
    client.close()


@pytest.mark.parametrize(
    ("url", "key"),
    [("", KEY), ("kontor.example.org", KEY), ("https://kontor.example.org", ""),
     ("https://kontor.example.org", "a\nb"), ("https://kontor.example.org", "ü")],
)  # fmt: skip
def test_settings_that_cannot_work(url, key):
    with pytest.raises(Misconfigured, match="KONTOR_"):
        Client(url, key)
