"""Orders that a person asks a shop for: leased to its agent, answered, taken in."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest
from redis import Redis

from connectors.woocommerce import WooCommerce
from plugin_sdk.agent import Agent, Pace
from plugin_sdk.client import Client, UnknownOrder
from plugin_sdk.errors import Rejected
from plugin_sdk.schemas import OrderSchema
from plugin_sdk.testing.fake_woocommerce import CONSUMER_KEY, CONSUMER_SECRET, FakeWooCommerce
from plugin_sdk.types import RequestAnswer, RequestOutcome
from server.db import db, now
from server.mail.models import Mail
from server.merchants.models import Merchant
from server.orders.models import Order, OrderEvent
from server.shops.models import OrderRequest, Shop
from server.shops.order_requests import (
    MAX_WAITING,
    REQUEST_LIFETIME,
    answer_request,
    ask_for_order,
    expire_requests,
    has_expired_requests,
    lease_requests,
    named_order,
    request_of,
    shops_with_requests,
)
from server.work import LEASE
from tests.factories import AT, bearer, make_key, make_merchant, make_order, make_shop, wire_order

SECOND = timedelta(seconds=1)
POLL = "/api/v1/payment-updates"
ANNA = "anna@example.org"


@pytest.fixture
def shop(app):
    return make_shop(make_merchant())


def key_of(shop):
    return make_key(db.session.get_one(Merchant, shop.merchant_id), "shop", shop)[1]


@pytest.fixture
def key(shop):
    return bearer(key_of(shop))


def ask(shop, at=AT, **which):
    row = ask_for_order(shop, asked_by=ANNA, at=at, **which)
    db.session.commit()
    return row


def lease(shop, at, limit=100):
    rows = lease_requests(shop, limit, at)
    db.session.commit()
    return [row.id for row in rows]


def answer(client, key, row, **body):
    return client.post(f"/api/v1/order-requests/{row.id}/answer", json=body, headers=key)


# --- asking --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (" AA-1007 ", {"number": "AA-1007"}),
        ("1007", {"number": "1007"}),
        ("orderid:1234", {"external_id": "1234"}),
        ("OrderID: 1234", {"external_id": "1234"}),
    ],
)
@pytest.mark.feature("K64")
def test_what_is_typed_is_a_number_or_the_shops_own_key(typed, meant):
    assert named_order(typed) == meant


@pytest.mark.parametrize("typed", ["", "  ", "orderid:", "x" * 65, "a\x00b", "a\nb"])
def test_what_can_be_no_number_is_refused(typed):
    with pytest.raises(ValueError, match="order_number_invalid"):
        named_order(typed)


def test_a_second_one_for_the_same_order_is_the_first_while_it_waits(shop):
    first, by_id = ask(shop, number="AA-1"), ask(shop, external_id="AA-1")
    assert ask(shop, number="AA-1").id == first.id != by_id.id
    lease(shop, AT)
    assert ask(shop, number="AA-1").id == first.id
    answer_request(first, RequestAnswer(RequestOutcome.UNKNOWN), AT)
    assert ask(shop, number="AA-1").id not in (first.id, by_id.id)


def test_a_shop_has_only_so_many(shop):
    for number in range(MAX_WAITING):
        ask(shop, number=str(number))
    with pytest.raises(ValueError, match="too_many_order_requests"):
        ask(shop, number="one more")
    assert ask(shop, number="0").number == "0"
    ask(make_shop(make_merchant("Bobs Laden")), number="another shop")


def test_no_worker_is_rung_for_what_an_agent_fetches(app, shop):
    redis: Redis = app.extensions["kontor.bell"].redis
    make_order(shop)
    end = time.monotonic() + 10
    while not redis.keys("kontor:rung:mail"):
        assert time.monotonic() < end
        time.sleep(0.01)
    ask(shop, number="AA-1")
    make_order(shop)
    end = time.monotonic() + 10
    while not redis.keys("kontor:rung:match_request"):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert redis.keys("*order_request*") == []


def test_a_merchant_sees_his_own_only(shop):
    row = ask(shop, number="AA-1")
    bob = make_merchant("Bobs Laden")
    assert request_of(shop.merchant_id, row.id).id == row.id
    assert request_of(bob.id, row.id) is None


# --- leases --------------------------------------------------------------------------------------


def test_what_is_leased_comes_again_only_after_its_lease(shop):
    row = ask(shop, number="AA-1")
    assert shops_with_requests({shop.id, 0}, AT) == {shop.id}
    assert lease(shop, AT) == [row.id]
    assert lease(shop, AT + LEASE) == []
    assert shops_with_requests({shop.id}, AT + LEASE) == set()
    assert shops_with_requests({shop.id}, AT + LEASE + SECOND) == {shop.id}
    assert lease(shop, AT + LEASE + SECOND) == [row.id]
    assert row.attempts == 2


def test_the_oldest_first_and_no_more_than_wanted(shop):
    rows = [ask(shop, AT + n * SECOND, number=str(n)) for n in (2, 0, 1)]
    assert lease(shop, AT + SECOND * 9, limit=2) == [rows[1].id, rows[2].id]


def test_a_shop_gets_its_own_requests_only(shop):
    ask(shop, number="AA-1")
    other = make_shop(db.session.get_one(Merchant, shop.merchant_id), "Zweiter Laden")
    assert lease(other, AT) == []
    assert shops_with_requests({other.id}, AT) == set()


def test_after_a_day_nobody_waits_any_more(shop):
    row, taken = ask(shop, number="AA-1"), ask(shop, number="AA-2")
    young = ask(shop, AT + SECOND, number="AA-3")
    lease(shop, AT, limit=1)
    end = AT + REQUEST_LIFETIME
    assert (has_expired_requests(end - SECOND), expire_requests(end - SECOND)) == (False, 0)
    assert has_expired_requests(end)
    assert lease(shop, end) == [young.id]
    assert expire_requests(end) == 2
    assert {row.status, taken.status} == {"failed"}
    assert row.error == "the shop did not answer"
    assert young.status == "running"


def test_a_request_whose_agent_never_came_back_ends_as_well(shop):
    row = ask(shop, number="AA-1")
    lease(shop, AT)
    end = AT + REQUEST_LIFETIME
    assert not has_expired_requests(end - SECOND)
    assert has_expired_requests(end)  # else the clock would not ring, and it would wait for ever
    assert expire_requests(end) == 1
    assert row.status == "failed"
    assert not has_expired_requests(end)
    assert ask(shop, end, number="AA-1").id != row.id


# --- the poll ------------------------------------------------------------------------------------


@pytest.mark.feature("S74", "K64")
def test_a_poll_brings_what_was_asked_for(client, shop, key):
    assert client.get(POLL, headers=key).json == {"payment_updates": []}
    by_id, by_number = ask(shop, now(), external_id="77"), ask(shop, now(), number="AA-1")
    found = client.get(POLL, headers=key).json
    assert found["order_requests"] == [
        {"id": str(by_id.id), "external_id": "77"},
        {"id": str(by_number.id), "number": "AA-1"},
    ]
    assert client.get(POLL, headers=key).json == {"payment_updates": []}


@pytest.mark.feature("S74")
def test_a_waiting_poll_wakes_when_somebody_asks(app, live_server):
    shop = make_shop(make_merchant())
    client = Client(live_server.url, key_of(shop))
    found = []
    poll = threading.Thread(target=lambda: found.append(client.payment_updates(20)), daemon=True)
    poll.start()
    end = time.monotonic() + 10
    while not app.extensions["kontor.polls"]._waiting:
        assert time.monotonic() < end
        time.sleep(0.01)
    row = ask(shop, now(), number="AA-1")
    poll.join(15)
    assert [each.id for each in found[0].requests] == [str(row.id)]
    client.close()


# --- answers -------------------------------------------------------------------------------------


@pytest.mark.feature("K64")
def test_an_order_that_was_found_is_managed_whatever_its_age_and_status(client, shop, key):
    row = ask(shop, number="AA-1")
    order = wire_order(number="AA-1", ordered_at="2025-06-01T10:00:00+00:00")
    ignored = {**order, "shop_status": "completed"}
    outcome = client.post("/api/v1/orders", json=ignored, headers=key).json["outcome"]
    assert outcome == "ignored"
    found = answer(client, key, row, outcome="found", order=ignored)
    assert (found.status_code, found.json) == (200, {"id": str(row.id), "state": "done"})
    stored = db.session.query(Order).one()
    assert (stored.number, stored.is_managed) == ("AA-1", True)
    assert (row.outcome, row.order_id) == ("found", stored.id)


@pytest.mark.feature("S74")
def test_a_known_order_is_read_again(client, shop, key):
    raw = wire_order(total="19.90")
    client.post("/api/v1/orders", json=raw, headers=key)
    order = db.session.query(Order).one()
    row = ask(shop, external_id=order.external_id, order_id=order.id)
    answer(client, key, row, outcome="found", order={**raw, "total": "24.90"})
    db.session.refresh(order)
    assert f"{order.total:.2f}" == "24.90"
    assert db.session.query(Order).count() == 1


def test_a_repeated_answer_changes_nothing(client, shop, key):
    row = ask(shop, number="AA-1")
    raw = wire_order(number="AA-1")
    first = answer(client, key, row, outcome="found", order=raw)
    mails = db.session.query(Mail).count()
    again = answer(client, key, row, outcome="found", order={**raw, "total": "99.00"})
    late = answer(client, key, row, outcome="unknown", reason="no such order")
    assert first.json == again.json == late.json
    assert f"{db.session.query(Order).one().total:.2f}" == "19.90"
    assert (row.outcome, db.session.query(Mail).count()) == ("found", mails)


@pytest.mark.feature("S41")
@pytest.mark.parametrize("evidence", ["gone", "trashed"])
def test_one_word_that_it_is_gone_removes_nothing_and_a_second_one_does(
    client, shop, key, evidence
):
    order = make_order(shop)
    for status in ("unpaid", "removed"):
        row = ask(shop, external_id=order.external_id, order_id=order.id)
        assert answer(client, key, row, outcome=evidence).json["state"] == "done"
        db.session.refresh(order)
        assert order.payment_status == status


def test_an_order_that_is_not_known_here_may_be_gone_as_well(client, shop, key):
    for which in ({"external_id": "77"}, {"number": "AA-1"}):
        row = ask(shop, **which)
        assert answer(client, key, row, outcome="gone").json["state"] == "done"
        assert row.outcome == "gone"


def test_trouble_is_tried_again_for_a_day(client, shop, key):
    row = ask(shop, now(), number="AA-1")
    began = row.created_at
    told = answer(client, key, row, outcome="temporary", reason="503").json
    assert (told["state"], row.error) == ("queued", "503")
    assert row.due_at > row.created_at
    at, tries = began, 0
    while row.status == "queued":
        at, tries = row.due_at, tries + 1
        assert lease(shop, at) == [row.id]
        answer_request(row, RequestAnswer(RequestOutcome.TEMPORARY, reason="503"), at)
        assert tries < 50
    assert (row.status, row.error) == ("failed", "the shop did not answer")
    assert began + timedelta(hours=20) < at < began + REQUEST_LIFETIME


@pytest.mark.parametrize(
    ("outcome", "state"),
    [("unknown", "done"), ("not_supported", "failed"), ("rejected", "failed")],
)
def test_other_words_end_it_with_their_reason(client, shop, key, outcome, state):
    row = ask(shop, number="AA-1")
    told = answer(client, key, row, outcome=outcome, reason="because")
    assert (told.json["state"], row.outcome, row.error) == (state, outcome, "because")
    assert db.session.query(Order).count() == 0


def test_another_order_than_the_one_asked_for_is_refused(client, shop, key):
    for row, order in (
        (ask(shop, number="AA-1"), wire_order(number="AA-10")),
        (ask(shop, external_id="77"), wire_order(external_id="78")),
    ):
        told = answer(client, key, row, outcome="found", order=order)
        assert (told.status_code, "another order" in told.json["detail"]) == (422, True)
        assert row.status == "queued"
    assert db.session.query(Order).count() == 0


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"outcome": "found"}, "order"),
        ({"outcome": "unknown", "order": wire_order(number="AA-1")}, "order"),
        ({"outcome": "found", "order": {"number": "AA-1"}}, "external_id"),
        ({"outcome": "perhaps"}, "outcome"),
        ({"outcome": "gone", "mood": "sad"}, "mood"),
    ],
)
def test_bad_answers_are_named_and_the_request_goes_on_waiting(client, shop, key, body, word):
    row = ask(shop, number="AA-1")
    told = answer(client, key, row, **body)
    assert (told.status_code, word in told.json["detail"]) == (422, True)
    assert row.status == "queued"


def test_what_a_newer_agent_adds_is_ignored_and_named(client, shop, key):
    row = ask(shop, number="AA-1")
    newer = {**key, "Kontor-Wire-Version": "99"}
    order = wire_order(number="AA-1", colour="red")
    told = answer(client, newer, row, outcome="found", order=order, mood="good")
    assert sorted(told.json["ignored"]) == ["mood", "order.colour"]
    assert "colour" not in db.session.query(Order).one().wire


def test_a_strangers_request_is_not_there(client, shop, key):
    row = ask(make_shop(make_merchant("Bobs Laden")), number="AA-1")
    sibling = make_shop(db.session.get_one(Merchant, shop.merchant_id), "Zweiter Laden")
    for theirs in (row, ask(sibling, number="AA-1")):
        assert answer(client, key, theirs, outcome="unknown").status_code == 404
        assert theirs.status == "queued"
    assert client.post(f"/api/v1/order-requests/{2**63}/answer", headers=key).status_code == 404


def test_the_client_answers_and_says_what_is_wrong(app, live_server):
    shop = make_shop(make_merchant())
    row = ask(shop, now(), number="AA-1")
    client = Client(live_server.url, key_of(shop))
    with pytest.raises(Rejected, match="order"):
        client.answer_request(str(row.id), RequestAnswer(RequestOutcome.FOUND))
    with pytest.raises(UnknownOrder):
        client.answer_request("999999", RequestAnswer(RequestOutcome.UNKNOWN))
    client.answer_request(str(row.id), RequestAnswer(RequestOutcome.UNKNOWN, reason="none"))
    db.session.expire_all()
    assert db.session.get_one(OrderRequest, row.id).status == "done"
    client.close()


def test_an_answer_that_comes_twice_at_once_is_taken_in_once(app, live_server):
    shop = make_shop(make_merchant())
    client = Client(live_server.url, key_of(shop))
    order = OrderSchema().load(wire_order(number="AA-1"))
    found = RequestAnswer(RequestOutcome.FOUND, order)
    for _ in range(3):
        row = ask(shop, now(), number="AA-1")
        sending = [
            threading.Thread(target=client.answer_request, args=(str(row.id), found), daemon=True)
            for _ in range(6)
        ]
        for each in sending:
            each.start()
        for each in sending:
            each.join(30)
        db.session.expire_all()
        assert db.session.get_one(OrderRequest, row.id).status == "done"
    kinds = [each.kind for each in db.session.query(OrderEvent).order_by(OrderEvent.id)]
    assert kinds.count("imported") == 1
    assert kinds.count("read_again") == 2
    assert db.session.query(Order).count() == db.session.query(Mail).count() == 1
    client.close()


# --- what an agent says of its shop ---------------------------------------------------------------


@pytest.mark.feature("S22", "S33")
def test_what_a_shop_reports_of_itself_is_kept_until_it_reports_again(client, shop, key):
    beat = {"wire_version": 2, "connector": "woocommerce", "connector_version": "1"}
    found = {
        "payment_methods": [{"code": "bacs", "name": "Überweisung"}],
        "statuses": [{"code": "on-hold", "name": "In Wartestellung"}],
        "currency": "EUR",
        "version": "11.0.1",
    }
    for more, seconds in (({"discovery": found, "compare_seconds": 180}, 180), ({}, None)):
        told = client.post("/api/v1/heartbeat", json={**beat, **more}, headers=key)
        assert told.status_code == 200
        db.session.refresh(shop)
        assert (shop.discovery, shop.compare_seconds) == (found, seconds)


@pytest.mark.parametrize(
    "wrong",
    [
        {"discovery": {"statuses": [{"code": str(n), "name": ""} for n in range(201)]}},
        {"discovery": {"statuses": [{"code": "a", "name": "n" * 201}]}},
        {"discovery": {"currency": "Taler"}},
        {"compare_seconds": 0},
    ],
)
def test_it_has_limits(client, shop, key, wrong):
    beat = {"connector": "woocommerce", "connector_version": "1", **wrong}
    assert client.post("/api/v1/heartbeat", json=beat, headers=key).status_code == 422


# --- all of it together --------------------------------------------------------------------------


@pytest.mark.feature("S22", "S74", "K64")
def test_from_the_question_to_the_order_over_a_real_agent(app, live_server, tmp_path):
    shop = make_shop(make_merchant(), connected_at=None, status="not_connected")
    with FakeWooCommerce() as fake:
        key = fake.add_order(number="AA-1007", status="completed")
        settings = {
            "shop_url": fake.url,
            "consumer_key": CONSUMER_KEY,
            "consumer_secret": CONSUMER_SECRET,
        }
        agent = Agent(
            WooCommerce(settings),
            Client(live_server.url, key_of(shop)),
            tmp_path / "state",
            pace=Pace(heartbeat_seconds=0.2, poll_seconds=2),
        )
        agent.start()
        try:
            _until(lambda: db.session.get_one(Shop, shop.id).discovery)
            assert db.session.query(Order).count() == 0, "it was completed when we came"
            row = ask(shop, now(), **named_order("AA-1007"))
            _until(lambda: db.session.get_one(OrderRequest, row.id).status == "done")
            stored = db.session.query(Order).one()
            assert (stored.external_id, stored.is_managed) == (key, True)
            found = db.session.get_one(Shop, shop.id)
            assert {"code": "bacs", "name": "Direkte Banküberweisung"} in found.discovery[
                "payment_methods"
            ]
            assert found.compare_seconds == 180
        finally:
            agent.stop()


def _until(condition, seconds=30):
    end = time.monotonic() + seconds
    while True:
        db.session.rollback()
        db.session.expire_all()
        if condition():
            return
        assert time.monotonic() < end
        time.sleep(0.05)
